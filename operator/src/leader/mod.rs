//! One operator at a time: an election on a Lease.
//!
//! Every write of the Lease replaces the one that was read, so of two candidates one is refused. How long nobody
//! renewed it is measured by the candidate's own monotonic clock. The leader stops writing well before another may lead:
//! [`Leadership`] runs out two thirds of the Lease's duration after the last renewal was *sent*, and
//! [`Cluster`] sends no write without it. So a process that was paused writes nothing when it goes on, whatever its
//! tasks were about to do; it ends, and begins anew as a candidate.

mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use tokio_util::sync::CancellationToken;

use self::plan::Step;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::error::{self, Error};

/// Name of the Lease of the election.
pub const LEASE: &str = "berth-operator-leader";
/// How long a Lease holds that is not renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often a candidate looks, at the least.
const LOOK: Duration = Duration::from_secs(1);

/// Whether this process leads.
#[derive(Clone, Debug)]
pub struct Leadership {
    began: Instant,
    /// Until when, in milliseconds after `began`.
    until: Arc<AtomicU64>,
}

impl Leadership {
    /// Of a process that is the only one.
    pub fn unchallenged() -> Self {
        Self {
            began: Instant::now(),
            until: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Of one that does not lead yet.
    pub fn none() -> Self {
        Self {
            began: Instant::now(),
            until: Arc::default(),
        }
    }

    /// Whether it leads now.
    pub fn holds(&self) -> bool {
        self.millis(Instant::now()) < self.until.load(Ordering::Acquire)
    }

    fn extend(&self, until: Instant) {
        self.until.store(self.millis(until), Ordering::Release);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    fn left(&self) -> Duration {
        let until = self.until.load(Ordering::Acquire);
        Duration::from_millis(until.saturating_sub(self.millis(Instant::now())))
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A candidate.
#[derive(Debug)]
pub struct Candidate {
    cluster: Cluster,
    clock: Clock,
    namespace: String,
    identity: String,
    duration: Duration,
    leadership: Leadership,
}

/// Why a leader does not lead any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another one leads, or somebody has changed the Lease.
    #[error("the Lease {LEASE} is held by {0}")]
    Taken(String),
    /// The API server could not be told in time.
    #[error("the Lease {LEASE} could not be renewed in time: {0}")]
    Late(String),
}

impl Candidate {
    /// A candidate for the Lease in `namespace`. `identity` is to be of this process alone.
    ///
    /// `cluster` must not be guarded by the leadership that it is to win.
    pub fn new(cluster: Cluster, clock: Clock, namespace: &str, identity: String, duration: Duration) -> Self {
        Self {
            cluster,
            clock,
            namespace: namespace.to_owned(),
            identity,
            duration,
            leadership: Leadership::none(),
        }
    }

    /// Whether it leads: for [`Cluster::guarded_by`].
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until this one leads; `None` when `stop` was first. `seen` is called once the Lease could be read.
    pub async fn win(&self, stop: &CancellationToken, seen: impl Fn()) -> Option<Lease> {
        let mut watched = Watched::default();
        loop {
            let attempt = self.attempt(&mut watched).await.inspect_err(complain);
            if let Ok(Some(lease)) = attempt {
                tracing::info!(identity = %self.identity, "leads");
                return Some(lease);
            }
            if attempt.is_ok() {
                seen();
            }
            stop.run_until_cancelled(tokio::time::sleep(self.pause())).await?;
        }
    }

    async fn attempt(&self, watched: &mut Watched) -> Result<Option<Lease>, Error> {
        let sent = Instant::now();
        let live: Option<Lease> = self.cluster.get(&self.namespace, LEASE).await?;
        let unchanged = watched.unchanged(live.as_ref(), sent);
        let step = plan::step(live.as_ref(), &self.identity, unchanged);
        if let Step::Follow(leader) = step {
            watched.follow(leader);
            return Ok(None);
        }
        let mut wanted = plan::taken(live, &self.identity, self.duration, self.clock.now());
        wanted.metadata.name = Some(LEASE.to_owned());
        wanted.metadata.namespace = Some(self.namespace.clone());
        let sent = Instant::now();
        let written = if step == Step::Create {
            self.cluster.create_new(&wanted).await?
        } else {
            self.cluster.replace(&wanted).await?
        };
        if written.is_some() {
            self.leadership.extend(sent + self.deadline());
        }
        Ok(written)
    }

    /// Keeps the Lease until `stop`, which gives it back as it was last written, or until it is lost.
    ///
    /// # Errors
    /// Why it was lost. From then on the leadership holds no more.
    pub async fn keep(&self, mut lease: Lease, stop: &CancellationToken) -> Result<Lease, Lost> {
        let mut pause = self.duration / 3;
        loop {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(lease);
            }
            let left = self.leadership.left();
            if left.is_zero() {
                return Err(Lost::Late("this process did not get to it".to_owned()));
            }
            match tokio::time::timeout(left, self.renew(lease.clone())).await {
                Ok(Ok(renewed)) => (lease, pause) = (renewed?, self.duration / 3),
                Ok(Err(failed)) if !self.leadership.left().is_zero() => {
                    complain(&failed);
                    pause = self.pause();
                }
                Ok(Err(failed)) => return Err(Lost::Late(error::chain(&failed))),
                Err(_) => return Err(Lost::Late("the API server did not answer".to_owned())),
            }
        }
    }

    /// One renewal; tried a second time when somebody has changed the Lease and left the leader in it.
    async fn renew(&self, lease: Lease) -> Result<Result<Lease, Lost>, Error> {
        let mut lease = lease;
        loop {
            let sent = Instant::now();
            let wanted = plan::renewed(lease, self.duration, self.clock.now());
            if let Some(renewed) = self.cluster.replace(&wanted).await? {
                self.leadership.extend(sent + self.deadline());
                return Ok(Ok(renewed));
            }
            let live: Option<Lease> = self.cluster.get(&self.namespace, LEASE).await?;
            let leader = live
                .as_ref()
                .and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
            match live {
                Some(live) if leader.as_ref() == Some(&self.identity) => lease = live,
                _ => {
                    self.leadership.end();
                    return Ok(Err(Lost::Taken(leader.unwrap_or_else(|| "nobody".to_owned()))));
                }
            }
        }
    }

    /// Lets another one lead at once. Called when nothing is written any more.
    ///
    /// # Errors
    /// What the API server says; then the Lease is free when its duration has passed.
    pub async fn release(&self, lease: Lease) -> Result<(), Error> {
        self.leadership.end();
        self.cluster.replace(&plan::released(lease, self.clock.now())).await?;
        Ok(())
    }

    fn pause(&self) -> Duration {
        LOOK.min(self.duration / 5)
    }

    /// How long after a renewal was sent this one still leads. Others wait for the whole duration from when they saw it.
    fn deadline(&self) -> Duration {
        self.duration * 2 / 3
    }
}

fn complain(failed: &Error) {
    tracing::warn!("the Lease of the election cannot be used: {}", error::chain(failed));
}

/// Since when the Lease has not changed, by the own clock.
#[derive(Default)]
struct Watched {
    version: Option<String>,
    since: Option<Instant>,
    leader: Option<String>,
}

impl Watched {
    fn unchanged(&mut self, lease: Option<&Lease>, now: Instant) -> Duration {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone());
        if self.since.is_none() || self.version != version {
            (self.version, self.since) = (version, Some(now));
        }
        self.since
            .map(|since| now.saturating_duration_since(since))
            .unwrap_or_default()
    }

    fn follow(&mut self, leader: String) {
        if self.leader.as_ref() != Some(&leader) {
            tracing::info!(%leader, "follows {leader}");
            self.leader = Some(leader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_runs_out_by_itself() {
        let leadership = Leadership::none();
        assert!(!leadership.holds());

        leadership.extend(Instant::now() + Duration::from_mins(1));
        assert!(leadership.holds());
        leadership.extend(Instant::now());
        assert!(!leadership.holds());
        assert!(Leadership::unchallenged().holds());
    }

    #[test]
    fn a_lease_is_unchanged_for_as_long_as_its_version_was_seen() {
        let (mut watched, began) = (Watched::default(), Instant::now());
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some("1".to_owned());
        let later = |seconds| began + Duration::from_secs(seconds);

        assert_eq!(watched.unchanged(Some(&lease), began), Duration::ZERO);
        assert_eq!(watched.unchanged(Some(&lease), later(9)), Duration::from_secs(9));
        lease.metadata.resource_version = Some("2".to_owned());
        assert_eq!(watched.unchanged(Some(&lease), later(10)), Duration::ZERO);
        assert_eq!(watched.unchanged(Some(&lease), later(11)), Duration::from_secs(1));
    }
}
