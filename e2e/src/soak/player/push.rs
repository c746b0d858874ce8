//! Pushing: blobs in every way that there is, then the manifest; what the registry misses is pushed again.

use super::{
    super::{
        history::{Ask, Call, Outcome, RepositoryId, Seen, Session, Tag},
        library::{BlobId, ManifestId, Named},
    },
    Player,
    ask::{Asked, Judged, unjudged},
};
use crate::conformance::client::{Answer, Body, Request};

/// How often a push is tried before it is given up.
const ATTEMPTS: usize = 3;
/// How often a session is asked where it stands before it is given up.
const RESUMES: usize = 4;

/// An open session.
#[derive(Debug, Clone)]
struct Opened {
    session: Session,
    location: String,
}

impl Player<'_> {
    /// An image or an index, to a tag.
    pub(super) fn push_root(&mut self, repository: RepositoryId) {
        let Some(id) = self.random.pick(&self.ground.library.roots()) else {
            return;
        };
        let tag = self.tag();
        self.push(repository, Some(tag), id);
    }

    /// What refers to a subject; often the subject first.
    pub(super) fn push_referrer(&mut self, repository: RepositoryId) {
        let Some(id) = self.random.pick(&self.ground.library.referrers()) else {
            return;
        };
        let subject = self.ground.library.manifest(id).subject;
        if let Some(subject) = subject.filter(|_| self.random.chance(60)) {
            let tag = self.tag();
            self.push(repository, Some(tag), subject);
        }
        self.push(repository, None, id);
    }

    /// Everything below a manifest, then itself.
    fn push(&mut self, repository: RepositoryId, tag: Option<Tag>, id: ManifestId) {
        let ground = self.ground;
        let manifest = ground.library.manifest(id);
        for child in &manifest.children {
            self.push_below(repository, *child);
            self.put_manifest(repository, None, *child);
        }
        self.push_below(repository, id);
        self.think(60);
        for _ in 0..ATTEMPTS {
            let missing = self.put_manifest(repository, tag, id);
            if missing.is_empty() {
                return;
            }
            for digest in missing {
                self.bring(repository, &digest);
            }
        }
    }

    fn push_below(&mut self, repository: RepositoryId, id: ManifestId) {
        let ground = self.ground;
        for blob in &ground.library.manifest(id).blobs {
            self.bring_blob(repository, *blob);
        }
    }

    fn bring(&mut self, repository: RepositoryId, digest: &str) {
        match self.ground.library.named(digest) {
            Some(Named::Blob(blob)) => self.upload(repository, blob),
            Some(Named::Manifest(id)) => {
                self.push_below(repository, id);
                self.put_manifest(repository, None, id);
            }
            None => {}
        }
    }

    /// Gives the digests that the registry says it misses.
    pub(super) fn put_manifest(&mut self, repository: RepositoryId, tag: Option<Tag>, id: ManifestId) -> Vec<String> {
        let ground = self.ground;
        let manifest = ground.library.manifest(id);
        let reference = tag.map_or_else(|| manifest.digest.clone(), |tag| tag.to_string());
        let asked = Asked {
            repository,
            call: Call::PutManifest { tag, manifest: id },
            request: Request::new("PUT", format!("/v2/{repository}/manifests/{reference}"))
                .header("content-type", manifest.media_type)
                .body(Body::Sized(&manifest.bytes)),
        };
        let (outcome, _) = self.ask(&asked, |answer| stored(answer, &manifest.digest));
        match outcome {
            Outcome::Refused { missing, .. } => missing,
            Outcome::Done(_) | Outcome::Unknown(_) | Outcome::NotSent => Vec::new(),
        }
    }

    /// As clients do: look whether it is there, try to mount it, upload it.
    fn bring_blob(&mut self, repository: RepositoryId, blob: BlobId) {
        if self.random.chance(60) && self.read_blob(repository, blob, Ask::Head) {
            return;
        }
        if self.random.chance(30) {
            self.mount(repository, blob);
        } else {
            self.upload(repository, blob);
        }
    }

    fn mount(&mut self, repository: RepositoryId, blob: BlobId) {
        let from = RepositoryId((repository.0 + 1) % self.ground.repositories);
        let digest = &self.ground.library.blob(blob).digest;
        let session = self.ground.session();
        let asked = Asked {
            repository,
            call: Call::Mount { blob, from },
            request: Request::new("POST", format!("/v2/{repository}/blobs/uploads/"))
                .parameter("mount", digest)
                .parameter("from", &from.to_string()),
        };
        let seen = |answer: &Answer| match answer.status {
            201 => stored(answer, digest),
            _ => (Seen::Opened(session), None),
        };
        let (_, answer) = self.ask(&asked, seen);
        let Some(answer) = answer.filter(|answer| answer.status != 201) else {
            return;
        };
        let location = answer.header("location").to_owned();
        self.fill(repository, blob, &Opened { session, location });
    }

    fn upload(&mut self, repository: RepositoryId, blob: BlobId) {
        if self.random.chance(35) {
            self.upload_at_once(repository, blob);
        } else if let Some(opened) = self.open(repository) {
            self.fill(repository, blob, &opened);
        }
    }

    /// One POST with everything.
    fn upload_at_once(&mut self, repository: RepositoryId, blob: BlobId) {
        let content = self.ground.library.blob(blob);
        let asked = Asked {
            repository,
            call: Call::Finish { session: None, blob },
            request: Request::new("POST", format!("/v2/{repository}/blobs/uploads/"))
                .parameter("digest", &content.digest)
                .body(Body::Sized(&content.bytes)),
        };
        self.ask(&asked, |answer| stored(answer, &content.digest));
    }

    fn open(&mut self, repository: RepositoryId) -> Option<Opened> {
        let session = self.ground.session();
        let asked = Asked {
            repository,
            call: Call::OpenUpload { session },
            request: Request::new("POST", format!("/v2/{repository}/blobs/uploads/")),
        };
        let (_, answer) = self.ask(&asked, unjudged);
        let location = answer?.header("location").to_owned();
        Some(Opened { session, location })
    }

    /// Brings a blob into an open session: in chunks, each at any replica, or with the last request.
    fn fill(&mut self, repository: RepositoryId, blob: BlobId, opened: &Opened) {
        let size = self.ground.library.blob(blob).bytes.len();
        let chunks = self.random.below(4);
        let mut at = 0;
        for _ in 0..chunks {
            let to = (at + size / chunks).max(at + 1).min(size);
            if to <= at {
                break;
            }
            let breaks = self.random.chance(8);
            match self.chunk(repository, (blob, opened), (at, to), breaks) {
                Some(stands) => at = stands,
                None => return self.give_up(repository, opened),
            }
        }
        self.finish(repository, (blob, opened), at);
    }

    /// Sends a chunk, and asks where the session stands when that is not clear. None: the session is given up.
    fn chunk(
        &mut self,
        repository: RepositoryId,
        (blob, opened): (BlobId, &Opened),
        (at, to): (usize, usize),
        breaks: bool,
    ) -> Option<usize> {
        let bytes = &self.ground.library.blob(blob).bytes[at..to];
        let last = to.saturating_sub(1);
        let session = opened.session;
        let asked = Asked {
            repository,
            call: Call::Chunk { session, to },
            request: Request::new("PATCH", opened.location.as_str())
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{at}-{last}"))
                .body(Body::Sized(bytes)),
        };
        if breaks {
            let sent = self.random.below(bytes.len());
            self.hang_up(&asked, sent);
        } else {
            let (outcome, _) = self.ask(&asked, offset);
            match outcome {
                Outcome::Done(Seen::Offset(stands)) => return Some(stands),
                Outcome::Refused { status: 404, .. } => return None,
                Outcome::Done(_) | Outcome::Refused { .. } | Outcome::Unknown(_) | Outcome::NotSent => {}
            }
        }
        (0..RESUMES).find_map(|_| self.standing(repository, opened))
    }

    /// How many bytes the session has.
    fn standing(&mut self, repository: RepositoryId, opened: &Opened) -> Option<usize> {
        let session = opened.session;
        let asked = Asked {
            repository,
            call: Call::AskUpload { session },
            request: Request::new("GET", opened.location.as_str()),
        };
        if let (Outcome::Done(Seen::Offset(stands)), _) = self.ask(&asked, offset) {
            return Some(stands);
        }
        None
    }

    /// The last request, with the bytes that are still missing.
    fn finish(&mut self, repository: RepositoryId, (blob, opened): (BlobId, &Opened), mut at: usize) {
        let content = self.ground.library.blob(blob);
        for _ in 0..ATTEMPTS {
            let rest = content.bytes.get(at..).unwrap_or_default();
            let asked = Asked {
                repository,
                call: Call::Finish {
                    session: Some(opened.session),
                    blob,
                },
                request: Request::new("PUT", opened.location.as_str())
                    .parameter("digest", &content.digest)
                    .body(if rest.is_empty() { Body::None } else { Body::Sized(rest) }),
            };
            let (outcome, _) = self.ask(&asked, |answer| stored(answer, &content.digest));
            match outcome {
                Outcome::Done(_) | Outcome::Refused { status: 404, .. } => return,
                Outcome::Refused { .. } | Outcome::Unknown(_) | Outcome::NotSent => {}
            }
            let Some(stands) = self.standing(repository, opened) else {
                break;
            };
            at = stands;
        }
        self.give_up(repository, opened);
    }

    /// Ends the session, or just leaves it.
    fn give_up(&mut self, repository: RepositoryId, opened: &Opened) {
        if self.random.chance(50) {
            let session = opened.session;
            let asked = Asked {
                repository,
                call: Call::CancelUpload { session },
                request: Request::new("DELETE", opened.location.as_str()),
            };
            self.ask(&asked, unjudged);
        }
    }

    /// An upload that its client loses interest in.
    pub(super) fn break_off(&mut self, repository: RepositoryId) {
        let Some(opened) = self.open(repository) else {
            return;
        };
        let blob = BlobId(self.random.below(self.ground.library.blobs.len()));
        let size = self.ground.library.blob(blob).bytes.len();
        if size > 1 {
            let breaks = self.random.chance(50);
            self.chunk(repository, (blob, &opened), (0, size / 2), breaks);
        }
        self.give_up(repository, &opened);
    }
}

/// Something is stored under this digest.
fn stored(answer: &Answer, digest: &str) -> Judged {
    let told = answer.header("docker-content-digest");
    let wrong = match answer.status {
        201 if told.is_empty() || told == digest => None,
        201 => Some(format!("stored as {told} in place of {digest}")),
        status => Some(format!("status {status} in place of 201")),
    };
    (Seen::Nothing, wrong)
}

/// The offset behind the last stored byte, from `Range: 0-<last>`. Nothing and one byte are told in the same way; no
/// chunk has one byte only.
fn offset(answer: &Answer) -> Judged {
    let told = answer.header("range").rsplit('-').next();
    let last = told.and_then(|last| last.parse::<usize>().ok()).unwrap_or(0);
    (Seen::Offset(if last == 0 { 0 } else { last + 1 }), None)
}
