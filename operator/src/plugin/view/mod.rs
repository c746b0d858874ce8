//! What a Registry and its roll-outs look like on a screen; pure.

pub mod table;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use unicode_width::UnicodeWidthStr;

use super::screen::{Line, Tone, wrapped};
use crate::api::rollout::status::Measurement;
use crate::api::rollout::{ApprovalStep, Phase, RolloutState};
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

/// Below this width lines are laid out with less in them.
const NARROW: usize = 78;

/// One Registry, in full.
pub fn registry(registry: &Registry, width: usize, now: Timestamp) -> Vec<Line> {
    let status = registry.status.clone().unwrap_or_default();
    let (tone, word) = readiness(&status.conditions);
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
    lines.extend(conditions(&status.conditions, width, now));
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
    let head = Line::of(Tone::Strong, "roll-out ").and(Tone::Plain, format!("{}  {from} → {to}", state.id));
    let phase = Line::of(Tone::Plain, "  ")
        .and(tone_of(state.phase), state.phase.as_str())
        .and(Tone::Faint, format!("  for {}", age(state.phase_since.0, now)));
    let mut lines = if head.width() + phase.width() > width {
        vec![head, phase]
    } else {
        vec![Line(head.0.into_iter().chain(phase.0).collect())]
    };
    lines.extend(way(state, width));
    if !state.phase.is_final() {
        lines.push(bar(state, width));
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
        lines.extend(measurements(&verdict.measurements, width));
    }
    lines
}

/// A roll-out that is followed: where it is, and how it came there.
pub fn watch(state: &RolloutState, kept: Option<&RegistryRollout>, width: usize, now: Timestamp) -> Vec<Line> {
    let mut lines = rollout(state, width, now);
    if let Some(kept) = kept {
        lines.push(Line::default());
        lines.extend(record(kept, width, now));
    }
    lines
}

