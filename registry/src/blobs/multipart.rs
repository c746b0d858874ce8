//! Blobs as objects of a store that cannot append: S3 and what speaks its protocol, Azure, GCS.
//!
//! A blob that fits into one part is put with one request. A larger one is a multipart upload to the final key, with
//! parts as `parts::Plan` says. Bytes after the last full part are kept, between requests, in an object of their own,
//! the tail, whose key no other request writes to.
//!
//! What the store says it has is looked at before it counts: a store, or something before it, may have dropped a body
//! and said yes. A request whose answer was lost is repeated; where the first one had been carried out, the object is
//! there, and is read back and hashed before it is taken for the blob.

use super::append::{Appended, End, Position, WriteClaim, comparable, digester};
use super::error::{AppendError, Error, Mismatch, path_of};
use super::keys;
use super::memory::Memory;
use super::parts::{self, Part, Plan};
use super::providers::Bucket;
use super::upload::Upload;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::MultipartId;
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use oci::{Digest, Digester};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinSet;
use uuid::Uuid;

const COMPLETE: &str = "complete";

/// A bucket, or a prefix of one.
#[derive(Debug)]
pub(super) struct Multipart {
    objects: Arc<dyn Bucket>,
    root: String,
    plan: Plan,
    memory: Memory,
}

impl Multipart {
    pub(super) fn open(objects: Arc<dyn Bucket>, root: &str, plan: Plan, memory: Memory) -> Self {
        Self {
            objects,
            root: root.trim_matches('/').to_owned(),
            plan,
            memory,
        }
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        self.objects.as_ref()
    }

    pub(super) fn path(&self, key: &str) -> Result<Key, Error> {
        path_of(&self.root, key)
    }

