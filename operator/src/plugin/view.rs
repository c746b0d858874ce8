//! What a Registry and its roll-outs look like on a screen; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::screen::{Line, Tone, wrapped};
use crate::api::rollout::status::Measurement;
use crate::api::rollout::{Phase, RolloutState};
use crate::api::{Registry, RegistryRollout};

/// The phases of a roll-out on its way, with the word for each.
const WAY: [(Phase, &str); 8] = [
    (Phase::Preflight, "preflight"),
    (Phase::AwaitingLock, "lock"),
    (Phase::PreMigrating, "migrate"),
    (Phase::CanaryDeploying, "canary"),
    (Phase::CanaryAnalyzing, "measure"),
    (Phase::Promoting, "promote"),
    (Phase::Soaking, "soak"),
    (Phase::PostMigrating, "clean up"),
];

/// One Registry, in full.
pub fn registry(registry: &Registry, width: usize, now: Timestamp) -> Vec<Line> {
    let status = registry.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, "Ready");
    let (tone, word) = match ready.map(|ready| ready.status.as_str()) {
        Some("True") => (Tone::Good, "● ready"),
        Some("False") => (Tone::Bad, "✖ not ready"),
        _ => (Tone::Warn, "○ unknown"),
    };
    let name = format!("{}/{}", registry.namespace().unwrap_or_default(), registry.name_any());
    let version = status.version.as_ref().map_or("—", |version| version.main.as_str());
    let mut lines = vec![
        Line::of(Tone::Strong, name)
            .and(Tone::Plain, "  ")
            .and(tone, word)
            .and(Tone::Plain, format!("  {version}"))
            .and(
                Tone::Faint,
                format!("  {} of {} pods serve", status.ready_replicas, status.replicas),
            ),
    ];
    if let Some(endpoints) = &status.endpoints {
        lines.push(Line::of(Tone::Faint, format!("  {}", endpoints.url)));
    }
    if status
        .observed_generation
        .is_some_and(|seen| Some(seen) < registry.metadata.generation)
    {
        lines.push(Line::of(Tone::Warn, "  the operator has not seen the newest spec yet"));
    }
    lines.push(Line::default());
    for condition in &status.conditions {
        lines.extend(condition_lines(condition, width, now));
    }
    if let Some(state) = &status.rollout {
        lines.push(Line::default());
        lines.extend(rollout(state, width, now));
    }
    if let Some(floor) = &status.rollback_floor {
        lines.push(Line::of(
            Tone::Warn,
            format!("no way back below {}: {}", floor.version, floor.reason),
        ));
    }
    lines
}

/// Where a roll-out is.
pub fn rollout(state: &RolloutState, width: usize, now: Timestamp) -> Vec<Line> {
    let from = state
        .from
        .as_ref()
        .and_then(|from| from.version.as_deref())
        .unwrap_or("?");
    let to = state.to.version.as_deref().unwrap_or("?");
    let mut lines = vec![
        Line::of(Tone::Strong, "roll-out ")
            .and(Tone::Plain, format!("{}  {from} → {to}  ", state.id))
            .and(tone_of(state.phase), state.phase.as_str())
            .and(Tone::Faint, format!("  for {}", age(state.phase_since.0, now))),
        way(state),
    ];
    if !state.phase.is_final() {
        lines.push(bar(state));
    }
    for text in wrapped(&format!("{}: {}", state.reason, state.message), width.saturating_sub(2)) {
        lines.push(Line::of(Tone::Plain, format!("  {text}")));
    }
    if let Some(by) = &state.requested_by {
        lines.push(Line::of(Tone::Faint, format!("  asked for by {by}")));
    }
    if let Some(step) = state.asks {
        lines.push(Line::of(
            Tone::Warn,
            format!("  waits for a person: kubectl berth rollout approve ({step:?})"),
        ));
    }
    if let Some(verdict) = &state.verdict {
        lines.push(Line::default());
        lines.extend(measurements(&verdict.measurements));
    }
    lines
}

/// The record of one roll-out.
pub fn record(record: &RegistryRollout, width: usize, now: Timestamp) -> Vec<Line> {
    let status = record.status.clone().unwrap_or_default();
    let mut lines = Vec::new();
    for entry in &status.timeline {
        let line = Line::of(Tone::Faint, format!("  {:>6} ago  ", age(entry.at.0, now)))
            .and(tone_of(entry.phase), format!("{:<17}", entry.phase.as_str()))
            .and(Tone::Plain, format!("{}  {}", entry.reason, entry.message));
        lines.push(line.cut(width));
    }
    lines
}

