//! Pushing blobs: distribution-spec end-4 to end-6, end-13, end-14.

use super::claim::Held;
use super::error::{BodyError, Error};
use super::in_row::Body;
use super::{Distribution, retried};
use crate::blobs::{self, AppendError, Appended, End, Mismatch, keys};
use crate::metadata::blobs::{self as blob_rows, Blob, Place};
use crate::metadata::repositories;
use crate::metadata::tombstones::{self, Dead};
use crate::metadata::uploads::{self, Ended, Named, NewSession, Session, Staged};
use crate::metadata::{Micros, Tx};
use crate::staging;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use oci::{ContentRange, Digest, RepositoryName};
use std::time::Duration;
use uuid::{Timestamp, Uuid};

/// Of a second.
const MICROS: i64 = 1_000_000;
/// The longest that a request writes to the store after its claim was lost: it is told at the next renewal.
const WRITE_IN_FLIGHT: Duration = Duration::from_mins(1);

/// An upload session that takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenUpload {
    /// Names it in its URL.
    pub id: Uuid,
    /// Bytes stored.
    pub stored: u64,
}

/// Bytes for an upload.
#[derive(Debug)]
pub struct Chunk<S> {
    /// Where the client means them to go; absent: wherever the upload stands.
    pub range: Option<ContentRange>,
    /// How many bytes the client says it sends, where it says so.
    pub length: Option<u64>,
    /// The bytes.
    pub body: S,
}

impl Distribution {
    /// Opens an upload session. Its row, and with it the object's final key, is durable on return.
    ///
    /// # Errors
    /// `Database`.
    pub async fn start_upload(&self, repository: &RepositoryName) -> Result<OpenUpload, Error> {
        let (now, expires_at) = (self.now(), self.after(self.limits.upload_expiry));
        let id = session_id(now);
        let object_key = if staging::mutated("key_reused") {
            "blobs/00/reused".to_owned()
        } else {
            self.blobs.new_key(now / MICROS)
        };
        let mut tx = self.metadata.begin_statement().await?;
        uploads::begin(
            &mut tx,
            NewSession {
                id,
                repository,
                object_key: &object_key,
                now,
                expires_at,
            },
        )
        .await?;
        tx.commit().await?;
        Ok(OpenUpload { id, stored: 0 })
    }

