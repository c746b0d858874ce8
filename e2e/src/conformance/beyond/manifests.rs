//! Manifests: odd ones that must be accepted, and wrong ones that must not.

use serde_json::{Value, json};

use super::{Check, index, refused};
use crate::conformance::{
    Suite,
    client::{Body, Request},
    content::{INDEX, LAYER_GZIP, MANIFEST, sha256},
    criteria,
    manifests::manifest,
    tally::Checked,
};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const LIMIT: usize = 4 * 1024 * 1024;

pub(super) const CHECKS: &[Check] = &[
    ("another type than that of the body", |suite| {
        let image = suite.artifact(&[])?;
        invalid(suite, INDEX, &image)
    }),
    ("an image with manifests", |suite| {
        let mut image = suite.artifact(&[])?;
        image["manifests"] = json!([]);
        invalid(suite, MANIFEST, &image)
    }),
    ("an index with layers", |suite| {
        let mut index = index(&[]);
        index["layers"] = json!([]);
        invalid(suite, INDEX, &index)
    }),
    ("an index with a configuration", |suite| {
        let mut index = index(&[]);
        index["config"] = suite.store(b"{}")?;
        invalid(suite, INDEX, &index)
    }),
    ("another schema version", |suite| {
        let mut image = suite.artifact(&[])?;
        image["schemaVersion"] = 1.into();
        invalid(suite, MANIFEST, &image)
    }),
    ("Docker's first schema", |suite| {
        invalid(
            suite,
            SCHEMA_1,
            &json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []}),
        )
    }),
    ("an unknown type", |suite| {
        let image = suite.artifact(&[])?;
        invalid(suite, "application/json", &image)
    }),
    ("no JSON", |suite| {
        refused(&suite.put("odd", MANIFEST, b"{")?, 400, "MANIFEST_INVALID")
    }),
    ("nothing", |suite| {
        refused(&suite.put("odd", MANIFEST, b"")?, 400, "MANIFEST_INVALID")
    }),
    ("embedded content that is another", |suite| {
        let mut image = suite.artifact(&[])?;
        image["config"]["data"] = "AAAA".into();
        invalid(suite, MANIFEST, &image)
    }),
    ("4 MiB", |suite| of_size(suite, LIMIT, 201)),
    ("4 MiB and one byte", |suite| of_size(suite, LIMIT + 1, 413)),
    ("a Docker list of OCI images", docker_list),
    ("an index of blobs, as BuildKit's older cache", |suite| {
        let layer = suite.store(b"a layer of the cache")?;
        let index = index(&[layer]);
        suite.put_json(INDEX, &index).map(drop)
    }),
    ("the same layer twice", |suite| {
        let layer = suite.store(b"a layer that comes twice")?;
        let image = suite.artifact(&[layer.clone(), layer])?;
        suite.put_json(MANIFEST, &image).map(drop)
    }),
    ("a media type that nobody knows, with parameters", |suite| {
        let mut layer = suite.store(b"a strange layer")?;
        layer["mediaType"] = "application/x.strange; charset=utf-8".into();
        let image = suite.artifact(&[layer])?;
        suite.put_json(MANIFEST, &image).map(drop)
    }),
    ("no mediaType in the body", |suite| {
        accepted_as(suite, Some(MANIFEST), false)
    }),
    ("a type with parameters", |suite| {
        accepted_as(
            suite,
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            true,
        )
    }),
    ("no type in the header", |suite| accepted_as(suite, None, true)),
    ("no type at all", |suite| accepted_as(suite, None, false)),
    ("missing content", missing),
    ("the digest of other bytes", |suite| {
        let image = suite.artifact(&[])?.to_string();
        let answer = suite.put(&sha256(b"other bytes"), MANIFEST, image.as_bytes())?;
        refused(&answer, 400, "DIGEST_INVALID")
    }),
    ("pushed again", |suite| {
        let image = suite.artifact(&[])?;
        suite.put_json(MANIFEST, &image)?;
        suite.put_json(MANIFEST, &image).map(drop)
    }),
    ("tags as parameters of a tag", |suite| {
        tag_is_refused(suite, "by-tag", "other")
    }),
    ("a malformed tag as a parameter", |suite| {
        tag_is_refused(suite, "", "-malformed")
    }),
    ("ten tags as parameters", ten_tags),
    ("a tag that moves", moved_tag),
];

fn invalid(suite: &mut Suite, media_type: &str, body: &Value) -> Checked {
    refused(
        &suite.put("odd", media_type, body.to_string().as_bytes())?,
        400,
        "MANIFEST_INVALID",
    )
}

