//! Blobs as objects of a store that cannot append: S3 and what speaks its protocol.
//!
//! A blob that fits into one part is put with one request. A larger one is a multipart upload to the final key, all
//! parts but the last of one size (some stores demand it). Bytes after the last full part are kept, between requests,
//! in an object of their own, the tail, whose key no other request writes to.

use super::append::{Appended, End, Position, WriteClaim, comparable, digester};
use super::error::{AppendError, Error, Mismatch, path_of};
use super::keys;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::MultipartId;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use oci::{Digest, Digester};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinSet, spawn_blocking};

/// 10,000 parts, the most that S3 takes, make 80 GiB.
const PART: usize = 8 * 1024 * 1024;
/// Bytes gathered before they are hashed on a blocking thread.
const BATCH: usize = 512 * 1024;

/// A bucket, or a prefix of one.
#[derive(Debug)]
pub(super) struct Multipart {
    objects: Arc<AmazonS3>,
    root: String,
}

/// An append under way.
struct Upload {
    position: Position,
    key: Key,
    /// This request began the multipart upload.
    begun: bool,
    /// The bytes of a tail that was not read back: closing a small upload does not need them.
    unread_tail: u64,
    /// Bytes that are not in a part yet.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    /// Bytes received that are not hashed yet.
    unhashed: Vec<Bytes>,
    unhashed_bytes: usize,
    digester: Digester,
    /// The part on its way, at most one, sent while the next one arrives. Dropping it aborts the request.
    sending: JoinSet<object_store::Result<PartId>>,
}

impl Multipart {
    pub(super) fn open(objects: Arc<AmazonS3>, root: &str) -> Self {
        Self {
            objects,
            root: root.trim_matches('/').to_owned(),
        }
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        self.objects.as_ref()
    }

    pub(super) fn path(&self, key: &str) -> Result<Key, Error> {
        path_of(&self.root, key)
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        let prefix = self.path("blobs")?;
        let first = self.objects.list_with_delimiter(Some(&prefix)).await;
        first
            .map(drop)
            .map_err(|source| Error::of("list", prefix.as_ref(), source))
    }

    pub(super) async fn append<S, E, C>(
        &self,
        at: Position,
        mut body: S,
        end: End,
        claim: &C,
    ) -> Result<Appended, AppendError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        C: WriteClaim,
    {
        let before = at.clone();
        match (self.transfer(at, &mut body, end, claim).await, end) {
            (Err(AppendError::Store(Error::NotFound { .. })), End::Last(digest)) => {
                Ok(self.completed_before(before, digest).await?)
            }
            (done, _) => done,
        }
    }

    async fn transfer<S, E, C>(
        &self,
        at: Position,
        body: &mut S,
        end: End,
        claim: &C,
    ) -> Result<Appended, AppendError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        C: WriteClaim,
    {
        let mut upload = self.resume(at, end)?;
        while let Some(piece) = body.next().await.transpose().map_err(AppendError::Body)? {
            self.read_tail(&mut upload).await?;
            upload.receive(piece).await?;
            if upload.pending_bytes >= PART {
                let id = self.begin(&mut upload, claim).await?;
                self.send_part(&mut upload, id, PART).await?;
            }
        }
        upload.hash().await?;
        upload.sent().await?;
        if let Some(expected) = comparable(&upload.digester, end) {
            let actual = upload.digester.clone().finish();
            if actual != expected {
                return Err(AppendError::DigestMismatch(Box::new(Mismatch { expected, actual })));
            }
        }
        match end {
            End::Open => self.keep_tail(upload).await.map_err(AppendError::Store),
            End::Last(_) => self.complete(upload).await.map_err(AppendError::Store),
        }
    }

    /// The multipart upload is gone: an earlier request completed it and did not get to say so. Then the object is
    /// there, and is what the client says it is.
    async fn completed_before(&self, at: Position, digest: Digest) -> Result<Appended, Error> {
        let key = at.object_key;
        let found = self.objects.head(&self.path(&key)?).await;
        let size = found.map_err(|source| Error::of("find", &key, source))?.size;
        let mut digester = Digester::new(digest.algorithm());
        let mut content = super::read::open(self.objects(), &self.path(&key)?, 0..size).await?;
        while let Some(piece) = content.try_next().await? {
            digester.update(&piece);
        }
        if digester.clone().finish() != digest {
            return Err(Error::NotFound { key });
        }
        Ok(Appended {
            stored_bytes: size,
            hasher: digester.save(),
            multipart_id: at.multipart_id,
            parts: at.parts,
            tail_key: None,
            object_key: key,
        })
    }

