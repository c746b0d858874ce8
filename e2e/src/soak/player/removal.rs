//! Deleting tags, manifests and blobs, and moving tags.

use super::{
    super::{
        history::{Ask, At, Call, RepositoryId},
        library::{BlobId, ManifestId},
    },
    Player,
    ask::{Asked, unjudged},
};
use crate::conformance::client::Request;

impl Player<'_> {
    pub(super) fn delete_tag(&mut self, repository: RepositoryId) {
        let tag = self.tag();
        let asked = Asked {
            repository,
            call: Call::DeleteTag { tag },
            request: Request::new("DELETE", format!("/v2/{repository}/manifests/{tag}")),
        };
        self.ask(&asked, unjudged);
    }

    /// What a tag points to, or any.
    pub(super) fn delete_manifest(&mut self, repository: RepositoryId) {
        let tagged = At::Tag(self.tag());
        let tagged = self.read_manifest(repository, tagged, Ask::Head);
        let any = ManifestId(self.random.below(self.ground.library.manifests.len()));
        let manifest = tagged.filter(|_| self.random.chance(50)).unwrap_or(any);
        let digest = &self.ground.library.manifest(manifest).digest;
        let asked = Asked {
            repository,
            call: Call::DeleteManifest { manifest },
            request: Request::new("DELETE", format!("/v2/{repository}/manifests/{digest}")),
        };
        self.ask(&asked, unjudged);
    }

    pub(super) fn delete_blob(&mut self, repository: RepositoryId) {
        let blob = BlobId(self.random.below(self.ground.library.blobs.len()));
        let digest = &self.ground.library.blob(blob).digest;
        let asked = Asked {
            repository,
            call: Call::DeleteBlob { blob },
            request: Request::new("DELETE", format!("/v2/{repository}/blobs/{digest}")),
        };
        self.ask(&asked, unjudged);
    }

    /// Points another tag to what a tag points to, without pushing anything below it.
    pub(super) fn move_tag(&mut self, repository: RepositoryId) {
        let from = At::Tag(self.tag());
        let Some(id) = self.read_manifest(repository, from, Ask::Get) else {
            return;
        };
        self.think(50);
        let to = self.tag();
        self.put_manifest(repository, Some(to), id);
    }
}
