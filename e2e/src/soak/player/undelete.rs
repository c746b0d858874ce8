//! Bringing back what was deleted, through the management API.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    super::{
        history::{Call, RepositoryId, Seen, Tag},
        library::{Library, ManifestId},
    },
    Player,
    ask::{Asked, Judged},
};
use crate::conformance::client::{Answer, Body, Request};

const LIFETIME_SECS: u64 = 120;

impl Player<'_> {
    /// The last deletion of a tag, or the deletion of a manifest.
    pub(super) fn undelete(&mut self, repository: RepositoryId) {
        let ground = self.ground;
        let (call, wanted) = if self.random.chance(70) {
            let tag = self.tag();
            (Call::UndeleteTag { tag }, json!({"tag": tag.to_string()}))
        } else {
            let manifest = ManifestId(self.random.below(ground.library.manifests.len()));
            let digest = &ground.library.manifest(manifest).digest;
            (Call::UndeleteManifest { manifest }, json!({"digest": digest}))
        };
        let wanted = wanted.to_string().into_bytes();
        let asked = Asked {
            repository,
            call,
            request: Request::new("POST", format!("/management/v1/undelete/{repository}"))
                .header("authorization", format!("Bearer {}", token(ground.secret)))
                .header("content-type", "application/json")
                .body(Body::Sized(&wanted)),
        };
        self.ask(&asked, |answer| restored(&ground.library, answer, call));
    }
}

fn restored(library: &Library, answer: &Answer, call: Call) -> Judged {
    let told = answer.json();
    let digest = told["digest"].as_str().unwrap_or_default();
    let Some(manifest) = library.manifest_named(digest) else {
        return (Seen::Nothing, Some(format!("{digest:?} was restored and never pushed")));
    };
    let names = told["tags"].as_array().map_or(&[][..], Vec::as_slice);
    let tags: Vec<Tag> = names.iter().filter_map(Value::as_str).filter_map(Tag::named).collect();
    let other_tag = matches!(call, Call::UndeleteTag { tag } if !tags.contains(&tag));
    let other = matches!(call, Call::UndeleteManifest { manifest: wanted } if wanted != manifest);
    let wrong = (other || other_tag).then(|| format!("{manifest} with {tags:?} is not what was to be restored"));
    (Seen::Restored { manifest, tags }, wrong)
}

/// A token for the management API: a JWT that says who asks, signed with the shared secret.
fn token(secret: &str) -> String {
    let now = seconds_now();
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": "berth-operator", "aud": "berth-management", "iat": now, "exp": now + LIFETIME_SECS,
    });
    let text = format!(
        "{}.{}",
        encoded(&json!({"alg": "HS256", "typ": "JWT"})),
        encoded(&claims)
    );
    // A key of any length is taken.
    let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| mac.chain_update(&text).finalize().into_bytes().to_vec())
        .unwrap_or_default();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token must be good at the server's time, which is the system's"
)]
fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
