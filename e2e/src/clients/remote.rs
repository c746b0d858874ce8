//! The registry as it is seen without any client: what was pushed is there, whole.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fixtures::texts;
use crate::http::{Request, Response};

/// A manifest as the registry gives it.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) body: Value,
}

/// A registry at `HOST:PORT`.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    host: String,
}

impl Remote {
    pub(super) fn new(host: String) -> Self {
        Self { host }
    }

    /// What it answers to a request without a body.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Response> {
        Request::new(method, &format!("http://{}{path}", self.host)).send()
    }

    fn get(&self, path: &str) -> Result<Response> {
        self.ask("GET", path)?.expect_status(200)
    }

    /// One manifest; its bytes have the digest that the registry says.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Result<Manifest> {
        let answer = self.get(&format!("/v2/{repository}/manifests/{reference}"))?;
        let digest = sum(&answer.body);
        ensure!(
            answer.header("docker-content-digest") == Some(&digest),
            "the manifest {repository}:{reference} has the digest {digest}, the registry says {:?}",
            answer.header("docker-content-digest")
        );
        let body = serde_json::from_slice(&answer.body).context("read the manifest")?;
        Ok(Manifest { digest, body })
    }

    /// A manifest of which everything that it names was fetched and compared with its digest.
    pub(super) fn whole(&self, repository: &str, reference: &str) -> Result<Manifest> {
        let manifest = self.manifest(repository, reference)?;
        for child in manifest.body["manifests"].as_array().into_iter().flatten() {
            let digest = child["digest"].as_str().context("an entry has a digest")?;
            // An index may name blobs: the build cache's older form does.
            if child["mediaType"].as_str().is_some_and(is_manifest) {
                self.whole(repository, digest)?;
            } else {
                self.blob(repository, child)?;
            }
        }
        let layers = manifest.body["layers"].as_array().into_iter().flatten();
        for blob in layers.chain(manifest.body.get("config")) {
            self.blob(repository, blob)?;
        }
        Ok(manifest)
    }

    fn blob(&self, repository: &str, descriptor: &Value) -> Result<Vec<u8>> {
        let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
        let body = self.get(&format!("/v2/{repository}/blobs/{digest}"))?.body;
        ensure!(
            sum(&body) == digest,
            "the blob {digest} of {repository} has other bytes"
        );
        ensure!(
            descriptor["size"].as_u64() == Some(body.len() as u64),
            "the manifest says that {digest} has {} bytes, it has {}",
            descriptor["size"],
            body.len()
        );
        Ok(body)
    }

    /// What the layers of an image are when unpacked, by its configuration.
    pub(super) fn diff_ids(&self, repository: &str, image: &Manifest) -> Result<Vec<String>> {
        let config: Value = serde_json::from_slice(&self.blob(repository, &image.body["config"])?)?;
        Ok(texts(&config["rootfs"]["diff_ids"]))
    }

    /// The tags of a repository.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let list = self.get(&format!("/v2/{repository}/tags/list"))?;
        let list: Value = serde_json::from_slice(&list.body)?;
        Ok(texts(&list["tags"]))
    }

    /// The entries of a subject's referrers.
    pub(super) fn referrers(&self, repository: &str, digest: &str) -> Result<Vec<Value>> {
        let index = self.get(&format!("/v2/{repository}/referrers/{digest}"))?;
        let index: Value = serde_json::from_slice(&index.body)?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    /// Checks that a manifest is gone.
    pub(super) fn gone(&self, repository: &str, reference: &str) -> Result<()> {
        let status = self
            .ask("HEAD", &format!("/v2/{repository}/manifests/{reference}"))?
            .status;
        if status != 404 {
            bail!("{repository}:{reference} was deleted, and HEAD gives {status}");
        }
        Ok(())
    }
}

fn is_manifest(media_type: &str) -> bool {
    media_type.contains("manifest") || media_type.contains("image.index")
}

pub(super) fn sum(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
