//! Several things, one a line; pure.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{age, find, readiness, tone_of};
use crate::api::{Registry, RegistryRollout};
use crate::locks::lease;
use crate::plugin::screen::{Line, Tone};
use unicode_width::UnicodeWidthStr;

/// The least space between two columns.
const GAP: usize = 2;

/// Rows below a heading, each column as wide as its widest cell. The first row is the heading.
fn table(rows: &[Vec<(Tone, String)>]) -> Vec<Line> {
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|(_, text)| text.width()).max().unwrap_or(0)
    };
    let starts: Vec<usize> = (0..columns)
        .scan(0, |at, column| {
            let start = *at;
            *at += widest(column) + GAP;
            Some(start)
        })
        .collect();
    let line = |row: &Vec<(Tone, String)>| {
        let cells = row.iter().zip(&starts);
        cells.fold(Line::default(), |line, ((tone, text), start)| {
            let line = if *start == 0 { line } else { line.up_to(*start) };
            line.and(*tone, text.as_str())
        })
    };
    rows.iter().map(line).collect()
}

fn heading(words: &[&str]) -> Vec<(Tone, String)> {
    words.iter().map(|word| (Tone::Strong, (*word).to_owned())).collect()
}

/// Several Registries.
pub fn registries(found: &[Registry], now: Timestamp) -> Vec<Line> {
    let mut rows = vec![heading(&["REGISTRY", "READY", "VERSION", "PODS", "ROLL-OUT", "AGE"])];
    for registry in found {
        let status = registry.status.clone().unwrap_or_default();
        let ready = find(&status.conditions, "Ready").map_or("Unknown", |ready| ready.status.as_str());
        let (tone, _) = readiness(&status.conditions);
        let version = status.version.map_or_else(|| "—".to_owned(), |version| version.main);
        let rollout = status.rollout.map(|state| {
            let to = state.to.version.unwrap_or_else(|| "?".to_owned());
            (tone_of(state.phase), format!("{} {to}", state.phase.as_str()))
        });
        let made = registry.metadata.creation_timestamp.as_ref().map(|at| age(at.0, now));
        let namespace = registry.namespace().unwrap_or_default();
        rows.push(vec![
            (Tone::Plain, format!("{namespace}/{}", registry.name_any())),
            (tone, ready.to_owned()),
            (Tone::Plain, version),
            (Tone::Plain, format!("{}/{}", status.ready_replicas, status.replicas)),
            rollout.unwrap_or_else(|| (Tone::Faint, "—".to_owned())),
            (Tone::Faint, made.unwrap_or_default()),
        ]);
    }
    table(&rows)
}

/// The roll-outs of a Registry, newest first.
pub fn history(records: &[RegistryRollout], now: Timestamp) -> Vec<Line> {
    let mut rows = vec![heading(&["ROLL-OUT", "FROM", "TO", "PHASE", "REASON", "AGE"])];
    for record in records {
        let status = record.status.clone().unwrap_or_default();
        let version = |version: Option<&String>| {
            let text = version.cloned().unwrap_or_else(|| "—".to_owned());
            (Tone::Plain, text)
        };
        let began = record.metadata.creation_timestamp.as_ref().map(|at| age(at.0, now));
        rows.push(vec![
            (Tone::Plain, record.name_any()),
            version(record.spec.from.as_ref().and_then(|from| from.version.as_ref())),
            version(record.spec.to.version.as_ref()),
            (tone_of(status.phase), status.phase.as_str().to_owned()),
            (Tone::Plain, status.reason),
            (Tone::Faint, began.unwrap_or_default()),
        ]);
    }
    table(&rows)
}

/// A lock, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockSeen {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// `Free`, `Held` or `Expired`.
    pub state: &'static str,
    /// Who holds it.
    pub holder: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// When that was said last.
    pub renewed: Option<String>,
    /// For how many seconds it holds without being said again.
    pub duration_seconds: Option<u64>,
    /// Those who wait, the first in turn first.
    pub waiting: Vec<String>,
    /// What people did with it, newest last.
    pub record: Vec<crate::plugin::ask::LockEntry>,
}

