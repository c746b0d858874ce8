//! Versions that follow from the tags of a real registry, signed by a real cosign.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use berth_operator::api::conditions::Reason;
use berth_operator::api::release::{Channel, ResolvedRelease};
use berth_operator::channel::credentials::Login;
use berth_operator::channel::signature::PublicKey;
use berth_operator::channel::{ChannelError, Question, resolve};
use berth_operator::outbound;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::servers::{Registry, program};

/// How cosign names what it signed with a tag, as its first versions did.
const BY_TAG: &str = "--new-bundle-format=false";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A repository of a registry.
struct Repository<'r> {
    registry: &'r Registry,
    name: &'static str,
    http: reqwest::Client,
}

impl<'r> Repository<'r> {
    fn of(registry: &'r Registry) -> Self {
        Self {
            registry,
            name: "berth/berth-registry",
            http: reqwest::Client::new(),
        }
    }

    fn host(&self) -> &str {
        self.registry.url.strip_prefix("http://").unwrap()
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.registry.url, self.name)
    }

    /// Puts an image whose content is `text` under `tag`, and gives its digest.
    async fn push(&self, tag: &str, text: &str) -> String {
        let config = json!({"architecture": "amd64", "os": "linux", "comment": text}).to_string();
        let config_digest = digest_of(config.as_bytes());
        let url = self.url(&format!("blobs/uploads/?digest={config_digest}"));
        let pushed = self.http.post(url).body(config.clone()).send().await.unwrap();
        assert_eq!(pushed.status(), StatusCode::CREATED);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        });
        self.put(tag, &manifest.to_string()).await
    }

    async fn put(&self, tag: &str, manifest: &str) -> String {
        let request = self.http.put(self.url(&format!("manifests/{tag}")));
        let request = request.header("content-type", MANIFEST).body(manifest.to_owned());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{tag}");
        digest_of(manifest.as_bytes())
    }

    async fn manifest(&self, reference: &str) -> String {
        let request = self
            .http
            .get(self.url(&format!("manifests/{reference}")))
            .header("accept", MANIFEST);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.text().await.unwrap()
    }

    fn channel(&self, semver: &str) -> Channel {
        Channel {
            repository: format!("{}/{}", self.host(), self.name),
            semver: semver.to_owned(),
            ..Channel::default()
        }
    }

    async fn resolve(&self, channel: &Channel, question: &Question<'_>) -> Result<ResolvedRelease, ChannelError> {
        let http = outbound::client(Duration::from_secs(10)).unwrap();
        resolve(&http, channel, question).await
    }

    async fn newest(&self, semver: &str) -> ResolvedRelease {
        self.resolve(&self.channel(semver), &Question::default()).await.unwrap()
    }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A folder with a key of cosign.
struct Signer {
    folder: TempDir,
    cosign: PathBuf,
}

impl Signer {
    fn new() -> Self {
        let signer = Self {
            folder: tempfile::tempdir().unwrap(),
            cosign: PathBuf::from(program("BERTH_TEST_COSIGN")),
        };
        signer.run(&["generate-key-pair"]);
        signer
    }

    fn run(&self, words: &[&str]) {
        let ran = Command::new(&self.cosign)
            .args(words)
            .current_dir(self.folder.path())
            .env("COSIGN_PASSWORD", "")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    fn sign(&self, repository: &Repository<'_>, digest: &str, more: &[&str]) {
        let image = format!("{}/{}@{digest}", repository.host(), repository.name);
        let words = [
            "sign",
            "--allow-http-registry",
            "--key",
            "cosign.key",
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--yes",
        ];
        self.run(&[&words, more, &[image.as_str()]].concat());
    }

    fn key(&self) -> PublicKey {
        let file: &Path = &self.folder.path().join("cosign.pub");
        PublicKey::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    fn question(&self) -> Question<'static> {
        Question {
            key: Some(self.key()),
            ..Question::default()
        }
    }
}

fn reason(result: Result<ResolvedRelease, ChannelError>) -> (Reason, String) {
    let error = result.unwrap_err();
    (error.reason(), berth_operator::error::chain(&error))
}

#[tokio::test]
async fn a_range_and_a_pattern_choose_a_tag_whose_image_is_named_by_digest() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    let mut digests = std::collections::HashMap::new();
    for tag in ["1.9.0", "1.10.0", "2.0.0", "1.11.0-rc.1", "1.4.0-alpine", "latest"] {
        digests.insert(tag, repository.push(tag, tag).await);
    }

