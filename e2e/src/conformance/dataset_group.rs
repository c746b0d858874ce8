//! The group of one data set: push, list, head, pull, referrers, delete.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Suite,
    blobs::Blob,
    client::{Answer, Body, Request},
    criteria,
    dataset::{DataSet, Set},
    manifests::{Manifest, manifest},
    tally::{Checked, Fault},
};

impl Suite {
    pub(super) fn dataset_group(&mut self, set: &Set) {
        self.tally.begin(set.name);
        let data = set.make(&mut self.random);
        let tagged = self.push_all(&data);
        let listed = self.tags_are_listed(&data);
        self.tally.record("tag-list", listed);
        self.read_all(&data);
        if !data.referrers.is_empty() {
            let listed = self.referrers_are_listed(&data);
            self.tally.record("referrers", listed);
        }
        self.delete_all("delete", &data, &tagged);
    }

    /// Pushes an image with these tags, which stays.
    pub(super) fn push_for_others(&mut self, tags: &[&str]) -> DataSet {
        let mut data = DataSet::one_layer_image(&mut self.random);
        let digest = data.manifests[0].digest.clone();
        data.tags = tags.iter().map(|tag| ((*tag).to_owned(), digest.clone())).collect();
        self.push_all(&data);
        data
    }

    /// Pushes everything; gives the tags that the registry says it has.
    fn push_all(&mut self, data: &DataSet) -> Vec<String> {
        for (digest, bytes) in &data.blobs {
            let blob = Blob {
                digest,
                bytes,
                corrupt: false,
            };
            self.push_in_any_way("push", &self.repository(), blob);
        }
        let mut tagged = Vec::new();
        for pushed in &data.manifests {
            let outcome = if data.corrupt {
                self.corrupt_manifest(pushed)
            } else {
                self.push_with_tags(data, pushed, &mut tagged)
            };
            self.tally.record("push/manifest-by-digest", outcome);
        }
        for (tag, digest) in &data.tags {
            let Some(pushed) = data.manifest(digest).filter(|_| !tagged.contains(tag)) else {
                continue;
            };
            let outcome = self.put_manifest(tag, pushed, &[]).map(drop);
            if self.tally.record("push/manifest-by-tag", outcome) {
                tagged.push(tag.clone());
            }
        }
        tagged
    }

    fn push_with_tags(&mut self, data: &DataSet, pushed: &Manifest, tagged: &mut Vec<String>) -> Checked {
        let tags = if data.tags_by_parameter {
            data.tags_of(&pushed.digest)
        } else {
            Vec::new()
        };
        let answer = self.put_manifest(&pushed.digest, pushed, &tags)?;
        let (acknowledged, missing): (Vec<String>, Vec<String>) =
            tags.into_iter().partition(|tag| is_acknowledged(&answer, tag));
        tagged.extend(acknowledged);
        if missing.is_empty() {
            return Ok(());
        }
        Err(Fault::Unsupported(format!("OCI-Tag with {missing:?} wanted: {answer}")))
    }

    fn corrupt_manifest(&mut self, pushed: &Manifest) -> Checked {
        let put = Request::new("PUT", manifest(&self.repository(), &pushed.digest))
            .header("content-type", &pushed.media_type)
            .body(Body::Chunked(&pushed.bytes));
        criteria::status(&self.client.send(&put)?, &[400])
    }

    /// The pushed tags are in the list, and `last` leaves out exactly the first half.
    fn tags_are_listed(&mut self, data: &DataSet) -> Checked {
        let mut all = self.tags(None)?;
        if let Some((missing, _)) = data.tags.iter().find(|(tag, _)| !all.contains(tag)) {
            return Err(Fault::Failed(format!("the tag {missing} is not in the list {all:?}")));
        }
        if all.len() < 2 {
            return Ok(());
        }
        all.sort();
        let (before, after) = all.split_at(all.len() / 2);
        let last = &before[before.len() - 1];
        let rest: BTreeSet<String> = self.tags(Some(last))?.into_iter().collect();
        if rest.iter().eq(after) {
            return Ok(());
        }
        Err(Fault::Failed(format!(
            "with last={last} the list is {rest:?}, not {after:?}"
        )))
    }

