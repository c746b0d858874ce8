//! TLS on the clients' listener: protocols, client certificates, renewal.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use crate::support::certificates::{Authority, Pair};
use crate::support::serve::{LIMIT, Serve, address, program};
use crate::support::{TestRegistry, content, error_code};
use reqwest::{Client, Identity, Response, StatusCode, Version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

/// A registry with a certificate of the authority, and further settings.
async fn secured(authority: &Authority, settings: &[(&str, &str)]) -> TestRegistry {
    authority.write(&authority.pair());
    let files = ["tls.crt", "tls.key"].map(|name| authority.file(name).display().to_string());
    let mut all = vec![
        ("BERTH_HTTP_TLS_CERTIFICATE_FILE", files[0].as_str()),
        ("BERTH_HTTP_TLS_KEY_FILE", files[1].as_str()),
    ];
    all.extend(settings);
    TestRegistry::start_with(&all).await
}

fn https(registry: &TestRegistry, path: &str) -> String {
    format!("https://{}{path}", registry.server().http)
}

#[tokio::test]
async fn a_push_and_a_pull_go_over_tls_by_both_protocols() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;
    let http2 = authority.client().build().unwrap();
    let http1 = authority.client().http1_only().build().unwrap();

    for (client, version, seed) in [(http2, Version::HTTP_2, 1), (http1, Version::HTTP_11, 2)] {
        let blob = content::bytes(seed, 3_000_000);
        let digest = content::sha256(&blob);
        let push = https(&registry, &format!("/v2/a/blobs/uploads/?digest={digest}"));
        let pushed = client.post(push).body(blob.clone()).send().await.unwrap();
        assert_eq!((pushed.status(), pushed.version()), (StatusCode::CREATED, version));

        let pull = https(&registry, &format!("/v2/a/blobs/{digest}"));
        let pulled = client.get(pull).send().await.unwrap().bytes().await.unwrap();
        assert!(pulled == blob, "the same bytes");
    }
}

#[tokio::test]
async fn an_error_over_tls_is_answered_before_the_connection_ends() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;
    let client = authority.client().build().unwrap();

    let answer = client
        .put(https(&registry, "/v2/a/manifests/v1"))
        .body(vec![b' '; 5_000_000])
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;

    let answer = reqwest::get(registry.url("/v2/")).await.unwrap();

    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.text().await.unwrap(),
        "Client sent an HTTP request to an HTTPS server.\n"
    );
}

#[tokio::test]
async fn who_does_not_agree_on_tls_holds_up_nobody() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(registry.server().http).unwrap())
        .collect();

    let client = authority.client().timeout(LIMIT).build().unwrap();
    let begun = Instant::now();
    let answer = client.get(https(&registry, "/v2/")).send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "before the silent ones give up"
    );
    drop(silent);
}

/// What the ping answers to clients with: no certificate, one of our authority, one of another.
async fn pings(client_auth: &str) -> [Option<StatusCode>; 3] {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let authorities = ours.authority_file().display().to_string();
    let settings = [
        ("BERTH_HTTP_TLS_CLIENT_AUTH", client_auth),
        ("BERTH_HTTP_TLS_CLIENT_CA_FILE", authorities.as_str()),
    ];
    let registry = secured(&ours, &settings).await;
    let shows = |pair: Option<Pair>| {
        let builder = ours.client();
        let builder = match pair {
            Some(pair) => {
                let pem = [pair.certificate, pair.key].concat();
                builder.identity(Identity::from_pem(pem.as_bytes()).unwrap())
            }
            None => builder,
        };
        builder.build().unwrap()
    };
    let ping = async |client: Client| {
        let answer = client.get(https(&registry, "/v2/")).send().await.ok();
        answer.as_ref().map(Response::status)
    };
    [
        ping(shows(None)).await,
        ping(shows(Some(ours.pair()))).await,
        ping(shows(Some(other.pair()))).await,
    ]
}

#[tokio::test]
async fn required_client_certificates_are_those_of_our_authority() {
    let answers = pings("required").await;

    assert_eq!(answers, [None, Some(StatusCode::OK), None]);
}

#[tokio::test]
async fn optional_client_certificates_may_be_left_out_but_not_wrong() {
    let answers = pings("optional").await;

    assert_eq!(answers, [Some(StatusCode::OK), Some(StatusCode::OK), None]);
}

#[tokio::test]
async fn the_certificates_expiry_is_a_measure() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;

    let metrics = reqwest::get(registry.admin_url("/metrics")).await.unwrap();
    let metrics = metrics.text().await.unwrap();

    // What rcgen writes when it is not told otherwise: 4096-01-01.
    assert!(
        metrics.contains("berth_registry_tls_certificate_expiry_timestamp_seconds 67090118400"),
        "{metrics}"
    );
    assert!(
        metrics.contains("berth_registry_tls_certificate_files_usable 1"),
        "{metrics}"
    );
}