    let newest = repository.newest("^1").await;
    assert_eq!(
        (newest.version.as_str(), &newest.digest),
        ("1.10.0", &digests["1.10.0"])
    );
    let alpine = Channel {
        tag_pattern: Some("^(?P<version>[0-9.]+)-alpine$".to_owned()),
        ..repository.channel("*")
    };
    let alpine = repository.resolve(&alpine, &Question::default()).await.unwrap();
    assert_eq!(
        (alpine.tag.as_str(), &alpine.digest),
        ("1.4.0-alpine", &digests["1.4.0-alpine"])
    );

    let moved = repository.push("1.10.0", "other bytes").await;
    assert_eq!(
        repository.newest("^1").await.digest,
        moved,
        "a tag that moved is another image"
    );
}

#[tokio::test]
async fn what_was_taken_back_is_passed_over_and_nothing_older_is_taken() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    repository.push("1.0.0", "1.0.0").await;
    repository.push("1.1.0", "1.1.0").await;
    let bad = repository.push("1.2.0", "1.2.0").await;
    let running = repository.newest("<1.1").await;
    let question = Question {
        current: Some(&running),
        refused: vec![bad],
        ..Question::default()
    };

    let next = repository.resolve(&repository.channel("^1"), &question).await.unwrap();
    assert_eq!(next.version, "1.1.0");

    let newer = repository.newest("^1").await;
    let question = Question {
        current: Some(&newer),
        ..Question::default()
    };
    let back = repository.resolve(&repository.channel("<1.2"), &question).await;
    assert_eq!(reason(back).0, Reason::DowngradeRefused);
}

#[tokio::test]
async fn tags_on_the_second_page_count() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    repository.push("2.0.0", "one image").await;
    let manifest = repository.manifest("2.0.0").await;
    for number in 0..1_050 {
        repository.put(&format!("1.0.{number}"), &manifest).await;
    }

    assert_eq!(repository.newest("*").await.version, "2.0.0");
    assert_eq!(repository.newest("^1").await.version, "1.0.1049");
}

#[tokio::test]
async fn a_registry_without_the_repository_or_without_an_answer_is_not_one_where_nothing_fits() {
    let mut registry = Registry::start().await;
    let repository = Repository::of(&registry);
    let channel = repository.channel("^1");

    let (found, text) = reason(repository.resolve(&channel, &Question::default()).await);
    assert_eq!(found, Reason::SourceUnreachable, "{text}");
    repository.push("2.0.0", "").await;
    let (found, text) = reason(repository.resolve(&channel, &Question::default()).await);
    assert_eq!(found, Reason::NoMatch, "{text}");
    assert!(text.contains("2.0.0"), "{text}");
    registry.stop();
    let repository = Repository::of(&registry);
    let (found, text) = reason(repository.resolve(&channel, &Question::default()).await);
    assert_eq!(found, Reason::SourceUnreachable, "{text}");
}

#[tokio::test]
async fn what_cosign_signed_with_the_key_is_taken_in_both_forms() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    let signer = Signer::new();
    let by_tag = repository.push("1.0.0", "signed beside as a tag").await;
    let by_referrer = repository.push("1.1.0", "signed beside as a referrer").await;
    signer.sign(&repository, &by_tag, &[BY_TAG]);
    signer.sign(&repository, &by_referrer, &[]);

    for (range, digest) in [("=1.0.0", by_tag), ("^1", by_referrer)] {
        let found = repository
            .resolve(&repository.channel(range), &signer.question())
            .await
            .unwrap();
        assert_eq!(found.digest, digest);
        assert_eq!(found.signed_by, Some(signer.key().fingerprint()));
    }
}

