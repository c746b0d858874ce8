//! Pulling: a manifest by its tag, then everything that it names.

use super::{
    super::{
        history::{Ask, At, Call, Outcome, RepositoryId, Seen},
        library::{BlobId, ManifestId},
    },
    Player,
    ask::Asked,
    judged,
};
use crate::conformance::client::Request;

impl Player<'_> {
    /// Pulls what a tag points to: as a client that looks first, or by digest, and often only some of it.
    pub(super) fn pull(&mut self, repository: RepositoryId) {
        let at = At::Tag(self.tag());
        if self.random.chance(30) {
            self.read_manifest(repository, at, Ask::Head);
        }
        let Some(id) = self.read_manifest(repository, at, Ask::Get) else {
            return;
        };
        self.think(100);
        if self.random.chance(50) {
            self.read_manifest(repository, At::Digest(id), Ask::Get);
        }
        self.read_below(repository, id, 40);
    }

    /// Reads everything that is there: the last look, at every replica in turn.
    pub(in crate::soak) fn read_everything(&mut self, clients: usize) {
        for repository in self.ground.repositories() {
            self.list_tags(repository);
            for tag in self.ground.tags(clients) {
                if let Some(id) = self.read_manifest(repository, At::Tag(tag), Ask::Get) {
                    self.read_below(repository, id, 100);
                }
            }
            for id in self.ground.library.manifest_ids() {
                self.read_manifest(repository, At::Digest(id), Ask::Head);
                self.list_referrers_of(repository, id);
            }
        }
    }

    /// The children and so many of a hundred blobs of a manifest.
    fn read_below(&mut self, repository: RepositoryId, id: ManifestId, percent: u64) {
        let ground = self.ground;
        for child in &ground.library.manifest(id).children {
            if self.random.chance(percent) && self.read_manifest(repository, At::Digest(*child), Ask::Get).is_some() {
                self.read_blobs(repository, *child, percent);
            }
        }
        self.read_blobs(repository, id, percent);
    }

    fn read_blobs(&mut self, repository: RepositoryId, id: ManifestId, percent: u64) {
        let ground = self.ground;
        for blob in &ground.library.manifest(id).blobs {
            if self.random.chance(percent) {
                let ask = self.way(*blob);
                self.read_blob(repository, *blob, ask);
            }
        }
    }

    /// Whole or in part.
    fn way(&mut self, blob: BlobId) -> Ask {
        let size = self.ground.library.blob(blob).bytes.len();
        if size < 2 || self.random.chance(70) {
            return Ask::Get;
        }
        let first = self.random.below(size);
        let last = first + self.random.below((size - first).min(100_000));
        Ask::Part(first, last)
    }

    pub(super) fn read_manifest(&mut self, repository: RepositoryId, at: At, ask: Ask) -> Option<ManifestId> {
        let ground = self.ground;
        let (reference, wanted) = match at {
            At::Tag(tag) => (tag.to_string(), None),
            At::Digest(id) => (ground.library.manifest(id).digest.clone(), Some(id)),
        };
        let method = if ask == Ask::Head { "HEAD" } else { "GET" };
        let asked = Asked {
            repository,
            call: Call::ReadManifest { at, ask },
            request: Request::new(method, format!("/v2/{repository}/manifests/{reference}")),
        };
        let (outcome, _) = self.ask(&asked, |answer| judged::manifest(&ground.library, answer, wanted, ask));
        if let Outcome::Done(Seen::Manifest(id)) = outcome {
            return Some(id);
        }
        None
    }

    /// True when the repository has the blob.
    pub(super) fn read_blob(&mut self, repository: RepositoryId, blob: BlobId, ask: Ask) -> bool {
        let ground = self.ground;
        let content = ground.library.blob(blob);
        let method = if ask == Ask::Head { "HEAD" } else { "GET" };
        let mut request = Request::new(method, format!("/v2/{repository}/blobs/{}", content.digest));
        if let Ask::Part(first, last) = ask {
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        let asked = Asked {
            repository,
            call: Call::ReadBlob { blob, ask },
            request,
        };
        let (outcome, _) = self.ask(&asked, |answer| judged::blob(content, answer, ask));
        matches!(outcome, Outcome::Done(_))
    }
}
