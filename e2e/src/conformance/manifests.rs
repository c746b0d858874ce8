//! Manifests, tags and referrers: one operation each.

use serde_json::Value;

use super::{
    Suite,
    client::{Answer, Body, Request},
    content::{INDEX, MANIFEST},
    criteria::{self, failed},
    tally::Checked,
};

/// A manifest that is pushed or read.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
    pub(super) subject: Option<String>,
}

pub(super) fn manifest(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

pub(super) fn accepting(method: &str, target: String) -> Request<'_> {
    Request::new(method, target)
        .header("accept", INDEX)
        .header("accept", MANIFEST)
}

impl Suite {
    /// Pushes to a tag or a digest; `tags` go along as parameters.
    pub(super) fn put_manifest(&mut self, reference: &str, pushed: &Manifest, tags: &[String]) -> Checked<Answer> {
        let mut put = Request::new("PUT", manifest(&self.repository(), reference));
        for tag in tags {
            put = put.parameter("tag", tag);
        }
        let put = put
            .header("content-type", &pushed.media_type)
            .body(Body::Chunked(&pushed.bytes));
        let answer = self.client.send(&put)?;
        criteria::status(&answer, &[201])?;
        if let Some(subject) = &pushed.subject {
            criteria::header(&answer, "oci-subject", subject)?;
        }
        criteria::digest(&answer, &pushed.digest, false)?;
        let stored = self.client.send(&accepting("GET", criteria::location(&answer)?))?;
        is_manifest(&stored, pushed)?;
        criteria::body(&stored, &pushed.bytes)?;
        Ok(answer)
    }

    pub(super) fn head_manifest(&mut self, reference: &str, wanted: &Manifest) -> Checked {
        let target = manifest(&self.repository(), reference);
        let answer = self.client.send(&accepting("HEAD", target))?;
        is_manifest(&answer, wanted)?;
        criteria::digest(&answer, &wanted.digest, self.options.demands_digests())
    }

    pub(super) fn get_manifest(&mut self, reference: &str, wanted: &Manifest) -> Checked {
        let target = manifest(&self.repository(), reference);
        let answer = self.client.send(&accepting("GET", target))?;
        is_manifest(&answer, wanted)?;
        criteria::body(&answer, &wanted.bytes)?;
        criteria::digest(&answer, &wanted.digest, self.options.demands_digests())
    }

    /// Two checks, for a tag or a digest.
    pub(super) fn delete_manifest(&mut self, check: &str, reference: &str) {
        let target = manifest(&self.repository(), reference);
        let deleted = self.deleted(target.clone(), &[202, 404], &[400, 405]);
        self.gone(check, deleted, &accepting("HEAD", target));
    }

    /// The tags, or none when the repository is not there.
    pub(super) fn tags(&mut self, last: Option<&str>) -> Checked<Vec<String>> {
        let mut request = Request::new("GET", format!("/v2/{}/tags/list", self.repository()));
        if let Some(last) = last {
            request = request.parameter("last", last);
        }
        let answer = self.client.send(&request)?;
        criteria::status(&answer, &[200, 404])?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let parsed: Value = serde_json::from_slice(&answer.body).map_err(|error| failed(error, &answer))?;
        let tags = parsed["tags"].as_array().cloned().unwrap_or_default();
        Ok(tags.iter().filter_map(|tag| Some(tag.as_str()?.to_owned())).collect())
    }

    /// The entries that refer to `subject`, and what the answer said about filters.
    pub(super) fn referrers(&mut self, subject: &str, artifact_type: Option<&str>) -> Checked<(Vec<Value>, Answer)> {
        let mut request = Request::new("GET", format!("/v2/{}/referrers/{subject}", self.repository()));
        if let Some(artifact_type) = artifact_type {
            request = request.parameter("artifactType", artifact_type);
        }
        let answer = self.client.send(&request)?;
        criteria::status(&answer, &[200])?;
        criteria::header(&answer, "content-type", INDEX)?;
        let index = answer.json();
        let is_index = index["schemaVersion"] == 2 && index["mediaType"] == INDEX;
        criteria::that(is_index, "an OCI index wanted", &answer)?;
        Ok((index["manifests"].as_array().cloned().unwrap_or_default(), answer))
    }
}

fn is_manifest(answer: &Answer, wanted: &Manifest) -> Checked {
    criteria::status(answer, &[200])?;
    criteria::header(answer, "content-type", &wanted.media_type)?;
    criteria::length(answer, wanted.bytes.len())
}
