//! Asking a registry: tags in pages, digests, signatures; with a token where the registry wants one.
//!
//! A password goes only to the registry itself, and to a token service on the same host or over TLS; never along with a
//! redirect. Every answer has a bound.

use std::sync::Mutex;

use reqwest::header::{ACCEPT, AUTHORIZATION, LINK, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use url::Url;

use super::credentials::Login;
use super::reference::Repository;
use super::signature::Found;
use crate::outbound::{self, Refused};

const TAGS: usize = 200_000;
const PAGES: usize = 2_000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;
const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
const PAYLOAD_BYTES: usize = 1024 * 1024;
const SIGNATURES: usize = 32;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// The annotation under which cosign keeps a signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// Why a registry gave no answer that can be believed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It did not answer.
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// It answered with an error.
    #[error("it answered {what} with {status}")]
    Status {
        /// What was asked.
        what: &'static str,
        /// The answer.
        status: StatusCode,
    },
    /// It does not let this account in.
    #[error("it refuses the login with {0}: check spec.release.channel.pullSecretRef")]
    Login(StatusCode),
    /// It has no tags at all. A registry that lost its repository says the same, so nothing follows from it.
    #[error("it says that the repository has no tags, or is not there")]
    Empty,
    /// Its answer is not what it should be.
    #[error("{0}")]
    Answer(&'static str),
    /// It may not be asked, or its answer is too long.
    #[error("{0}")]
    Refused(#[from] Refused),
}

/// A repository that can be asked.
#[derive(Debug)]
pub struct Source<'a> {
    http: &'a Client,
    repository: &'a Repository,
    login: Option<&'a Login>,
    token: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    digest: String,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    annotations: std::collections::HashMap<String, String>,
}

#[derive(Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Vec<Referrer>,
}

#[derive(Deserialize)]
struct Referrer {
    digest: String,
    #[serde(default, rename = "artifactType")]
    artifact_type: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl<'a> Source<'a> {
    /// The repository, asked with `http`.
    pub fn new(http: &'a Client, repository: &'a Repository, login: Option<&'a Login>) -> Self {
        Self {
            http,
            repository,
            login,
            token: Mutex::default(),
        }
    }

    /// Every tag. None at all is an error: a registry that is being restored or lost its data says so too.
    ///
    /// # Errors
    /// [`SourceError`]. A list that breaks off is one as well: its newest tags may be on the page that is missing.
    pub async fn tags(&self) -> Result<Vec<String>, SourceError> {
        let mut next = Some(self.url("/tags/list?n=1000")?);
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..PAGES {
            let Some(url) = next.take() else { break };
            let answer = self.get(&url, "application/json").await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(SourceError::Empty),
                status => return Err(refusal("for tags", status)),
            }
            next = Self::next_page(&url, &answer)?;
            let page: TagList = json(answer, PAGE_BYTES, "its list of tags is no list of tags").await?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > TAGS {
                return Err(SourceError::Answer(
                    "it has more than 200000 tags: use a repository for releases only",
                ));
            }
        }
        if next.is_some() {
            return Err(SourceError::Answer("its list of tags does not end"));
        }
        if tags.is_empty() {
            Err(SourceError::Empty)
        } else {
            Ok(tags)
        }
    }