/// The certificate that a new connection is shown.
async fn shown(authority: &Authority, server: &str) -> Vec<u8> {
    let client = authority.client().tls_info(true).build().unwrap();
    let answer = client.get(format!("https://{server}/v2/")).send().await.unwrap();
    let told: &reqwest::tls::TlsInfo = answer.extensions().get().unwrap();
    told.peer_certificate().unwrap().to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_served_after_sighup_and_an_unusable_one_is_not() {
    let authority = Authority::new("ours");
    let data = tempfile::tempdir().unwrap();
    authority.write(&authority.pair());
    let (certificate_file, key_file) = (authority.file("tls.crt"), authority.file("tls.key"));
    let mut server = Serve::start(
        program(data.path(), &["serve"])
            .env("BERTH_HTTP_TLS_CERTIFICATE_FILE", &certificate_file)
            .env("BERTH_HTTP_TLS_KEY_FILE", &key_file),
    );
    let at = address(&server.says("serving"));
    let first = shown(&authority, &at).await;

    let renewed = authority.pair();
    std::fs::write(&certificate_file, &renewed.certificate).unwrap();
    server.signal("HUP");
    server.says("is not the key of the certificate");
    assert_eq!(shown(&authority, &at).await, first, "half a renewal changes nothing");

    authority.write(&renewed);
    server.signal("HUP");
    server.says("new handshakes use the renewed certificate");
    assert_eq!(shown(&authority, &at).await, renewed.der);

    server.signal("HUP");
    server.says("the certificate is unchanged");
}

#[tokio::test]
async fn a_renewed_certificate_is_found_without_a_signal() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;
    let at = registry.server().http.to_string();
    let renewed = authority.pair();

    authority.write(&renewed);

    let begun = Instant::now();
    while shown(&authority, &at).await != renewed.der {
        assert!(begun.elapsed() < LIMIT, "the files were not looked at");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_connection_from_before_a_renewal_goes_on() {
    let authority = Authority::new("ours");
    let registry = secured(&authority, &[]).await;
    let client = authority.client().build().unwrap();
    let missing = format!("/v2/a/manifests/{}", content::sha256(b"none"));

    let before = client.get(https(&registry, "/v2/")).send().await.unwrap();
    std::fs::remove_dir_all(authority.folder()).unwrap();
    let after = client.get(https(&registry, &missing)).send().await.unwrap();

    assert_eq!(before.status(), StatusCode::OK);
    assert_eq!(error_code(after).await, "NAME_UNKNOWN");
}

fn check_config(certificate: &std::path::Path, key: &std::path::Path) -> (Output, String) {
    let data = tempfile::tempdir().unwrap();
    let output = program(data.path(), &["check-config"])
        .env("BERTH_HTTP_TLS_CERTIFICATE_FILE", certificate)
        .env("BERTH_HTTP_TLS_KEY_FILE", key)
        .output()
        .unwrap();
    let told = [output.stdout.clone(), output.stderr.clone()].concat();
    (output, String::from_utf8(told).unwrap())
}

#[test]
fn check_config_reads_the_files_and_says_what_is_wrong_with_them() {
    let authority = Authority::new("ours");
    authority.write(&authority.pair());
    let (certificate_file, key_file) = (authority.file("tls.crt"), authority.file("tls.key"));
    let (right, told) = check_config(&certificate_file, &key_file);
    assert_eq!(right.status.code(), Some(0), "{told}");

    let nowhere = authority.file("nowhere");
    let (missing, told) = check_config(&nowhere, &key_file);
    assert_eq!(missing.status.code(), Some(2), "{told}");
    assert!(
        told.contains("http.tls.certificate_file:") && told.contains("cannot be read"),
        "{told}"
    );

    std::fs::write(authority.file("other.key"), authority.pair().key).unwrap();
    let (mismatch, told) = check_config(&certificate_file, &authority.file("other.key"));
    assert_eq!(mismatch.status.code(), Some(2), "{told}");
    assert!(told.contains("is not the key of the certificate"), "{told}");
    assert!(told.contains("give the two that were made together"), "{told}");
}

#[test]
fn a_client_of_the_tls_port_that_sends_rubbish_is_let_go() {
    let authority = Authority::new("ours");
    let data = tempfile::tempdir().unwrap();
    authority.write(&authority.pair());
    let (certificate_file, key_file) = (authority.file("tls.crt"), authority.file("tls.key"));
    let mut server = Serve::start(
        program(data.path(), &["serve"])
            .env("BERTH_HTTP_TLS_CERTIFICATE_FILE", &certificate_file)
            .env("BERTH_HTTP_TLS_KEY_FILE", &key_file),
    );
    let mut client = TcpStream::connect(address(&server.says("serving"))).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();

    client.write_all(&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();

    let mut rest = Vec::new();
    drop(client.read_to_end(&mut rest));
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
}
