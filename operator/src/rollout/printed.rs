//! What Jobs say when they end: one JSON object, alone or as the last line of what they printed; pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::facts::Migrated;
use crate::api::rollout::status::Contract;

/// Longest id of a migration.
const ID: usize = 64;
/// Most ids of migrations that a status has.
const IDS: usize = 1000;

/// What `berth-registry preflight` says.
#[derive(Deserialize)]
struct Preflight {
    #[serde(default)]
    version: String,
    #[serde(default)]
    schema: Schema,
    #[serde(default)]
    rollback: Rollback,
    #[serde(default)]
    database: Database,
    #[serde(default)]
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    remedy: String,
}

#[derive(Default, Deserialize)]
struct Rollback {
    #[serde(default)]
    min_version: Option<String>,
    #[serde(default)]
    cannot_rollback: bool,
}

#[derive(Default, Deserialize)]
struct Schema {
    #[serde(default)]
    min_level: Option<String>,
}

#[derive(Default, Deserialize)]
struct Database {
    #[serde(default)]
    pending_pre: Vec<String>,
    #[serde(default)]
    pending_post: Vec<String>,
}

/// Why an image must not go onto a database, and what to do.
pub(super) fn problems(text: &str) -> Option<String> {
    let said: Preflight = serde_json::from_str(text).ok()?;
    let problems = said
        .problems
        .iter()
        .map(|problem| format!("{}. {}", problem.message, problem.remedy));
    let problems: Vec<String> = problems.collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// What an image says of itself and of the database.
pub(super) fn contract(text: &str) -> Option<Contract> {
    let said: Preflight = last_object(text)?;
    Some(Contract {
        version: said.version,
        min_version: said.rollback.min_version.filter(|version| !version.is_empty()),
        cannot_rollback: said.rollback.cannot_rollback,
        min_level: said.schema.min_level.filter(|level| level.len() <= ID),
        pending_pre: said.database.pending_pre,
        pending_post: said.database.pending_post,
    })
}

/// What an image says against which nothing speaks but last migrations that another version left.
pub(super) fn waiting_contract(text: &str) -> Option<Contract> {
    let said: Preflight = last_object(text)?;
    let only_waits = said
        .problems
        .iter()
        .all(|problem| matches!(problem.code.as_str(), "DependencyPending" | "RequiredStopSkipped"));
    contract(text).filter(|_| only_waits && !said.problems.is_empty())
}

/// What `berth-registry migrate` says. A result without a list of what was applied is none.
#[derive(Deserialize)]
struct Migration {
    applied: Vec<String>,
    #[serde(default)]
    level_after: Option<String>,
    #[serde(default)]
    pending: Vec<String>,
}

/// What a migration has done.
pub(super) fn migrated(text: &str) -> Option<Migrated> {
    let said: Migration = last_object(text)?;
    Some(Migrated {
        applied: ids(said.applied),
        level_after: said.level_after.filter(|level| !level.is_empty() && level.len() <= ID),
        pending: ids(said.pending),
    })
}

fn ids(mut ids: Vec<String>) -> Vec<String> {
    ids.retain(|id| id.len() <= ID);
    ids.truncate(IDS);
    ids
}

fn last_object<T: DeserializeOwned>(text: &str) -> Option<T> {
    let last = serde_json::from_str(text.lines().last()?);
    last.ok().or_else(|| serde_json::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_contract_is_read_from_what_the_image_says() {
        let text = json!({
            "version": "1.4.0", "schema": {"level": "x", "pre": ["a"]},
            "rollback": {"min_version": "1.3.0", "cannot_rollback": true}, "problems": [],
            "database": {"engine": "postgres", "version": 180_000, "pending_pre": ["a"], "pending_post": ["b"]},
        });

        let contract = contract(&text.to_string()).unwrap();

        assert_eq!(
            (contract.version.as_str(), contract.min_version.as_deref()),
            ("1.4.0", Some("1.3.0"))
        );
        assert_eq!(
            (contract.cannot_rollback, contract.pending_post),
            (true, vec!["b".to_owned()])
        );
        assert!(super::contract("something else").is_none());
    }

    #[test]
    fn the_result_of_a_migration_is_read_behind_whatever_it_printed_before() {
        let result = json!({
            "engine": "postgres", "phase": "pre", "applied": ["7", "8"], "level_before": "6", "level_after": "8",
            "duration_ms": 12, "schema": "8", "pending": [], "supported": true,
        });

        let read = migrated(&format!("waiting for the lock\n{result}\n")).unwrap();

        assert_eq!(read.applied, ["7", "8"]);
        assert_eq!(read.level_after.as_deref(), Some("8"));
        assert_eq!(read.pending, Vec::<String>::new());
    }

    #[test]
    fn a_result_that_was_cut_off_or_is_of_something_else_is_none() {
        assert_eq!(migrated(r#"{"engine": "postgres", "applied": ["7", "#), None);
        assert_eq!(migrated(r#"{"version": "1.4.0", "problems": []}"#), None);
        assert_eq!(migrated(""), None);
    }

    #[test]
    fn an_image_that_only_lacks_last_migrations_of_another_says_what_it_is() {
        let of = |codes: &[&str]| {
            let problems = codes
                .iter()
                .map(|code| json!({"code": code, "message": "m", "remedy": "r"}));
            let told = json!({"version": "2.0.0", "problems": problems.collect::<Vec<_>>()});
            waiting_contract(&told.to_string()).map(|contract| contract.version)
        };

        assert_eq!(of(&["DependencyPending"]).as_deref(), Some("2.0.0"));
        assert_eq!(of(&["RequiredStopSkipped", "PostgresTooOld"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_a_status_cannot_hold_is_left_out() {
        let long = "x".repeat(ID + 1);
        let result = json!({"applied": [long, "7"], "level_after": long});

        let read = migrated(&result.to_string()).unwrap();

        assert_eq!((read.applied, read.level_after), (vec!["7".to_owned()], None));
    }
}
