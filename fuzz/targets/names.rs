//! Repository names, tags, digests, references and stored digests, against the grammar read naively.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Reference, RepositoryName, SubjectDigest, Tag};

fn is_word(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn is_name(text: &str) -> bool {
    let is_joint = |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.chars().all(|letter| letter == '-');
    let is_component = |component: &str| {
        component.starts_with(is_word) && component.ends_with(is_word) && component.split(is_word).all(is_joint)
    };
    (1..=255).contains(&text.len()) && text.split('/').all(is_component)
}

fn is_tag(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    (1..=128).contains(&text.len()) && text.chars().all(inner) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    let is_hash = |hash: &str| hash.chars().all(|digit| "0123456789abcdef".contains(digit));
    match text.split_once(':') {
        Some(("sha256", hash)) => hash.len() == 64 && is_hash(hash),
        Some(("sha512", hash)) => hash.len() == 128 && is_hash(hash),
        _ => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    // What is read from the database is checked, too.
    if let Ok(digest) = Digest::from_bytes(bytes) {
        assert_eq!(digest.to_bytes(), bytes);
    }
    if let Ok(subject) = SubjectDigest::from_bytes(bytes) {
        assert_eq!(subject.to_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = text.parse::<RepositoryName>();
    assert_eq!(name.is_ok(), is_name(text));
    let tag = text.parse::<Tag>();
    assert_eq!(tag.is_ok(), is_tag(text));
    let digest = text.parse::<Digest>();
    assert_eq!(digest.is_ok(), is_digest(text));
    assert_eq!(text.parse::<Reference>().is_ok(), is_tag(text) || is_digest(text));
    if let Ok(digest) = &digest {
        assert_eq!(digest.to_string(), text);
        assert_eq!(
            text.parse::<SubjectDigest>().map(|subject| subject.supported()),
            Ok(Some(*digest))
        );
    }
    for message in [
        name.map_err(|error| error.to_string()).err(),
        tag.map_err(|error| error.to_string()).err(),
        digest.map_err(|error| error.to_string()).err(),
    ]
    .into_iter()
    .flatten()
    {
        assert!(
            message.len() < 2000 && !message.chars().any(char::is_control),
            "{message:?}"
        );
    }
});
