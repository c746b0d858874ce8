//! HEAD tells what GET tells, and what a client accepts changes nothing.

use super::Check;
use crate::conformance::{
    Suite,
    blobs::blob,
    client::{Answer, Request},
    content::sha256,
    criteria,
    manifests::manifest,
    tally::Checked,
};

/// What is another in every answer.
const OWN: &[&str] = &["date", "x-request-id"];

pub(super) const CHECKS: &[Check] = &[
    ("ping", |suite| same(suite, "/v2/".to_owned())),
    ("blob", |suite| {
        let (_, digest) = suite.some_blob(3000)?;
        same(suite, blob(&suite.repository(), &digest))
    }),
    ("an empty blob", |suite| {
        suite.store(b"")?;
        same(suite, blob(&suite.repository(), &sha256(b"")))
    }),
    ("manifest by tag", |suite| {
        suite.some_image(&["by-tag"])?;
        same(suite, manifest(&suite.repository(), "by-tag"))
    }),
    ("manifest by digest", |suite| {
        let image = suite.some_image(&["by-digest"])?;
        same(suite, manifest(&suite.repository(), &image.manifests[0].digest))
    }),
    ("tags", |suite| {
        same(suite, format!("/v2/{}/tags/list?n=1", suite.repository()))
    }),
    ("referrers", |suite| {
        same(suite, format!("/v2/{}/referrers/{}", suite.repository(), sha256(b"")))
    }),
    ("catalog", |suite| same(suite, "/v2/_catalog?n=3".to_owned())),
    ("upload session", |suite| {
        let target = suite.open_upload(&suite.repository())?;
        same(suite, target)
    }),
    ("no blob", |suite| {
        same(suite, blob(&suite.repository(), &sha256(b"nothing of it")))
    }),
    ("no manifest", |suite| {
        same(suite, manifest(&suite.repository(), "nobody"))
    }),
    ("every answer names the version of the API", api_version),
];

fn told(answer: &Answer) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !OWN.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    lines.sort();
    lines
}

fn same(suite: &mut Suite, target: String) -> Checked {
    let get = suite.send(&Request::new("GET", target.as_str()).header("accept-encoding", "identity"))?;
    let head = suite.send(&Request::new("HEAD", target.as_str()))?;
    criteria::status(&head, &[get.status])?;
    criteria::that(head.body.is_empty(), "no body wanted", &head)?;
    if get.status == 204 {
        criteria::no_header(&head, "content-length")?;
    } else {
        criteria::length(&get, get.body.len())?;
    }
    let is_error = get.status >= 400;
    let lines = if is_error {
        (Vec::new(), Vec::new())
    } else {
        (told(&head), told(&get))
    };
    criteria::that(lines.0 == lines.1, format!("the headers of {get} wanted"), &head)?;
    let compressed = suite.send(&Request::new("GET", target).header("accept-encoding", "gzip, zstd, br"))?;
    criteria::no_header(&compressed, "content-encoding")?;
    criteria::that(
        is_error || compressed.body == get.body,
        "the same body wanted",
        &compressed,
    )?;
    criteria::that(
        is_error || told(&compressed) == told(&get),
        "the same headers wanted",
        &compressed,
    )
}

fn api_version(suite: &mut Suite) -> Checked {
    let name = suite.repository();
    let targets = [
        "/v2/".to_owned(),
        "/v2/nothing".to_owned(),
        manifest(&name, "nobody"),
        format!("/v2/{name}/tags/list"),
    ];
    for target in targets {
        criteria::header(&suite.get(target)?, "docker-distribution-api-version", "registry/2.0")?;
    }
    Ok(())
}
