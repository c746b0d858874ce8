//! Whole images, and what was promised of them.

use crate::content::{bytes, image, sha256};
use crate::server::{Disk, REPOSITORY};
use oci::media_type;
use reqwest::{Method, StatusCode};

/// What a server has acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promised {
    blobs: Vec<Vec<u8>>,
    tags: Vec<(String, String)>,
}

impl Disk {
    /// Pushes a layer with one request, a config in pieces, and a manifest under a tag; `None` when the server dies of it.
    pub(crate) async fn push_image(&mut self, seed: u64, size: usize) -> Option<()> {
        let (layer, config) = (bytes(2 * seed + 1000, size), bytes(2 * seed + 1001, 500));
        let answer = self.try_push(&layer).await.ok()?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        self.promised.blobs.push(layer.clone());
        self.push_in_pieces(&config).await?;
        self.promised.blobs.push(config.clone());
        let (tag, manifest) = (format!("t{seed}"), image(&sha256(&config), &[sha256(&layer)]));
        let put = self.client.put(self.manifest(&tag));
        let put = put
            .header("content-type", media_type::OCI_MANIFEST)
            .body(manifest.clone());
        assert_eq!(put.send().await.ok()?.status(), StatusCode::CREATED);
        self.promised.tags.push((tag, manifest));
        Some(())
    }

    async fn push_in_pieces(&self, content: &[u8]) -> Option<()> {
        let location = self.begin_upload().await?;
        for piece in content.chunks(content.len() / 2) {
            let sent = self.client.request(Method::PATCH, &location).body(piece.to_vec());
            assert_eq!(sent.send().await.ok()?.status(), StatusCode::ACCEPTED);
        }
        let closed = self.client.put(format!("{location}?digest={}", sha256(content)));
        assert_eq!(closed.send().await.ok()?.status(), StatusCode::CREATED);
        Some(())
    }

    async fn begin_upload(&self) -> Option<String> {
        let opened = self.client.post(format!("{}/v2/{REPOSITORY}/blobs/uploads/", self.url));
        let opened = opened.send().await.ok()?;
        assert_eq!(opened.status(), StatusCode::ACCEPTED);
        let location = opened.headers()["location"].to_str().unwrap().to_owned();
        let path = location.strip_prefix(&self.url).unwrap_or(&location);
        Some(format!("{}{path}", self.url))
    }

    /// Sends some bytes and then ends the upload without a blob; `None` when the server dies of it.
    pub(crate) async fn give_up_an_upload(&self, size: usize) -> Option<()> {
        let location = self.begin_upload().await?;
        let sent = self.client.request(Method::PATCH, &location).body(bytes(5, size));
        assert_eq!(sent.send().await.ok()?.status(), StatusCode::ACCEPTED);
        let ended = self.client.delete(&location).send().await.ok()?;
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
        Some(())
    }

    fn manifest(&self, tag: &str) -> String {
        format!("{}/v2/{REPOSITORY}/manifests/{tag}", self.url)
    }

    pub(crate) fn promised(&self) -> Promised {
        self.promised.clone()
    }

    /// Goes on from what an earlier server has promised.
    pub(crate) fn expect(&mut self, promised: Promised) {
        self.promised = promised;
    }

    pub(crate) async fn serves(&self, promised: &Promised) {
        for blob in &promised.blobs {
            let answer = self.get(blob).await;
            assert_eq!(answer.status(), StatusCode::OK, "a blob of {} bytes", blob.len());
            assert!(answer.bytes().await.unwrap() == *blob);
        }
        for (tag, manifest) in &promised.tags {
            let answer = self.client.get(self.manifest(tag)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{tag}");
            assert_eq!(answer.text().await.unwrap(), *manifest);
        }
    }
}
