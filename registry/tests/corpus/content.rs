//! Content to push, and its addresses.

use crate::case::{Client, Expect, Surprise};
use crate::wire::Request;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The smallest thing that may be pushed: it needs no blob.
pub(crate) const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// Bytes of which no part is like another.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut random = crate::random::Random::seeded(length as u64);
    (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
}

/// Pushes a blob with one request and gives its digest.
pub(crate) fn push_blob(client: &mut Client, name: &str, blob: &[u8]) -> Result<String, Surprise> {
    let digest = sha256(blob);
    let push = Request::new("POST", format!("/v2/{name}/blobs/uploads/?digest={digest}")).body(blob);
    client.ask(&push, &Expect::status(201))?;
    Ok(digest)
}

/// Opens an upload session and gives its path.
pub(crate) fn open_session(client: &mut Client, name: &str) -> Result<String, Surprise> {
    let open = Request::new("POST", format!("/v2/{name}/blobs/uploads/"));
    let opened = client.ask(&open, &Expect::status(202))?;
    let location = opened.header("location").ok_or("no location")?;
    Ok(location.to_owned())
}

pub(crate) fn put_manifest(name: &str, reference: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Request {
    let put = Request::new("PUT", format!("/v2/{name}/manifests/{reference}"));
    put.header("Content-Type", media_type).body(body)
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(content), "size": content.len()})
}

/// An image of one config, `{}`, and the layer given.
pub(crate) fn image(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor(CONFIG, b"{}"),
        "layers": [descriptor(LAYER, layer)],
    })
}
