//! What one who wants a lock is to do about it, from the Lease alone; pure.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::locks::holder::{Holder, Token};
use crate::locks::lease::{self, Hold, Waiter, after, since};

/// Longest wait until a lock that somebody else holds is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Who wants the lock.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who.
    pub holder: &'a Holder,
    /// When the roll-out was made: its place in the queue.
    pub created: Timestamp,
    /// For how long the lock is held without being renewed.
    pub duration: Duration,
    /// A hold that was left behind, and of which the caller has seen that no Job is active any more.
    pub idle: Option<&'a Token>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockStep {
    /// There is no Lease: make one that the claimant holds.
    Create,
    /// Nobody holds it and it is the claimant's turn: take it.
    Take,
    /// The claimant holds it and is to say so again now.
    Renew(Token),
    /// The claimant holds it and has nothing to do before `renew_in` has passed.
    Keep {
        /// The hold.
        token: Token,
        /// How long nothing is to be done.
        renew_in: Duration,
    },
    /// Somebody else holds it, or comes first.
    Wait {
        /// Why.
        blocked: Blocked,
        /// Whether the claimant is to write itself into the queue, for the first time or again.
        enrol: bool,
    },
}

/// Why a lock cannot be had yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Who holds it; `None` when nobody does and others come first.
    pub by: Option<Holder>,
    /// For how long.
    pub age: Duration,
    /// How many come first in the queue.
    pub ahead: usize,
    /// The hold is left behind: its holder is gone, or is an earlier roll-out of the same Registry. It is taken once
    /// the caller says, in [`Claim::idle`], that no Job with this token is active.
    pub left_behind: Option<Token>,
    /// When to look again.
    pub look_again: Duration,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Some(holder) => {
                let age = humantime::format_duration(Duration::from_secs(self.age.as_secs()));
                write!(f, "held by {holder} for {age}")?;
            }
            None => f.write_str("free, and not this one's turn")?,
        }
        if self.left_behind.is_some() {
            f.write_str(", which does not renew it any more: it is taken when no Job of that hold is active")?;
        }
        match self.ahead {
            0 => Ok(()),
            1 => f.write_str("; 1 other comes first"),
            ahead => write!(f, "; {ahead} others come first"),
        }
    }
}

/// What `claim` is to do about the lock that `lease` is.
pub fn plan(lease: Option<&Lease>, claim: &Claim<'_>, now: Timestamp) -> LockStep {
    let Some(lease) = lease else {
        return LockStep::Create;
    };
    let hold = lease::hold(lease);
    match &hold {
        Some(hold) if hold.holder == *claim.holder => return own(hold, now),
        Some(hold) if !(is_left_behind(hold, claim, now) && claim.idle == Some(&hold.token)) => {
            return wait(lease, Some(hold), claim, now);
        }
        Some(_) | None => {}
    }
    // A Registry whose roll-out was replaced by a newer one goes on with its lock.
    let inherits = hold
        .as_ref()
        .is_some_and(|hold| hold.holder.is_of_same_registry(claim.holder));
    if inherits || ahead(lease, claim, now) == 0 {
        LockStep::Take
    } else {
        wait(lease, hold.as_ref(), claim, now)
    }
}

fn own(hold: &Hold, now: Timestamp) -> LockStep {
    let token = hold.token.clone();
    if hold.renew_at() <= now {
        return LockStep::Renew(token);
    }
    LockStep::Keep {
        token,
        renew_in: since(now, hold.renew_at()),
    }
}

fn wait(lease: &Lease, hold: Option<&Hold>, claim: &Claim<'_>, now: Timestamp) -> LockStep {
    let left_behind = hold.filter(|hold| is_left_behind(hold, claim, now) && claim.idle != Some(&hold.token));
    LockStep::Wait {
        blocked: Blocked {
            by: hold.map(|hold| hold.holder.clone()),
            age: hold.map(|hold| since(hold.since, now)).unwrap_or_default(),
            ahead: ahead(lease, claim, now),
            left_behind: left_behind.map(|hold| hold.token.clone()),
            look_again: LOOK_AGAIN.min(claim.duration / 3).max(Duration::from_millis(200)),
        },
        enrol: must_enrol(lease, claim, now),
    }
}

fn is_left_behind(hold: &Hold, claim: &Claim<'_>, now: Timestamp) -> bool {
    hold.is_expired(now) || hold.holder.is_of_same_registry(claim.holder)
}

