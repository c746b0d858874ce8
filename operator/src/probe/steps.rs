//! The steps, in the words of the distribution specification.

use reqwest::{Method, StatusCode};

use super::client::{Answer, Ask, Client};
use super::content::{Content, MANIFEST, TAG, digest};

/// The large blob is sent in three pieces; the upload is asked where it stands after the first.
const PIECE: usize = 64 * 1024;

/// The steps through one stage.
pub(super) struct Steps<'a> {
    client: &'a Client,
    content: &'a Content,
}

/// An upload that has begun: where it goes on.
pub(super) struct Upload(String);

type Done = Result<(), String>;

impl<'a> Steps<'a> {
    pub(super) fn new(client: &'a Client, content: &'a Content) -> Self {
        Self { client, content }
    }

    fn path(&self, below: &str) -> String {
        format!("/v2/{}/{below}", self.content.repository)
    }

    fn blob(&self, bytes: &[u8]) -> String {
        self.path(&format!("blobs/{}", digest(bytes)))
    }

    pub(super) async fn ping(&self) -> Done {
        self.client
            .expect(StatusCode::OK, Ask::new(Method::GET, "/v2/"))
            .await?;
        Ok(())
    }

    async fn begin(&self) -> Result<Upload, String> {
        let ask = Ask::new(Method::POST, self.path("blobs/uploads/"));
        let begun = self.client.expect(StatusCode::ACCEPTED, ask).await?;
        Ok(Upload(begun.location()?))
    }

    async fn append(&self, upload: Upload, from: usize, bytes: &[u8]) -> Result<Upload, String> {
        let ask = Ask::new(Method::PATCH, upload.0)
            .header("content-type", "application/octet-stream")
            .header("content-range", format!("{from}-{}", from + bytes.len() - 1))
            .body(bytes);
        let appended = self.client.expect(StatusCode::ACCEPTED, ask).await?;
        Ok(Upload(appended.location()?))
    }

    async fn finish(&self, upload: Upload, bytes: &[u8], whole: &[u8]) -> Done {
        let sign = if upload.0.contains('?') { '&' } else { '?' };
        let ask = Ask::new(Method::PUT, format!("{}{sign}digest={}", upload.0, digest(whole)))
            .header("content-type", "application/octet-stream")
            .body(bytes);
        self.client.expect(StatusCode::CREATED, ask).await?;
        Ok(())
    }

    pub(super) async fn push_small(&self) -> Done {
        let upload = self.begin().await?;
        self.finish(upload, &self.content.small, &self.content.small).await
    }

    pub(super) async fn push_chunked(&self) -> Done {
        let upload = self.begin_chunked().await?;
        self.finish_chunked(upload).await
    }

    /// The first piece, after which the client is gone for a while.
    pub(super) async fn begin_chunked(&self) -> Result<Upload, String> {
        let upload = self.begin().await?;
        self.append(upload, 0, &self.content.large[..PIECE]).await
    }

    /// The other pieces, from where the upload says that it stands.
    pub(super) async fn finish_chunked(&self, upload: Upload) -> Done {
        let status = self
            .client
            .expect(StatusCode::NO_CONTENT, Ask::new(Method::GET, upload.0))
            .await?;
        let range = status.header("range").unwrap_or("none").to_owned();
        if range != format!("0-{}", PIECE - 1) {
            return Err(status.wrong(&format!("{PIECE} bytes were sent, and its Range is {range}")));
        }
        let upload = Upload(status.location()?);
        let large = &self.content.large;
        let upload = self.append(upload, PIECE, &large[PIECE..2 * PIECE]).await?;
        self.finish(upload, &large[2 * PIECE..], large).await
    }

    pub(super) async fn push_manifest(&self) -> Done {
        self.put_manifest(TAG, &self.content.image).await.map(drop)
    }

    async fn put_manifest(&self, reference: &str, manifest: &[u8]) -> Result<Answer, String> {
        let ask = Ask::new(Method::PUT, self.path(&format!("manifests/{reference}")))
            .header("content-type", MANIFEST)
            .body(manifest);
        let put = self.client.expect(StatusCode::CREATED, ask).await?;
        match put.header("docker-content-digest") {
            Some(told) if told != digest(manifest) => {
                Err(put.wrong(&format!("the digest {told} came for what is {}", digest(manifest))))
            }
            _ => Ok(put),
        }
    }

    pub(super) async fn pull_by_tag(&self) -> Done {
        self.pull(self.path(&format!("manifests/{TAG}")), &self.content.image)
            .await
    }

    pub(super) async fn pull_by_digest(&self) -> Done {
        let reference = digest(&self.content.image);
        self.pull(self.path(&format!("manifests/{reference}")), &self.content.image)
            .await
    }

