//! Reading a part of a blob, and reading it only when it is another.

use super::Check;
use crate::conformance::{
    Suite,
    blobs::blob,
    client::{Answer, Request},
    content::sha256,
    criteria,
    tally::Checked,
};

const SIZE: usize = 5000;

pub(super) const CHECKS: &[Check] = &[
    ("several ranges are several parts or the whole", several),
    ("one byte", |suite| part(suite, "bytes=0-0", 0, 0)),
    ("the last byte", |suite| part(suite, "bytes=-1", SIZE - 1, SIZE - 1)),
    ("a suffix longer than the blob", |suite| {
        part(suite, "bytes=-6000", 0, SIZE - 1)
    }),
    ("to the end and beyond", |suite| {
        part(suite, "bytes=4990-9999", 4990, SIZE - 1)
    }),
    ("a suffix of nothing", |suite| unsatisfiable(suite, "bytes=-0")),
    ("behind the end", |suite| unsatisfiable(suite, "bytes=5000-")),
    ("no numbers", |suite| unsatisfiable(suite, "bytes=abc")),
    ("another unit", |suite| whole(suite, &[("range", "items=0-9")])),
    ("If-Range of another blob", |suite| {
        whole(suite, &[("range", "bytes=0-9"), ("if-range", "\"sha256:00\"")])
    }),
    ("If-Range of this blob", if_range),
    ("HEAD has no part", head),
    ("a range of an empty blob", empty),
    ("If-None-Match of a blob", |suite| not_modified(suite, None)),
    ("If-None-Match of a manifest", |suite| {
        not_modified(suite, Some("conditional"))
    }),
];

fn ask(suite: &mut Suite, headers: &[(&str, &str)]) -> Checked<(Vec<u8>, Answer)> {
    let (bytes, digest) = suite.some_blob(SIZE)?;
    let mut get = Request::new("GET", blob(&suite.repository(), &digest));
    for (name, value) in headers {
        get = get.header(name, *value);
    }
    Ok((bytes, suite.send(&get)?))
}

fn part(suite: &mut Suite, range: &str, first: usize, last: usize) -> Checked {
    let (bytes, answer) = ask(suite, &[("range", range)])?;
    criteria::status(&answer, &[206])?;
    criteria::header(&answer, "content-range", &format!("bytes {first}-{last}/{SIZE}"))?;
    criteria::length(&answer, last - first + 1)?;
    criteria::body(&answer, &bytes[first..=last])
}

fn unsatisfiable(suite: &mut Suite, range: &str) -> Checked {
    let (_, answer) = ask(suite, &[("range", range)])?;
    criteria::status(&answer, &[416])?;
    criteria::header(&answer, "content-range", &format!("bytes */{SIZE}"))
}

fn whole(suite: &mut Suite, headers: &[(&str, &str)]) -> Checked {
    let (bytes, answer) = ask(suite, headers)?;
    criteria::status(&answer, &[200])?;
    criteria::header(&answer, "accept-ranges", "bytes")?;
    criteria::body(&answer, &bytes)
}

/// A single part would be taken for both.
fn several(suite: &mut Suite) -> Checked {
    let (bytes, answer) = ask(suite, &[("range", "bytes=0-99,200-299")])?;
    if answer.status == 200 {
        return criteria::body(&answer, &bytes);
    }
    criteria::status(&answer, &[206])?;
    let boundary = answer
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.map(|word| word.trim_matches('"').to_owned());
    let boundary = boundary.ok_or_else(|| criteria::failed("multipart/byteranges wanted", &answer))?;
    criteria::length(&answer, answer.body.len())?;
    let parts = split(&answer.body, format!("--{boundary}").as_bytes());
    criteria::that(parts.len() == 4, "two parts wanted", &answer)?;
    for (part, (first, last)) in parts[1..3].iter().zip([(0, 99), (200, 299)]) {
        let range = format!("bytes {first}-{last}/{SIZE}");
        let said = String::from_utf8_lossy(part).to_lowercase();
        criteria::that(
            said.contains(&format!("content-range: {range}")),
            format!("{range} wanted"),
            &answer,
        )?;
        let right = part.ends_with(&[b"\r\n\r\n", &bytes[first..=last], b"\r\n"].concat());
        criteria::that(right, format!("the bytes {first}-{last} wanted"), &answer)?;
    }
    Ok(())
}

fn split<'b>(bytes: &'b [u8], separator: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for place in 0..bytes.len() {
        if place >= start && bytes[place..].starts_with(separator) {
            parts.push(&bytes[start..place]);
            start = place + separator.len();
        }
    }
    parts.push(&bytes[start..]);
    parts
}

fn if_range(suite: &mut Suite) -> Checked {
    let (bytes, digest) = suite.some_blob(SIZE)?;
    let target = blob(&suite.repository(), &digest);
    let etag = suite.get(target.as_str())?.header("etag").to_owned();
    let get = Request::new("GET", target)
        .header("range", "bytes=10-19")
        .header("if-range", etag);
    let answer = suite.send(&get)?;
    criteria::status(&answer, &[206])?;
    criteria::body(&answer, &bytes[10..20])
}

fn head(suite: &mut Suite) -> Checked {
    let (_, digest) = suite.some_blob(SIZE)?;
    let head = Request::new("HEAD", blob(&suite.repository(), &digest)).header("range", "bytes=0-9");
    let answer = suite.send(&head)?;
    criteria::status(&answer, &[200])?;
    criteria::length(&answer, SIZE)
}

fn empty(suite: &mut Suite) -> Checked {
    suite.store(b"")?;
    let get = Request::new("GET", blob(&suite.repository(), &sha256(b""))).header("range", "bytes=0-9");
    let answer = suite.send(&get)?;
    criteria::status(&answer, &[200])?;
    criteria::length(&answer, 0)
}

fn not_modified(suite: &mut Suite, tag: Option<&str>) -> Checked {
    let target = match tag {
        None => blob(&suite.repository(), &suite.some_blob(SIZE)?.1),
        Some(tag) => {
            suite.some_image(&[tag])?;
            crate::conformance::manifests::manifest(&suite.repository(), tag)
        }
    };
    let first = suite.get(target.as_str())?;
    let etag = first.header("etag").to_owned();
    let quoted = etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2;
    criteria::that(quoted, "an ETag wanted", &first)?;
    let again = suite.send(&Request::new("GET", target).header("if-none-match", etag.as_str()))?;
    criteria::status(&again, &[304])?;
    criteria::header(&again, "etag", &etag)
}
