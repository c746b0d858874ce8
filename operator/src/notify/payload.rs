//! What is sent: bodies and signatures; pure.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Notification, Version};
use crate::api::notifications::{Severity, SinkKind};

/// The longest text of a message, in characters.
const TEXT: usize = 1500;

/// The body for a receiver of that kind.
pub fn body(kind: SinkKind, news: &Notification) -> Vec<u8> {
    let value = match kind {
        SinkKind::Webhook => for_programs(news),
        SinkKind::Slack => for_people(news),
    };
    value.to_string().into_bytes()
}

/// `v1=` and HMAC-SHA256, in hexadecimal digits, of the time in seconds, a full stop and the body.
///
/// With the time in it, what was overheard cannot be sent again later.
pub fn signature(key: &[u8], unix_seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of every length, so there is no error to come.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

fn for_programs(news: &Notification) -> Value {
    let version = |version: &Version| json!({"version": version.version, "digest": version.digest});
    json!({
        "id": news.id,
        "event": news.event.as_str(),
        "severity": news.severity,
        "at": news.at.to_string(),
        "registry": {"namespace": news.registry.0, "name": news.registry.1},
        "rollout": news.rollout,
        "phase": news.phase,
        "reason": news.reason,
        "from": version(&news.from),
        "to": version(&news.to),
        "verdict": news.verdict,
        "requestedBy": news.requested_by,
        "text": news.text,
    })
}

fn for_people(news: &Notification) -> Value {
    let colour = match news.severity {
        Severity::Info => "#2f7d4f",
        Severity::Warning => "#b7791f",
        Severity::Error => "#b3261e",
    };
    let text: String = news.text.chars().take(TEXT).collect();
    let title = format!("{}/{} · {}", news.registry.0, news.registry.1, news.event.as_str());
    json!({
        "text": escaped(&title),
        "attachments": [{
            "color": colour,
            "fallback": escaped(&text),
            "text": escaped(&text),
            "footer": escaped(&format!("{} · {}", news.rollout, news.phase)),
            "ts": news.at.as_second(),
        }],
    })
}

/// Slack's three characters: a text can then neither make a link nor call a whole channel.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use super::super::events::tests::{in_phase, registry};
    use super::*;
    use crate::api::rollout::Phase;

    fn news() -> Notification {
        let status = in_phase(Phase::Held, "NoData");
        events::of(&registry(), &status, "2026-01-01T00:01:00Z".parse().unwrap()).remove(0)
    }

    #[test]
    fn the_signature_is_the_one_that_openssl_makes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            signature(b"0123456789abcdef", 1_700_000_000, br#"{"a":1}"#),
            "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23"
        );
    }

    #[test]
    fn another_time_another_body_and_another_key_are_other_signatures() {
        let of = |key: &[u8], at, body: &[u8]| signature(key, at, body);
        let one = of(b"k", 1, b"x");

        assert_ne!(one, of(b"l", 1, b"x"));
        assert_ne!(one, of(b"k", 2, b"x"));
        assert_ne!(one, of(b"k", 1, b"y"));
    }

    #[test]
    fn a_program_gets_ids_versions_and_the_sentence() {
        let body: Value = serde_json::from_slice(&body(SinkKind::Webhook, &news())).unwrap();

        assert_eq!(body["id"], "u-1/main-1/Held/NoData");
        assert_eq!(body["severity"], "Error");
        assert_eq!(body["to"]["version"], "1.1.0");
        assert_eq!(body["registry"], json!({"namespace": "team", "name": "main"}));
    }

    #[test]
    fn a_text_cannot_call_a_whole_channel() {
        let mut news = news();
        news.text = "<!channel> a & b".to_owned();

        let body = String::from_utf8(body(SinkKind::Slack, &news)).unwrap();

        assert!(body.contains("&lt;!channel&gt; a &amp; b"), "{body}");
    }
}