    /// Ends a multipart upload without an object; it is no error when there is none.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Error> {
        let aborted = self.objects.abort_multipart(&self.path(key)?, &id.to_owned()).await;
        match aborted.map_err(|source| Error::of_upload("abort the upload of", key, source)) {
            Ok(()) | Err(Error::NotFound { .. } | Error::Lost { .. }) => Ok(()),
            Err(failed) => Err(failed),
        }
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
        let nothing_to_lose = before.parts.is_empty();
        // Where the object would be now: a key that this claim has left behind is to be deleted, whatever is there.
        let (failed, at) = match self.resume(at, end) {
            Err(failed) => (failed, before),
            Ok(mut upload) => match self.transfer(&mut upload, &mut body, end, claim).await {
                Err(AppendError::Store(failed)) => (failed, upload.position),
                done => return done,
            },
        };
        let settled = match end {
            End::Last(digest) if may_be_complete(&failed) => self.completed_before(at, digest, failed).await,
            End::Last(_) | End::Open => Err(failed),
        };
        match settled {
            // What is gone came with this request only: the upload stands where it stood.
            Err(Error::Lost { key }) if nothing_to_lose => Err(AppendError::Store(Error::Dropped { key })),
            settled => Ok(settled?),
        }
    }

    async fn transfer<S, E, C>(
        &self,
        upload: &mut Upload,
        body: &mut S,
        end: End,
        claim: &C,
    ) -> Result<Appended, AppendError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        C: WriteClaim,
    {
        while let Some(piece) = next(upload, body).await? {
            self.make_room(upload, piece.len()).await?;
            self.read_tail(upload).await?;
            upload.receive(piece).await?;
            while let Some(size) = self.full_part(upload)? {
                let id = self.begin(upload, claim).await?;
                self.send_part(upload, id, size).await?;
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

    /// An earlier request may have completed the multipart upload without getting to say so, or this one's answer was
    /// lost. Then the object is there, and is what the client says it is; otherwise what `failed` says stands.
    async fn completed_before(&self, at: Position, digest: Digest, failed: Error) -> Result<Appended, Error> {
        let key = at.object_key;
        let size = match self.objects.head(&self.path(&key)?).await {
            Ok(found) => found.size,
            Err(object_store::Error::NotFound { .. }) => return Err(failed),
            Err(source) => return Err(Error::of("find", &key, source)),
        };
        let mut digester = Digester::new(digest.algorithm());
        let mut content = super::read::open(self.objects(), &self.path(&key)?, 0..size).await?;
        while let Some(piece) = content.try_next().await? {
            digester.update(&piece);
        }
        if digester.clone().finish() != digest {
            return Err(failed);
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
        let parts = parts::read(&position.object_key, &position.parts)?;
        let in_parts: u64 = parts.iter().map(|part| part.size).sum();
        let unread_tail = position.stored_bytes.checked_sub(in_parts);
        let unread_tail = unread_tail.filter(|bytes| *bytes == 0 || position.tail_key.is_some());
        Ok(Upload {
            unread_tail: unread_tail.ok_or_else(|| Error::Lost {
                key: position.object_key.clone(),
            })?,
            parts,
            arrived: 0,
            room: None,
            begun: false,
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

    /// The size of the next part.
    fn part_size(&self, upload: &Upload) -> Result<u64, Error> {
        self.plan
            .size(upload.parts.len() + upload.sending.len())
            .ok_or_else(|| Error::TooLarge {
                key: upload.position.object_key.clone(),
            })
    }

    /// The size of the next part, when there are enough bytes for it.
    fn full_part(&self, upload: &Upload) -> Result<Option<usize>, Error> {
        let size = usize::try_from(self.part_size(upload)?).unwrap_or(usize::MAX);
        Ok(Some(size).filter(|size| *size <= upload.pending_bytes))
    }

    /// Sets memory aside for `more` bytes beside those that are there; waits until others have given enough back.
    async fn make_room(&self, upload: &mut Upload, more: usize) -> Result<(), Error> {
        let wanted = (upload.pending_bytes + more) as u64 + upload.unread_tail;
        let part = self.part_size(upload)?;
        // The last piece of a part may be longer than what the part still wants.
        if upload.room.as_ref().is_none_or(|room| !room.fits(wanted.min(part))) {
            let room = self.memory.room(wanted, part).await?;
            upload.room = Some(room);
        }
        Ok(())
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
        if let Some(id) = id.clone().filter(|_| begun_here || !upload.parts.is_empty()) {
            return Ok(id);
        }
        if id.is_some() {
            upload.position.object_key = keys::of_claim(&upload.position.object_key, upload.position.claim);
            upload.key = self.path(&upload.position.object_key)?;
        }
        let object_key = &upload.position.object_key;
        let begun = self.objects.create_multipart(&upload.key).await;
        let mut id = begun.map_err(|source| Error::of("begin a multipart upload of", object_key, source))?;
        if id.is_empty() {
            // Azure has no name for it: blocks belong to the key until a list of some is committed.
            id = Uuid::new_v4().simple().to_string();
        }
        if let Err(lost) = claim.multipart_begun(&id, object_key).await {
            // Nobody would ever know of it. When this fails too, the bucket's own rule for stale uploads is left.
            drop(self.objects.abort_multipart(&upload.key, &id).await);
            return Err(AppendError::Claim(lost));
        }
        upload.position.multipart_id = Some(id.clone());
        upload.begun = true;
        Ok(id)
    }

    /// Sends the next part, after the one before has arrived. Its memory goes with it.
    async fn send_part(&self, upload: &mut Upload, id: MultipartId, size: usize) -> Result<(), Error> {
        upload.sent().await?;
        let payload = upload.take(size);
        let (objects, key, index) = (Arc::clone(&self.objects), upload.key.clone(), upload.parts.len());
        let room = upload.room.take();
        upload.sending.spawn(async move {
            let size = payload.content_length() as u64;
            let sent = objects.put_part(&key, &id, index, payload).await;
            drop(room);
            (size, sent)
        });
        Ok(())
    }

    async fn put(&self, key: &str, payload: PutPayload) -> Result<(), Error> {
        let size = payload.content_length() as u64;
        let stored = self.objects.put(&self.path(key)?, payload).await;
        stored.map(drop).map_err(|source| Error::of("put", key, source))?;
        self.prove(key, size).await
    }

    /// Fails unless the store has an object of this size.
    async fn prove(&self, key: &str, size: u64) -> Result<(), Error> {
        let found = match self.objects.head(&self.path(key)?).await {
            Ok(found) => Some(found.size),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(source) => return Err(Error::of("find", key, source)),
        };
        if found == Some(size) {
            return Ok(());
        }
        let key = key.to_owned();
        Err(Error::NotStored {
            key,
            wanted: size,
            found,
        })
    }

    /// Leaves the session open: the bytes after the last part become an object that the row will name.
    async fn keep_tail(&self, upload: &mut Upload) -> Result<Appended, Error> {
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
    async fn complete(&self, upload: &mut Upload) -> Result<Appended, Error> {
        let received = upload.received();
        let object_key = if upload.parts.is_empty() {
            self.complete_small(upload).await?
        } else {
            self.complete_multipart(upload).await?;
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
        self.make_room(upload, 0).await?;
        self.read_tail(upload).await?;
        if upload.pending_bytes > 0 {
            self.send_part(upload, id.clone(), usize::MAX).await?;
            upload.sent().await?;
        }
        let named = |part: &Part| PartId {
            content_id: part.id.clone(),
        };
        let parts = upload.parts.iter().map(named).collect();
        let object_key = &upload.position.object_key;
        let completed = self.objects.complete_multipart(&upload.key, &id, parts).await;
        completed.map_err(|source| Error::of_upload(COMPLETE, object_key, source))?;
        self.prove(object_key, upload.received()).await
    }
}

/// The next bytes from the client, which must not keep memory that others wait for by sending them slowly.
async fn next<S, E>(upload: &mut Upload, body: &mut S) -> Result<Option<Bytes>, AppendError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let next = body.next();
    let next = match &mut upload.room {
        Some(room) => room.filling(next).await?,
        None => next.await,
    };
    next.transpose().map_err(AppendError::Body)
}

/// True when the object may be whole although the request failed.
fn may_be_complete(failed: &Error) -> bool {
    matches!(
        failed,
        Error::NotFound { .. } | Error::Lost { .. } | Error::Store { action: COMPLETE, .. }
    )
}
