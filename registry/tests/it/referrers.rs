//! Listing what refers to a subject: end-12.

use crate::support::content::sha256;
use crate::support::{TestRegistry, error_code, header};
use futures::{StreamExt, stream};
use oci::{Digest, media_type};
use reqwest::StatusCode;
use serde_json::{Value, json};

const REPOSITORY: &str = "team/app";

fn referrer(subject: &Digest, artifact_type: Option<&str>, annotation: &str) -> String {
    let empty = json!({"mediaType": media_type::OCI_EMPTY, "digest": sha256(b"{}"), "size": 2});
    let mut body = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": empty,
        "layers": [],
        "subject": {"mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 2},
        "annotations": {"note": annotation},
    });
    if let Some(artifact_type) = artifact_type {
        body["artifactType"] = json!(artifact_type);
    }
    body.to_string()
}

/// Pushes referrers one after the other.
async fn push_all(registry: &TestRegistry, bodies: &[String]) -> Vec<String> {
    registry.push_blob(REPOSITORY, b"{}").await;
    let pushed = stream::iter(bodies).then(|body| async move {
        let digest = sha256(body.as_bytes()).to_string();
        let answer = registry
            .put_manifest(REPOSITORY, &digest, media_type::OCI_MANIFEST, body)
            .await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        digest
    });
    pushed.collect().await
}

struct ReferrersList {
    digests: Vec<String>,
    length: usize,
    next: Option<String>,
    filtered: String,
}

async fn page(registry: &TestRegistry, path: &str) -> ReferrersList {
    let answer = registry.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    assert_eq!(header(&answer, "content-type"), media_type::OCI_INDEX);
    let link = header(&answer, "link");
    let next = link
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    let (next, filtered) = (next.map(str::to_owned), header(&answer, "oci-filters-applied"));
    let bytes = answer.bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["schemaVersion"], 2);
    assert_eq!(body["mediaType"], media_type::OCI_INDEX);
    let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    ReferrersList {
        digests: body["manifests"].as_array().unwrap().iter().map(digest).collect(),
        length: bytes.len(),
        next,
        filtered,
    }
}

async fn pages(registry: &TestRegistry, first: String) -> Vec<ReferrersList> {
    let mut found = vec![page(registry, &first).await];
    while let Some(path) = found.last().and_then(|page| page.next.clone()) {
        assert!(found.len() < 20, "pages without an end");
        found.push(page(registry, &path).await);
    }
    found
}

#[tokio::test]
async fn pages_follow_each_other_with_n_and_keep_the_filter() {
    let registry = TestRegistry::start().await;
    let subject = sha256(b"never pushed");
    let types = ["application/a+json", "application/b", "application/c"];
    let bodies: Vec<String> = (0..9)
        .map(|n| referrer(&subject, Some(types[n % 3]), &n.to_string()))
        .collect();
    let digests = push_all(&registry, &bodies).await;

    let path = format!("/v2/{REPOSITORY}/referrers/{subject}?artifactType=application/a%2Bjson");
    let found = pages(&registry, format!("{path}&artifactType=application/c&n=4")).await;

    let listed: Vec<&String> = found.iter().flat_map(|page| &page.digests).collect();
    let expected: Vec<&String> = digests
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 3 != 1)
        .map(|(_, d)| d)
        .collect();
    assert_eq!(listed, expected, "the oldest first");
    assert_eq!(found.iter().map(|page| page.digests.len()).collect::<Vec<_>>(), [4, 2]);
    assert!(found.iter().all(|page| page.filtered == "artifactType"));
}

#[tokio::test]
async fn a_list_longer_than_clients_take_goes_on_in_another_page() {
    let registry = TestRegistry::start().await;
    let subject = sha256(b"never pushed");
    let bodies: Vec<String> = (0..11)
        .map(|n| referrer(&subject, None, &format!("{n}{}", "x".repeat(900_000))))
        .collect();
    let digests = push_all(&registry, &bodies).await;

    let found = pages(&registry, format!("/v2/{REPOSITORY}/referrers/{subject}")).await;

    let listed: Vec<&String> = found.iter().flat_map(|page| &page.digests).collect();
    assert_eq!(listed, digests.iter().collect::<Vec<_>>());
    assert_eq!(
        found.iter().map(|page| page.digests.len()).collect::<Vec<_>>(),
        [4, 4, 3]
    );
    assert!(found.iter().all(|page| page.length <= 4 * 1024 * 1024));
    assert!(found.iter().all(|page| page.filtered.is_empty()));
}

#[tokio::test]
async fn a_list_of_many_small_referrers_is_one_page() {
    let registry = TestRegistry::start().await;
    let subject = sha256(b"never pushed");
    let bodies: Vec<String> = (0..150).map(|n| referrer(&subject, None, &n.to_string())).collect();
    let digests = push_all(&registry, &bodies).await;

    let found = pages(&registry, format!("/v2/{REPOSITORY}/referrers/{subject}")).await;

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digests, digests);
}

#[tokio::test]
async fn the_filter_takes_a_plus_that_was_not_escaped_and_an_empty_one_is_none() {
    let registry = TestRegistry::start().await;
    let subject = sha256(b"never pushed");
    let bodies = [
        referrer(&subject, Some("application/a+json"), "1"),
        referrer(&subject, None, "2"),
    ];
    let digests = push_all(&registry, &bodies).await;
    let path = format!("/v2/{REPOSITORY}/referrers/{subject}");
    let table = [
        ("?artifactType=application/a+json", &digests[..1], "artifactType"),
        ("?artifactType=application%2Fa%2Bjson", &digests[..1], "artifactType"),
        // The type of the config stands for an image that has none of its own.
        (
            "?artifactType=application/vnd.oci.empty.v1+json",
            &digests[1..],
            "artifactType",
        ),
        ("?artifactType=other", &[], "artifactType"),
        ("?artifactType=", &digests[..], ""),
        ("?ns=x", &digests[..], ""),
        ("?n=0", &[], ""),
    ];
    for (query, expected, filtered) in table {
        let found = page(&registry, &format!("{path}{query}")).await;

        assert_eq!(found.digests, expected, "{query}");
        assert_eq!(found.filtered, filtered, "{query}");
        assert_eq!(found.next, None, "{query}");
    }
}

#[tokio::test]
async fn a_page_that_nobody_linked_to_is_refused() {
    let registry = TestRegistry::start().await;
    let path = format!("/v2/{REPOSITORY}/referrers/{}", sha256(b"x"));
    for query in ["last=abc", "last=00", "n=-1", "n=x"] {
        let refused = registry.get(&format!("{path}?{query}")).await;

        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(error_code(refused).await, "PAGINATION_NUMBER_INVALID");
    }
}

#[tokio::test]
async fn an_index_without_an_artifact_type_is_listed_without_one() {
    let registry = TestRegistry::start().await;
    let subject = sha256(b"never pushed");
    let body = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": [],
        "subject": {"mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 2},
    })
    .to_string();

    let stored = registry
        .put_manifest(REPOSITORY, "list", media_type::OCI_INDEX, &body)
        .await;

    assert_eq!(header(&stored, "oci-subject"), subject.to_string());
    let path = format!("/v2/{REPOSITORY}/referrers/{subject}");
    let listed: Value = registry.get(&path).await.json().await.unwrap();
    let expected = json!([{
        "mediaType": media_type::OCI_INDEX,
        "digest": sha256(body.as_bytes()),
        "size": body.len(),
    }]);
    assert_eq!(listed["manifests"], expected);
}
