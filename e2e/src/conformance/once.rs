//! The checks that are made once: before anything is pushed, and of manifests that are not there.

use super::{
    Suite,
    blobs::Blob,
    client::{Body, Request},
    content::{MANIFEST, sha256},
    criteria,
    dataset::DataSet,
    manifests::{accepting, manifest},
    tally::Checked,
};

const NO_DIGEST: &str = "sha256:baddigeststring";

impl Suite {
    pub(super) fn before_anything(&mut self) {
        self.tally.begin("ping and empty");
        let ping = self.client.send(&Request::new("GET", "/v2/"));
        self.tally.record("ping", ping.map(drop).map_err(Into::into));
        let tags = self.tags(None).map(drop);
        self.tally.record("tag list", tags);
        let nobody = sha256(&self.random.bytes(16));
        let referrers = self.referrers(&nobody, None).map(drop);
        self.tally.record("referrers", referrers);
    }

    pub(super) fn manifest_errors(&mut self) {
        self.tally.begin("manifest errors");
        let repository = self.repository();
        let digest = sha256(&self.random.bytes(1024));
        let tag = format!("missing-{}", self.random.word());
        for (check, reference) in [("by-digest", digest), ("by-tag", tag)] {
            let outcome = self.not_there(&manifest(&repository, &reference), &[404]);
            self.tally.record(&format!("missing-manifest/{check}"), outcome);
        }
        let set = DataSet::one_layer_image(&mut self.random);
        for (digest, bytes) in &set.blobs {
            let blob = Blob {
                digest,
                bytes,
                corrupt: false,
            };
            self.push_in_any_way("invalid-digest-format", &repository, blob);
        }
        let outcome = self.put_to_no_digest(&set);
        self.tally.record("invalid-digest-format/manifest-put", outcome);
        let outcome = self.not_there(&manifest(&repository, NO_DIGEST), &[404, 400]);
        self.tally.record("invalid-digest-format/manifest-get", outcome);
        self.delete_all("invalid-digest-format/delete", &set, &[]);
    }

    fn not_there(&mut self, target: &str, wanted: &[u16]) -> Checked {
        criteria::status(&self.client.send(&accepting("GET", target.to_owned()))?, wanted)
    }

    fn put_to_no_digest(&mut self, set: &DataSet) -> Checked {
        let put = Request::new("PUT", manifest(&self.repository(), NO_DIGEST))
            .header("content-type", MANIFEST)
            .body(Body::Chunked(&set.manifests[0].bytes));
        criteria::status(&self.client.send(&put)?, &[400])
    }
}