    /// Makes a blob of the repository from one request, without a session that the client learns of. On return the blob is
    /// durable.
    ///
    /// # Errors
    /// As [`Distribution::finish_upload`]; nothing is left behind after any.
    pub async fn push_whole<S>(&self, repository: &RepositoryName, digest: Digest, chunk: Chunk<S>) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let (range, length, announced) = (chunk.range, chunk.length, announced(&chunk));
        let body = Body::read(chunk.body, announced, self.limits.in_row).await;
        if let Body::Whole(content) = &body
            && self.push_in_row(repository, digest, content).await?
        {
            return Ok(());
        }
        let upload = self.start_upload(repository).await?;
        let body = body.into_stream();
        let whole = Chunk { range, length, body };
        let finished = self.finish_upload(repository, upload.id, digest, whole).await;
        if finished.is_err() {
            // One that has ended already needs no end.
            drop(self.cancel_upload(repository, upload.id).await);
        }
        finished
    }

    /// How far an upload has come.
    ///
    /// # Errors
    /// `UploadUnknown`.
    pub async fn upload_status(&self, repository: &RepositoryName, id: Uuid) -> Result<OpenUpload, Error> {
        let mut reader = self.metadata.read().await?;
        let session = uploads::find(&mut reader, id, repository, self.now())
            .await?
            .ok_or(Error::UploadUnknown)?;
        Ok(OpenUpload {
            id,
            stored: session.staged.stored_bytes,
        })
    }

    /// Appends a chunk; all or nothing.
    ///
    /// After a lost answer the same call with the same range is `OffsetMismatch` with the true offset.
    ///
    /// # Errors
    /// `UploadUnknown`, `OffsetMismatch`, `Body`, `Store`, `Database`; the session stays usable after each.
    pub async fn append<S>(&self, repository: &RepositoryName, id: Uuid, chunk: Chunk<S>) -> Result<OpenUpload, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let announced = announced(&chunk);
        let body = Body::read(chunk.body, announced, self.limits.in_row).await;
        if let Body::Whole(content) = &body
            && let Some(staged) = self.stage(Named { id, repository }, chunk.range, content).await?
        {
            return Ok(staged);
        }
        let held = self.claim(repository, id).await?;
        let held = at_the_right_place(held, chunk.range).await?;
        let (held, room) = self.with_room(held, announced).await?;
        let body = measured(body.into_stream(), chunk.range, room);
        let (held, appended) = self.receive(held, body, End::Open).await?;
        let stored = appended.stored_bytes;
        self.record(held, &appended).await?;
        Ok(OpenUpload { id, stored })
    }

    /// Appends the last bytes, if any, and makes the upload a blob of the repository. On return the blob is durable.
    ///
    /// Repeating the call after a lost answer succeeds.
    ///
    /// # Errors
    /// As [`Distribution::append`]; `DigestMismatch` ends the session, every other error leaves it usable.
    pub async fn finish_upload<S>(
        &self,
        repository: &RepositoryName,
        id: Uuid,
        digest: Digest,
        chunk: Chunk<S>,
    ) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let announced = announced(&chunk);
        let body = Body::read(chunk.body, announced, self.limits.in_row).await;
        if let Body::Whole(content) = &body
            && self
                .finish_in_row(Named { id, repository }, digest, chunk.range, content)
                .await?
        {
            return Ok(());
        }
        let held = match self.claim(repository, id).await {
            Err(Error::UploadUnknown) => return self.finished_before(repository, id, digest).await,
            claimed => claimed?,
        };
        let held = at_the_right_place(held, chunk.range).await?;
        let (held, room) = self.with_room(held, announced).await?;
        let body = measured(body.into_stream(), chunk.range, room);
        let (held, appended) = self.receive(held, body, End::Last(digest)).await?;
        let (held, appended) = self.verify(held, appended, digest).await?;
        staging::point("upload.received").await;
        let committed = retried(|| self.commit(&held, &appended, repository, digest)).await;
        match committed {
            Ok(()) => held.settle(),
            Err(Error::Store(blobs::Error::Lost { .. })) => {
                self.abort(held, "upload_lost").await?;
                return Err(Error::UploadUnknown);
            }
            Err(_) => {}
        }
        committed
    }

    /// Gives an upload up, even while another request writes to it: that one fails then.
    ///
    /// # Errors
    /// `UploadUnknown`.
    pub async fn cancel_upload(&self, repository: &RepositoryName, id: Uuid) -> Result<(), Error> {
        let mut tx = self.metadata.begin().await?;
        let times = (self.now(), self.after(self.limits.upload_memory));
        let ended = uploads::cancel(&mut tx, id, repository, times)
            .await?
            .ok_or(Error::UploadUnknown)?;
        self.bury_all(&mut tx, &ended, None, "upload_cancelled").await?;
        Ok(tx.commit().await?)
    }

    /// Refuses a chunk that says beforehand that it is too long.
    async fn with_room(&self, held: Held, announced: u64) -> Result<(Held, Room), Error> {
        let limit = self.limits.blob_size.unwrap_or(u64::MAX);
        let room = Room {
            left: limit.saturating_sub(held.session.staged.stored_bytes),
            limit,
        };
        if let Err(large) = room.for_bytes(announced) {
            held.release().await;
            return Err(large.into());
        }
        Ok((held, room))
    }

    /// The answer to a client that repeats the end of an upload is a promise like the first one: the blob may be gone.
    async fn finished_before(&self, repository: &RepositoryName, id: Uuid, digest: Digest) -> Result<(), Error> {
        let mut reader = self.metadata.read().await?;
        let done = uploads::finished(&mut reader, id, repository).await?;
        drop(reader);
        if done != Some(digest) {
            return Err(Error::UploadUnknown);
        }
        match self.promised_blob(repository, &digest).await {
            Err(Error::NameUnknown | Error::BlobUnknown(_) | Error::BlobCorrupt(_)) => Err(Error::UploadUnknown),
            promised => promised.map(drop),
        }
    }

    /// Lets the store take the body, and before it what the row has kept; the claim is given back when that fails.
    async fn receive<S>(&self, held: Held, body: S, end: End) -> Result<(Held, Appended), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let kept = held.session.staged.content.clone();
        let body = stream::iter(kept.map(Ok)).chain(body);
        let appended = held
            .renewing(self.blobs.append(held.position(), body, end, &held))
            .await?;
        let refused = match appended {
            Ok(appended) => return Ok((held, appended)),
            Err(refused) => refused,
        };
        let stored = held.session.staged.stored_bytes;
        let error = match refused {
            AppendError::DigestMismatch(mismatch) => {
                self.abort(held, "digest_mismatch").await?;
                return Err(Error::DigestMismatch(mismatch));
            }
            AppendError::Body(body) => Error::Body(body),
            AppendError::Busy => Error::OffsetMismatch { stored },
            AppendError::Claim(lost) => {
                tracing::warn!(session = %held.claim.id, error = &lost as &dyn std::error::Error, "upload stopped");
                Error::ClaimLost
            }
            // Nothing can go on from a half-done hash that cannot be read, or from parts that are gone.
            AppendError::Store(blobs::Error::HashState { .. } | blobs::Error::Lost { .. }) => {
                self.abort(held, "upload_lost").await?;
                return Err(Error::UploadUnknown);
            }
            AppendError::Store(store) => Error::Store(store),
        };
        held.release().await;
        Err(error)
    }

    /// The running hash may be of another algorithm than the digest: then the stored object is read once more.
    async fn verify(&self, held: Held, appended: Appended, digest: Digest) -> Result<(Held, Appended), Error> {
        let hashed = oci::Digester::restore(&appended.hasher).ok();
        if hashed.is_some_and(|running| running.algorithm() == digest.algorithm()) {
            return Ok((held, appended));
        }
        let reading = self
            .blobs
            .hash(&appended.object_key, appended.stored_bytes, digest.algorithm());
        let actual = held.renewing(reading).await??;
        if actual == digest {
            return Ok((held, appended));
        }
        self.abort(held, "digest_mismatch").await?;
        Err(Error::DigestMismatch(Box::new(Mismatch {
            expected: digest,
            actual,
        })))
    }

    /// Records an append and gives the claim back. The tail that it replaced is garbage.
    async fn record(&self, held: Held, appended: &Appended) -> Result<(), Error> {
        let staged = Staged {
            stored_bytes: appended.stored_bytes,
            content: None,
            hasher: Some(appended.hasher.clone()),
            multipart_id: appended.multipart_id.clone(),
            parts: appended.parts.clone(),
            tail_key: appended.tail_key.clone(),
        };
        let mut tx = self.metadata.begin().await?;
        if !uploads::stored(&mut tx, held.claim, &staged, self.after(self.limits.upload_expiry)).await? {
            return Err(Error::ClaimLost);
        }
        if let Some(old) = held
            .session
            .staged
            .tail_key
            .as_deref()
            .filter(|old| Some(*old) != staged.tail_key.as_deref())
        {
            self.bury(&mut tx, &[old], None, "superseded_tail").await?;
        }
        tx.commit().await?;
        held.settle();
        Ok(())
    }

    /// The one transaction that makes an upload a blob.
    async fn commit(
        &self,
        held: &Held,
        appended: &Appended,
        repository: &RepositoryName,
        digest: Digest,
    ) -> Result<(), Error> {
        let ours = Blob {
            digest,
            size: appended.stored_bytes,
            place: Place::Object(appended.object_key.clone()),
            corrupt: false,
        };
        let mut tx = self.metadata.begin().await?;
        let ended = uploads::finish(&mut tx, held.claim, &digest, self.after(self.limits.upload_memory)).await?;
        let ours_key = appended.object_key.as_str();
        let ended = ended.or_else(|| as_if_open(ours_key)).ok_or(Error::ClaimLost)?;
        let key = repositories::ensure(&mut tx, repository, self.now()).await?;
        let adopted = self.adopt(&mut tx, &ours).await?;
        if adopted {
            self.unbury(&mut tx, &ended, ours_key).await?;
        }
        let kept = adopted.then_some(ours_key);
        self.bury_all(&mut tx, &ended, kept, "duplicate").await?;
        self.grant(&mut tx, key, digest).await?;
        staging::point("upload.commits").await;
        if staging::mutated("answer_before_commit") {
            return Ok(());
        }
        Ok(tx.commit().await?)
    }

    /// Gives the digest these bytes. `Ok(false)`: it has some, which are not known to be wrong.
    pub(super) async fn adopt(&self, tx: &mut Tx, ours: &Blob) -> Result<bool, Error> {
        if blob_rows::add(tx, ours, self.now()).await? {
            return Ok(true);
        }
        // Somebody else's upload of the same bytes was first; it may be gone before we lock it: then we try again.
        let there = blob_rows::keep(tx, &ours.digest).await?.ok_or(Error::Raced)?;
        self.heal(tx, &there, ours).await
    }

    /// Ends a session whose bytes are of no use.
    async fn abort(&self, held: Held, reason: &'static str) -> Result<(), Error> {
        let mut tx = self.metadata.begin().await?;
        let forget_at = self.after(self.limits.upload_memory);
        let ended = uploads::abort(&mut tx, held.claim, forget_at)
            .await?
            .ok_or(Error::ClaimLost)?;
        self.bury_all(&mut tx, &ended, None, reason).await?;
        tx.commit().await?;
        held.settle();
        Ok(())
    }

    /// Buries every object that a session may have written to, apart from the one that became the blob.
    pub(super) async fn bury_all(
        &self,
        tx: &mut Tx,
        ended: &Ended,
        kept: Option<&str>,
        reason: &'static str,
    ) -> Result<(), Error> {
        if kept.is_none() && staging::mutated_in("not_buried", reason) {
            return Ok(());
        }
        // Local files are appended to in place. Where the only claim made a blob, it wrote to the upload's own key alone.
        let alone = kept.is_some() && ended.claims <= 1;
        let beside = if self.blobs.writes_beside() && !alone {
            ended.claims
        } else {
            0
        };
        let mut dead = keys::leftovers(&ended.object_key, beside, kept);
        let tail = ended.tail_key.as_deref().filter(|tail| Some(*tail) != kept);
        dead.extend(tail.map(str::to_owned));
        let multipart = ended.multipart_id.as_deref().map(|id| (ended.object_key.as_str(), id));
        self.bury(tx, &borrowed(&dead), multipart, reason).await
    }

    /// Buries what a session has written to before it got a new key, apart from its tail.
    pub(super) async fn bury_superseded(&self, tx: &mut Tx, session: &Session) -> Result<(), Error> {
        let (before, staged) = (session.claims.saturating_sub(1), &session.staged);
        let dead = keys::leftovers(&session.object_key, before, staged.tail_key.as_deref());
        let multipart = staged.multipart_id.as_deref();
        let multipart = multipart.map(|id| (session.object_key.as_str(), id));
        self.bury(tx, &borrowed(&dead), multipart, "superseded_upload").await
    }

    pub(super) async fn bury(
        &self,
        tx: &mut Tx,
        object_keys: &[&str],
        multipart: Option<(&str, &str)>,
        reason: &'static str,
    ) -> Result<(), Error> {
        let dead = Dead {
            object_keys,
            multipart,
            reason,
        };
        // Whoever has lost the upload may not know it yet, and still write.
        let delay = self.limits.quarantine.max(WRITE_IN_FLIGHT);
        Ok(tombstones::add(tx, dead, self.after(delay), self.now()).await?)
    }

    /// A blob's object has no tombstone: one that is not due is taken away, and one that is due forbids the blob.
    async fn unbury(&self, tx: &mut Tx, ended: &Ended, object_key: &str) -> Result<(), Error> {
        // Only a second claim buries what the first one wrote.
        if !self.blobs.writes_beside() || ended.claims <= 1 || tombstones::remove(tx, object_key, self.now()).await? {
            return Ok(());
        }
        let key = object_key.to_owned();
        Err(blobs::Error::Lost { key }.into())
    }
}

