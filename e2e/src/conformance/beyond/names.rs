//! Names and paths: what is decoded, once, and what is refused.

use super::{Check, refused};
use crate::conformance::{
    Suite,
    blobs::blob,
    client::Request,
    content::{MANIFEST, sha256},
    criteria,
    manifests::manifest,
    tally::Checked,
};

pub(super) const CHECKS: &[Check] = &[
    ("an escaped colon in a digest", escaped_colon),
    ("an escaped slash in a name", escaped_slash),
    ("nothing is decoded twice", decoded_once),
    ("an escape that is none", |suite| {
        statuses(suite, "/v2/beyond/names/tags/li%zzt", &[400, 404])
    }),
    ("a digest in upper case", upper_case_digest),
    ("a digest of another length", |suite| {
        blob_is_refused(suite, "sha256:abc")
    }),
    ("a digest of an unknown algorithm", |suite| {
        blob_is_refused(suite, "md5:d41d8cd98f00b204e9800998ecf8427e")
    }),
    ("components like the routes", route_words),
    ("a name in upper case", |suite| name_is_refused(suite, "beyond/Names")),
    ("a name with an empty component", |suite| {
        statuses(suite, "/v2/beyond//names/tags/list", &[400, 404])
    }),
    ("a name that climbs", |suite| {
        statuses(suite, "/v2/beyond/%2e%2e/names/tags/list", &[400, 404])
    }),
    ("a name with a separator at its end", |suite| {
        name_is_refused(suite, "beyond/names-")
    }),
    ("a name of 256 characters", |suite| {
        name_is_refused(suite, &"a".repeat(256))
    }),
    ("a name of 255 characters", |suite| known_name(suite, &"a".repeat(255))),
    ("a name with every separator", |suite| {
        known_name(suite, "beyond/a.b_c__d-e---f/0")
    }),
    ("a tag of 129 characters", |suite| {
        tag_is_refused(suite, &"a".repeat(129))
    }),
    ("a tag that begins with a dot", |suite| tag_is_refused(suite, ".a")),
    ("a route that is not there", |suite| {
        statuses(suite, "/v2/beyond/names/nothing/here", &[404])
    }),
    ("a method that is not there", wrong_method),
    ("ping without the slash", |suite| statuses(suite, "/v2", &[200])),
];

fn statuses(suite: &mut Suite, target: &str, wanted: &[u16]) -> Checked {
    criteria::status(&suite.get(target)?, wanted)
}

fn escaped_colon(suite: &mut Suite) -> Checked {
    let (bytes, digest) = suite.some_blob(100)?;
    let answer = suite.get(blob(&suite.repository(), &digest.replace(':', "%3A")))?;
    criteria::status(&answer, &[200])?;
    criteria::body(&answer, &bytes)?;
    let image = suite.some_image(&["latest"])?;
    let reference = image.manifests[0].digest.replace(':', "%3a");
    statuses(suite, &manifest(&suite.repository(), &reference), &[200])
}

fn escaped_slash(suite: &mut Suite) -> Checked {
    let (_, digest) = suite.some_blob(100)?;
    statuses(suite, &format!("/v2/beyond%2Fnames/blobs/{digest}"), &[200])?;
    statuses(suite, &format!("/v2/beyond/names%2fblobs%2f{digest}"), &[200])
}

fn decoded_once(suite: &mut Suite) -> Checked {
    let (_, digest) = suite.some_blob(100)?;
    statuses(suite, &format!("/v2/beyond%252Fnames/blobs/{digest}"), &[400, 404])
}

fn upper_case_digest(suite: &mut Suite) -> Checked {
    let (_, digest) = suite.some_blob(100)?;
    let upper = digest.to_uppercase().replace("SHA", "sha");
    blob_is_refused(suite, &upper)
}

fn blob_is_refused(suite: &mut Suite, digest: &str) -> Checked {
    refused(&suite.get(blob(&suite.repository(), digest))?, 400, "DIGEST_INVALID")
}

fn route_words(suite: &mut Suite) -> Checked {
    for name in [
        "blobs/uploads",
        "beyond/manifests/uploads",
        "tags/list",
        "beyond/referrers/blobs/manifests",
        "v2/v2",
    ] {
        name.clone_into(&mut suite.options.repository);
        let image = suite.some_image(&["list", "uploads"])?;
        statuses(suite, &manifest(name, "list"), &[200])?;
        statuses(suite, &blob(name, &image.blobs[0].0), &[200])?;
        let tags = suite.get(format!("/v2/{name}/tags/list"))?;
        criteria::that(tags.json()["name"] == name, "the name wanted", &tags)?;
    }
    "beyond/names".clone_into(&mut suite.options.repository);
    Ok(())
}

fn name_is_refused(suite: &mut Suite, name: &str) -> Checked {
    refused(&suite.get(format!("/v2/{name}/tags/list"))?, 400, "NAME_INVALID")
}

fn known_name(suite: &mut Suite, name: &str) -> Checked {
    name.clone_into(&mut suite.options.repository);
    let pushed = suite.some_blob(10).map(drop);
    "beyond/names".clone_into(&mut suite.options.repository);
    pushed
}

/// It cannot be pushed, and whoever asks for it learns that it is not there.
fn tag_is_refused(suite: &mut Suite, tag: &str) -> Checked {
    let target = manifest(&suite.repository(), tag);
    refused(&suite.get(target.as_str())?, 404, "MANIFEST_UNKNOWN")?;
    let image = suite.artifact(&[])?.to_string();
    refused(&suite.put(tag, MANIFEST, image.as_bytes())?, 400, "MANIFEST_INVALID")
}

fn wrong_method(suite: &mut Suite) -> Checked {
    let targets = [
        "/v2/".to_owned(),
        format!("/v2/{}/tags/list", suite.repository()),
        blob(&suite.repository(), &sha256(b"")),
    ];
    for target in targets {
        let answer = suite.send(&Request::new("POST", target))?;
        refused(&answer, 405, "UNSUPPORTED")?;
        criteria::that(answer.header("allow").contains("GET"), "Allow wanted", &answer)?;
    }
    Ok(())
}
