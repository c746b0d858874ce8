//! Deleted tags.

use super::{REPOSITORY, delete, keeping, kept, manifest, pulled, refused, tag, tags, undelete, undeleted};
use crate::support::{TestRegistry, header};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_deleted_tag_comes_back_as_it_was() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    delete(&registry, "v1").await;
    assert_eq!(pulled(&registry, "v1").await, None);

    let restored = undeleted(&registry, &tag("v1")).await;

    assert_eq!(
        restored,
        json!({"repository": REPOSITORY, "digest": digest, "tags": ["v1"], "taken": []})
    );
    assert_eq!(pulled(&registry, "v1").await, Some(digest.to_string()));
    assert_eq!(tags(&registry).await, ["v1"]);
    assert_eq!(kept(&registry, "tags").await, [] as [Value; 0]);
}

#[tokio::test]
async fn of_several_deletions_of_a_tag_the_newest_is_undone_or_the_one_that_is_named() {
    let registry = keeping().await;
    let first = registry.push_image(REPOSITORY, "v1", b"first").await;
    delete(&registry, "v1").await;
    let second = registry.push_image(REPOSITORY, "v1", b"second").await;
    delete(&registry, "v1").await;
    let listed = kept(&registry, "tags").await;
    let digests: Vec<&Value> = listed.iter().map(|entry| &entry["digest"]).collect();
    assert_eq!(digests, [&json!(first), &json!(second)]);

    let newest = undeleted(&registry, &tag("v1")).await;
    assert_eq!(newest["digest"], json!(second));

    delete(&registry, "v1").await;
    let named = json!({"tag": "v1", "deleted_at": listed[0]["deleted_at"]});
    let older = undeleted(&registry, &named).await;
    assert_eq!(older["digest"], json!(first));
    assert_eq!(pulled(&registry, "v1").await, Some(first.to_string()));
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone_and_the_refusal_says_what_has_it() {
    let registry = keeping().await;
    registry.push_image(REPOSITORY, "v1", b"first").await;
    delete(&registry, "v1").await;
    let second = registry.push_image(REPOSITORY, "v1", b"second").await;

    let (status, words) = refused(&registry, &tag("v1")).await;

    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        words.contains(&second.to_string()) && words.contains("delete it first"),
        "{words}"
    );
    assert_eq!(pulled(&registry, "v1").await, Some(second.to_string()));
    assert_eq!(kept(&registry, "tags").await.len(), 1, "it can be restored later");
}

#[tokio::test]
async fn a_tag_whose_manifest_was_deleted_too_brings_it_back() {
    let registry = keeping().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    registry.push_image(REPOSITORY, "v2", b"layer").await;
    delete(&registry, "v1").await;
    delete(&registry, digest).await;
    assert_eq!(pulled(&registry, digest).await, None);

    undeleted(&registry, &tag("v1")).await;

    assert_eq!(pulled(&registry, "v1").await, Some(digest.to_string()));
    assert_eq!(pulled(&registry, digest).await, Some(digest.to_string()));
    assert_eq!(tags(&registry).await, ["v1"]);
    undeleted(&registry, &tag("v2")).await;
    assert_eq!(tags(&registry).await, ["v1", "v2"]);
}

#[tokio::test]
async fn the_list_of_deleted_tags_goes_page_by_page_and_shows_each_once() {
    let registry = keeping().await;
    for name in ["a", "b", "c"] {
        for _ in 0..2 {
            registry.push_image(REPOSITORY, name, b"layer").await;
            delete(&registry, name).await;
        }
    }
    let mut path = format!("deleted-tags/{REPOSITORY}?n=2");
    let mut names = Vec::new();
    loop {
        let page = registry.managed(Method::GET, &path).send().await.unwrap();
        let link = header(&page, "link");
        let body: Value = page.json().await.unwrap();
        names.extend(
            body["tags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["tag"].clone()),
        );
        let Some(next) = link.strip_prefix("</management/v1/") else {
            break;
        };
        path = next.split('>').next().unwrap().to_owned();
    }

    assert_eq!(names, ["a", "a", "b", "b", "c", "c"]);
}

#[tokio::test]
async fn without_a_retention_nothing_is_kept_and_the_refusal_names_the_setting() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_image(REPOSITORY, "v1", b"layer").await;
    delete(&registry, "v1").await;
    delete(&registry, digest).await;

    for what in [tag("v1"), manifest(digest)] {
        let (status, words) = refused(&registry, &what).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(words.contains("deletion.retention is 0s"), "{words}");
    }
    assert_eq!(kept(&registry, "tags").await, [] as [Value; 0]);
}

#[tokio::test]
async fn calls_that_cannot_be_meant_are_refused_with_what_is_wanted() {
    let registry = keeping().await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;
    for what in [
        json!({}),
        json!({"tag": "v1", "digest": "sha256:00"}),
        json!({"tag": "-"}),
        json!({"tags": ["v1"]}),
        json!({"tag": "v1", "deleted_at": "yesterday"}),
    ] {
        let (status, words) = refused(&registry, &what).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{what}");
        assert!(words.contains("either tag"), "{words}");
    }
    let elsewhere = registry.managed(Method::POST, "undelete/nobody").json(&tag("v1"));
    let elsewhere = elsewhere.send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    assert_eq!(crate::support::error_code(elsewhere).await, "NAME_UNKNOWN");
}

#[tokio::test]
async fn nobody_restores_without_the_operators_secret() {
    let registry = keeping().await;
    registry.push_image(REPOSITORY, "v1", b"layer").await;
    delete(&registry, "v1").await;
    let url = registry.admin_url(&format!("/management/v1/undelete/{REPOSITORY}"));

    let stranger = registry.client.post(url).json(&tag("v1")).send().await.unwrap();

    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(pulled(&registry, "v1").await, None);
    let through_clients = registry.request(Method::POST, &format!("/management/v1/undelete/{REPOSITORY}"));
    assert_eq!(through_clients.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(undelete(&registry, &tag("v1")).await.status(), StatusCode::OK);
}
