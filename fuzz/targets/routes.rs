//! Paths: what the server reads from the right, read here from a list of segments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::query::percent_decode;

#[path = "../../registry/src/http/path.rs"]
mod path;

use path::{Suffix, Target};

/// The repository's name, and the last word with the kind of thing that it names.
fn naive<'p>(segments: &[&'p str]) -> Option<(String, &'static str, &'p str)> {
    Some(match *segments {
        [first, ref more @ .., "blobs", "uploads"] | [first, ref more @ .., "blobs", "uploads", ""] => {
            ([&[first], more].concat().join("/"), "uploads", "")
        }
        [first, ref more @ .., "tags", "list"] => ([&[first], more].concat().join("/"), "tags", ""),
        [first, ref more @ .., "blobs", "uploads", id] => ([&[first], more].concat().join("/"), "upload", id),
        [first, ref more @ .., "manifests", at] => ([&[first], more].concat().join("/"), "manifest", at),
        [first, ref more @ .., "blobs", at] => ([&[first], more].concat().join("/"), "blob", at),
        [first, ref more @ .., "referrers", at] => ([&[first], more].concat().join("/"), "referrers", at),
        _ => return None,
    })
}

fn check(path: &str) {
    let segments: Vec<&str> = path.split('/').collect();
    match (path::target(path), &segments[..]) {
        (Some(Target::Ping), ["", "v2"] | ["", "v2", ""]) | (Some(Target::Catalog), ["", "v2", "_catalog"]) => {}
        (Some(Target::Repository(name, suffix)), ["", "v2", rest @ ..]) => {
            let (kind, last) = match suffix {
                Suffix::Uploads => ("uploads", ""),
                Suffix::Upload(id) => ("upload", id),
                Suffix::Blob(at) => ("blob", at),
                Suffix::Manifest(at) => ("manifest", at),
                Suffix::Tags => ("tags", ""),
                Suffix::Referrers(at) => ("referrers", at),
            };
            assert_eq!(naive(rest), Some((name.to_owned(), kind, last)), "{path}");
        }
        (None, ["", "v2", rest @ ..]) => {
            assert!(
                !matches!(rest, [] | [""] | ["_catalog"]) && naive(rest).is_none(),
                "{path}"
            );
        }
        (None, _) => {}
        (Some(found), _) => panic!("{path} is {found:?}"),
    }
}

fuzz_target!(|raw: &str| {
    for path in [raw.to_owned(), format!("/v2/{raw}")] {
        check(&path);
        if let Some(decoded) = percent_decode(&path) {
            check(&decoded);
        }
    }
});
