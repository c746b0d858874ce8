//! The writes of a lock.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;

use super::LockName;
use super::holder::{Holder, TOKEN_LABEL, Token};
use super::lease;
use super::plan::{self, Blocked, Claim, LockStep, plan};
use crate::cluster::Cluster;
use crate::error::Error;

/// How often a write is decided anew because somebody else wrote first; then the next pass goes on.
const ATTEMPTS: usize = 5;

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub lock: LockName,
    /// The hold: put it on every Job as [`TOKEN_LABEL`].
    pub token: Token,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
}

/// What became of an attempt to have locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are held, and must be claimed again within `renew_in`.
    Held {
        /// Each of them.
        held: Vec<Held>,
        /// Until when nothing is to be done.
        renew_in: Duration,
    },
    /// This one cannot be had yet.
    Waiting {
        /// Which one.
        lock: LockName,
        /// Why, and when to look again.
        blocked: Blocked,
    },
}

/// What became of a lock that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It still is, and must be renewed within that time.
    Kept(Duration),
    /// It is not. Nothing may be begun under its token.
    Lost(String),
}

/// Takes `lock` if it can be had, renews it if it is due, or waits in its queue.
///
/// Writes at most once, and nothing when nothing is due. Safe to drop midway and to repeat.
///
/// # Errors
/// What the API server says.
pub async fn acquire(cluster: &Cluster, lock: &LockName, claim: &Claim<'_>, now: Timestamp) -> Result<Outcome, Error> {
    for _ in 0..ATTEMPTS {
        let live: Option<Lease> = cluster.get(&lock.namespace, &lock.name).await?;
        let step = plan(live.as_ref(), claim, now);
        let written = match plan::written(live.as_ref(), &step, claim, now) {
            Some(wanted) => write(cluster, lock, wanted).await?,
            None => live,
        };
        if let Some(written) = written {
            return Ok(outcome(lock, step, &written, claim));
        }
    }
    Ok(Outcome::Waiting {
        lock: lock.clone(),
        blocked: Blocked {
            by: None,
            age: Duration::ZERO,
            ahead: 0,
            left_behind: None,
            look_again: Duration::from_secs(1),
        },
    })
}

/// Takes all of `locks`, in the order of their names: so two that want the same ones never wait for one another.
///
/// # Errors
/// What the API server says.
pub async fn acquire_all(
    cluster: &Cluster,
    locks: &[LockName],
    claim: &Claim<'_>,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let mut ordered = locks.to_vec();
    ordered.sort();
    ordered.dedup();
    let (mut all, mut soonest) = (Vec::new(), claim.duration / 3);
    for lock in &ordered {
        match acquire(cluster, lock, claim, now).await? {
            Outcome::Held { held, renew_in } => {
                all.extend(held);
                soonest = soonest.min(renew_in);
            }
            waiting @ Outcome::Waiting { .. } => return Ok(waiting),
        }
    }
    Ok(Outcome::Held {
        held: all,
        renew_in: soonest,
    })
}

/// Says again that `held` is held, if that is due. Unlike [`acquire`] it never takes the lock anew.
///
/// # Errors
/// What the API server says.
pub async fn renew(cluster: &Cluster, held: &Held, claim: &Claim<'_>, now: Timestamp) -> Result<Renewed, Error> {
    let lock = &held.lock;
    for _ in 0..ATTEMPTS {
        let live: Option<Lease> = cluster.get(&lock.namespace, &lock.name).await?;
        let current = live.as_ref().and_then(lease::hold);
        let Some(current) = current.filter(|hold| hold.holder == *claim.holder && hold.token == held.token) else {
            return Ok(Renewed::Lost(why_lost(lock, live.as_ref())));
        };
        let step = plan(live.as_ref(), claim, now);
        let Some(wanted) = plan::written(live.as_ref(), &step, claim, now) else {
            return Ok(Renewed::Kept(until(current.renew_at(), now)));
        };
        if write(cluster, lock, wanted).await?.is_some() {
            return Ok(Renewed::Kept(claim.duration / 3));
        }
    }
    // Others write into the queue, which takes nothing from the hold.
    Ok(Renewed::Kept(Duration::from_secs(1)))
}

/// Gives up `lock` and the place in its queue. That it is held by somebody else, or is not there, is no error.
///
/// # Errors
/// What the API server says, or that others wrote first again and again.
pub async fn release(cluster: &Cluster, lock: &LockName, holder: &Holder, now: Timestamp) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        let Some(live) = cluster.get::<Lease>(&lock.namespace, &lock.name).await? else {
            return Ok(());
        };
        let Some(wanted) = plan::released(&live, holder, now) else {
            return Ok(());
        };
        if write(cluster, lock, wanted).await?.is_some() {
            return Ok(());
        }
    }
    Err(Error::Contended(lock.to_string()))
}

/// Whether a Job that was made under that token in `namespace` has not ended.
///
/// # Errors
/// What the API server says.
pub async fn has_active_job(cluster: &Cluster, namespace: &str, token: &Token) -> Result<bool, Error> {
    let jobs: Vec<Job> = cluster.list(namespace, &format!("{TOKEN_LABEL}={token}")).await?;
    Ok(jobs.iter().any(|job| !has_ended(job)))
}

/// Whether that Job has succeeded or failed for good.
pub fn has_ended(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")
}

/// The Lease as it was written, or `None` when somebody else wrote first.
async fn write(cluster: &Cluster, lock: &LockName, mut wanted: Lease) -> Result<Option<Lease>, Error> {
    wanted.metadata.name = Some(lock.name.clone());
    wanted.metadata.namespace = Some(lock.namespace.clone());
    if wanted.metadata.resource_version.is_some() {
        cluster.replace(&wanted).await
    } else {
        cluster.create_new(&wanted).await
    }
}

fn outcome(lock: &LockName, step: LockStep, written: &Lease, claim: &Claim<'_>) -> Outcome {
    let hold_under = |token, renew_in| Outcome::Held {
        held: vec![Held {
            lock: lock.clone(),
            token,
            since: lease::hold(written).map(|hold| hold.since),
        }],
        renew_in,
    };
    match step {
        LockStep::Create | LockStep::Take => hold_under(lease::token(written), claim.duration / 3),
        LockStep::Renew(token) => hold_under(token, claim.duration / 3),
        LockStep::Keep { token, renew_in } => hold_under(token, renew_in),
        LockStep::Wait { blocked, .. } => Outcome::Waiting {
            lock: lock.clone(),
            blocked,
        },
    }
}

fn why_lost(lock: &LockName, live: Option<&Lease>) -> String {
    match live.map(lease::hold) {
        None => format!("{lock} was deleted"),
        Some(None) => format!("{lock} was released by somebody else"),
        Some(Some(hold)) => format!("{lock} is held by {}", hold.holder),
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    lease::since(now, at)
}
