//! Repository names: the grammar's edges, escapes, and names made of the API's own words.

use crate::case::{Case, Category, Expect};
use crate::content::{EMPTY_INDEX, INDEX};
use crate::grammar::{Meaning, decoded, encoded, is_name, is_target, meaning};
use crate::random::Random;
use crate::wire::Request;

const CASES: usize = 400;

/// As they stand in a path, and whether each names a repository.
const BY_HAND: &[(&str, bool)] = &[
    ("a", true),
    ("0", true),
    ("a0", true),
    ("0a", true),
    ("a/b", true),
    ("a/b/c/d/e/f/g/h/i/j", true),
    ("library/alpine", true),
    ("a.b", true),
    ("a_b", true),
    ("a__b", true),
    ("a-b", true),
    ("a--b", true),
    ("a-----b", true),
    ("a.b_c__d-e--f", true),
    ("1.2.3", true),
    ("a/0/b", true),
    ("127.0.0.1", true),
    ("localhost", true),
    ("registry.example.com/team/app", true),
    ("v2", true),
    ("v2/v2", true),
    ("tags/list", true),
    ("blobs", true),
    ("manifests", true),
    ("referrers", true),
    ("uploads", true),
    ("tags", true),
    ("catalog", true),
    ("blobs/uploads", true),
    ("a/blobs/uploads", true),
    ("blobs/uploads/blobs/uploads", true),
    ("a/tags/list", true),
    ("manifests/latest", true),
    ("a/manifests/b", true),
    ("referrers/manifests/tags", true),
    ("a/blobs/b/c", true),
    ("a%2Fb", true),
    ("a%2fb", true),
    ("%61", true),
    ("%61%2E%62", true),
    ("a%2db", true),
    ("a%5f%5fb", true),
    ("%30", true),
    ("sha256", true),
    ("null", true),
    ("con", true),
    ("aux/nul", true),
    ("index.php", true),
    (".", false),
    ("..", false),
    ("../a", false),
    ("a/..", false),
    ("a/../b", false),
    ("a/./b", false),
    ("...", false),
    ("a/...", false),
    (".a", false),
    ("a.", false),
    ("a..b", false),
    ("a...b", false),
    ("%2e", false),
    ("%2e%2e", false),
    ("%2e%2e%2fa", false),
    ("a%2f..%2fb", false),
    ("a%2f%2e%2e", false),
    ("%252e%252e", false),
    ("a%252fb", false),
    ("..%2f..%2fetc%2fpasswd", false),
    ("..;/a", false),
    ("_a", false),
    ("a_", false),
    ("a___b", false),
    ("_", false),
    ("__", false),
    ("a____b", false),
    ("-a", false),
    ("a-", false),
    ("-", false),
    ("--", false),
    ("a/-b", false),
    ("a-/b", false),
    ("a/b-", false),
    ("a._b", false),
    ("a.-b", false),
    ("a_-b", false),
    ("a-_b", false),
    ("a-.b", false),
    ("a_.b", false),
    ("a.__b", false),
    ("a--.b", false),
    ("A", false),
    ("aB", false),
    ("Library/alpine", false),
    ("a/B", false),
    ("ALL", false),
    ("a//b", false),
    ("/a", false),
    ("a/", false),
    ("//", false),
    ("a///b", false),
    ("", false),
    ("a%2f%2fb", false),
    ("a%2f", false),
    ("%2fa", false),
    ("_catalog/a", false),
    ("_catalog", false),
    ("a/_catalog", false),
    ("_manifests", false),
    ("_uploads/a", false),
    ("_layers", false),
    ("a/_blobs/b", false),
    ("a:b", false),
    ("localhost:5000", false),
    ("localhost:5000/a", false),
    ("%5b::1%5d:5000/a", false),
    ("[::1]/a", false),
    ("a@b", false),
    ("a@sha256:00", false),
    ("a:latest", false),
    ("a+b", false),
    ("a=b", false),
    ("a&b", false),
    ("a;b", false),
    ("a,b", false),
    ("a!b", false),
    ("a$b", false),
    ("a'b", false),
    ("a(b)", false),
    ("a*b", false),
    ("*", false),
    ("~a", false),
    ("a~b", false),
    ("a%20b", false),
    ("%20a", false),
    ("a%20", false),
    ("%20", false),
    ("a%09b", false),
    ("a%0ab", false),
    ("a%0d%0ab", false),
    ("a%0d%0aX-Evil:%201", false),
    ("a%00", false),
    ("%00", false),
    ("a%00b", false),
    ("a%01b", false),
    ("a%1b%5b31mb", false),
    ("a%7fb", false),
    ("a%08b", false),
    ("a%c2%9bb", false),
    ("a%c2%85b", false),
    ("a%e2%80%a8b", false),
    ("a%e2%80%aeb", false),
    ("%d0%b0", false),
    ("l%d0%b0test", false),
    ("%ef%bd%81", false),
    ("%c3%a4", false),
    ("a%cc%88", false),
    ("%f0%9f%98%80", false),
    ("a%e2%81%84b", false),
    ("a%ef%bc%8fb", false),
    ("a%e2%80%8bb", false),
    ("a%ef%bb%bf", false),
    ("%c2%b2", false),
    ("%d9%a1", false),
    ("a%ff", false),
    ("%c0%ae%c0%ae", false),
    ("%c0%af", false),
    ("%ed%a0%80", false),
    ("%f4%90%80%80", false),
    ("a%c3", false),
    ("a%", false),
    ("%", false),
    ("a%4", false),
    ("a%zz", false),
    ("a%%", false),
    ("%+1", false),
    ("a%u0062", false),
    ("a\\b", false),
    ("..\\a", false),
    ("a%5cb", false),
    ("C:", false),
    ("c:%5cwindows", false),
    ("a|b", false),
    ("a%7cb", false),
    ("a%3fb", false),
    ("a%23b", false),
    ("a%3cscript%3e", false),
    ("a%22b", false),
    ("a%27%20OR%201=1--", false),
    ("a';DROP%20TABLE%20tags;--", false),
    ("$%7bjndi:ldap:%7d", false),
    ("%7b%7b7*7%7d%7d", false),
    ("a`b", false),
    ("a^b", false),
    ("{a}", false),
    ("a\"b", false),
    ("<a>", false),
    ("ä", false),
    ("a\u{202e}b", false),
    ("a\u{7f}b", false),
    ("a b", false),
    ("a\tb", false),
    ("a\rb", false),
    ("a\nb", false),
    ("a\0b", false),
    ("a\u{1b}[31mb", false),
    ("\u{9b}31m", false),
];

