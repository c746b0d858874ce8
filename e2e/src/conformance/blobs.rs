//! Blobs: every way to push one, and how to read and delete it.

use super::{
    Suite,
    client::{Answer, Body, Request},
    content::OCTETS,
    criteria::{self, failed},
    tally::{Checked, Fault},
};

/// Chunks are at least this long.
pub(super) const CHUNK: usize = 1024;

/// A blob that is pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blob<'a> {
    pub(super) digest: &'a str,
    pub(super) bytes: &'a [u8],
    /// The bytes are not those of the digest, so the push must be refused in the end.
    pub(super) corrupt: bool,
}

/// Ways to push a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    PostOnly,
    PostPut,
    Stream,
    Chunked { put_last: bool, out_of_order: bool },
}

impl Way {
    pub(super) const CHUNKED: Self = Self::Chunked {
        put_last: false,
        out_of_order: false,
    };

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PostOnly => "blob-post-only",
            Self::PostPut => "blob-post-put",
            Self::Stream => "blob-patch-stream",
            Self::Chunked { .. } => "blob-patch-chunked",
        }
    }
}

/// Where chunked bytes go, and what has arrived there.
struct Upload {
    target: String,
    stored: usize,
}

/// A part of a blob, by its first and last byte.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    last: usize,
}

pub(super) fn uploads(repository: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/")
}