    pub(super) async fn pull_blobs(&self) -> Done {
        self.pull(self.blob(&self.content.small), &self.content.small).await?;
        self.pull_large().await
    }

    pub(super) async fn pull_large(&self) -> Done {
        self.pull(self.blob(&self.content.large), &self.content.large).await
    }

    async fn pull(&self, path: String, expected: &[u8]) -> Done {
        let ask = Ask::new(Method::GET, path).header("accept", format!("{MANIFEST}, */*"));
        let pulled = self.client.expect(StatusCode::OK, ask).await?;
        same(&pulled, expected)
    }

    pub(super) async fn pull_range(&self) -> Done {
        let (first, last) = (PIECE - 100, PIECE + 99);
        let ask =
            Ask::new(Method::GET, self.blob(&self.content.large)).header("range", format!("bytes={first}-{last}"));
        let pulled = self.client.expect(StatusCode::PARTIAL_CONTENT, ask).await?;
        same(&pulled, &self.content.large[first..=last])
    }

    pub(super) async fn head(&self) -> Done {
        let manifest = self.path(&format!("manifests/{TAG}"));
        let both = [
            (manifest, self.content.image.len()),
            (self.blob(&self.content.large), self.content.large.len()),
        ];
        for (path, length) in both {
            let ask = Ask::new(Method::HEAD, path).header("accept", format!("{MANIFEST}, */*"));
            let told = self.client.expect(StatusCode::OK, ask).await?;
            let said = told.header("content-length").unwrap_or("none");
            if said != length.to_string() {
                return Err(told.wrong(&format!("its length is {length}, and it says {said}")));
            }
        }
        Ok(())
    }

    pub(super) async fn list_tags(&self) -> Done {
        let answer = self
            .client
            .expect(StatusCode::OK, Ask::new(Method::GET, self.path("tags/list")))
            .await?;
        let list = json(&answer)?;
        let tags = list["tags"].as_array();
        if tags.is_some_and(|tags| tags.iter().any(|tag| tag == TAG)) {
            return Ok(());
        }
        Err(answer.wrong(&format!("the tag {TAG} was pushed and is not in the list {list}")))
    }

    pub(super) async fn referrers(&self) -> Done {
        let expected = digest(&self.content.artifact);
        self.put_manifest(&expected, &self.content.artifact).await?;
        let path = self.path(&format!("referrers/{}", digest(&self.content.image)));
        let answer = self.client.expect(StatusCode::OK, Ask::new(Method::GET, path)).await?;
        let index = json(&answer)?;
        let manifests = index["manifests"].as_array();
        if manifests.is_some_and(|list| list.iter().any(|one| one["digest"] == expected.as_str())) {
            return Ok(());
        }
        Err(answer.wrong(&format!("{expected} refers to the image and is not in the list")))
    }

    /// Deletes what is there. A registry whose settings forbid it keeps what its collector does not take.
    pub(super) async fn delete(&self) -> Done {
        let manifests =
            [&self.content.artifact, &self.content.image].map(|it| self.path(&format!("manifests/{}", digest(it))));
        let tag = self.path(&format!("manifests/{TAG}"));
        let blobs = [&self.content.large, &self.content.small].map(|it| self.blob(it));
        for path in [tag].into_iter().chain(manifests).chain(blobs) {
            let answer = self.client.send(Ask::new(Method::DELETE, path)).await?;
            let is_done = [
                StatusCode::ACCEPTED,
                StatusCode::NOT_FOUND,
                StatusCode::METHOD_NOT_ALLOWED,
            ];
            if !is_done.contains(&answer.status) {
                return Err(answer.wrong(&format!("expected 202, came {}", answer.status.as_u16())));
            }
        }
        Ok(())
    }

    /// What was deleted is not served any more.
    pub(super) async fn gone(&self) -> Done {
        let path = self.path(&format!("manifests/{}", digest(&self.content.image)));
        let forbidden = self.client.send(Ask::new(Method::DELETE, path.clone())).await?;
        if forbidden.status == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(());
        }
        self.client
            .expect(StatusCode::NOT_FOUND, Ask::new(Method::GET, path))
            .await?;
        Ok(())
    }
}

fn same(answer: &Answer, expected: &[u8]) -> Done {
    if answer.body == expected {
        return Ok(());
    }
    let (came, wanted) = (digest(&answer.body), digest(expected));
    Err(answer.wrong(&format!(
        "the content is corrupt: {} bytes with the digest {came} came, expected {} bytes with {wanted}",
        answer.body.len(),
        expected.len()
    )))
}

fn json(answer: &Answer) -> Result<serde_json::Value, String> {
    serde_json::from_slice(&answer.body).map_err(|error| answer.wrong(&format!("no JSON came: {error}")))
}