/// Lengths around the limit, in one component and in many.
fn long_ones() -> Vec<String> {
    let mut names = Vec::new();
    for length in [2, 63, 64, 127, 128, 253, 254, 255, 256, 257, 300, 512, 1024, 4096] {
        names.push("a".repeat(length));
        names.push(format!("{}b", "a/".repeat((length - 1) / 2)));
        names.push(format!("a{}b", "-".repeat(length - 2)));
        names.push("%61".repeat(length));
        names.push(format!("{}/", "a".repeat(length - 1)));
    }
    names
}

fn all() -> Vec<Vec<u8>> {
    let by_hand = BY_HAND.iter().map(|(name, _)| (*name).to_owned());
    let mut names: Vec<Vec<u8>> = by_hand.chain(long_ones()).map(String::into_bytes).collect();
    let mut random = Random::seeded(1);
    let (mut plain, mut odd) = (0, 0);
    while names.len() < CASES {
        let name = random.text(&['a', 'b', '0', '.', '_', '-', '/'], 1, 12);
        // Of those that are no names there would be far too many.
        let kept = if is_name(&name) { &mut plain } else { &mut odd };
        *kept += 1;
        if *kept * 2 > CASES - BY_HAND.len() - 60 {
            continue;
        }
        names.push(if random.once_in(3) {
            encoded(name.as_bytes()).into_bytes()
        } else {
            name.into_bytes()
        });
    }
    names
}

fn case(raw: &[u8]) -> Case {
    let path = |rest: &str| [b"/v2/", raw, rest.as_bytes()].concat();
    let what = String::from_utf8_lossy(raw).into_owned();
    let put = Request::new("PUT", path("/manifests/t"))
        .header("Content-Type", INDEX)
        .body(EMPTY_INDEX);
    let read = Request::new("GET", path("/tags/list"));
    let put_path = path("/manifests/t");
    if !is_target(raw) {
        let refused = Expect::error(400, "NAME_INVALID").or_below();
        return Case::play(what, move |client| {
            // On connections of their own: what is behind an end of line would be a second request.
            for request in [&put, &read] {
                client.try_ask(
                    &Request::raw(request.clone().header("Connection", "close").bytes()),
                    &refused,
                )?;
            }
            Ok(())
        });
    }
    let named = if let Meaning::Manifest(name, _) = meaning(&put_path) {
        name
    } else {
        // Not even encoded.
        String::new()
    };
    if !is_name(&named) {
        let refused = Expect::error(400, "NAME_INVALID");
        return Case::play(what, move |client| {
            client.ask(&put, &refused)?;
            client.ask(&read, &refused).map(drop)
        });
    }
    Case::play(what, move |client| {
        let stored = client.ask(&put, &Expect::status(201))?;
        let at = stored.header("location").unwrap_or_default();
        if !at.starts_with(&format!("/v2/{named}/manifests/sha256:")) {
            return Err(format!("stored at {at}"));
        }
        let list = client.ask(&read, &Expect::status(200))?.json();
        let right = serde_json::json!({"name": named, "tags": ["t"]});
        (list == Some(right)).then_some(()).ok_or_else(|| format!("{list:?}"))
    })
}

#[test]
fn a_repository_name_is_taken_as_it_is_or_refused_with_its_code() {
    Category::new("repository names", all().iter().map(|raw| case(raw)).collect()).hold();
}

#[test]
fn the_naive_grammar_agrees_with_the_names_judged_by_hand() {
    for (raw, is_valid) in BY_HAND {
        let named = decoded(raw.as_bytes()).is_some_and(|name| is_name(&name));
        assert_eq!(named, *is_valid, "{raw:?}");
    }
    assert_eq!(all().len(), CASES);
}