    fn read_all(&mut self, data: &DataSet) {
        if !data.corrupt {
            for (check, read) in [
                (
                    "head/manifest-head",
                    Self::head_manifest as fn(&mut Self, &str, &Manifest) -> Checked,
                ),
                ("pull/manifest-get", Self::get_manifest),
            ] {
                self.read_manifests(data, check, read);
            }
        }
        for (digest, bytes) in &data.blobs {
            let outcome = self.head_blob(&self.repository(), digest, bytes);
            self.tally.record("head/blob-head", outcome);
            let outcome = self.get_blob(&self.repository(), digest, bytes);
            self.tally.record("pull/blob-get", outcome);
        }
    }

    fn read_manifests(&mut self, data: &DataSet, check: &str, read: fn(&mut Self, &str, &Manifest) -> Checked) {
        for (tag, digest) in &data.tags {
            if let Some(wanted) = data.manifest(digest) {
                let outcome = read(self, tag, wanted);
                self.tally.record(&format!("{check}-by-tag"), outcome);
            }
        }
        for wanted in &data.manifests {
            let outcome = read(self, &wanted.digest, wanted);
            self.tally.record(&format!("{check}-by-digest"), outcome);
        }
    }

    fn referrers_are_listed(&mut self, data: &DataSet) -> Checked {
        for (subject, wanted) in &data.referrers {
            let (listed, answer) = self.referrers(subject, None)?;
            entries_are_in(wanted.iter(), &listed, &answer)?;
            let types: BTreeSet<&str> = wanted
                .iter()
                .filter_map(|entry| entry["artifactType"].as_str())
                .collect();
            for artifact_type in types {
                self.filtered_referrers(subject, wanted, artifact_type)?;
            }
        }
        Ok(())
    }

    fn filtered_referrers(&mut self, subject: &str, wanted: &[Value], artifact_type: &str) -> Checked {
        let (listed, answer) = self.referrers(subject, Some(artifact_type))?;
        let of_type = |entry: &&Value| entry["artifactType"] == artifact_type;
        entries_are_in(wanted.iter().filter(of_type), &listed, &answer)?;
        if !answer.headers.has_word("oci-filters-applied", "artifactType") {
            return Err(Fault::Unsupported(format!(
                "OCI-Filters-Applied: artifactType wanted: {answer}"
            )));
        }
        criteria::that(
            listed.iter().all(|entry| of_type(&entry)),
            "only entries of the type wanted",
            &answer,
        )
    }

    /// Deletes the tags that are there, the manifests in reverse order and the blobs.
    pub(super) fn delete_all(&mut self, check: &str, data: &DataSet, tagged: &[String]) {
        for tag in tagged {
            self.delete_manifest(&format!("{check}/tag-delete"), tag);
        }
        for pushed in data.manifests.iter().rev() {
            self.delete_manifest(&format!("{check}/manifest-delete"), &pushed.digest);
        }
        for (digest, _) in &data.blobs {
            self.delete_blob(&format!("{check}/blob-delete"), &self.repository(), digest);
        }
    }
}

fn is_acknowledged(answer: &Answer, tag: &str) -> bool {
    let mut tags = answer.headers.all("oci-tag").flat_map(|line| line.split(','));
    tags.any(|found| found.trim() == tag)
}

/// Every wanted entry is listed: what it describes, its type and all its annotations.
fn entries_are_in<'v>(wanted: impl Iterator<Item = &'v Value>, listed: &[Value], answer: &Answer) -> Checked {
    for entry in wanted {
        criteria::that(
            listed.iter().any(|found| is_entry(found, entry)),
            format!("the entry {entry} wanted"),
            answer,
        )?;
    }
    Ok(())
}

fn is_entry(found: &Value, wanted: &Value) -> bool {
    let same = ["digest", "mediaType", "size", "artifactType"]
        .iter()
        .all(|member| found[*member] == wanted[*member]);
    let annotations = wanted["annotations"].as_object();
    same && annotations.is_none_or(|all| all.iter().all(|(name, value)| found["annotations"][name] == *value))
}
