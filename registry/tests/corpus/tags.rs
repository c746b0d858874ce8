//! Tags and other references of a manifest.

use crate::case::{Case, Category, Expect};
use crate::content::{EMPTY_INDEX, INDEX, sha256, sha512};
use crate::grammar::{decoded, encoded, is_digest, is_tag, is_target, not_a_tag};
use crate::random::Random;
use crate::wire::Request;

const CASES: usize = 200;

/// As they stand in a path, and whether each is a tag.
const BY_HAND: &[(&str, bool)] = &[
    ("a", true),
    ("A", true),
    ("0", true),
    ("_", true),
    ("__", true),
    ("latest", true),
    ("LATEST", true),
    ("v1.2.3", true),
    ("1.0", true),
    ("1_0", true),
    ("1-0", true),
    ("_.", true),
    ("_-", true),
    ("a.", true),
    ("a-", true),
    ("a..", true),
    ("a--", true),
    ("a.-_", true),
    ("a-.b", true),
    ("a___b", true),
    ("null", true),
    ("list", true),
    ("tags", true),
    ("manifests", true),
    ("blobs", true),
    ("uploads", true),
    ("sha256", true),
    (
        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        true,
    ),
    (
        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig",
        true,
    ),
    (
        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.att",
        true,
    ),
    ("sha512-00", true),
    ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true),
    ("%61", true),
    ("%5f", true),
    ("a%2eb", true),
    ("a%2Db", true),
    ("%6Catest", true),
    ("00000000-0000-0000-0000-000000000000", true),
    (".", false),
    ("..", false),
    (".a", false),
    ("..a", false),
    ("-", false),
    ("-a", false),
    ("--", false),
    ("%2e", false),
    ("%2e%2e", false),
    ("%2da", false),
    ("+", false),
    ("a+b", false),
    ("1.0+build", false),
    ("a%2bb", false),
    ("a%20b", false),
    ("%20", false),
    ("a%20", false),
    ("%20a", false),
    ("a@b", false),
    ("a@sha256", false),
    ("a!", false),
    ("a$", false),
    ("a&b", false),
    ("a'b", false),
    ("a(b)", false),
    ("a*", false),
    ("*", false),
    ("a,b", false),
    ("a;b", false),
    ("a=b", false),
    ("~", false),
    ("a~b", false),
    ("a%5cb", false),
    ("a%7cb", false),
    ("a%22b", false),
    ("a%27b", false),
    ("a%3cb%3e", false),
    ("a%3fb", false),
    ("a%23b", false),
    ("a%25b", false),
    ("%25", false),
    ("a%252eb", false),
    ("a%0d%0ab", false),
    ("a%0a", false),
    ("%0a", false),
    ("a%0d", false),
    ("a%0d%0aSet-Cookie:%20x", false),
    ("a%00", false),
    ("%00", false),
    ("a%00b", false),
    ("a%09b", false),
    ("a%1bb", false),
    ("a%7f", false),
    ("a%c2%85", false),
    ("a%c2%9b31m", false),
    ("a%e2%80%ae", false),
    ("%e2%80%8fa", false),
    ("a%e2%81%a6b", false),
    ("a%e2%80%a8", false),
    ("%ef%bb%bfa", false),
    ("%c3%a4", false),
    ("%d0%b0", false),
    ("l%d0%b0test", false),
    ("a%cc%81", false),
    ("%f0%9f%90%b3", false),
    ("%ef%bc%91", false),
    ("%d9%a1", false),
    ("%c4%b1", false),
    ("%e2%84%aa", false),
    ("%c5%bf", false),
    ("a%ff", false),
    ("%c0%ae", false),
    ("%ed%b0%80", false),
    ("a%", false),
    ("a%4", false),
    ("a%g0", false),
    ("", false),
    ("a`b", false),
    ("a^b", false),
    ("a{b}", false),
    ("a\\b", false),
    ("a|b", false),
    ("a\"b", false),
    ("<b>", false),
    ("ä", false),
    ("a\u{202e}b", false),
    ("a\u{7f}", false),
    ("a b", false),
    ("a\tb", false),
    ("a\nb", false),
    ("a\rb", false),
    ("a\0b", false),
    ("a\u{9b}31m", false),
    ("%3a", false),
    ("a:b", false),
    ("a%3ab", false),
    (":", false),
    ("sha256:", false),
    ("sha256:abc", false),
    ("sha512:abc", false),
    ("md5:d41d8cd98f00b204e9800998ecf8427e", false),
    ("a:", false),
    (":a", false),
    ("host:5000", false),
    ("a%3A%3Ab", false),
];

