//! `kubectl berth lock`: the Leases that keep roll-outs from beginning, held and freed by people, with a record.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::api::Session;
use super::args::{HoldLock, Lock, ReleaseLock};
use super::ask::{self, LockEntry};
use super::near;
use super::screen::{Line, Tone};
use super::show::Printer;
use super::view::table;
use crate::clock::Clock;
use crate::locks::lease;
use crate::locks::plan::{self, Claim, LockStep, plan};
use crate::locks::{self, Holder, TOKEN_LABEL, Token};

/// How often a lock that somebody else holds is looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// How often a write is tried when others write first.
const ATTEMPTS: usize = 5;

/// Does it. True when it came out well.
///
/// # Errors
/// When it could not be done.
pub async fn run(session: &Session, printer: &Printer, lock: &Lock) -> anyhow::Result<bool> {
    match lock {
        Lock::Status { group } => status(session, printer, group.as_deref()).await,
        Lock::Hold(asked) => hold(session, printer, asked).await,
        Lock::Release(asked) => release(session, printer, asked).await,
    }
}

async fn all(session: &Session) -> anyhow::Result<Vec<Lease>> {
    let mut leases: Vec<Lease> = session.list(session.scope(), "").await?;
    leases.retain(|lease| lease.name_any().starts_with(&ask::lease_name("")));
    Ok(leases)
}

async fn status(session: &Session, printer: &Printer, group: Option<&str>) -> anyhow::Result<bool> {
    let leases = match group {
        Some(group) => vec![named(session, group).await?],
        None => all(session).await?,
    };
    let now = Clock::System.now();
    let seen: Vec<_> = leases.iter().map(|lease| table::lock(lease, now)).collect();
    printer.once(&table::locks(&leases, now), &json!(seen))?;
    Ok(true)
}

/// The Lease of a lock that is there.
async fn named(session: &Session, group: &str) -> anyhow::Result<Lease> {
    let (namespace, name) = (session.namespace()?, ask::lease_name(group));
    if let Some(lease) = session.get::<Lease>(namespace, &name).await? {
        return Ok(lease);
    }
    let there: Vec<String> = all(session).await?.iter().map(ResourceExt::name_any).collect();
    bail!(near::unknown("lock", &name, namespace, &there))
}

/// Somebody at a lock.
struct Person {
    user: String,
    holder: Holder,
}

impl Person {
    async fn of(session: &Session, id: Option<&str>) -> anyhow::Result<Self> {
        let user = session.user().await?;
        let holder = Holder::External(format!("external/{}", id.unwrap_or(&user)));
        Ok(Self { user, holder })
    }

    fn entry(&self, what: &str, reason: &str, now: Timestamp) -> LockEntry {
        LockEntry {
            at: now,
            what: what.to_owned(),
            by: self.user.clone(),
            holder: self.holder.to_string(),
            reason: reason.to_owned(),
        }
    }
}

async fn hold(session: &Session, printer: &Printer, asked: &HoldLock) -> anyhow::Result<bool> {
    let person = Person::of(session, asked.id.as_deref()).await?;
    let began = Instant::now();
    let lease = loop {
        let why = match take(session, &person, asked).await? {
            Ok(lease) => break lease,
            Err(why) => why,
        };
        if began.elapsed() >= asked.wait {
            bail!(
                "the lock {} cannot be had: {why}; --wait waits for it, and `lock release --force` frees it",
                ask::lease_name(&asked.group)
            );
        }
        tokio::time::sleep(LOOK).await;
    };
    let now = Clock::System.now();
    let told = format!(
        "{} is held by {} for {}: no roll-out of its group begins",
        lease.name_any(),
        person.holder,
        humantime::format_duration(asked.duration)
    );
    printer.once(&[Line::of(Tone::Good, told)], &json!(table::lock(&lease, now)))?;
    Ok(true)
}

/// The Lease as it is held now, or why it cannot be had.
async fn take(session: &Session, person: &Person, asked: &HoldLock) -> anyhow::Result<Result<Lease, String>> {
    let (namespace, name) = (session.namespace()?, ask::lease_name(&asked.group));
    let mut idle: Option<Token> = None;
    for _ in 0..ATTEMPTS {
        let now = Clock::System.now();
        let live: Option<Lease> = session.get(namespace, &name).await?;
        let claim = Claim {
            holder: &person.holder,
            created: now,
            duration: asked.duration,
            idle: idle.as_ref(),
        };
        let step = match plan(live.as_ref(), &claim, now) {
            LockStep::Wait { blocked, .. } => {
                let left = blocked.left_behind.clone();
                match left {
                    // Whoever held it is gone; what it began may not be.
                    Some(token) if idle.is_none() && !has_job(session, namespace, &token).await? => {
                        idle = Some(token);
                        continue;
                    }
                    _ => return Ok(Err(blocked.to_string())),
                }
            }
            // Who asks again wants it for that long from now on.
            LockStep::Keep { token, .. } => LockStep::Renew(token),
            step @ (LockStep::Create | LockStep::Take | LockStep::Renew(_)) => step,
        };
        let wanted = plan::written(live.as_ref(), &step, &claim, now);
        let mut wanted = wanted.context("a lock that is taken is written")?;
        wanted.metadata.name = Some(name.clone());
        wanted.metadata.namespace = Some(namespace.to_owned());
        ask::note(&mut wanted, person.entry("held", &asked.reason, now));
        if session.write_lease(&wanted).await? {
            return Ok(Ok(wanted));
        }
    }
    Ok(Err("others write to it all the time".to_owned()))
}

async fn has_job(session: &Session, namespace: &str, token: &Token) -> anyhow::Result<bool> {
    let jobs: Vec<Job> = session.list(namespace, &format!("{TOKEN_LABEL}={token}")).await?;
    Ok(jobs.iter().any(|job| !locks::has_ended(job)))
}

async fn release(session: &Session, printer: &Printer, asked: &ReleaseLock) -> anyhow::Result<bool> {
    let person = Person::of(session, asked.id.as_deref()).await?;
    for _ in 0..ATTEMPTS {
        let live = named(session, &asked.group).await?;
        let Some(current) = lease::hold(&live) else {
            bail!("nobody holds {}", live.name_any());
        };
        let own = current.holder == person.holder;
        if !own && !asked.force {
            bail!(
                "{} is held by {}, not by {}; --id names another holder, and --force frees it anyway: then make sure \
                 that its holder does nothing any more",
                live.name_any(),
                current.holder,
                person.holder
            );
        }
        let now = Clock::System.now();
        let wanted = plan::released(&live, &current.holder, now);
        let mut wanted = wanted.context("a lock that is held can be released")?;
        let mut entry = person.entry(if own { "released" } else { "freed" }, &asked.reason, now);
        entry.holder = current.holder.to_string();
        ask::note(&mut wanted, entry);
        if session.write_lease(&wanted).await? {
            let told = format!("{} is free; {} held it", wanted.name_any(), current.holder);
            printer.once(&[Line::of(Tone::Good, told)], &json!(table::lock(&wanted, now)))?;
            return Ok(true);
        }
    }
    bail!("others write to the lock all the time: try again")
}