/// What `lease` says as a lock.
pub fn lock(lease: &Lease, now: Timestamp) -> LockSeen {
    let hold = lease::hold(lease);
    let state = match &hold {
        None => "Free",
        Some(hold) if hold.is_expired(now) => "Expired",
        Some(_) => "Held",
    };
    LockSeen {
        namespace: lease.namespace().unwrap_or_default(),
        lease: lease.name_any(),
        state,
        holder: hold.as_ref().map(|hold| hold.holder.to_string()),
        since: hold.as_ref().map(|hold| hold.since.to_string()),
        renewed: hold.as_ref().map(|hold| hold.renewed.to_string()),
        duration_seconds: hold.as_ref().map(|hold| hold.duration.as_secs()),
        waiting: lease::waiters(lease, now)
            .into_iter()
            .map(|waiter| waiter.holder)
            .collect(),
        record: crate::plugin::ask::lock_record(lease),
    }
}

/// Locks, one a line, and what people did with each below it.
pub fn locks(leases: &[Lease], now: Timestamp) -> Vec<Line> {
    if leases.is_empty() {
        return vec![Line::of(
            Tone::Faint,
            "there is no lock yet: a roll-out makes those that it needs, and `lock hold` makes one",
        )];
    }
    let mut rows = vec![heading(&["LOCK", "STATE", "HOLDER", "FOR", "RENEWED", "WAITING"])];
    for lease in leases {
        let (seen, hold) = (lock(lease, now), lease::hold(lease));
        let tone = match seen.state {
            "Free" => Tone::Good,
            "Held" => Tone::Warn,
            _ => Tone::Bad,
        };
        let ago = |at: Option<Timestamp>| at.map_or_else(|| "—".to_owned(), |at| age(at, now));
        rows.push(vec![
            (Tone::Plain, seen.lease),
            (tone, seen.state.to_owned()),
            (Tone::Plain, seen.holder.unwrap_or_else(|| "—".to_owned())),
            (Tone::Plain, ago(hold.as_ref().map(|hold| hold.since))),
            (Tone::Faint, ago(hold.as_ref().map(|hold| hold.renewed))),
            (Tone::Plain, seen.waiting.len().to_string()),
        ]);
    }
    let lines = table(&rows);
    let mut told = vec![lines[0].clone()];
    for (lease, line) in leases.iter().zip(&lines[1..]) {
        told.push(line.clone());
        for entry in crate::plugin::ask::lock_record(lease).iter().rev().take(3) {
            let said = format!("  {} {} by {}: ", age(entry.at, now), entry.what, entry.by);
            told.push(Line::of(Tone::Faint, said).and(Tone::Plain, entry.reason.as_str()));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::screen;

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        let cell = |text: &str| (Tone::Plain, text.to_owned());
        let lines = table(&[
            heading(&["A", "B"]),
            vec![cell("größer"), cell("x")],
            vec![cell(""), cell("y")],
        ]);

        assert_eq!(screen::text(&lines, 80, false), "A       B\ngrößer  x\n        y\n");
    }

    #[test]
    fn a_lock_is_free_held_or_expired() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let lease = |holder: Option<&str>, renewed: &str| -> Lease {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "berth-rollout-a", "namespace": "team"},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60, "acquireTime": renewed, "renewTime": renewed},
            }))
            .unwrap()
        };

        let state = |lease: &Lease| lock(lease, now).state;
        assert_eq!(state(&lease(None, "2026-01-01T00:59:50.000000Z")), "Free");
        assert_eq!(state(&lease(Some("external/1"), "2026-01-01T00:59:50.000000Z")), "Held");
        assert_eq!(
            state(&lease(Some("external/1"), "2026-01-01T00:50:00.000000Z")),
            "Expired"
        );
    }
}