/// The record of one roll-out.
pub fn record(record: &RegistryRollout, width: usize, now: Timestamp) -> Vec<Line> {
    /// Columns before what was said.
    const BEFORE: usize = 32;
    let timeline = record.status.clone().unwrap_or_default().timeline;
    let mut lines = Vec::new();
    for (number, entry) in timeline.iter().enumerate() {
        // Where it was is no longer under way.
        let is_past = number + 1 < timeline.len();
        let tone = tone_of(entry.phase);
        let tone = if is_past && tone == Tone::Warn {
            Tone::Plain
        } else {
            tone
        };
        let said = wrapped(
            &format!("{}: {}", entry.reason, entry.message),
            width.saturating_sub(BEFORE),
        );
        for (row, text) in said.into_iter().enumerate() {
            let begin = if row == 0 {
                Line::of(Tone::Faint, format!("  {:>6} ago  ", age(entry.at.0, now))).and(tone, entry.phase.as_str())
            } else {
                Line::default()
            };
            lines.push(begin.up_to(BEFORE).and(Tone::Plain, text));
        }
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

/// Whether it is as the spec says, in a word.
fn readiness(conditions: &[Condition]) -> (Tone, &'static str) {
    let is = |type_: &str| find(conditions, type_).is_some_and(|condition| condition.status == "True");
    match find(conditions, "Ready").map(|ready| ready.status.as_str()) {
        Some("True") => (Tone::Good, "● ready"),
        Some("False") if is("Progressing") && is("Available") && !is("Degraded") => (Tone::Warn, "◐ under way"),
        Some("False") => (Tone::Bad, "✖ not ready"),
        _ => (Tone::Warn, "○ unknown"),
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

fn condition_line(condition: &Condition, width: usize, now: Timestamp) -> Line {
    let (tone, mark) = match (is_well(condition), condition.status.as_str()) {
        (true, _) => (Tone::Good, "✔"),
        (false, "Unknown") => (Tone::Faint, "?"),
        (false, _) => (Tone::Warn, "!"),
    };
    let since = age(condition.last_transition_time.0, now);
    let (type_, status, reason) = (&condition.type_, &condition.status, &condition.reason);
    if width < NARROW {
        return Line::of(tone, format!("  {mark} "))
            .and(Tone::Faint, format!("{since:>4} "))
            .and(tone, type_.as_str())
            .and(Tone::Plain, format!(" {status} {reason}"));
    }
    Line::of(tone, format!("  {mark} {type_:<22}"))
        .and(Tone::Plain, format!("{status:<8}{reason:<26}"))
        .and(Tone::Faint, since)
}

/// Every condition, and below those that are not as they should be what they say; what was said already is not repeated.
fn conditions(conditions: &[Condition], width: usize, now: Timestamp) -> Vec<Line> {
    let (mut lines, mut said) = (Vec::new(), Vec::new());
    for condition in conditions {
        lines.push(condition_line(condition, width, now));
        if is_well(condition) || said.contains(&&condition.message) {
            continue;
        }
        said.push(&condition.message);
        let message = wrapped(&condition.message, width.saturating_sub(6)).into_iter();
        lines.extend(message.map(|text| Line::of(Tone::Plain, format!("      {text}"))));
    }
    lines
}

/// The way of a roll-out, with a mark where it is; in several lines where one is too short.
fn way(state: &RolloutState, width: usize) -> Vec<Line> {
    let stands_in = state.stands_in.unwrap_or(state.phase);
    let at = if stands_in == Phase::AwaitingApproval {
        asked_before(state)
    } else if stands_in == Phase::MainVerifying {
        Phase::Soaking
    } else {
        stands_in
    };
    let here = WAY.iter().position(|(phase, _)| *phase == at);
    let mut lines = vec![Line::of(Tone::Plain, "  ")];
    for (number, (_, word)) in WAY.iter().enumerate() {
        let (tone, mark) = match here {
            Some(here) if number < here => (Tone::Good, "✔"),
            Some(here) if number == here => (tone_of(state.phase), "▶"),
            None if state.phase == Phase::Completed => (Tone::Good, "✔"),
            _ => (Tone::Faint, "·"),
        };
        let text = format!("{mark} {word}");
        let last = lines.pop().unwrap_or_default();
        let last = if last.width() + text.width() > width {
            lines.push(last);
            Line::of(Tone::Plain, "  ")
        } else {
            last
        };
        lines.push(last.and(tone, text).and(Tone::Plain, " "));
    }
    lines
}

/// Where a roll-out goes on when the person that it asks agrees.
fn asked_before(state: &RolloutState) -> Phase {
    match state.asks {
        Some(ApprovalStep::Canary) => Phase::CanaryDeploying,
        Some(ApprovalStep::PostMigrations) => Phase::PostMigrating,
        Some(ApprovalStep::Main) | None => Phase::Promoting,
    }
}

/// The canary's share of the requests.
fn bar(state: &RolloutState, width: usize) -> Line {
    let cells: usize = if width < NARROW { 12 } else { 25 };
    let share = usize::try_from(state.weight.actual.clamp(0, 100)).unwrap_or_default();
    let full = share * cells / 100;
    let told = if width < NARROW {
        format!(" {share} % (wants {} %)", state.weight.wanted)
    } else {
        format!(
            " {share} % of the requests (step {} wants {} %)",
            state.step + 1,
            state.weight.wanted
        )
    };
    Line::of(Tone::Plain, "  canary ")
        .and(Tone::Warn, "█".repeat(full))
        .and(Tone::Faint, "░".repeat(cells - full))
        .and(Tone::Plain, told)
}

fn measurements(measured: &[Measurement], width: usize) -> Vec<Line> {
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.4}"));
    let row = |cells: [&str; 5]| {
        let [check, stage, samples, value, limit] = cells;
        if width < NARROW {
            return format!("  {check:<22}{samples:>7}{value:>9}{limit:>9}  ");
        }
        format!("  {check:<24}{stage:<8}{samples:>9}{value:>10}{limit:>10}  ")
    };
    let head = row(["CHECK", "STAGE", "REQUESTS", "VALUE", "LIMIT"]);
    let head = if width < NARROW {
        head.replace("REQUESTS", "    REQ")
    } else {
        head
    };
    let mut lines = vec![Line::of(Tone::Strong, format!("{head}VERDICT"))];
    for check in measured {
        let tone = match check.verdict.as_str() {
            "Strong" | "Weak" | "Passed" => Tone::Good,
            "Fail" | "HardFail" | "Failed" => Tone::Bad,
            _ => Tone::Warn,
        };
        let (samples, value, limit) = (check.samples.to_string(), number(check.value), number(check.limit));
        let text = row([&check.check, &check.stage, &samples, &value, &limit]);
        lines.push(Line::of(Tone::Plain, text).and(tone, check.verdict.clone()));
    }
    lines
}
