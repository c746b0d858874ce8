//! What a request means, read naively from the specification and with nothing of the server's own code.

use crate::case::Expect;
use std::fmt::Write as _;

/// A path's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Ping,
    Catalog,
    Uploads(String),
    Session(String, String),
    Blob(String, String),
    Manifest(String, String),
    Tags(String),
    Referrers(String, String),
    NotEncoded,
    Nothing,
}

/// Decodes a path once; `None` when it is not percent-encoded UTF-8.
pub(crate) fn decoded(raw: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'%' {
            bytes.push(raw[at]);
            at += 1;
            continue;
        }
        let digits: Vec<u32> = raw
            .iter()
            .skip(at + 1)
            .take(2)
            .filter_map(|&digit| char::from(digit).to_digit(16))
            .collect();
        let [high, low] = digits[..] else { return None };
        bytes.push(u8::try_from(high * 16 + low).ok()?);
        at += 3;
    }
    String::from_utf8(bytes).ok()
}

/// Every byte but letters and digits as an escape.
pub(crate) fn encoded(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut encoded, &byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        encoded
    })
}

pub(crate) fn meaning(target: &[u8]) -> Meaning {
    let path = target
        .split(|&byte| byte == b'?' || byte == b'#')
        .next()
        .unwrap_or_default();
    let Some(path) = decoded(path) else {
        return Meaning::NotEncoded;
    };
    let segments: Vec<&str> = path.split('/').collect();
    let rest = match segments[..] {
        ["", "v2"] | ["", "v2", ""] => return Meaning::Ping,
        ["", "v2", "_catalog"] => return Meaning::Catalog,
        ["", "v2", ref rest @ ..] => rest,
        _ => return Meaning::Nothing,
    };
    let name = |segments: &[&str]| segments.join("/");
    match *rest {
        [first, ref more @ .., "blobs", "uploads"] | [first, ref more @ .., "blobs", "uploads", ""] => {
            Meaning::Uploads(name(&[&[first], more].concat()))
        }
        [first, ref more @ .., "blobs", "uploads", session] => {
            Meaning::Session(name(&[&[first], more].concat()), session.to_owned())
        }
        [first, ref more @ .., "tags", "list"] => Meaning::Tags(name(&[&[first], more].concat())),
        [first, ref more @ .., "manifests", reference] => {
            Meaning::Manifest(name(&[&[first], more].concat()), reference.to_owned())
        }
        [first, ref more @ .., "blobs", digest] => Meaning::Blob(name(&[&[first], more].concat()), digest.to_owned()),
        [first, ref more @ .., "referrers", digest] => {
            Meaning::Referrers(name(&[&[first], more].concat()), digest.to_owned())
        }
        _ => Meaning::Nothing,
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// Components joined by slashes; in one, words joined by a dot, one or two underscores, or hyphens.
pub(crate) fn is_name(text: &str) -> bool {
    let is_joint = |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.chars().all(|letter| letter == '-');
    let is_component = |component: &str| {
        component.starts_with(is_word) && component.ends_with(is_word) && component.split(is_word).all(is_joint)
    };
    !text.is_empty() && text.len() <= 255 && text.split('/').all(is_component)
}

pub(crate) fn is_tag(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let inner = |letter: &char| letter.is_ascii_alphanumeric() || "_.-".contains(*letter);
    (1..=128).contains(&letters.len()) && letters.iter().all(inner) && !".-".contains(letters[0])
}

/// A digest that can name content here.
pub(crate) fn is_digest(text: &str) -> bool {
    let is_hash = |hash: &str| hash.chars().all(|digit| "0123456789abcdef".contains(digit));
    match text.split_once(':') {
        Some(("sha256", hash)) => hash.len() == 64 && is_hash(hash),
        Some(("sha512", hash)) => hash.len() == 128 && is_hash(hash),
        _ => false,
    }
}

/// As eight, four, four, four and twelve hexadecimal digits.
fn is_session(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
}

/// What a request must be answered when nothing that it names exists, and it has no query that counts and no body.
pub(crate) fn verdict(method: &str, target: &[u8]) -> Expect {
    let meaning = meaning(target);
    let (name, allowed): (&str, &[&str]) = match &meaning {
        Meaning::NotEncoded => return Expect::error(400, "NAME_INVALID"),
        Meaning::Nothing => return Expect::status(404),
        Meaning::Ping | Meaning::Catalog => ("any", &["GET", "HEAD"]),
        Meaning::Uploads(name) => (name, &["POST"]),
        Meaning::Session(name, _) => (name, &["GET", "HEAD", "PATCH", "PUT", "DELETE"]),
        Meaning::Blob(name, _) => (name, &["GET", "HEAD", "DELETE"]),
        Meaning::Manifest(name, _) => (name, &["GET", "HEAD", "PUT", "DELETE"]),
        Meaning::Tags(name) | Meaning::Referrers(name, _) => (name, &["GET", "HEAD"]),
    };
    if !is_name(name) {
        return Expect::error(400, "NAME_INVALID");
    }
    if !allowed.contains(&method) {
        return Expect::error(405, "UNSUPPORTED");
    }
    existing(method, &meaning)
}

/// What cannot be a tag cannot be written; for whoever reads, it is not there.
pub(crate) fn not_a_tag(method: &str) -> Expect {
    match method {
        "GET" | "HEAD" => Expect::error(404, "MANIFEST_UNKNOWN"),
        _ => Expect::error(400, "MANIFEST_INVALID").code("TAG_INVALID"),
    }
}

fn existing(method: &str, meaning: &Meaning) -> Expect {
    match meaning {
        Meaning::Uploads(_) => Expect::status(202),
        // The closing PUT lacks its digest, the id may be none: either may be told.
        Meaning::Session(_, id) if method == "PUT" && is_session(id) => Expect::error(400, "DIGEST_INVALID"),
        Meaning::Session(..) => Expect::any(&[404, 400])
            .code("BLOB_UPLOAD_UNKNOWN")
            .code("DIGEST_INVALID"),
        Meaning::Blob(_, digest) | Meaning::Referrers(_, digest) if !is_digest(digest) => {
            Expect::error(400, "DIGEST_INVALID")
        }
        Meaning::Blob(..) => Expect::error(404, "BLOB_UNKNOWN").code("NAME_UNKNOWN"),
        Meaning::Ping | Meaning::Catalog | Meaning::Referrers(..) => Expect::status(200),
        Meaning::Tags(_) => Expect::error(404, "NAME_UNKNOWN"),
        Meaning::Manifest(_, reference) if reference.contains(':') && !is_digest(reference) => {
            Expect::error(400, "DIGEST_INVALID")
        }
        Meaning::Manifest(_, reference) if !reference.contains(':') && !is_tag(reference) => not_a_tag(method),
        // No body is no manifest, and not what a digest names.
        Meaning::Manifest(..) if method == "PUT" => Expect::error(400, "MANIFEST_INVALID").code("DIGEST_INVALID"),
        Meaning::Manifest(..) => Expect::error(404, "MANIFEST_UNKNOWN").code("NAME_UNKNOWN"),
        Meaning::NotEncoded | Meaning::Nothing => Expect::status(404),
    }
}

/// True when a target can stand in a request line at all, by RFC 3986 and its reserved characters.
pub(crate) fn is_target(raw: &[u8]) -> bool {
    raw.iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte))
}
