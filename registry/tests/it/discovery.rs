//! Listings: end-8 and the catalog.

use crate::support::{TestRegistry, error_code, header};
use reqwest::StatusCode;

const REPOSITORY: &str = "team/app";

async fn names(registry: &TestRegistry, path: &str, member: &str) -> (Vec<String>, String) {
    let answer = registry.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let link = header(&answer, "link");
    let body: serde_json::Value = answer.json().await.unwrap();
    (serde_json::from_value(body[member].clone()).unwrap(), link)
}

#[tokio::test]
async fn tags_are_listed_in_byte_order() {
    let registry = TestRegistry::start().await;
    for tag in ["b", "a", "B", "a-1", "_", "1", "a.1"] {
        registry.push_image(REPOSITORY, tag, b"layer").await;
    }

    let (listed, link) = names(&registry, &format!("/v2/{REPOSITORY}/tags/list"), "tags").await;

    assert_eq!(listed, ["1", "B", "_", "a", "a-1", "a.1", "b"]);
    assert_eq!(link, "");
}

#[tokio::test]
async fn following_the_links_gives_every_tag_once_and_no_empty_page() {
    let registry = TestRegistry::start().await;
    for tag in ["a", "b", "c", "d"] {
        registry.push_image(REPOSITORY, tag, b"layer").await;
    }
    let mut path = format!("/v2/{REPOSITORY}/tags/list?n=2");
    let mut pages = Vec::new();

    loop {
        let (listed, link) = names(&registry, &path, "tags").await;
        pages.push(listed);
        match link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
        {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }

    assert_eq!(pages, [["a", "b"], ["c", "d"]]);
}

#[tokio::test]
async fn a_page_may_begin_after_a_tag_that_does_not_exist_and_may_be_empty() {
    let registry = TestRegistry::start().await;
    registry.push_image(REPOSITORY, "a", b"layer").await;
    registry.push_image(REPOSITORY, "c", b"layer").await;

    assert_eq!(
        names(&registry, &format!("/v2/{REPOSITORY}/tags/list?last=b"), "tags")
            .await
            .0,
        ["c"]
    );
    assert!(
        names(&registry, &format!("/v2/{REPOSITORY}/tags/list?n=0"), "tags")
            .await
            .0
            .is_empty()
    );
}

#[tokio::test]
async fn tags_of_an_unknown_repository_are_not_found() {
    let registry = TestRegistry::start().await;

    let answer = registry.get("/v2/nobody/tags/list").await;

    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(error_code(answer).await, "NAME_UNKNOWN");
}

#[tokio::test]
async fn the_catalog_lists_repositories_page_by_page() {
    let registry = TestRegistry::start().await;
    for repository in ["b/app", "a", "b/app2"] {
        registry.push_blob(repository, b"blob").await;
    }

    let (first, link) = names(&registry, "/v2/_catalog?n=2", "repositories").await;

    assert_eq!(first, ["a", "b/app"]);
    assert_eq!(link, "</v2/_catalog?n=2&last=b%2Fapp>; rel=\"next\"");
    assert_eq!(
        names(&registry, "/v2/_catalog?n=2&last=b%2Fapp", "repositories")
            .await
            .0,
        ["b/app2"]
    );
}
