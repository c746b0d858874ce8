//! An append under way: bytes that have arrived and are not with the store yet.

use super::append::{Appended, Position};
use super::error::Error;
use super::memory::Room;
use super::parts::Part;
use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use oci::Digester;
use std::collections::VecDeque;
use tokio::task::{JoinSet, spawn_blocking};

/// Bytes gathered before they are hashed on a blocking thread.
const BATCH: usize = 512 * 1024;

/// An append under way.
pub(super) struct Upload {
    pub(super) position: Position,
    pub(super) key: Key,
    /// What the store has, in order.
    pub(super) parts: Vec<Part>,
    /// Bytes that this request brought.
    pub(super) arrived: u64,
    /// The memory that is set aside for what is pending.
    pub(super) room: Option<Room>,
    /// This request began the multipart upload.
    pub(super) begun: bool,
    /// The bytes of a tail that was not read back: closing a small upload does not need them.
    pub(super) unread_tail: u64,
    /// Bytes that are not in a part yet.
    pub(super) pending: VecDeque<Bytes>,
    pub(super) pending_bytes: usize,
    /// Bytes received that are not hashed yet.
    pub(super) unhashed: Vec<Bytes>,
    pub(super) unhashed_bytes: usize,
    pub(super) digester: Digester,
    /// The part on its way, at most one, sent while the next one arrives. Dropping it aborts the request.
    pub(super) sending: JoinSet<(u64, object_store::Result<PartId>)>,
}

impl Upload {
    pub(super) async fn receive(&mut self, piece: Bytes) -> Result<(), Error> {
        self.arrived += piece.len() as u64;
        self.pending_bytes += piece.len();
        if let Some(room) = &mut self.room {
            room.came(piece.len());
        }
        self.unhashed_bytes += piece.len();
        self.unhashed.push(piece.clone());
        self.pending.push_back(piece);
        if self.unhashed_bytes >= BATCH {
            self.hash().await
        } else {
            Ok(())
        }
    }

    pub(super) async fn hash(&mut self) -> Result<(), Error> {
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
    pub(super) fn take(&mut self, size: usize) -> PutPayload {
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
    pub(super) async fn sent(&mut self) -> Result<(), Error> {
        while let Some(sent) = self.sending.join_next().await {
            let (size, part) = sent?;
            let part = part.map_err(|source| Error::of_upload("send a part of", &self.position.object_key, source))?;
            self.parts.push(Part {
                size,
                id: part.content_id,
            });
        }
        Ok(())
    }

    /// Bytes of the whole upload, those of this request included.
    pub(super) fn received(&self) -> u64 {
        self.position.stored_bytes + self.arrived
    }

    /// Where the upload stands; nothing can be done with it afterwards.
    pub(super) fn appended(&mut self, stored_bytes: u64, tail_key: Option<String>, object_key: String) -> Appended {
        Appended {
            stored_bytes,
            hasher: self.digester.save(),
            multipart_id: self.position.multipart_id.take(),
            parts: self.parts.iter().map(Part::to_string).collect(),
            tail_key,
            object_key,
        }
    }
}
