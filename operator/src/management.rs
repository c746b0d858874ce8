//! What the pods say about themselves, through their management API.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::labels::{OPERATOR, names};
use crate::registry::config::ADMIN_PORT;

/// How long an answer may take: a pass waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a token is good for.
const TOKEN_SECS: i64 = 60;
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 256 * 1024;

/// What a pod says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// Its version.
    pub version: String,
    /// Its database.
    pub database: Database,
}

/// What a pod says about its database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// The level of the schema.
    pub schema: Schema,
}

/// The level of a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Schema {
    /// Newest applied migration.
    pub applied: String,
    /// Oldest migration that the pod can work with.
    pub required: String,
    /// Migrations that must be applied before it may serve.
    #[serde(default)]
    pub pending_pre: Vec<String>,
    /// Migrations that are applied after every pod is replaced.
    #[serde(default)]
    pub pending_post: Vec<String>,
}

/// Why a pod's report was not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token could be made.
    #[error("could not sign a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The pod did not answer, or not in time, or not with a report.
    #[error("the management API did not answer")]
    Http(#[from] reqwest::Error),
    /// The answer is too long to be a report.
    #[error("the management API answered with more than {ANSWER_BYTES} bytes, or did not say with how many")]
    TooLong,
    /// The answer is not a report.
    #[error("the management API answered with something else than a report")]
    NotAReport(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    iat: i64,
    exp: i64,
}

/// Asks pods for their reports.
#[derive(Clone, Debug)]
pub struct ManagementClient {
    http: reqwest::Client,
    address: Address,
}

/// Where the management API of a Registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At its Service, by the cluster's names.
    Service,
    /// At one base URL for every Registry, such as a forwarded port.
    Fixed(String),
}

impl ManagementClient {
    /// A client that never goes through a proxy: it only speaks to the cluster's own Services.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(address: Address) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http, address })
    }

    /// The report of a pod of that Registry, signed for with its generated secret.
    ///
    /// # Errors
    /// When no report was had within two seconds.
    pub async fn report(
        &self,
        namespace: &str,
        registry: &str,
        secret: &[u8],
        now: Timestamp,
    ) -> Result<Report, Error> {
        let base = match &self.address {
            Address::Service => format!("http://{}.{namespace}.svc:{ADMIN_PORT}", names::admin_service(registry)),
            Address::Fixed(base) => base.clone(),
        };
        let request = self
            .http
            .get(format!("{base}/management/v1/status"))
            .bearer_auth(token(secret, now)?);
        let answer = request.send().await?.error_for_status()?;
        if answer.content_length().is_none_or(|length| length > ANSWER_BYTES) {
            return Err(Error::TooLong);
        }
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

fn token(secret: &[u8], now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
    let iat = now.as_second();
    let claims = Claims {
        iss: OPERATOR,
        aud: "berth-management",
        iat,
        exp: iat + TOKEN_SECS,
    };
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret))
}