/// How many come before `claim`. One that is not in the queue yet has the place that it will have there.
fn ahead(lease: &Lease, claim: &Claim<'_>, now: Timestamp) -> usize {
    let waiters = lease::waiters(lease, now);
    let created = place(&waiters, claim);
    let own = claim.holder.to_string();
    let first = |waiter: &&Waiter| {
        !Holder::parse(&waiter.holder).is_of_same_registry(claim.holder)
            && (waiter.created, &waiter.holder) < (created, &own)
    };
    waiters.iter().filter(first).count()
}

/// A Registry has one place: a newer roll-out of it takes over the older one's.
fn place(waiters: &[Waiter], claim: &Claim<'_>) -> Timestamp {
    let earlier = waiters
        .iter()
        .filter(|waiter| Holder::parse(&waiter.holder).is_of_same_registry(claim.holder));
    earlier.map(|waiter| waiter.created).fold(claim.created, Timestamp::min)
}

fn must_enrol(lease: &Lease, claim: &Claim<'_>, now: Timestamp) -> bool {
    let own = claim.holder.to_string();
    let waiters = lease::waiters(lease, now);
    let fresh = |waiter: &Waiter| waiter.holder == own && waiter.until > after(now, claim.duration * 2 / 3);
    !waiters.iter().any(fresh)
}

/// The Lease as `step` wants it, made from the one that was read; `None` when nothing is to be written.
pub fn written(lease: Option<&Lease>, step: &LockStep, claim: &Claim<'_>, now: Timestamp) -> Option<Lease> {
    let mut wanted = lease.cloned().unwrap_or_default();
    match step {
        LockStep::Create | LockStep::Take => {
            take(&mut wanted, claim, now);
            without(&mut wanted, claim.holder, now);
        }
        LockStep::Renew(_) => {
            let spec = lease::spec_mut(&mut wanted);
            spec.renew_time = Some(MicroTime(now));
            spec.lease_duration_seconds = Some(seconds(claim.duration));
        }
        LockStep::Wait { enrol: true, .. } => enrol(&mut wanted, claim, now),
        LockStep::Keep { .. } | LockStep::Wait { enrol: false, .. } => return None,
    }
    Some(wanted)
}

/// Each hold has a number of its own, even after one that was released.
fn take(lease: &mut Lease, claim: &Claim<'_>, now: Timestamp) {
    let spec = lease::spec_mut(lease);
    spec.holder_identity = Some(claim.holder.to_string());
    spec.lease_duration_seconds = Some(seconds(claim.duration));
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
}

fn enrol(lease: &mut Lease, claim: &Claim<'_>, now: Timestamp) {
    let mut waiters = lease::waiters(lease, now);
    let created = place(&waiters, claim);
    waiters.retain(|waiter| !Holder::parse(&waiter.holder).is_of_same_registry(claim.holder));
    let own = claim.holder.to_string();
    waiters.retain(|waiter| waiter.holder != own);
    waiters.push(Waiter {
        holder: own,
        created,
        until: after(now, claim.duration),
    });
    waiters.sort_by(|a, b| (a.created, &a.holder).cmp(&(b.created, &b.holder)));
    lease::set_waiters(lease, &waiters);
}

fn without(lease: &mut Lease, holder: &Holder, now: Timestamp) {
    let mut waiters = lease::waiters(lease, now);
    waiters.retain(|waiter| {
        let waiting = Holder::parse(&waiter.holder);
        waiting != *holder && !waiting.is_of_same_registry(holder)
    });
    lease::set_waiters(lease, &waiters);
}

/// The Lease after `holder` gave up both the lock and its place in the queue; `None` when it has neither.
pub fn released(lease: &Lease, holder: &Holder, now: Timestamp) -> Option<Lease> {
    let holds = lease::hold(lease).is_some_and(|hold| hold.holder == *holder);
    let own = holder.to_string();
    let waits = lease::waiters(lease, now).iter().any(|waiter| waiter.holder == own);
    if !holds && !waits {
        return None;
    }
    let mut wanted = lease.clone();
    if holds {
        let spec = lease::spec_mut(&mut wanted);
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(now));
    }
    let mut waiters = lease::waiters(lease, now);
    waiters.retain(|waiter| waiter.holder != own);
    lease::set_waiters(&mut wanted, &waiters);
    Some(wanted)
}

/// Whole seconds, as a Lease has them, and never none.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
mod tests;