#[tokio::test]
async fn what_is_unsigned_or_signed_by_another_key_or_for_another_image_is_refused() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    let (signer, stranger) = (Signer::new(), Signer::new());
    let good = repository.push("1.0.0", "signed").await;
    signer.sign(&repository, &good, &[BY_TAG]);
    let unsigned = repository.push("1.1.0", "unsigned").await;
    let refused = async || reason(repository.resolve(&repository.channel("^1"), &signer.question()).await);

    let (found, text) = refused().await;
    assert_eq!(found, Reason::SignatureInvalid);
    assert!(text.contains("not signed"), "{text}");

    // The signature of the one, put beside the other.
    let beside = |digest: &str| format!("{}.sig", digest.replace(':', "-"));
    let copied = repository.manifest(&beside(&good)).await;
    repository.put(&beside(&unsigned), &copied).await;
    let (found, text) = refused().await;
    assert_eq!(found, Reason::SignatureInvalid);
    assert!(text.contains("another image"), "{text}");

    let other = repository.push("1.2.0", "signed by a stranger").await;
    stranger.sign(&repository, &other, &[]);
    let (found, text) = refused().await;
    assert_eq!(found, Reason::SignatureInvalid);
    assert!(text.contains("by the key"), "{text}");
}

/// What stands before a registry and lets nobody in without a login or a token.
#[derive(Clone)]
struct Door {
    to: String,
    own: String,
    with_tokens: bool,
}

const BASIC: &str = "Basic cHVsbGVyOnNlc2FtZQ==";

async fn guard(State(door): State<Arc<Door>>, request: Request) -> Response {
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let said = request.headers().get("authorization").cloned();
    let said = said.as_ref().and_then(|said| said.to_str().ok()).unwrap_or_default();
    if door.with_tokens && path.starts_with("/token?") {
        let is_for_pulls =
            path.contains("scope=repository%3Aberth%2Fberth-registry%3Apull") && path.contains("service=hub");
        let is_let_in = said == BASIC && is_for_pulls;
        let token = json!({"token": "opensesame"}).to_string();
        return if is_let_in {
            token.into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        };
    }
    let wanted = if door.with_tokens { "Bearer opensesame" } else { BASIC };
    if said != wanted {
        let challenge = if door.with_tokens {
            format!("Bearer realm=\"{}/token\",service=\"hub\"", door.own)
        } else {
            "Basic realm=\"hub\"".to_owned()
        };
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    let accept = request.headers().get("accept").cloned();
    let mut onward = reqwest::Client::new().get(format!("{}{path}", door.to));
    if let Some(accept) = accept {
        onward = onward.header("accept", accept);
    }
    let answer = onward.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap()).into_response()
}

/// The address of a door before `registry`.
async fn guarded(registry: &Registry, with_tokens: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let door = Door {
        to: registry.url.clone(),
        own: format!("http://{host}"),
        with_tokens,
    };
    let app = Router::new().fallback(guard).with_state(Arc::new(door));
    tokio::spawn(async move { axum::serve(listener, app).await });
    host
}

#[tokio::test]
async fn a_login_opens_registries_that_ask_for_it_or_for_a_token() {
    let registry = Registry::start().await;
    let repository = Repository::of(&registry);
    let digest = repository.push("1.0.0", "").await;
    let login = |password: &str| Question {
        login: Some(Login {
            username: "puller".to_owned(),
            password: password.to_owned(),
        }),
        ..Question::default()
    };

    for with_tokens in [false, true] {
        let host = guarded(&registry, with_tokens).await;
        let channel = Channel {
            repository: format!("{host}/{}", repository.name),
            ..repository.channel("^1")
        };
        let found = repository.resolve(&channel, &login("sesame")).await.unwrap();
        assert_eq!(found.digest, digest);
        for question in [login("wrong"), Question::default()] {
            let (found, text) = reason(repository.resolve(&channel, &question).await);
            assert_eq!(found, Reason::SourceUnreachable);
            assert!(text.contains("pullSecretRef") && !text.contains("wrong"), "{text}");
        }
    }
}