/// The roll-outs of a Registry, newest first.
pub fn history(records: &[RegistryRollout], now: Timestamp) -> Vec<Line> {
    let row = |cells: [String; 6]| {
        let [id, from, to, phase, reason, age] = cells;
        format!("{id:<28} {from:<10} {to:<10} {phase:<16} {reason:<22} {age}")
    };
    let head = ["ROLL-OUT", "FROM", "TO", "PHASE", "REASON", "AGE"].map(str::to_owned);
    let mut lines = vec![Line::of(Tone::Strong, row(head))];
    for record in records {
        let status = record.status.clone().unwrap_or_default();
        let version = |version: Option<&String>| version.cloned().unwrap_or_else(|| "—".to_owned());
        let began = record.metadata.creation_timestamp.as_ref().map(|at| age(at.0, now));
        lines.push(Line::of(
            tone_of(status.phase),
            row([
                record.name_any(),
                version(record.spec.from.as_ref().and_then(|from| from.version.as_ref())),
                version(record.spec.to.version.as_ref()),
                status.phase.as_str().to_owned(),
                status.reason,
                began.unwrap_or_default(),
            ]),
        ));
    }
    lines
}

/// Whether that is the way things should be.
pub fn tone_of(phase: Phase) -> Tone {
    match phase {
        Phase::Idle | Phase::Superseded => Tone::Faint,
        Phase::Completed => Tone::Good,
        Phase::Held | Phase::RollingBack | Phase::RolledBack | Phase::Failed => Tone::Bad,
        Phase::Preflight
        | Phase::AwaitingLock
        | Phase::PreMigrating
        | Phase::CanaryDeploying
        | Phase::CanaryAnalyzing
        | Phase::AwaitingApproval
        | Phase::Promoting
        | Phase::MainVerifying
        | Phase::Soaking
        | Phase::PostMigrating
        | Phase::Paused => Tone::Warn,
    }
}

/// How long ago, in one or two units.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Conditions for which `True` is bad.
fn is_well(condition: &Condition) -> bool {
    let wanted = match condition.type_.as_str() {
        "Progressing" | "Degraded" | "Reconciling" | "Stalled" | "Paused" | "RolloutBlocked" => "False",
        _ => "True",
    };
    condition.status == wanted
}

fn condition_lines(condition: &Condition, width: usize, now: Timestamp) -> Vec<Line> {
    let (tone, mark) = match (is_well(condition), condition.status.as_str()) {
        (true, _) => (Tone::Good, "✔"),
        (false, "Unknown") => (Tone::Faint, "?"),
        (false, _) => (Tone::Warn, "!"),
    };
    let head = Line::of(tone, format!("  {mark} {:<22}", condition.type_))
        .and(Tone::Plain, format!("{:<8}{:<26}", condition.status, condition.reason))
        .and(Tone::Faint, age(condition.last_transition_time.0, now));
    if is_well(condition) {
        return vec![head];
    }
    let message = wrapped(&condition.message, width.saturating_sub(6)).into_iter();
    std::iter::once(head)
        .chain(message.map(|text| Line::of(Tone::Plain, format!("      {text}"))))
        .collect()
}

/// The way of a roll-out, with a mark where it is.
fn way(state: &RolloutState) -> Line {
    let stands_in = state.stands_in.unwrap_or(state.phase);
    let at = if stands_in == Phase::AwaitingApproval {
        Phase::Promoting
    } else if stands_in == Phase::MainVerifying {
        Phase::Soaking
    } else {
        stands_in
    };
    let here = WAY.iter().position(|(phase, _)| *phase == at);
    let mut line = Line::of(Tone::Plain, "  ");
    for (number, (_, word)) in WAY.iter().enumerate() {
        let (tone, mark) = match here {
            Some(here) if number < here => (Tone::Good, "✔"),
            Some(here) if number == here => (tone_of(state.phase), "▶"),
            None if state.phase == Phase::Completed => (Tone::Good, "✔"),
            _ => (Tone::Faint, "·"),
        };
        line = line.and(tone, format!("{mark} {word}")).and(Tone::Plain, " ");
    }
    line
}

/// The canary's share of the requests.
fn bar(state: &RolloutState) -> Line {
    const CELLS: usize = 25;
    let share = usize::try_from(state.weight.actual.clamp(0, 100)).unwrap_or_default();
    let full = share * CELLS / 100;
    Line::of(Tone::Plain, "  canary ")
        .and(Tone::Warn, "█".repeat(full))
        .and(Tone::Faint, "░".repeat(CELLS - full))
        .and(
            Tone::Plain,
            format!(
                " {share} % of the requests (step {} wants {} %)",
                state.step + 1,
                state.weight.wanted
            ),
        )
}

fn measurements(measured: &[Measurement]) -> Vec<Line> {
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.4}"));
    let mut lines = vec![Line::of(
        Tone::Strong,
        format!(
            "  {:<24}{:<8}{:>9}{:>10}{:>10}  {}",
            "CHECK", "STAGE", "REQUESTS", "VALUE", "LIMIT", "VERDICT"
        ),
    )];
    for check in measured {
        let tone = match check.verdict.as_str() {
            "Pass" | "Strong" | "Weak" | "Ok" => Tone::Good,
            "Fail" => Tone::Bad,
            _ => Tone::Warn,
        };
        lines.push(
            Line::of(
                Tone::Plain,
                format!(
                    "  {:<24}{:<8}{:>9}{:>10}{:>10}  ",
                    check.check,
                    check.stage,
                    check.samples,
                    number(check.value),
                    number(check.limit)
                ),
            )
            .and(tone, check.verdict.clone()),
        );
    }
    lines
}