    /// Takes up an upload where it stands.
    fn resume(&self, position: Position, end: End) -> Result<Upload, Error> {
        let key = self.path(&position.object_key)?;
        let digester = digester(&position, end).ok_or_else(|| Error::HashState {
            key: position.object_key.clone(),
        })?;
        let in_parts = (position.parts.len() as u64) * (PART as u64);
        Ok(Upload {
            begun: false,
            unread_tail: position.stored_bytes.saturating_sub(in_parts),
            position,
            key,
            pending: VecDeque::new(),
            pending_bytes: 0,
            unhashed: Vec::new(),
            unhashed_bytes: 0,
            digester,
            sending: JoinSet::new(),
        })
    }

    /// Brings the tail of earlier requests in front of what comes now.
    async fn read_tail(&self, upload: &mut Upload) -> Result<(), Error> {
        let Some(tail) = upload.position.tail_key.as_deref().filter(|_| upload.unread_tail > 0) else {
            return Ok(());
        };
        let body = super::read::open(self.objects(), &self.path(tail)?, 0..upload.unread_tail).await?;
        upload.pending = body.try_collect().await?;
        upload.pending_bytes = upload.pending.iter().map(Bytes::len).sum();
        upload.unread_tail = 0;
        Ok(())
    }

    /// The multipart upload's name; begun now where it was not, and recorded before anything is sent to it.
    ///
    /// One that an earlier request began and recorded no part of is not gone on with: that request may be alive, or may
    /// have completed it. The new one gets a key that only this claim writes to.
    async fn begin<E, C: WriteClaim>(&self, upload: &mut Upload, claim: &C) -> Result<MultipartId, AppendError<E>> {
        let begun_here = upload.begun;
        let id = upload.position.multipart_id.clone();
        if let Some(id) = id.clone().filter(|_| begun_here || !upload.position.parts.is_empty()) {
            return Ok(id);
        }
        if id.is_some() {
            upload.position.object_key = keys::of_claim(&upload.position.object_key, upload.position.claim);
            upload.key = self.path(&upload.position.object_key)?;
        }
        let object_key = &upload.position.object_key;
        let begun = self.objects.create_multipart(&upload.key).await;
        let id = begun.map_err(|source| Error::of("begin a multipart upload of", object_key, source))?;
        if let Err(lost) = claim.multipart_begun(&id, object_key).await {
            // Nobody would ever know of it. When this fails too, the bucket's own rule for stale uploads is left.
            drop(self.objects.abort_multipart(&upload.key, &id).await);
            return Err(AppendError::Claim(lost));
        }
        upload.position.multipart_id = Some(id.clone());
        upload.begun = true;
        Ok(id)
    }

    /// Sends the next part, after the one before has arrived.
    async fn send_part(&self, upload: &mut Upload, id: MultipartId, size: usize) -> Result<(), Error> {
        upload.sent().await?;
        let payload = upload.take(size);
        let (objects, key, index) = (
            Arc::clone(&self.objects),
            upload.key.clone(),
            upload.position.parts.len(),
        );
        upload
            .sending
            .spawn(async move { objects.put_part(&key, &id, index, payload).await });
        Ok(())
    }

    async fn put(&self, key: &str, payload: PutPayload) -> Result<(), Error> {
        let stored = self.objects.put(&self.path(key)?, payload).await;
        stored.map(drop).map_err(|source| Error::of("put", key, source))
    }

    /// Leaves the session open: the bytes after the last part become an object that the row will name.
    async fn keep_tail(&self, mut upload: Upload) -> Result<Appended, Error> {
        let (received, object_key) = (upload.received(), upload.position.object_key.clone());
        let mut tail_key = upload.position.tail_key.take().filter(|_| upload.unread_tail > 0);
        if upload.pending_bytes > 0 {
            let key = keys::of_claim(&object_key, upload.position.claim);
            let payload = upload.take(usize::MAX);
            self.put(&key, payload).await?;
            tail_key = Some(key);
        }
        Ok(upload.appended(received, tail_key, object_key))
    }

