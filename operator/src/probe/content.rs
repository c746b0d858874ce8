//! What is pushed: different each time.

use rand::RngExt;
use serde_json::json;
use sha2::{Digest, Sha256};

const SMALL: usize = 1024;
const LARGE: usize = 192 * 1024;
/// The tag that is pushed.
pub(super) const TAG: &str = "probe";
/// Media type of an image manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.berth.probe.config.v1";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Two blobs, an image of them, and something that refers to the image.
pub(super) struct Content {
    pub(super) repository: String,
    pub(super) small: Vec<u8>,
    pub(super) large: Vec<u8>,
    pub(super) image: Vec<u8>,
    pub(super) artifact: Vec<u8>,
}

impl Content {
    pub(super) fn new(rollout: &str) -> Self {
        let mut bytes = vec![0; SMALL + LARGE];
        rand::rng().fill(bytes.as_mut_slice());
        let large = bytes.split_off(SMALL);
        let small = bytes;
        let blob = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        let manifest = |layer: &[u8]| {
            json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": blob(CONFIG, &small),
                "layers": [blob(LAYER, layer)],
            })
        };
        let image = manifest(&large).to_string().into_bytes();
        let mut artifact = manifest(&small);
        artifact["artifactType"] = json!("application/vnd.berth.probe.v1");
        artifact["subject"] = blob(MANIFEST, &image);
        Self {
            repository: format!("berth-probe/{}", rollout.to_lowercase()),
            artifact: artifact.to_string().into_bytes(),
            small,
            large,
            image,
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
