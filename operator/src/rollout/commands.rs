//! Commands on a Registry, and who is known to have asked; pure.

use kube::ResourceExt;

use super::facts::{Command, CommandKind};
use crate::api::Registry;

/// Annotation that names whoever changed the Registry last; the chart's admission policy vouches for it.
pub const REQUESTED_BY: &str = "berth.dev/requested-by";

/// The commands that `registry` carries: `berth.dev/rollout-<command>: "<roll-out> [reason]"`.
pub fn commands(registry: &Registry) -> Vec<Command> {
    let by = requested_by(registry).unwrap_or_else(|| "annotation".to_owned());
    let command = |kind: CommandKind| {
        let value = registry
            .annotations()
            .get(&format!("berth.dev/rollout-{}", kind.as_str()))?;
        let (rollout, reason) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        Some(Command {
            kind,
            value: value.chars().take(600).collect(),
            rollout: rollout.to_owned(),
            reason: reason.trim().to_owned(),
            by: by.clone(),
        })
    };
    CommandKind::ALL.into_iter().filter_map(command).collect()
}

/// Who asked for what the spec says, where that is known.
pub fn requested_by(registry: &Registry) -> Option<String> {
    let name = registry.annotations().get(REQUESTED_BY)?;
    (!name.is_empty()).then(|| name.chars().take(253).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::fixtures::production;

    #[test]
    fn a_command_names_its_roll_out_and_may_say_why() {
        let mut registry = production(&json!({}));
        registry.metadata.annotations = Some(
            [
                ("berth.dev/rollout-abort", "images-1 it is slow"),
                ("berth.dev/rollout-pause", "images-1"),
                ("berth.dev/requested-by", "alice"),
                ("berth.dev/rollout-dance", "images-1"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        );

        let found = commands(&registry);

        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].reason.as_str()), (CommandKind::Pause, ""));
        assert_eq!(
            (
                found[1].rollout.as_str(),
                found[1].reason.as_str(),
                found[1].by.as_str()
            ),
            ("images-1", "it is slow", "alice")
        );
    }
}
