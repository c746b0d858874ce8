use serde_json::{Value, json};

use super::*;

struct Shown {
    registry: Registry,
    rollouts: Rollouts,
}

impl Shown {
    fn new() -> Self {
        let mut registry = Registry::default();
        let rollouts = Rollouts::register(registry.sub_registry_with_prefix("berth_rollout"));
        Self { registry, rollouts }
    }

    fn observe(&self, rollout: &Value) {
        let status = serde_json::from_value(json!({"rollout": rollout})).unwrap();
        self.rollouts.observe("team", "images", &status);
    }

    /// The value of a line, without its `berth_rollout_`.
    fn value(&self, series: &str) -> Option<f64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let series = format!("berth_rollout_{series} ");
        let line = text.lines().find(|line| line.starts_with(&series))?;
        line.strip_prefix(&series)?.parse().ok()
    }
}

fn rollout(id: &str, phase: &str, minute: u32) -> Value {
    json!({
        "id": id, "to": {"image": "i", "revision": "r"}, "trigger": "Version", "strategy": "Canary",
        "phase": phase, "phaseSince": format!("2026-01-01T00:{minute:02}:00Z"),
        "startedAt": "2026-01-01T00:00:00Z", "reason": "", "message": "",
    })
}

const IMAGES: &str = r#"namespace="team",registry="images""#;

