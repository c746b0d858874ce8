//! The screens of `kubectl berth`, as the pages of the documentation show them.

use berth_operator::api::Registry;
use berth_operator::plugin::screen::{self, Line};
use berth_operator::plugin::view;
use serde_json::json;

use crate::root;

fn registry() -> Registry {
    let at = "2026-01-01T00:00:00Z";
    let condition = |type_: &str, status: &str, reason: &str, message: &str| json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at});
    let check = |check: &str, stage: &str, samples: i64, value: f64, limit: f64, verdict: &str| {
        json!({"at": at, "check": check, "stage": stage, "samples": samples, "value": value, "limit": limit,
            "verdict": verdict})
    };
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Registry",
        "metadata": {"name": "main", "namespace": "registry", "generation": 7}, "spec": {},
        "status": {
            "observedGeneration": 7, "replicas": 4, "readyReplicas": 4, "version": {"main": "1.7.2"},
            "endpoints": {"url": "https://registry.example.com", "host": "registry.example.com"},
            "conditions": [
                condition("Ready", "False", "RollingOut", "1.8.0 is measured with a part of the requests"),
                condition("Available", "True", "MinimumReplicasAvailable", "4 of 4 pods serve"),
                condition("Degraded", "False", "AsExpected", "nothing needs a person"),
                condition("DatabaseMigrated", "True", "Migrated", "migrated"),
            ],
            "rollout": {
                "id": "main-7-1f3a", "from": {"version": "1.7.2", "image": "i", "revision": "a"},
                "to": {"version": "1.8.0", "image": "i", "revision": "b"}, "trigger": "Version", "strategy": "Canary",
                "requestedBy": "ada@example.com", "phase": "CanaryAnalyzing", "phaseSince": at, "startedAt": at,
                "reason": "Baking", "message": "measured for 4 of 10 minutes; every check has enough requests",
                "step": 1, "weight": {"wanted": 25, "actual": 24},
                "verdict": {"at": at, "word": "Weak", "measurements": [
                    check("apdex/manifest_read", "canary", 18_204, 0.9871, 0.95, "Strong"),
                    check("apdex/blob_read", "canary", 9_120, 0.9742, 0.95, "Strong"),
                    check("errors", "canary", 31_877, 0.0004, 0.01, "Strong"),
                ]},
            },
        },
    }))
    .unwrap()
}

fn lines(width: usize) -> Vec<Line> {
    view::registry(&registry(), width, "2026-01-01T00:04:00Z".parse().unwrap())
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [40, 80, 120] {
        let text = screen::text(&lines(width), width, false);

        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        assert!(text.contains("1.7.2 → 1.8.0"), "{text}");
    }
}

#[test]
fn the_screen_says_without_colours_what_it_says_with_them() {
    let (plain, coloured) = (screen::text(&lines(80), 80, false), screen::text(&lines(80), 80, true));
    let mut bare = String::new();
    for piece in coloured.split('\u{1b}') {
        bare.push_str(
            piece
                .split_once('m')
                .filter(|_| piece.starts_with('['))
                .map_or(piece, |(_, rest)| rest),
        );
    }

    assert_eq!(bare, plain);
}

#[test]
fn the_pictures_in_the_documentation_are_what_is_shown() {
    for width in [80, 120] {
        let picture = screen::svg(&lines(width), width, "kubectl berth status main");
        let name = format!("status-{width}.svg");
        let drawn = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        std::fs::write(&drawn, &picture).unwrap();

        let kept = std::fs::read_to_string(root().join("docs/operator").join(&name)).unwrap_or_default();
        assert!(
            kept == picture,
            "docs/operator/{name} is old: copy {} over it",
            drawn.display()
        );
    }
}
