//! Behind proxies: where answers lead, and who is said to have asked.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::serve::{Serve, address, program};
use crate::support::{TestRegistry, header};
use reqwest::{Method, Response, StatusCode};

async fn asked(registry: &TestRegistry, method: Method, path: &str, told: &[(&str, &str)]) -> Response {
    let request = told
        .iter()
        .fold(registry.request(method, path), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.send().await.unwrap()
}

/// The Location of an upload that begins, and the Link of a first page of tags.
async fn leads(settings: &[(&str, &str)], told: &[(&str, &str)]) -> (String, String) {
    let registry = TestRegistry::start_with(settings).await;
    registry.push_image("a", "v1", b"layer").await;
    registry.push_image("a", "v2", b"layer").await;
    let begun = asked(&registry, Method::POST, "/v2/a/blobs/uploads/", told).await;
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let page = asked(&registry, Method::GET, "/v2/a/tags/list?n=1", told).await;
    let host = registry.server().http.to_string();
    let location = header(&begun, "location").replace(&host, "HOST");
    let (before, _session) = location.rsplit_once('/').unwrap();
    (before.to_owned(), header(&page, "link"))
}

const TOLD: &[(&str, &str)] = &[
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "r.test"),
    ("x-forwarded-prefix", "/hub"),
];
const TRUSTED: (&str, &str) = ("BERTH_HTTP_TRUSTED_PROXIES", "127.0.0.0/8");

#[tokio::test]
async fn nobody_is_believed_until_trusted() {
    let (location, link) = leads(&[], TOLD).await;

    assert_eq!(location, "/v2/a/blobs/uploads");
    assert_eq!(link, "</v2/a/tags/list?n=1&last=v1>; rel=\"next\"");
}

#[tokio::test]
async fn a_trusted_proxys_prefix_is_in_locations_and_links() {
    let (location, link) = leads(&[TRUSTED], TOLD).await;

    assert_eq!(location, "/hub/v2/a/blobs/uploads");
    assert_eq!(link, "</hub/v2/a/tags/list?n=1&last=v1>; rel=\"next\"");
}

#[tokio::test]
async fn absolute_locations_have_the_host_that_the_client_used() {
    let absolute = ("BERTH_HTTP_RELATIVE_LOCATIONS", "false");

    let (direct, _) = leads(&[absolute], TOLD).await;
    let (behind, link) = leads(&[absolute, TRUSTED], TOLD).await;

    assert_eq!(direct, "http://HOST/v2/a/blobs/uploads");
    assert_eq!(behind, "https://r.test/hub/v2/a/blobs/uploads");
    assert_eq!(link, "</hub/v2/a/tags/list?n=1&last=v1>; rel=\"next\"");
}

#[tokio::test]
async fn an_external_url_is_where_everything_leads() {
    let external = ("BERTH_HTTP_EXTERNAL_URL", "https://r.example.com:8443/hub/");

    let (absolute, link) = leads(&[external, TRUSTED], TOLD).await;
    let (relative, _) = leads(&[external, ("BERTH_HTTP_RELATIVE_LOCATIONS", "true")], &[]).await;

    assert_eq!(absolute, "https://r.example.com:8443/hub/v2/a/blobs/uploads");
    assert_eq!(link, "</hub/v2/a/tags/list?n=1&last=v1>; rel=\"next\"");
    assert_eq!(relative, "/hub/v2/a/blobs/uploads");
}

#[tokio::test]
async fn a_push_that_follows_absolute_locations_arrives() {
    let registry = TestRegistry::start_with(&[("BERTH_HTTP_RELATIVE_LOCATIONS", "false")]).await;
    let begun = asked(&registry, Method::POST, "/v2/a/blobs/uploads/", &[]).await;
    let digest = crate::support::content::sha256(b"bytes");
    let finish = format!("{}?digest={digest}", header(&begun, "location"));

    let finished = registry.client.put(finish).body("bytes").send().await.unwrap();

    assert_eq!(finished.status(), StatusCode::CREATED);
    assert_eq!(
        header(&finished, "location"),
        registry.url(&format!("/v2/a/blobs/{digest}"))
    );
}

#[tokio::test]
async fn the_log_names_the_client_behind_trusted_proxies() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Serve::start(program(data.path(), &["serve"]).env(TRUSTED.0, TRUSTED.1));
    let at = address(&server.says("serving"));
    let client = reqwest::Client::new();
    let told = client
        .get(format!("http://{at}/v2/"))
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.1");

    told.send().await.unwrap();

    server.says("client=192.0.2.1");
}