#[test]
fn a_roll_out_is_counted_when_it_begins_and_when_it_ends_and_its_phases_by_how_long_they_took() {
    let shown = Shown::new();
    shown.rollouts.observe("team", "images", &RegistryStatus::default());
    for (phase, minute) in [("Preflight", 0), ("AwaitingLock", 1), ("CanaryAnalyzing", 6)] {
        shown.observe(&rollout("a", phase, minute));
        shown.observe(&rollout("a", phase, minute));
    }
    let mut last = rollout("a", "RolledBack", 8);
    last["failedAt"] = json!("2026-01-01T00:07:00Z");
    last["finishedAt"] = json!("2026-01-01T00:08:00Z");
    shown.observe(&last);
    shown.observe(&last);

    assert_eq!(shown.value("started_total"), Some(1.0));
    assert_eq!(shown.value(r#"finished_total{result="RolledBack"}"#), Some(1.0));
    assert_eq!(shown.value(r#"duration_seconds_sum{result="RolledBack"}"#), Some(480.0));
    assert_eq!(shown.value("time_to_remediation_seconds_sum"), Some(60.0));
    assert_eq!(
        shown.value(r#"phase_duration_seconds_sum{phase="AwaitingLock"}"#),
        Some(300.0)
    );
    assert_eq!(
        shown.value(&format!("phase{{{IMAGES},phase=\"RolledBack\"}}")),
        Some(1.0)
    );
    assert_eq!(shown.value(&format!("phase{{{IMAGES},phase=\"Preflight\"}}")), None);
}

#[test]
fn what_an_operator_finds_when_it_begins_is_shown_and_not_counted() {
    let shown = Shown::new();
    shown.observe(&rollout("a", "Completed", 3));

    assert_eq!(
        shown.value(&format!("phase{{{IMAGES},phase=\"Completed\"}}")),
        Some(1.0)
    );
    assert_eq!(shown.value("started_total"), Some(0.0));
    assert_eq!(shown.value(r#"finished_total{result="Completed"}"#), None);
    shown.observe(&rollout("b", "Preflight", 4));
    assert_eq!(shown.value("started_total"), Some(1.0));
}

#[test]
fn measurements_are_shown_as_they_were_and_a_missing_value_is_not_zero() {
    let shown = Shown::new();
    shown.observe(&rollout("a", "CanaryAnalyzing", 1));
    let measured = |value: Value, at: u32| {
        let at = format!("2026-01-01T00:{at:02}:00Z");
        let mut rollout = rollout("a", "CanaryAnalyzing", 1);
        rollout["verdict"] = json!({"at": at, "word": "Weak", "measurements": [
            {"at": at, "check": "errors", "stage": "canary", "samples": 40, "value": value, "verdict": "Weak"},
        ]});
        rollout
    };
    let value = format!("analysis_value{{{IMAGES},check=\"errors\",stage=\"canary\"}}");

    shown.observe(&measured(json!(0.25), 2));
    assert_eq!(shown.value(&value), Some(0.25));
    shown.observe(&measured(json!(null), 3));
    assert_eq!(shown.value(&value), None);
    let samples = format!("analysis_samples{{{IMAGES},check=\"errors\",stage=\"canary\"}}");
    assert_eq!(shown.value(&samples), Some(40.0));
    assert_eq!(shown.value(r#"analysis_verdicts_total{verdict="Weak"}"#), Some(2.0));
}

#[test]
fn locks_and_migrations_that_wait_are_shown_until_nobody_knows_or_the_registry_is_gone() {
    let shown = Shown::new();
    let mut locked = rollout("a", "PreMigrating", 1);
    locked["locks"] = json!([{"lease": "team/l", "holder": "h", "token": "t"}]);
    let schema = json!({"applied": "2", "required": "1", "pendingPre": [], "pendingPost": ["3", "4"]});
    let status = |value| serde_json::from_value(value).unwrap();
    let (post, locks) = (
        format!("schema_pending{{{IMAGES},phase=\"post\"}}"),
        format!("locks_held{{{IMAGES}}}"),
    );

    let known = status(json!({"rollout": locked, "schema": schema}));
    shown.rollouts.observe("team", "images", &known);
    assert_eq!((shown.value(&post), shown.value(&locks)), (Some(2.0), Some(1.0)));
    assert_eq!(
        shown.value(&format!("schema_pending{{{IMAGES},phase=\"pre\"}}")),
        Some(0.0)
    );
    assert_eq!(
        shown.value(&format!("start_timestamp_seconds{{{IMAGES}}}")),
        Some(1_767_225_600.0)
    );

    shown.observe(&rollout("a", "CanaryDeploying", 2));
    assert_eq!((shown.value(&post), shown.value(&locks)), (None, Some(0.0)));
    shown.rollouts.observe("team", "images", &known);
    shown.rollouts.forget("team", "images");
    assert_eq!((shown.value(&post), shown.value(&locks)), (None, None));
}

#[test]
fn since_when_somebody_is_waited_for_is_shown_while_it_is_so() {
    let shown = Shown::new();
    let of = |series: &str, labels: &str| shown.value(&format!("{series}_start_timestamp_seconds{{{IMAGES}{labels}}}"));
    let all = || {
        let asked = |step: &str| of("approval", &format!(",step=\"{step}\""));
        (
            asked("Main"),
            asked("PostMigrations"),
            of("lock_wait", ""),
            of("lock_held", ""),
        )
    };
    let minute = |minute: u32| Some(1_767_225_600.0 + f64::from(minute * 60));

    shown.observe(&rollout("a", "AwaitingLock", 1));
    assert_eq!(all(), (None, None, minute(1), None));

    let mut asks = rollout("a", "AwaitingApproval", 5);
    asks["asks"] = json!("Main");
    asks["locks"] = json!([
        {"lease": "team/m", "holder": "h", "token": "t", "since": "2026-01-01T00:04:00Z"},
        {"lease": "team/l", "holder": "h", "token": "t", "since": "2026-01-01T00:03:00Z"},
        {"lease": "team/n", "holder": "h", "token": "t"},
    ]);
    shown.observe(&asks);
    assert_eq!(all(), (minute(5), None, None, minute(3)));

    (asks["asks"], asks["locks"]) = (json!("PostMigrations"), json!([]));
    shown.observe(&asks);
    assert_eq!(all(), (None, minute(5), None, None));

    let mut again = rollout("a", "CanaryDeploying", 9);
    again["reason"] = json!("WaitingForLock");
    shown.observe(&again);
    assert_eq!(all(), (None, None, minute(9), None), "its lock was lost");
    again["phase"] = json!("Superseded");
    shown.observe(&again);
    assert_eq!(all(), (None, None, None, None));

    shown.observe(&asks);
    shown.rollouts.forget("team", "images");
    assert_eq!(all(), (None, None, None, None));
}

#[test]
fn passing_over_a_gate_is_counted_once() {
    let shown = Shown::new();
    shown.observe(&rollout("a", "CanaryAnalyzing", 1));
    let mut promoted = rollout("a", "CanaryAnalyzing", 1);
    promoted["decisions"] = json!([
        {"at": "2026-01-01T00:02:00Z", "kind": "promote", "actor": "mary", "reason": "r"},
        {"at": "2026-01-01T00:02:00Z", "kind": "floor", "actor": "operator", "reason": "r"},
    ]);
    shown.observe(&promoted);
    shown.observe(&promoted);

    assert_eq!(shown.value(r#"gate_overrides_total{gate="promote"}"#), Some(1.0));
    assert_eq!(shown.value(r#"gate_overrides_total{gate="floor"}"#), None);
}

#[test]
fn a_registry_that_is_gone_leaves_no_series() {
    let shown = Shown::new();
    let mut measured = rollout("a", "CanaryAnalyzing", 1);
    measured["verdict"] = json!({"at": "2026-01-01T00:02:00Z", "word": "Weak", "measurements": [
        {"at": "2026-01-01T00:02:00Z", "check": "errors", "stage": "canary", "samples": 4, "value": 0.5, "verdict": "Weak"},
    ]});
    shown.observe(&measured);
    shown.rollouts.forget("team", "images");

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &shown.registry).unwrap();
    assert!(!text.contains("team"), "{text}");
}

#[test]
fn a_condition_is_shown_while_somebody_can_say_and_while_the_registry_is_there() {
    let shown = Shown::new();
    let status = |word: &str| {
        let condition = json!({
            "type": "Degraded", "status": word, "reason": "PodsCrash", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({"conditions": [condition]})).unwrap()
    };
    let degraded = format!(r#"condition{{{IMAGES},condition="Degraded"}}"#);

    shown.rollouts.observe("team", "images", &status("True"));
    assert_eq!(shown.value(&degraded), Some(1.0));
    shown.rollouts.observe("team", "images", &status("False"));
    assert_eq!(shown.value(&degraded), Some(0.0));
    shown.rollouts.observe("team", "images", &status("Unknown"));
    assert_eq!(shown.value(&degraded), None);
    shown.rollouts.observe("team", "images", &status("True"));
    shown.rollouts.forget("team", "images");
    assert_eq!(shown.value(&degraded), None);
}
