//! Commands to roll-outs, and waiting for what becomes of them.

use std::time::{Duration, Instant};

use anyhow::bail;
use kube::ResourceExt;
use semver::Version;
use serde_json::{Value, json};

use super::api::Session;
use super::args::{Output, Reasoned, Rollout};
use super::refusal::Refusal;
use super::screen::{Line, Tone};
use super::show::Printer;
use super::view::{self, table};
use super::{LOOK, ask};
use crate::api::Registry;
use crate::api::rollout::{Decision, Phase};
use crate::clock::Clock;

/// Does it. True when it came out well.
///
/// # Errors
/// When it could not be done.
pub async fn run(session: &Session, printer: &Printer, rollout: &Rollout) -> anyhow::Result<bool> {
    let (word, asked) = match rollout {
        Rollout::Watch(named) => return Box::pin(watch(session, printer, &named.name)).await,
        Rollout::History { name } => return history(session, printer, name.as_deref()).await,
        Rollout::Approve(asked) => return decide(session, printer, asked, Decision::Approve).await,
        Rollout::Reject(asked) => return decide(session, printer, asked, Decision::Reject).await,
        Rollout::Pause(asked) => ("pause", asked),
        Rollout::Resume(asked) => ("resume", asked),
        Rollout::Promote(asked) => ("promote", asked),
        Rollout::SkipStep(asked) => ("skip-step", asked),
        Rollout::Abort(asked) => ("abort", asked),
        Rollout::Retry(asked) => ("retry", asked),
    };
    command(session, printer, word, asked).await
}

async fn history(session: &Session, printer: &Printer, name: Option<&str>) -> anyhow::Result<bool> {
    if let Some(name) = name {
        session.registry(name).await?;
    }
    let records = session.rollouts(name).await?;
    printer.once(&table::history(&records, Clock::System.now()), &json!(records))?;
    Ok(true)
}

async fn command(session: &Session, printer: &Printer, word: &str, asked: &Reasoned) -> anyhow::Result<bool> {
    let registry = session.registry(&asked.name).await?;
    let state = ask::rollout_for(&registry, word)?;
    let user = session.user().await?;
    let patch = ask::command(word, &state.id, asked.reason.as_deref(), &user);
    session.patch(&asked.name, &patch).await?;
    let told = format!("asked roll-out {} to {word}", state.id);
    printer.once(
        &[Line::of(Tone::Good, told)],
        &json!({"rollout": state.id, "command": word, "by": user, "reason": asked.reason}),
    )?;
    Ok(true)
}

async fn decide(session: &Session, printer: &Printer, asked: &Reasoned, decision: Decision) -> anyhow::Result<bool> {
    let registry = session.registry(&asked.name).await?;
    let state = ask::rollout_for(&registry, "approve")?;
    let user = session.user().await?;
    let approval = ask::approval(&registry, state, decision, asked.reason.clone(), &user)?;
    let name = session.approve(&approval).await?;
    let told = format!(
        "{decision:?} of {user} for {:?} is in RegistryApproval {name}",
        approval.spec.step
    );
    printer.once(
        &[Line::of(Tone::Good, told)],
        &json!({"approval": name, "spec": approval.spec}),
    )?;
    Ok(true)
}

/// What the screen of a roll-out shows: the Registry's word and the record, or that the record may not be read.
async fn look(session: &Session, registry: &Registry, width: usize) -> anyhow::Result<(Vec<Line>, Value, Phase)> {
    let state = ask::rollout_for(registry, "retry")?;
    let now = Clock::System.now();
    let mut value = json!({"rollout": state});
    let (kept, unseen) = match session.rollouts(Some(&registry.name_any())).await {
        Ok(records) => (records.into_iter().find(|record| record.name_any() == state.id), None),
        Err(refusal @ Refusal::Forbidden { .. }) => (None, Some(refusal)),
        Err(refusal) => return Err(refusal.into()),
    };
    let mut lines = view::watch(state, kept.as_ref(), width, now);
    lines.extend(unseen.map(|refusal| Line::of(Tone::Faint, refusal.to_string())));
    if let Some(status) = kept.and_then(|kept| kept.status) {
        value["timeline"] = json!(status.timeline);
    }
    Ok((lines, value, state.phase))
}

/// True when the roll-out completed.
async fn watch(session: &Session, printer: &Printer, name: &str) -> anyhow::Result<bool> {
    let mut last = look(session, &session.registry(name).await?, printer.width()).await?;
    loop {
        let (lines, value, phase) = &last;
        let is_read = printer.live(lines, value)?;
        if phase.is_final() || printer.output() == Output::Svg || !is_read {
            return Ok(*phase == Phase::Completed || !phase.is_final());
        }
        tokio::time::sleep(LOOK).await;
        let seen = async { look(session, &session.registry(name).await?, printer.width()).await };
        last = again(seen.await, last)?;
    }
}

/// What was seen last, where the API server does not answer for a moment.
pub(super) fn again<T>(
    seen: anyhow::Result<(Vec<Line>, Value, T)>,
    last: (Vec<Line>, Value, T),
) -> anyhow::Result<(Vec<Line>, Value, T)> {
    match seen {
        Err(error) if matches!(error.downcast_ref(), Some(Refusal::NoAnswer(_))) => {
            let (mut lines, value, rest) = last;
            lines.retain(|line| !is_silence(line));
            lines.insert(0, Line::of(Tone::Warn, format!("{SILENCE}{error}")));
            Ok((lines, value, rest))
        }
        seen => seen,
    }
}

/// How the line begins that says that nothing new is known.
const SILENCE: &str = "not up to date: ";

fn is_silence(line: &Line) -> bool {
    line.0.first().is_some_and(|(_, text)| text.starts_with(SILENCE))
}

/// Waits until no pod runs less than `wanted`.
///
/// # Errors
/// That it took longer than `limit`, or what the API server says.
pub async fn wait(
    session: &Session,
    printer: &Printer,
    name: &str,
    wanted: &Version,
    limit: Duration,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    loop {
        let runs = lowest(&session.registry(name).await?);
        if let Some(runs) = runs.as_ref().filter(|runs| *runs >= wanted) {
            printer.once(
                &[Line::of(Tone::Good, format!("{name} runs {runs}"))],
                &json!({"version": runs.to_string(), "met": true}),
            )?;
            return Ok(true);
        }
        if began.elapsed() >= limit {
            let runs = runs.map_or_else(|| "no known version".to_owned(), |runs| runs.to_string());
            bail!(
                "{name} runs {runs} and not {wanted} or more after {}",
                humantime::format_duration(limit)
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The lowest version that serves: while a roll-out is under way, the older of both.
fn lowest(registry: &Registry) -> Option<Version> {
    let status = registry.status.as_ref()?;
    let main = Version::parse(&status.version.as_ref()?.main).ok()?;
    let state = status.rollout.as_ref().filter(|state| !state.phase.is_final());
    let both = state.and_then(|state| {
        let from = Version::parse(state.from.as_ref()?.version.as_ref()?).ok()?;
        let to = Version::parse(state.to.version.as_ref()?).ok()?;
        Some(from.min(to))
    });
    Some(match both {
        Some(both) => both.min(main),
        None => main,
    })
}
