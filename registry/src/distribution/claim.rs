//! The right of one request to write to an upload session.
//!
//! Held while bytes arrive, renewed in time, and given back whatever happens: a request that is dropped in the middle
//! (its client went away) leaves the release to a task of its own, so that the client's next try need not wait for the
//! claim to run out.

use super::Distribution;
use super::error::Error;
use crate::blobs::{Announce, Position};
use crate::metadata::uploads::{self, Claim, Session};
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
            let open = uploads::find(&mut reader, id, repository, self.now())
                .await?
                .ok_or(Error::UploadUnknown)?;
            drop(reader);
            if Instant::now() >= deadline {
                return Err(Error::OffsetMismatch {
                    stored: open.staged.stored_bytes,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn try_claim(&self, repository: &RepositoryName, id: Uuid) -> Result<Option<Held>, Error> {
        let claim = Claim {
            id,
            token: Uuid::new_v4(),
        };
        let mut tx = self.metadata.begin().await?;
        let until = self.after(self.limits.claim);
        let claimed = uploads::claim(&mut tx, claim, repository, self.now(), until).await?;
        tx.commit().await?;
        Ok(claimed.map(|session| Held {
            session,
            claim,
            distribution: self.clone(),
            settled: false,
        }))
    }
}

impl Held {
    /// Where the blob store goes on.
    pub(super) fn position(&self) -> Position {
        let staged = &self.session.staged;
        Position {
            object_key: self.session.object_key.clone(),
            stored_bytes: staged.stored_bytes,
            hasher: staged.hasher.clone(),
            multipart_id: staged.multipart_id.clone(),
            parts: staged.parts.clone(),
            tail_key: staged.tail_key.clone(),
            claim: self.session.claims,
        }
    }

    /// Runs `work` and renews the claim beside it.
    pub(super) async fn renewing<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let every = self.distribution.limits.claim / 3;
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(every, work.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_elapsed) => self.renew().await?,
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let until = self.distribution.after(self.distribution.limits.claim);
        let mut tx = self.distribution.metadata.begin().await?;
        let kept = uploads::renew(&mut tx, self.claim, until).await?;
        tx.commit().await?;
        if kept { Ok(()) } else { Err(Error::ClaimLost) }
    }

    /// The session was ended or its claim given back in a transaction that has committed.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }

    /// Gives the claim back; the session stands where it stood.
    pub(super) async fn release(mut self) -> Result<(), Error> {
        self.settled = true;
        release(&self.distribution, self.claim).await
    }
}

async fn release(distribution: &Distribution, claim: Claim) -> Result<(), Error> {
    let mut tx = distribution.metadata.begin().await?;
    uploads::release(&mut tx, claim).await?;
    Ok(tx.commit().await?)
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (distribution, claim) = (self.distribution.clone(), self.claim);
        self.distribution.afterwards.spawn(async move {
            // At worst the claim runs out by itself.
            if let Err(error) = release(&distribution, claim).await {
                tracing::warn!(session = %claim.id, error = &error as &dyn std::error::Error, "claim not given back");
            }
        });
    }
}

impl Announce for Held {
    async fn multipart_begun(&self, id: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut tx = self.distribution.metadata.begin().await?;
        let kept = uploads::multipart_begun(&mut tx, self.claim, id).await?;
        tx.commit().await?;
        if kept { Ok(()) } else { Err(Error::ClaimLost.into()) }
    }
}
