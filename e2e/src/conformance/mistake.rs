//! What a registry may do wrong, one thing at a time, and how many checks must not pass then.
//!
//! The numbers are those of the official program with everything on (profile `dev`, sparse content).

use std::{
    fmt,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    Counts,
    wire::{Head, Headers},
};

const MANIFEST_LIMIT: usize = 2 * 1024 * 1024;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// `; charset=utf-8` behind the media type of a referrers list.
    ReferrersCharset,
    /// 404 for the referrers of a repository that is not there yet.
    ReferrersOfNothing,
    /// `Content-Range` is not looked at when an upload is closed.
    ClosingRangeIgnored,
    /// The digest header of a manifest is always a sha256 digest.
    DigestAlwaysSha256,
    /// A mount that cannot be done is answered with 404.
    FailedMountNotFound,
    /// No `OCI-Subject`.
    NoSubjectHeader,
    /// Manifests of more than 2 MiB are refused.
    SmallManifestsOnly,
    /// No `OCI-Tag`.
    NoTagHeader,
    /// Answers are compressed when the client accepts it.
    Compressed,
    /// No `Docker-Content-Digest`.
    NoDigestHeader,
    /// Deleting a blob that is there is a bad request.
    BlobDeleteBadRequest,
    /// Deleting a blob that is there is not supported.
    BlobDeleteUnsupported,
    /// A range that ends before it begins gets the whole blob.
    BackwardRangeWhole,
    /// A POST with a digest opens a session.
    NoMonolithicPost,
    /// A mount without a source opens a session.
    NoAnonymousMount,
    /// Every mount opens a session.
    NoMount,
}

/// A mistake, the checks that fail because of it and those that are skipped.
#[derive(Debug, Clone, Copy)]
pub struct Effect {
    /// The mistake.
    pub mistake: Mistake,
    /// Failed checks.
    pub failed: usize,
    /// Skipped checks.
    pub skipped: usize,
}

impl Effect {
    /// True when these are the checks that the mistake costs.
    pub fn is(&self, counts: &Counts) -> bool {
        (self.failed, self.skipped) == (counts.failed, counts.skipped)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{:?}", self.mistake))
    }
}

const fn effect(mistake: Mistake, failed: usize, skipped: usize) -> Effect {
    Effect {
        mistake,
        failed,
        skipped,
    }
}

/// Skips that the official program's measurements do not have: Berth keeps what a manifest still needs. With these
/// mistakes the manifests of `tag-param-sha512` are pushed as sha256 too, where nobody deletes them, and its six blobs
/// stay; each is two checks.
const KEPT: usize = 12;

/// The effects that were measured with the official program.
pub const EFFECTS: &[Effect] = &[
    effect(Mistake::ReferrersCharset, 4, 0),
    effect(Mistake::ReferrersOfNothing, 1, 0),
    effect(Mistake::ClosingRangeIgnored, 2, 0),
    effect(Mistake::DigestAlwaysSha256, 20, 0),
    effect(Mistake::FailedMountNotFound, 2, 0),
    effect(Mistake::NoSubjectHeader, 11, 0),
    effect(Mistake::SmallManifestsOnly, 7, 0),
    effect(Mistake::NoTagHeader, 12, 6 + KEPT),
    effect(Mistake::Compressed, 269, KEPT),
    effect(Mistake::NoDigestHeader, 762, 0),
    effect(Mistake::BlobDeleteBadRequest, 121, 121),
    effect(Mistake::BlobDeleteUnsupported, 0, 242),
    effect(Mistake::BackwardRangeWhole, 0, 2),
    effect(Mistake::NoMonolithicPost, 0, 4),
    effect(Mistake::NoAnonymousMount, 0, 2),
];

/// A request on its way through.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

impl Passing {
    fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }

    fn reads(&self, part: &str) -> bool {
        self.is("GET", part) || self.is("HEAD", part)
    }

    fn has_parameter(&self, name: &str) -> bool {
        self.parameters().any(|(known, _)| known == name)
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter_map(|pair| pair.split_once('='))
    }

    fn drop_query(&mut self) {
        self.target.truncate(self.target.find('?').unwrap_or(self.target.len()));
    }
}

impl Mistake {
    /// Changes a request before the registry sees it, or answers it in its place.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a mistake is made in one place, and leaves all others as they are"
    )]
    pub(super) fn on_request(self, request: &mut Passing, pushed: &AtomicBool) -> Option<u16> {
        let posts = request.is("POST", "/blobs/uploads/");
        if posts {
            pushed.store(true, Ordering::SeqCst);
        }
        match self {
            Self::ReferrersOfNothing if request.reads("/referrers/") && !pushed.load(Ordering::SeqCst) => {
                return Some(404);
            }
            Self::SmallManifestsOnly if request.is("PUT", "/manifests/") && request.body.len() > MANIFEST_LIMIT => {
                return Some(413);
            }
            Self::ClosingRangeIgnored if request.method == "PUT" => request.headers.remove("content-range"),
            Self::BackwardRangeWhole if request.headers.get("range") == Some("bytes=500-0") => {
                request.headers.remove("range");
            }
            Self::NoMonolithicPost if posts && request.has_parameter("digest") => {
                request.drop_query();
                request.body.clear();
            }
            Self::NoMount if posts && request.has_parameter("mount") => request.drop_query(),
            Self::NoAnonymousMount if posts && request.has_parameter("mount") && !request.has_parameter("from") => {
                request.drop_query();
            }
            _ => {}
        }
        None
    }

    /// Changes an answer before the client sees it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a mistake is made in one place, and leaves all others as they are"
    )]
    pub(super) fn on_answer(self, request: &Passing, head: &mut Head, body: &mut Vec<u8>) {
        let was_deleted = request.is("DELETE", "/blobs/sha") && head.first.contains(" 202");
        let headers = &mut head.headers;
        match self {
            Self::ReferrersCharset if request.reads("/referrers/") => {
                let plain = headers.get("content-type").unwrap_or_default().to_owned();
                headers.set("content-type", format!("{plain}; charset=utf-8"));
            }
            Self::DigestAlwaysSha256 if request.reads("/manifests/") => shorten_digest(headers),
            Self::FailedMountNotFound if request.has_parameter("mount") && head.first.contains(" 202") => {
                "HTTP/1.1 404 Mistaken".clone_into(&mut head.first);
            }
            Self::BlobDeleteBadRequest if was_deleted => "HTTP/1.1 400 Mistaken".clone_into(&mut head.first),
            Self::BlobDeleteUnsupported if was_deleted => "HTTP/1.1 405 Mistaken".clone_into(&mut head.first),
            Self::NoSubjectHeader => headers.remove("oci-subject"),
            Self::NoTagHeader => headers.remove("oci-tag"),
            Self::NoDigestHeader => headers.remove("docker-content-digest"),
            Self::Compressed if request.headers.has_word("accept-encoding", "gzip") => compress(headers, body),
            _ => {}
        }
    }
}

fn shorten_digest(headers: &mut Headers) {
    let digest = headers.get("docker-content-digest").unwrap_or_default();
    if let Some(encoded) = digest.strip_prefix("sha512:") {
        let shorter = format!("sha256:{}", encoded.get(..64).unwrap_or_default());
        headers.set("docker-content-digest", shorter);
    }
}

fn compress(headers: &mut Headers, body: &mut Vec<u8>) {
    if body.is_empty() {
        return;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if encoder.write_all(body).is_ok()
        && let Ok(compressed) = encoder.finish()
    {
        *body = compressed;
        headers.set("content-encoding", "gzip");
        headers.set("content-length", body.len().to_string());
    }
}
