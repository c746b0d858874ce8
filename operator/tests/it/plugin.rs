//! The screens of `kubectl berth`, as the pages of the documentation show them: drawn from `live/canary.json`, which the stage `rollouts`
//! took from its cluster in the middle of a canary.

use berth_operator::api::{Registry, RegistryRollout};
use berth_operator::plugin::screen::{self, Line};
use berth_operator::plugin::view;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::root;

/// What the stage `rollouts` keeps of a live roll-out.
#[derive(Deserialize)]
struct Live {
    at: Timestamp,
    registry: Registry,
    record: RegistryRollout,
}

fn live() -> Live {
    serde_json::from_str(include_str!("live/canary.json")).unwrap()
}

fn status(width: usize) -> Vec<Line> {
    let live = live();
    view::registry(&live.registry, width, live.at)
}

fn watch(width: usize) -> Vec<Line> {
    let live = live();
    let state = live.registry.status.unwrap().rollout.unwrap();
    view::watch(&state, Some(&live.record), width, live.at)
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [40, 60, 80, 120] {
        for lines in [status(width), watch(width)] {
            let text = screen::text(&lines, width, false);

            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(text.contains("CanaryAnalyzing"), "{text}");
        }
    }
}

#[test]
fn nothing_is_cut_off_at_60_columns() {
    let text = screen::text(&status(60), 60, false);
    let cut: Vec<&str> = text.lines().filter(|line| line.ends_with('…')).collect();

    assert!(cut.is_empty(), "{cut:?}");
    for check in ["apdex/manifest_read", "apdex/blob_upload", "▶ measure", "clean up"] {
        assert!(text.contains(check), "{check}: {text}");
    }
}

#[test]
fn the_screen_says_without_colours_what_it_says_with_them() {
    let (plain, coloured) = (
        screen::text(&status(80), 80, false),
        screen::text(&status(80), 80, true),
    );
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
    let pictures = [
        ("status-80.svg", status(80), 80, "kubectl berth status registry"),
        ("status-120.svg", status(120), 120, "kubectl berth status registry"),
        ("watch-100.svg", watch(100), 100, "kubectl berth rollout watch registry"),
    ];
    let drawn = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut old = Vec::new();
    for (name, lines, width, command) in pictures {
        let picture = screen::svg(&lines, width, command);
        std::fs::write(drawn.join(name), &picture).unwrap();
        let kept = std::fs::read_to_string(root().join("docs/operator").join(name)).unwrap_or_default();
        if kept != picture {
            old.push(name);
        }
    }

    assert!(
        old.is_empty(),
        "docs/operator has old pictures, {old:?}: copy them from {}",
        drawn.display()
    );
}
