//! Manifests: never a panic, and never a reference fewer than a naive reader of the JSON finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Descriptor, Manifest};
use serde_json::Value;
use std::collections::BTreeSet;

const TYPES: [Option<&str>; 5] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json; charset=utf-8"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json"),
];

/// Every digest outside `subject`, as any reader of JSON finds them.
fn mentioned(body: &Value) -> BTreeSet<String> {
    let lists = ["layers", "manifests"]
        .into_iter()
        .filter_map(|list| body[list].as_array())
        .flatten();
    let entries = lists.chain(body.get("config"));
    entries
        .filter_map(|entry| Some(entry["digest"].as_str()?.to_owned()))
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    let _refused_or_not = serde_json::from_slice::<Descriptor>(bytes);
    let mut readings = 0;
    for media_type in TYPES {
        let manifest = match Manifest::parse(media_type, bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.len() < 4000 && !message.chars().any(char::is_control),
                    "{message:?}"
                );
                continue;
            }
        };
        readings += usize::from(media_type.is_some());
        let body: Value = match serde_json::from_slice(bytes) {
            Ok(body) => body,
            // In a member that nobody reads; a manifest may have it, this reader's numbers and texts cannot hold it.
            Err(error)
                if ["number out of range", "surrogate", "hex escape"]
                    .iter()
                    .any(|narrow| error.to_string().contains(narrow)) =>
            {
                continue;
            }
            Err(error) => panic!("no JSON was taken: {error}"),
        };
        assert_eq!(body["schemaVersion"], 2);
        assert!(
            body["manifests"].is_null() || (body["config"].is_null() && body["layers"].is_null()),
            "two readings"
        );
        let found: BTreeSet<String> = manifest
            .references()
            .iter()
            .map(|reference| reference.digest.to_string())
            .collect();
        assert_eq!(found, mentioned(&body));
        let subject = manifest.subject.as_ref().map(ToString::to_string);
        let is_docker = manifest.media_type.contains("docker");
        let written = body["subject"]["digest"].as_str().filter(|_| !is_docker);
        assert_eq!(subject.as_deref(), written);
        let served = body["mediaType"].as_str().filter(|named| !named.is_empty());
        assert!(served.is_none_or(|named| named == manifest.media_type));
    }
    // Whatever its header says, a body is one thing (CVE-2021-41190).
    assert!(readings <= 1, "{readings} types fit one body");
});
