//! The management API, on the admin listener: what the operator asks of a registry.
//!
//! Callers prove themselves with a short-lived token signed with the secret that operator and registry share. Without
//! a configured secret the API does not exist.

use super::admin::Admin;
use super::answer::{Answer, REQUEST_ID, with};
use super::error::ApiError;
use super::shown::shown;
use crate::clock::Clock;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

const ISSUER: &str = "berth-operator";
const AUDIENCE: &str = "berth-management";
const LONGEST_LIFE_SECS: i64 = 300;
const LEEWAY_SECS: i64 = 60;

/// Who may use the management API.
#[derive(Clone)]
pub struct Management {
    key: DecodingKey,
    clock: Clock,
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Management")
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
}

impl Management {
    /// Trusts tokens signed with `secret`.
    pub fn new(secret: &str, clock: Clock) -> Self {
        Self {
            key: DecodingKey::from_secret(secret.as_bytes()),
            clock,
        }
    }

    /// A token for whoever has the secret, good for a minute.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(secret: &str, clock: &Clock) -> Result<String, jsonwebtoken::errors::Error> {
        let now = clock.now() / 1_000_000;
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + LEEWAY_SECS});
        jsonwebtoken::encode(
            &Header::default(),
            &claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
    }

    /// True for `Bearer <token>` with a good signature, meant for us, and neither expired nor made to last.
    pub(super) fn admits(&self, authorization: &str) -> bool {
        let Some(token) = authorization.strip_prefix("Bearer ") else {
            return false;
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        // The library would ask the system's clock.
        validation.validate_exp = false;
        let Ok(decoded) = jsonwebtoken::decode::<Claims>(token, &self.key, &validation) else {
            return false;
        };
        let Claims { iat, exp } = decoded.claims;
        let now = self.clock.now() / 1_000_000;
        iat <= now + LEEWAY_SECS && exp > now - LEEWAY_SECS && exp.saturating_sub(iat) <= LONGEST_LIFE_SECS
    }
}

/// Lets only those through who may manage.
pub(super) async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let Some(management) = &admin.management else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let token = request.headers().get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !management.admits(token) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"management\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    next.run(request).await
}

/// What goes back for a call that changes something or lists; what it was is in the log.
pub(super) fn answered(call: &'static str, about: &str, outcome: Result<Answer, ApiError>) -> Answer {
    let request_id = Uuid::new_v4().simple().to_string();
    let answer = outcome.unwrap_or_else(|failed| refusal(call, &failed, &request_id));
    let status = answer.status().as_u16();
    tracing::info!(request_id, about = %shown(about), status, "management: {call}");
    with(answer, REQUEST_ID, request_id)
}

fn refusal(call: &'static str, failed: &ApiError, request_id: &str) -> Answer {
    if failed.status().is_server_error() {
        tracing::error!(request_id, error = failed as &dyn std::error::Error, "{call} failed");
    }
    failed.answer(request_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;
    use std::time::Duration;

    const NOW: i64 = 1_800_000_000;

    fn management() -> (Management, Clock) {
        let clock = Clock::standing_at(NOW * 1_000_000);
        (Management::new("shared", clock.clone()), clock)
    }

    fn token(secret: &str, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        format!(
            "Bearer {}",
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
        )
    }

    fn claims() -> serde_json::Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 60})
    }

    #[test]
    fn a_token_of_the_operator_is_admitted_until_it_expires() {
        let (management, clock) = management();
        let good = token("shared", &claims());

        assert!(management.admits(&good));

        clock.advance(Duration::from_secs(121));
        assert!(!management.admits(&good));
    }

    #[test]
    fn another_secret_issuer_or_audience_is_refused() {
        let (management, _) = management();
        let other = |key: &str, value: &str| {
            let mut claims = claims();
            claims[key] = json!(value);
            token("shared", &claims)
        };

        assert!(!management.admits(&token("guessed", &claims())));
        assert!(!management.admits(&other("iss", "somebody")));
        assert!(!management.admits(&other("aud", "berth-registry")));
    }

    #[test]
    fn a_token_that_was_made_to_last_is_refused() {
        let (management, _) = management();
        let mut lasting = claims();
        lasting["exp"] = json!(NOW + 3600);

        assert!(!management.admits(&token("shared", &lasting)));
    }

    #[test]
    fn an_unsigned_token_or_none_is_refused() {
        let (management, _) = management();
        let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJiZXJ0aC1vcGVyYXRvciJ9.";

        for header in ["", "Bearer ", "Basic Og==", unsigned] {
            assert!(!management.admits(header), "{header}");
        }
    }
}