fn all() -> Vec<Vec<u8>> {
    let mut tags: Vec<String> = BY_HAND.iter().map(|(tag, _)| (*tag).to_owned()).collect();
    for length in [2, 64, 126, 127, 128, 129, 130, 255, 256, 1024, 8000] {
        tags.push("t".repeat(length));
        tags.push(format!("{}.", "t".repeat(length - 1)));
    }
    tags.push("%74".repeat(128));
    tags.push("%74".repeat(129));
    let index = EMPTY_INDEX.as_bytes();
    tags.extend([
        sha256(index),
        sha512(index),
        sha256(index).replace(':', "%3A"),
        sha256(index).to_uppercase(),
    ]);
    tags.extend([
        sha256(b"other"),
        sha512(b"other"),
        format!("{}0", sha256(index)),
        sha256(index)[..70].to_owned(),
    ]);
    let mut random = Random::seeded(2);
    while tags.len() < CASES {
        let tag = random.text(&['a', 'Z', '9', '_', '.', '-'], 1, 9);
        tags.push(if random.once_in(3) {
            encoded(tag.as_bytes())
        } else {
            tag
        });
    }
    tags.into_iter().map(String::into_bytes).collect()
}

/// What a PUT of the empty index under a reference is answered.
fn expected(raw: &[u8]) -> Expect {
    let index = EMPTY_INDEX.as_bytes();
    match decoded(raw) {
        None => Expect::error(400, "NAME_INVALID"),
        Some(digest) if digest == sha256(index) || digest == sha512(index) => Expect::status(201),
        // Malformed, or that of something else.
        Some(digest) if digest.contains(':') => Expect::error(400, "DIGEST_INVALID"),
        Some(tag) if is_tag(&tag) => Expect::status(201),
        Some(_) => not_a_tag("PUT"),
    }
}

fn case(raw: &[u8]) -> Case {
    let path = [b"/v2/corpus/tags/manifests/", raw].concat();
    let what = String::from_utf8_lossy(raw).into_owned();
    let put = Request::new("PUT", &path)
        .header("Content-Type", INDEX)
        .body(EMPTY_INDEX);
    let expect = expected(raw);
    if !is_target(raw) {
        let alone = Request::raw(put.header("Connection", "close").bytes());
        return Case::one(what, alone, expect.or_below());
    }
    let decoded = decoded(raw);
    let text = decoded.clone().unwrap_or_default();
    let is_reference = is_digest(&text) || is_tag(&text);
    let read = Request::new("GET", &path);
    Case::play(what, move |client| {
        let stored = client.ask(&put, &expect)?.status == 201;
        let found = match (stored, is_reference) {
            (true, _) => Expect::status(200),
            (false, true) => Expect::error(404, "MANIFEST_UNKNOWN"),
            (false, false) if decoded.is_some() && !text.contains(':') => not_a_tag("GET"),
            (false, false) => expect.clone(),
        };
        let answer = client.ask(&read, &found)?;
        let same = !stored || answer.body == EMPTY_INDEX.as_bytes();
        same.then_some(()).ok_or_else(|| "another manifest".to_owned())
    })
}

#[test]
fn a_reference_is_taken_as_it_is_or_refused_with_its_code() {
    Category::new("tags", all().iter().map(|raw| case(raw)).collect()).hold();
}

#[test]
fn the_naive_grammar_agrees_with_the_tags_judged_by_hand() {
    for (raw, is_valid) in BY_HAND {
        assert_eq!(
            decoded(raw.as_bytes()).is_some_and(|tag| is_tag(&tag)),
            *is_valid,
            "{raw:?}"
        );
    }
    assert_eq!(all().len(), CASES);
}
