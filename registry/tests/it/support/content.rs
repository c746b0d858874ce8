//! Content to push.

use oci::{Algorithm, Digest, media_type};
use serde_json::{Value, json};

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes that do not repeat within any part or chunk, and differ from seed to seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut made = Vec::with_capacity(length + 8);
    while made.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        made.extend_from_slice(&state.to_le_bytes());
    }
    made.truncate(length);
    made
}

fn descriptor(media_type: &str, digest: &Digest) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": 2})
}

/// An image over blobs that may or may not exist.
pub(crate) fn image(config: &Digest, layers: &[Digest]) -> String {
    let layer = |digest| descriptor("application/vnd.oci.image.layer.v1.tar", digest);
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
    .to_string()
}

pub(crate) fn index(children: &[Digest]) -> String {
    let child = |digest| descriptor(media_type::OCI_MANIFEST, digest);
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children.iter().map(child).collect::<Vec<_>>(),
    })
    .to_string()
}

/// An artifact that refers to a subject.
pub(crate) fn artifact(config: &Digest, artifact_type: &str, subject: &Digest) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(media_type::OCI_EMPTY, config),
        "layers": [],
        "subject": descriptor(media_type::OCI_MANIFEST, subject),
        "annotations": {"made-by": "a test"},
    })
    .to_string()
}

/// The same manifest with a number, and so with another digest.
pub(crate) fn numbered(manifest: &str, number: usize) -> String {
    let member = format!("\"number\":{number},\"schemaVersion\"");
    manifest.replace("\"schemaVersion\"", &member)
}