    /// Makes the object readable.
    async fn complete(&self, mut upload: Upload) -> Result<Appended, Error> {
        let received = upload.received();
        let object_key = if upload.position.parts.is_empty() {
            self.complete_small(&mut upload).await?
        } else {
            self.complete_multipart(&mut upload).await?;
            upload.position.object_key.clone()
        };
        Ok(upload.appended(received, None, object_key))
    }

    /// A blob of less than a part: the tail of the request before, or an object that this request writes.
    async fn complete_small(&self, upload: &mut Upload) -> Result<String, Error> {
        if let Some(tail) = upload.position.tail_key.clone().filter(|_| upload.unread_tail > 0) {
            return Ok(tail);
        }
        let object_key = match upload.position.claim {
            1 => upload.position.object_key.clone(),
            later => keys::of_claim(&upload.position.object_key, later),
        };
        let payload = upload.take(usize::MAX);
        self.put(&object_key, payload).await?;
        Ok(object_key)
    }

    async fn complete_multipart(&self, upload: &mut Upload) -> Result<(), Error> {
        let id = upload.position.multipart_id.clone().unwrap_or_default();
        self.read_tail(upload).await?;
        if upload.pending_bytes > 0 {
            self.send_part(upload, id.clone(), usize::MAX).await?;
            upload.sent().await?;
        }
        let parts = upload
            .position
            .parts
            .iter()
            .map(|id| PartId { content_id: id.clone() })
            .collect();
        let completed = self.objects.complete_multipart(&upload.key, &id, parts).await;
        completed
            .map(drop)
            .map_err(|source| Error::of("complete", &upload.position.object_key, source))
    }
}

impl Upload {
    async fn receive(&mut self, piece: Bytes) -> Result<(), Error> {
        self.pending_bytes += piece.len();
        self.unhashed_bytes += piece.len();
        self.unhashed.push(piece.clone());
        self.pending.push_back(piece);
        if self.unhashed_bytes >= BATCH {
            self.hash().await
        } else {
            Ok(())
        }
    }

    async fn hash(&mut self) -> Result<(), Error> {
        self.unhashed_bytes = 0;
        let pieces = std::mem::take(&mut self.unhashed);
        let mut digester = self.digester.clone();
        let hashed = spawn_blocking(move || {
            for piece in &pieces {
                digester.update(piece);
            }
            digester
        });
        self.digester = hashed.await?;
        Ok(())
    }

    /// Takes up to `size` bytes from the front of what is pending, without copying them.
    fn take(&mut self, size: usize) -> PutPayload {
        let mut taken = Vec::new();
        let mut left = size.min(self.pending_bytes);
        self.pending_bytes -= left;
        while left > 0 {
            let Some(mut piece) = self.pending.pop_front() else {
                break;
            };
            if piece.len() > left {
                self.pending.push_front(piece.split_off(left));
            }
            left -= piece.len();
            taken.push(piece);
        }
        taken.into_iter().collect()
    }

    /// Waits for the part on its way and notes its name.
    async fn sent(&mut self) -> Result<(), Error> {
        while let Some(sent) = self.sending.join_next().await {
            let part = sent?;
            let part = part.map_err(|source| Error::of("send a part of", &self.position.object_key, source))?;
            self.position.parts.push(part.content_id);
        }
        Ok(())
    }

    /// Bytes of the whole upload, those of this request included. Every part has the full size until the last.
    fn received(&self) -> u64 {
        (self.position.parts.len() as u64) * (PART as u64) + self.pending_bytes as u64 + self.unread_tail
    }

    fn appended(self, stored_bytes: u64, tail_key: Option<String>, object_key: String) -> Appended {
        Appended {
            stored_bytes,
            hasher: self.digester.save(),
            multipart_id: self.position.multipart_id,
            parts: self.position.parts,
            tail_key,
            object_key,
        }
    }
}