    /// Digest of the image of `tag`, as the bytes themselves say.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn digest(&self, tag: &str) -> Result<String, SourceError> {
        let url = self.url(&format!("/manifests/{tag}"))?;
        let answer = self.get(&url, MANIFESTS).await?;
        if answer.status() != StatusCode::OK {
            return Err(refusal("for a manifest", answer.status()));
        }
        let told = answer
            .headers()
            .get("docker-content-digest")
            .and_then(|digest| digest.to_str().ok())
            .map(str::to_owned);
        let digest = digest_of(&outbound::body(answer, MANIFEST_BYTES).await?);
        if told.is_some_and(|told| told.starts_with("sha256:") && told != digest) {
            return Err(SourceError::Answer("a manifest is not what its digest says"));
        }
        Ok(digest)
    }

    /// What is beside the image as a signature: the tag that cosign makes of its digest, and its referrers.
    ///
    /// # Errors
    /// [`SourceError`]. That there is nothing is none.
    pub async fn signatures(&self, digest: &str) -> Result<Vec<Found>, SourceError> {
        let tag = format!("{}.sig", digest.replacen(':', "-", 1));
        let mut found = self.of_manifest(&tag).await?;
        let url = self.url(&format!("/referrers/{digest}"))?;
        let answer = self.get(&url, "application/vnd.oci.image.index.v1+json").await?;
        let referrers = match answer.status() {
            StatusCode::OK => {
                json::<Referrers>(answer, MANIFEST_BYTES, "its referrers are no index")
                    .await?
                    .manifests
            }
            // A registry without referrers keeps them under a tag of their own.
            StatusCode::NOT_FOUND => self.fallback_referrers(digest).await?,
            status => return Err(refusal("for referrers", status)),
        };
        let is_signature = |referrer: &&Referrer| {
            referrer.artifact_type.starts_with(BUNDLE) || referrer.artifact_type.contains("cosign")
        };
        for referrer in referrers.iter().filter(is_signature).take(SIGNATURES) {
            found.extend(self.of_manifest(&referrer.digest).await?);
        }
        Ok(found)
    }

    async fn fallback_referrers(&self, digest: &str) -> Result<Vec<Referrer>, SourceError> {
        let url = self.url(&format!("/manifests/{}", digest.replacen(':', "-", 1)))?;
        let answer = self.get(&url, "application/vnd.oci.image.index.v1+json").await?;
        match answer.status() {
            StatusCode::OK => Ok(json::<Referrers>(answer, MANIFEST_BYTES, "its referrers are no index")
                .await?
                .manifests),
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            status => Err(refusal("for referrers", status)),
        }
    }

    /// The signatures in one manifest; none when it is not there.
    async fn of_manifest(&self, reference: &str) -> Result<Vec<Found>, SourceError> {
        let url = self.url(&format!("/manifests/{reference}"))?;
        let answer = self.get(&url, MANIFESTS).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            status => return Err(refusal("for a signature", status)),
        }
        let manifest: Manifest = json(answer, MANIFEST_BYTES, "a signature's manifest is none").await?;
        let mut found = Vec::new();
        for layer in manifest.layers.into_iter().take(SIGNATURES) {
            if let Some(signature) = layer.annotations.get(SIGNATURE) {
                let payload = self.blob(&layer.digest).await?;
                found.push(Found::Simple {
                    payload,
                    signature: signature.clone(),
                });
            } else if layer.media_type.starts_with(BUNDLE) {
                found.push(Found::Bundle(self.blob(&layer.digest).await?));
            }
        }
        Ok(found)
    }

    /// A small blob. A registry may keep it elsewhere: one redirect is followed, without the login.
    async fn blob(&self, digest: &str) -> Result<Vec<u8>, SourceError> {
        let url = self.url(&format!("/blobs/{digest}"))?;
        let mut answer = self.get(&url, "*/*").await?;
        if answer.status().is_redirection() {
            let location = answer
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok());
            let target = location.and_then(|location| url.join(location).ok());
            let target = target.ok_or(SourceError::Answer("a redirect leads nowhere"))?;
            let target = outbound::address(target.as_str())?;
            if url.scheme() == "https" && target.scheme() != "https" {
                return Err(SourceError::Answer("a redirect leads away from TLS"));
            }
            answer = self.http.get(target).send().await.map_err(quiet)?;
        }
        if answer.status() != StatusCode::OK {
            return Err(refusal("for a signature", answer.status()));
        }
        let bytes = outbound::body(answer, PAYLOAD_BYTES).await?;
        if digest_of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(SourceError::Answer("a blob is not what its digest says"))
        }
    }

    fn url(&self, rest: &str) -> Result<Url, SourceError> {
        let text = format!("{}/v2/{}{rest}", self.repository.base(), self.repository.name);
        Ok(outbound::address(&text)?)
    }

    /// The next page, on the same registry only.
    fn next_page(url: &Url, answer: &Response) -> Result<Option<Url>, SourceError> {
        let Some(link) = answer.headers().get(LINK) else {
            return Ok(None);
        };
        let wrong = SourceError::Answer("its list of tags goes on nowhere");
        let Some(text) = link
            .to_str()
            .ok()
            .filter(|text| text.contains("rel=\"next\"") || text.contains("rel=next"))
        else {
            return Ok(None);
        };
        let target = text
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map(|(target, _)| target);
        let Some(next) = target.and_then(|target| url.join(target).ok()) else {
            return Err(wrong);
        };
        if next.origin() == url.origin() {
            Ok(Some(next))
        } else {
            Err(wrong)
        }
    }

    async fn get(&self, url: &Url, accept: &'static str) -> Result<Response, SourceError> {
        let known = self.known_token();
        let answer = self.ask(url, accept, known.as_deref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = answer
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|challenge| challenge.to_str().ok());
        let header = self.answer_to(challenge.unwrap_or_default()).await?;
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(header.clone());
        let answer = self.ask(url, accept, Some(&header)).await?;
        match answer.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(SourceError::Login(status)),
            _ => Ok(answer),
        }
    }

    fn known_token(&self) -> Option<String> {
        self.token
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    async fn ask(&self, url: &Url, accept: &'static str, authorization: Option<&str>) -> Result<Response, SourceError> {
        let mut request = self.http.request(Method::GET, url.clone()).header(ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(quiet)
    }

    /// The header that a challenge asks for.
    async fn answer_to(&self, challenge: &str) -> Result<String, SourceError> {
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return self.basic().ok_or(SourceError::Login(StatusCode::UNAUTHORIZED));
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(SourceError::Login(StatusCode::UNAUTHORIZED));
        }
        let realm = parameter(parameters, "realm").unwrap_or_default();
        let mut url = outbound::address(&realm)?;
        let is_login_safe = url.scheme() == "https"
            || (self.repository.scheme == "http" && url.host_str() == self.own_host().as_deref());
        if let Some(service) = parameter(parameters, "service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        url.query_pairs_mut()
            .append_pair("scope", &format!("repository:{}:pull", self.repository.name));
        let mut request = self.http.get(url);
        if let Some(login) = self.login {
            if !is_login_safe {
                return Err(SourceError::Answer(
                    "its token service is elsewhere and without TLS, so it does not get the login",
                ));
            }
            request = request.basic_auth(&login.username, Some(&login.password));
        }
        let answer = request.send().await.map_err(quiet)?;
        if answer.status() != StatusCode::OK {
            return Err(SourceError::Login(answer.status()));
        }
        let token: Token = json(answer, PAGE_BYTES, "its token service gave no token").await?;
        let token = if token.token.is_empty() {
            token.access_token
        } else {
            token.token
        };
        Ok(format!("Bearer {token}"))
    }

    fn own_host(&self) -> Option<String> {
        Url::parse(&self.repository.base()).ok()?.host_str().map(str::to_owned)
    }

    fn basic(&self) -> Option<String> {
        use base64::Engine as _;
        let login = self.login?;
        let pair = format!("{}:{}", login.username, login.password);
        Some(format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        ))
    }
}

/// A failure without its URL: a presigned one is a secret.
fn quiet(error: reqwest::Error) -> SourceError {
    SourceError::NoAnswer(error.without_url())
}

fn refusal(what: &'static str, status: StatusCode) -> SourceError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceError::Login(status),
        status => SourceError::Status { what, status },
    }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

async fn json<T: DeserializeOwned>(answer: Response, limit: usize, wrong: &'static str) -> Result<T, SourceError> {
    let bytes = outbound::body(answer, limit).await?;
    serde_json::from_slice(&bytes).map_err(|_content| SourceError::Answer(wrong))
}

/// The value of a parameter of a challenge, such as `realm="https://auth.example.com/token"`.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().trim_start_matches(',').trim();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        rest = remaining;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_challenge_may_be_quoted_and_hold_commas() {
        let text = r#"realm="https://a.example.com/t?x=1,2",service=r, scope="repository:a:pull,push""#;

        assert_eq!(
            parameter(text, "realm").as_deref(),
            Some("https://a.example.com/t?x=1,2")
        );
        assert_eq!(parameter(text, "service").as_deref(), Some("r"));
        assert_eq!(parameter(text, "error"), None);
    }
}
