//! The corpus can fail: each kind of surprise, made on purpose.

use crate::case::{Case, Category, Expect, growth};
use crate::content::{EMPTY_INDEX, INDEX, put_manifest};
use crate::log;
use crate::server::Format;
use crate::wire::Request;

/// The surprises of one case with a text log.
fn surprises(case: Case) -> Vec<String> {
    Category::new("a self-check", vec![case]).surprises(Format::Text)
}

fn only<'a>(found: &'a [String], words: &str) -> &'a str {
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(words), "{found:?}");
    &found[0]
}

#[test]
fn a_row_with_the_wrong_status_is_a_surprise() {
    let row = Case::one(
        "a bad name that should be taken",
        put_manifest("UPPER", "t", INDEX, EMPTY_INDEX),
        Expect::status(201),
    );

    let found = surprises(row);

    assert!(only(&found, "400 instead of [201]").contains("a bad name that should be taken"));
}

#[test]
fn a_row_with_the_wrong_code_is_a_surprise() {
    let row = Case::one(
        "a bad name",
        Request::new("GET", "/v2/UPPER/tags/list"),
        Expect::error(400, "DIGEST_INVALID"),
    );

    only(&surprises(row), "code NAME_INVALID instead of [\"DIGEST_INVALID\"]");
}

#[test]
fn an_answer_that_never_comes_is_a_surprise() {
    let row = Case::one("a hello of TLS", Request::raw("GET /v2/\r\n\r\n"), Expect::status(200));

    let found = surprises(row);

    assert!(
        found.len() == 1 && (found[0].contains("no answer") || found[0].contains("below the API")),
        "{found:?}"
    );
}

#[test]
fn a_prepared_repository_that_cannot_be_had_is_a_surprise() {
    let category = Category {
        prepare: |client| {
            client
                .ask(&Request::new("GET", "/v2/x/tags/list"), &Expect::status(200))
                .map(drop)
        },
        ..Category::new("a self-check", Vec::new())
    };

    only(&category.surprises(Format::Text), "to begin with");
}

#[test]
fn a_log_is_judged_line_by_line() {
    let json = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"m"}"#;
    let text = "2026-01-01T00:00:00.000000Z  INFO target: m";
    let judged = |line: &str, format| log::surprises(format!("{line}\n").as_bytes(), format);

    assert!(judged(json, Format::Json).is_empty());
    assert!(judged(text, Format::Text).is_empty());
    for (line, format) in [
        (&json[1..], Format::Json),
        ("thread 'main' panicked at src/main.rs:1:1:", Format::Json),
        (&json.replace("INFO", "ERROR"), Format::Json),
        (&json.replace("\"m\"", "\"\u{202e}\""), Format::Json),
        (&json.replace("\"m\"", "\"\u{9b}31m\""), Format::Json),
        (&json.replace("\"message\"", "\"msg\""), Format::Json),
        (&format!("{text}\nX-Evil: 1"), Format::Text),
        (&format!("{text}\u{1b}[31m"), Format::Text),
        (&format!("{text}\rforged"), Format::Text),
        (&text.replace(" INFO", "ERROR"), Format::Text),
        (&text.replace('m', &"m".repeat(70_000)), Format::Text),
        ("thread 'main' panicked at src/main.rs:1:1:", Format::Text),
    ] {
        assert!(!judged(line, format).is_empty(), "{line:.200}");
    }
    assert!(!log::surprises(b"cut", Format::Text).is_empty());
    assert!(!log::surprises(b"\xff\n", Format::Text).is_empty());
}

#[test]
fn ten_megabytes_more_is_growth() {
    let mebibyte = 1024 * 1024;

    assert!(growth(100 * mebibyte, 110 * mebibyte).is_some());
    assert!(growth(100 * mebibyte, 109 * mebibyte).is_none());
    assert!(growth(100 * mebibyte, 50 * mebibyte).is_none());
}