pub(super) fn blob(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

impl Suite {
    /// Pushes in the first way that works; each that is tried is a check.
    pub(super) fn push_in_any_way(&mut self, check: &str, repository: &str, blob: Blob<'_>) -> bool {
        [Way::PostPut, Way::PostOnly, Way::Stream, Way::CHUNKED]
            .into_iter()
            .any(|way| {
                let outcome = self.push_blob(repository, blob, way);
                self.tally.record(&format!("{check}/{}", way.name()), outcome)
            })
    }

    pub(super) fn push_blob(&mut self, repository: &str, blob: Blob<'_>, way: Way) -> Checked {
        match way {
            Way::PostOnly => self.post_only(repository, blob),
            Way::PostPut => {
                let upload = self.open_upload(repository)?;
                let closing = Request::new("PUT", upload)
                    .header("content-type", OCTETS)
                    .body(Body::Sized(blob.bytes));
                self.close(closing, blob)
            }
            Way::Stream => {
                let upload = self.open_upload(repository)?;
                let patch = Request::new("PATCH", upload)
                    .header("content-type", OCTETS)
                    .body(Body::Chunked(blob.bytes));
                let answer = self.client.send(&patch)?;
                criteria::status(&answer, &[202])?;
                self.close_empty(criteria::location(&answer)?, blob)
            }
            Way::Chunked { put_last, out_of_order } => self.chunked(repository, blob, (put_last, out_of_order)),
        }
    }

    /// Opens a session; gives where to go on.
    pub(super) fn open_upload(&mut self, repository: &str) -> Checked<String> {
        let answer = self.client.send(&Request::new("POST", uploads(repository)))?;
        criteria::status(&answer, &[202])?;
        self.shortest_chunk = answer
            .header("oci-chunk-min-length")
            .parse()
            .unwrap_or(CHUNK)
            .max(CHUNK);
        criteria::location(&answer)
    }

    fn post_only(&mut self, repository: &str, blob: Blob<'_>) -> Checked {
        let post = Request::new("POST", uploads(repository))
            .parameter("digest", blob.digest)
            .header("content-type", OCTETS)
            .body(Body::Sized(blob.bytes));
        let answer = self.client.send(&post)?;
        if answer.status != 202 {
            return self.closed(&answer, blob);
        }
        let put = Request::new("PUT", criteria::location(&answer)?)
            .header("content-type", OCTETS)
            .body(Body::Sized(blob.bytes));
        self.close(put, blob)?;
        Err(Fault::Unsupported(format!(
            "a POST with the whole blob got 202: {answer}"
        )))
    }

    fn close_empty(&mut self, target: String, blob: Blob<'_>) -> Checked {
        self.close(Request::new("PUT", target).header("content-type", OCTETS), blob)
    }

    fn close(&mut self, put: Request<'_>, blob: Blob<'_>) -> Checked {
        let answer = self.client.send(&put.parameter("digest", blob.digest))?;
        self.closed(&answer, blob)
    }

    /// A push is over: 400 when the bytes were corrupt, else 201, and what `Location` names has the bytes.
    fn closed(&mut self, answer: &Answer, blob: Blob<'_>) -> Checked {
        if blob.corrupt {
            return criteria::status(answer, &[400]);
        }
        criteria::status(answer, &[201])?;
        criteria::digest(answer, blob.digest, self.options.demands_digests())?;
        self.blob_is_at_location(answer, blob)
    }

    pub(super) fn blob_is_at_location(&mut self, answer: &Answer, blob: Blob<'_>) -> Checked {
        criteria::digest(answer, blob.digest, false)?;
        let found = self.client.send(&Request::new("GET", criteria::location(answer)?))?;
        criteria::status(&found, &[200])?;
        criteria::body(&found, blob.bytes)
    }

    fn chunked(&mut self, repository: &str, blob: Blob<'_>, (put_last, out_of_order): (bool, bool)) -> Checked {
        let mut upload = Upload {
            target: self.open_upload(repository)?,
            stored: 0,
        };
        let total = blob.bytes.len();
        let step = (total / 3 + 1).max(self.shortest_chunk).min(total);
        while upload.stored < total {
            if out_of_order {
                self.misplaced_chunk(&mut upload, blob, step, put_last)?;
            }
            let part = part(upload.stored, step, total);
            if put_last && part.last + 1 == total {
                let put = chunk("PUT", &upload.target, blob, part);
                return self.close(put, blob);
            }
            let answer = self.client.send(&chunk("PATCH", &upload.target, blob, part))?;
            criteria::status(&answer, &[202])?;
            upload = Upload {
                target: criteria::location(&answer)?,
                stored: part.last + 1,
            };
        }
        self.close_empty(upload.target, blob)
    }

    /// A chunk that skips ahead, or goes back to the start, is refused, and the session goes on from where it was.
    fn misplaced_chunk(&mut self, upload: &mut Upload, blob: Blob<'_>, step: usize, put_last: bool) -> Checked {
        let total = blob.bytes.len();
        let ahead = upload.stored + step;
        let part = part(if ahead < total { ahead } else { 0 }, step, total);
        let mut bad = chunk("PATCH", &upload.target, blob, part);
        if put_last && part.last + 1 == total {
            bad = chunk("PUT", &upload.target, blob, part).parameter("digest", blob.digest);
        }
        criteria::status(&self.client.send(&bad)?, &[416])?;
        // The same address as the refused request, with its query.
        let now = self.client.send(&Request::new("GET", bad.target))?;
        criteria::status(&now, &[204])?;
        let end = now
            .header("range")
            .strip_prefix("0-")
            .and_then(|end| end.parse::<usize>().ok());
        let end = end.ok_or_else(|| failed("Range: 0-N wanted", &now))?;
        let right = upload.stored == 0 || end + 1 == upload.stored;
        criteria::that(right, format!("Range with {} bytes wanted", upload.stored), &now)?;
        upload.target = criteria::location(&now)?;
        Ok(())
    }

    /// `from` is where it may come from; without it, the registry finds it itself.
    pub(super) fn mount(&mut self, repository: &str, from: Option<&str>, blob: Blob<'_>) -> Checked {
        let mut post = Request::new("POST", uploads(repository)).parameter("mount", blob.digest);
        if let Some(from) = from {
            post = post.parameter("from", from);
        }
        let answer = self.client.send(&post)?;
        criteria::status(&answer, &[201, 202])?;
        if answer.status == 201 {
            return self.blob_is_at_location(&answer, blob);
        }
        let put = Request::new("PUT", criteria::location(&answer)?)
            .parameter("digest", blob.digest)
            .header("content-type", OCTETS)
            .body(Body::Sized(blob.bytes));
        let closed = self.client.send(&put)?;
        criteria::status(&closed, &[201])?;
        self.blob_is_at_location(&closed, blob)?;
        Err(Fault::Unsupported(format!("a mount got 202: {answer}")))
    }

    /// A mount of what is not there opens an ordinary session, in which the blob can be pushed.
    pub(super) fn mount_missing(&mut self, repository: &str, from: &str, blob: Blob<'_>) -> Checked {
        match self.mount(repository, Some(from), blob) {
            Err(Fault::Unsupported(_)) => Ok(()),
            Ok(()) => Err(Fault::Failed(
                "a mount of a blob that is not there succeeded".to_owned(),
            )),
            Err(failed) => Err(failed),
        }
    }

    pub(super) fn cancel(&mut self, repository: &str) -> Checked {
        let upload = self.open_upload(repository)?;
        let answer = self.client.send(&Request::new("DELETE", upload))?;
        criteria::status(&answer, &[204])
    }

    pub(super) fn head_blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Checked {
        let answer = self.client.send(&Request::new("HEAD", blob(repository, digest)))?;
        criteria::status(&answer, &[200])?;
        criteria::length(&answer, bytes.len())?;
        criteria::digest(&answer, digest, self.options.demands_digests())
    }

    pub(super) fn get_blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Checked {
        let answer = self.client.send(&Request::new("GET", blob(repository, digest)))?;
        criteria::status(&answer, &[200])?;
        criteria::body(&answer, bytes)?;
        criteria::length(&answer, bytes.len())?;
        criteria::digest(&answer, digest, self.options.demands_digests())
    }

    /// Two checks: it can be deleted, and is gone at once.
    pub(super) fn delete_blob(&mut self, check: &str, repository: &str, digest: &str) {
        let deleted = self.deleted(blob(repository, digest), &[202, 404], &[405]);
        self.gone(check, deleted, &Request::new("HEAD", blob(repository, digest)));
    }

    pub(super) fn deleted(&mut self, target: String, right: &[u16], unsupported: &[u16]) -> Checked {
        let answer = self.client.send(&Request::new("DELETE", target))?;
        if unsupported.contains(&answer.status) {
            return Err(Fault::Unsupported(format!("{answer}")));
        }
        criteria::status(&answer, right)
    }

    /// Records a deletion, and that what it deleted is gone; without the first the second cannot be.
    pub(super) fn gone(&mut self, check: &str, deleted: Checked, head: &Request<'_>) {
        let at_once = format!("{check} at once");
        if !self.tally.record(check, deleted) {
            let nothing = Fault::Unsupported("nothing was deleted".to_owned());
            self.tally.record(&at_once, Err(nothing));
            return;
        }
        let outcome = self.client.send(head).map_err(Fault::from);
        let outcome = outcome.and_then(|answer| criteria::status(&answer, &[404]));
        self.tally.record(&at_once, outcome);
    }
}

fn part(first: usize, step: usize, total: usize) -> Part {
    Part {
        first,
        last: (first + step).min(total) - 1,
    }
}

fn chunk<'a>(method: &'a str, target: &str, blob: Blob<'a>, part: Part) -> Request<'a> {
    Request::new(method, target)
        .header("content-type", OCTETS)
        .header("content-range", format!("{}-{}", part.first, part.last))
        .body(Body::Sized(&blob.bytes[part.first..=part.last]))
}