/// Ids of one time stand together, so that the rows of uploads that begin at one time share pages of their index.
fn session_id(now: Micros) -> Uuid {
    let (seconds, rest) = (now.div_euclid(MICROS), now.rem_euclid(MICROS));
    let nanos = u32::try_from(rest * 1000).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix_time(
        u64::try_from(seconds).unwrap_or_default(),
        nanos,
        0,
        0,
    ))
}

/// What a planted fault takes an ended session for.
fn as_if_open(object_key: &str) -> Option<Ended> {
    staging::mutated("ended_session_finished").then(|| Ended {
        object_key: object_key.to_owned(),
        multipart_id: None,
        claims: 1,
        tail_key: None,
    })
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// How many bytes a chunk brings, as far as it says.
fn announced<S>(chunk: &Chunk<S>) -> u64 {
    chunk.range.map(ContentRange::size).or(chunk.length).unwrap_or_default()
}

/// How much more an upload may take.
#[derive(Debug, Clone, Copy)]
struct Room {
    left: u64,
    limit: u64,
}

impl Room {
    fn for_bytes(self, count: u64) -> Result<(), BodyError> {
        if count > self.left {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// Refuses a chunk that does not begin where the stored bytes end.
async fn at_the_right_place(held: Held, range: Option<ContentRange>) -> Result<Held, Error> {
    let stored = held.session.staged.stored_bytes;
    if range.is_none_or(|range| range.start == stored) {
        return Ok(held);
    }
    held.release().await;
    Err(Error::OffsetMismatch { stored })
}

/// Fails when the body is shorter or longer than its range, or has no room.
fn measured<'s, S>(body: S, range: Option<ContentRange>, room: Room) -> BoxStream<'s, Result<Bytes, BodyError>>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 's,
{
    let announced = range.map(ContentRange::size);
    stream::unfold((body, 0_u64, false), move |(mut body, sent, over)| async move {
        if over {
            return None;
        }
        match body.next().await {
            Some(Ok(piece)) => {
                let sent = sent + piece.len() as u64;
                let fits = fitting(announced, sent).and_then(|()| room.for_bytes(sent));
                let over = fits.is_err();
                Some((fits.map(|()| piece), (body, sent, over)))
            }
            Some(Err(broken)) => Some((Err(broken), (body, sent, true))),
            None => {
                let announced = announced.filter(|announced| sent < *announced)?;
                Some((Err(BodyError::Length { announced, sent }), (body, sent, true)))
            }
        }
    })
    .boxed()
}

fn fitting(announced: Option<u64>, sent: u64) -> Result<(), BodyError> {
    match announced {
        Some(announced) if sent > announced => Err(BodyError::Length { announced, sent }),
        Some(_) | None => Ok(()),
    }
}