fn of_size(suite: &mut Suite, size: usize, wanted: u16) -> Checked {
    let mut image = suite.artifact(&[])?;
    image["annotations"] = json!({"filled": ""});
    let missing = size - image.to_string().len();
    image["annotations"]["filled"] = "x".repeat(missing).into();
    let answer = suite.put("large", MANIFEST, image.to_string().as_bytes())?;
    criteria::status(&answer, &[wanted])?;
    if wanted == 201 {
        return Ok(());
    }
    criteria::code(&answer, "SIZE_INVALID")
}

fn docker_list(suite: &mut Suite) -> Checked {
    let layer = suite.store(b"a layer below a list")?;
    let image = suite.artifact(&[layer])?;
    let oci = suite.put_json(MANIFEST, &image)?;
    let mut docker = image;
    docker["mediaType"] = DOCKER.into();
    let docker = suite.put_json(DOCKER, &docker)?;
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [oci, docker]});
    suite.put_json(DOCKER_LIST, &list).map(drop)
}

/// Whatever the header says, it is stored and served as an OCI manifest, without parameters.
fn accepted_as(suite: &mut Suite, header: Option<&str>, in_body: bool) -> Checked {
    let mut image = suite.artifact(&[])?;
    image["annotations"] = json!({"org.example.word": suite.random.word()});
    if !in_body && let Some(members) = image.as_object_mut() {
        members.remove("mediaType");
    }
    let body = image.to_string();
    let mut put = Request::new("PUT", manifest(&suite.repository(), "typed")).body(Body::Sized(body.as_bytes()));
    if let Some(header) = header {
        put = put.header("content-type", header);
    }
    criteria::status(&suite.send(&put)?, &[201])?;
    let answer = suite.get(manifest(&suite.repository(), "typed"))?;
    criteria::header(&answer, "content-type", MANIFEST)?;
    criteria::body(&answer, body.as_bytes())
}

/// One error for each digest that is not there, which is in its detail.
fn missing(suite: &mut Suite) -> Checked {
    let absent = [b"one", b"two"].map(|bytes| sha256(bytes));
    let layers = absent
        .clone()
        .map(|digest| json!({"mediaType": LAYER_GZIP, "digest": digest, "size": 3}));
    let image = suite.artifact(&layers)?;
    let answer = suite.put("sparse", MANIFEST, image.to_string().as_bytes())?;
    refused(&answer, 400, "MANIFEST_BLOB_UNKNOWN")?;
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let named = |digest: &String| {
        errors
            .iter()
            .filter(|error| error["detail"].to_string().contains(digest))
            .count()
    };
    criteria::that(
        absent.iter().all(|digest| named(digest) == 1),
        "an error for each digest wanted",
        &answer,
    )
}

fn tag_is_refused(suite: &mut Suite, reference: &str, tag: &str) -> Checked {
    let image = suite.artifact(&[])?.to_string();
    let digest = sha256(image.as_bytes());
    let reference = if reference.is_empty() {
        digest.as_str()
    } else {
        reference
    };
    let put = Request::new("PUT", manifest(&suite.repository(), reference))
        .parameter("tag", tag)
        .header("content-type", MANIFEST)
        .body(Body::Sized(image.as_bytes()));
    criteria::status(&suite.send(&put)?, &[400])
}

fn ten_tags(suite: &mut Suite) -> Checked {
    let image = suite.artifact(&[])?.to_string();
    let mut put = Request::new("PUT", manifest(&suite.repository(), &sha256(image.as_bytes())));
    let tags: Vec<String> = (0..10).map(|number| format!("ten-{number}")).collect();
    for tag in &tags {
        put = put.parameter("tag", tag);
    }
    let answer = suite.send(&put.header("content-type", MANIFEST).body(Body::Sized(image.as_bytes())))?;
    criteria::status(&answer, &[201])?;
    for tag in &tags {
        criteria::that(
            answer.headers.has_word("oci-tag", tag),
            format!("OCI-Tag: {tag} wanted"),
            &answer,
        )?;
        criteria::status(&suite.get(manifest(&suite.repository(), tag))?, &[200])?;
    }
    Ok(())
}

fn moved_tag(suite: &mut Suite) -> Checked {
    let first = suite.some_image(&["moving"])?;
    let second = suite.some_image(&["moving"])?;
    let answer = suite.get(manifest(&suite.repository(), "moving"))?;
    criteria::header(&answer, "docker-content-digest", &second.manifests[0].digest)?;
    let before = suite.get(manifest(&suite.repository(), &first.manifests[0].digest))?;
    criteria::status(&before, &[200])
}
