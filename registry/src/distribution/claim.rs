//! The right of one request to write to an upload session.
//!
//! Held while bytes arrive, renewed in time, and given back whatever happens: a request that is dropped in the middle
//! (its client went away) leaves the release to a task of its own, so that the client's next try need not wait for the
//! claim to run out.
//!
//! Times are those of the replica that writes them. A clock that is ahead of another's by more than what is left of a
//! claim takes a live claim over, and one that is behind waits longer for a dead one; neither damages an upload, since
//! what is written under several claims the store keeps apart, and a lost claim cannot commit.

use super::Distribution;
use super::error::Error;
use crate::blobs::{ClaimError, Position, WriteClaim};
use crate::metadata::uploads::{self, Claim, Session};
use futures::future::BoxFuture;
use oci::RepositoryName;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const POLL: Duration = Duration::from_millis(50);

/// A claimed session.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) claim: Claim,
    guard: Guard,
}

/// Gives a claim back when it is dropped. It is made before the claim is taken: between the two a request may be
/// dropped, or the answer of the database lost.
#[derive(Debug)]
struct Guard {
    claim: Claim,
    distribution: Distribution,
    settled: bool,
}

impl Distribution {
    /// Claims an open session, waiting a little for another request to end.
    pub(super) async fn claim(&self, repository: &RepositoryName, id: Uuid) -> Result<Held, Error> {
        let deadline = Instant::now() + self.limits.claim_wait;
        loop {
            if let Some(held) = self.try_claim(repository, id).await? {
                return Ok(held);
            }
            let mut reader = self.metadata.read().await?;
            let found = uploads::find(&mut reader, id, repository, self.now()).await?;
            let stored = found.ok_or(Error::UploadUnknown)?.staged.stored_bytes;
            drop(reader);
            if Instant::now() >= deadline {
                return Err(Error::OffsetMismatch { stored });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn try_claim(&self, repository: &RepositoryName, id: Uuid) -> Result<Option<Held>, Error> {
        let claim = Claim {
            id,
            token: Uuid::new_v4(),
        };
        let until = self.after(self.limits.claim);
        // In a bucket the number of the claim is part of the keys that it writes: it must not be given out again.
        let mut tx = if self.blobs.writes_beside() {
            self.metadata.begin_statement().await?
        } else {
            self.metadata.begin_claim().await?
        };
        let mut guard = self.guard(claim);
        let mut claimed = uploads::claim(&mut tx, claim, repository, self.now(), until).await?;
        tx.commit().await?;
        if claimed.is_none() {
            // Durable before a byte is written: were it undone, the claim that it ends would hold again.
            let mut tx = self.metadata.begin_statement().await?;
            claimed = uploads::take_over(&mut tx, claim, repository, self.now(), until).await?;
            tx.commit().await?;
        }
        guard.settled = claimed.is_none();
        Ok(claimed.map(|session| Held { session, claim, guard }))
    }

    fn guard(&self, claim: Claim) -> Guard {
        Guard {
            claim,
            distribution: self.clone(),
            settled: false,
        }
    }
}

impl Held {
    /// Where the blob store goes on.
    pub(super) fn position(&self) -> Position {
        let staged = &self.session.staged;
        Position {
            object_key: self.session.object_key.clone(),
            // What the row has kept is written first.
            stored_bytes: if staged.content.is_some() {
                0
            } else {
                staged.stored_bytes
            },
            hasher: staged.hasher.clone(),
            multipart_id: staged.multipart_id.clone(),
            parts: staged.parts.clone(),
            tail_key: staged.tail_key.clone(),
            claim: self.session.claims,
        }
    }

    /// Runs `work` and renews the claim beside it; the work is given up when the claim is lost.
    pub(super) async fn renewing<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            done = work => Ok(done),
            lost = self.renew_until_lost() => Err(lost),
        }
    }

    /// A renewal that fails is tried again as long as the claim lasts.
    async fn renew_until_lost(&self) -> Error {
        let length = self.guard.distribution.limits.claim;
        let mut ends = Instant::now() + length;
        loop {
            tokio::time::sleep(length / 4).await;
            match self.renew().await {
                Ok(true) => ends = Instant::now() + length,
                Ok(false) => return Error::ClaimLost,
                Err(error) if Instant::now() >= ends => return error,
                Err(error) => {
                    tracing::warn!(session = %self.claim.id, error = &error as &dyn std::error::Error, "claim not renewed");
                }
            }
        }
    }

    async fn renew(&self) -> Result<bool, Error> {
        let distribution = &self.guard.distribution;
        let until = distribution.after(distribution.limits.claim);
        let expires_at = distribution.after(distribution.limits.upload_expiry);
        let mut tx = distribution.metadata.begin_claim().await?;
        let kept = uploads::renew(&mut tx, self.claim, until, expires_at).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// The session was ended or its claim given back in a transaction that has committed.
    pub(super) fn settle(mut self) {
        self.guard.settled = true;
    }

    /// Gives the claim back; the session stands where it stood.
    pub(super) async fn release(mut self) {
        match self.guard.release().await {
            Ok(()) => self.guard.settled = true,
            // The guard tries once more; at worst the claim runs out by itself.
            Err(error) => self.guard.not_given_back(&error),
        }
    }

    /// Records a multipart upload; where it gets a key of its own, what was written to other keys is garbage. The tail is
    /// not: the row goes on naming it, and it may become the blob.
    async fn record_multipart(&self, id: &str, object_key: &str) -> Result<bool, Error> {
        let distribution = &self.guard.distribution;
        let mut tx = distribution.metadata.begin().await?;
        let kept = uploads::multipart_begun(&mut tx, self.claim, id, object_key).await?;
        // Whoever holds the claim now, or ended the session, buries what is garbage then.
        if kept && object_key != self.session.object_key {
            distribution.bury_superseded(&mut tx, &self.session).await?;
        }
        tx.commit().await?;
        Ok(kept)
    }
}

impl WriteClaim for Held {
    fn confirm(&self) -> BoxFuture<'static, Result<(), ClaimError>> {
        let (metadata, claim) = (self.guard.distribution.metadata.clone(), self.claim);
        Box::pin(async move {
            let held = async {
                // Not as a reader: those may see the claim only later.
                let mut tx = metadata.begin_claim().await?;
                let is_held = uploads::is_held(&mut tx, claim).await?;
                tx.commit().await?;
                Ok(is_held)
            };
            verdict(held.await)
        })
    }

    async fn multipart_begun(&self, id: &str, object_key: &str) -> Result<(), ClaimError> {
        verdict(self.record_multipart(id, object_key).await)
    }
}

fn verdict(held: Result<bool, Error>) -> Result<(), ClaimError> {
    match held {
        Ok(true) => Ok(()),
        Ok(false) => Err(ClaimError::Lost),
        Err(error) => Err(ClaimError::Unconfirmed(Box::new(error))),
    }
}

impl Guard {
    async fn release(&self) -> Result<(), Error> {
        let mut tx = self.distribution.metadata.begin_claim().await?;
        uploads::release(&mut tx, self.claim).await?;
        Ok(tx.commit().await?)
    }

    fn not_given_back(&self, error: &Error) {
        tracing::warn!(session = %self.claim.id, error = error as &dyn std::error::Error, "claim not given back");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let again = Self {
            claim: self.claim,
            distribution: self.distribution.clone(),
            settled: true,
        };
        self.distribution.afterwards.spawn(async move {
            if let Err(error) = again.release().await {
                again.not_given_back(&error);
            }
        });
    }
}
