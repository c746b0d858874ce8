//! Who may ask: a service account's tokens and its signed URLs, verified with its key.

use super::objects::Refusal;
use http::request::Parts;
use http::{StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

const EMAIL: &str = "registry@berth.example";
/// What the client signs as the host, whatever it connects to.
const HOST: &str = "storage.googleapis.com";
const SIGNATURE: &str = "X-Goog-Signature";

/// A service account with a key of its own.
pub(super) struct Account {
    private_key: String,
    public_key: DecodingKey,
}

impl Account {
    pub(super) fn new() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        Self {
            private_key: pair.serialize_pem(),
            public_key: DecodingKey::from_rsa_pem(pair.public_key_pem().as_bytes()).unwrap(),
        }
    }

    /// What the provider would give its user to download.
    pub(super) fn key_file(&self) -> String {
        let file = json!({"private_key": self.private_key, "private_key_id": "1", "client_email": EMAIL});
        file.to_string()
    }

    pub(super) fn allows(&self, request: &Parts, query: &HashMap<String, String>) -> Result<(), Refusal> {
        let allowed = match query.get(SIGNATURE) {
            Some(signature) => self.signed(request, query, signature),
            None => self.has_token(request),
        };
        allowed
            .then_some(())
            .ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, "AccessDenied"))
    }

    fn has_token(&self, request: &Parts) -> bool {
        let token = request.headers.get(header::AUTHORIZATION);
        let token = token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer "));
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_required_spec_claims(&["iss", "exp"]);
        rules.set_issuer(&[EMAIL]);
        token.is_some_and(|token| jsonwebtoken::decode::<Value>(token, &self.public_key, &rules).is_ok())
    }

    /// Google's V4 signature over method, path and query, within its time.
    fn signed(&self, request: &Parts, query: &HashMap<String, String>, signature: &str) -> bool {
        let given = |name: &str| query.get(name).map_or("", String::as_str);
        let (date, credential) = (given("X-Goog-Date"), given("X-Goog-Credential"));
        let Some((EMAIL, scope)) = credential.split_once('/') else {
            return false;
        };
        let begins = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let begins = begins
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap()
            .timestamp()
            .as_second();
        let lasts: i64 = given("X-Goog-Expires").parse().unwrap();
        if !(begins - 60..begins + lasts).contains(&now()) {
            return false;
        }
        let mut pairs: Vec<String> = query
            .iter()
            .filter(|(name, _)| *name != SIGNATURE)
            .map(|(name, value)| {
                format!(
                    "{}={}",
                    oci::query::percent_encode(name),
                    oci::query::percent_encode(value)
                )
            })
            .collect();
        pairs.sort();
        let (method, path, pairs) = (&request.method, request.uri.path(), pairs.join("&"));
        let canonical = format!("{method}\n{path}\n{pairs}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex::encode(Sha256::digest(canonical));
        let text = format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{hash}");
        self.verifies(text.as_bytes(), signature)
    }

    fn verifies(&self, text: &[u8], signature: &str) -> bool {
        use base64::Engine;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD;
        let Ok(signature) = hex::decode(signature) else {
            return false;
        };
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        jsonwebtoken::crypto::verify(&signature, text, &self.public_key, Algorithm::RS256).unwrap_or(false)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no product's clock is at hand, and real clients sign with real time"
)]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
