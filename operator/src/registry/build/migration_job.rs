//! The Job that migrates a PostgreSQL database before the pods change.
//!
//! Its name says what it was for: this Registry, and everything that its pod is made of. So a finished Job of another
//! version is never taken for this one's, nothing about a Job is ever changed, and a corrected spec starts a new Job by
//! itself. It stays until the next version's rollout is complete: it is the record of what happened.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde_json::json;

use super::super::validate::ValidRegistry;
use super::metadata;
use super::pod::{self, Data};
use crate::api::rollout::PreMigrations;
use crate::content_hash;
use crate::labels::{Component, names};

/// Name of the container.
const CONTAINER: &str = "migrate";
/// The command was used wrongly, the version and the database do not go together, or a part was done and a later one failed: a
/// person must look, and trying again cannot help.
const NEEDS_A_PERSON: [i32; 3] = [2, 40, 50];
/// Another run holds the migration lock, or clients a table: trying again costs nothing.
const BUSY: [i32; 2] = [20, 21];
/// How often a failed migration is tried again before a person is asked.
const RETRIES: i32 = 2;
/// How long all tries together may take: a large table is not rewritten within minutes, and a migration that is cut
/// off begins again.
const DEADLINE_SECS: i64 = 6 * 3600;

pub(super) fn build(registry: &ValidRegistry, config_name: &str) -> Option<Job> {
    registry.postgres.as_ref()?;
    let waits = waits(&registry.migrations);
    let arguments = ["migrate", "up", "--phase", "pre", "--output", "json"];
    let arguments: Vec<&str> = arguments.into_iter().chain(waits.iter().map(String::as_str)).collect();
    let mut pod = pod::spec(
        registry,
        config_name,
        Data::Scratch,
        vec![pod::migrating_container(registry, CONTAINER, &arguments)],
    );
    pod.restart_policy = Some("Never".to_owned());
    let name = names::migration_job(&registry.name, &hash(registry, &pod));
    Some(Job {
        metadata: metadata(registry, name, Component::Migration),
        spec: Some(JobSpec {
            backoff_limit: Some(registry.migrations.retries.unwrap_or(RETRIES)),
            active_deadline_seconds: Some(deadline(&registry.migrations)),
            pod_failure_policy: Some(failure_policy()),
            template: PodTemplateSpec {
                metadata: Some(pod::template_metadata(registry, Component::Migration)),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

/// The pod's arguments name the phase, and its `ConfigMap` is named after its content: how the database is reached is
/// in it.
fn hash(registry: &ValidRegistry, pod: &PodSpec) -> String {
    content_hash::short(&[&registry.uid, &content_hash::sorted(&json!(pod)).to_string()])
}

fn deadline(said: &PreMigrations) -> i64 {
    let said = said
        .active_deadline
        .as_ref()
        .map(|deadline| deadline.duration().as_secs());
    said.and_then(|secs| i64::try_from(secs).ok())
        .unwrap_or(DEADLINE_SECS)
        .max(1)
}

/// Absent: what the migrator does by itself.
fn waits(said: &PreMigrations) -> Vec<String> {
    let flags = [
        ("--lock-timeout", &said.lock_timeout),
        ("--statement-timeout", &said.statement_timeout),
    ];
    let said = flags
        .into_iter()
        .filter_map(|(flag, limit)| Some((flag, limit.as_ref()?)));
    said.flat_map(|(flag, limit)| [flag.to_owned(), format!("{}ms", limit.duration().as_millis())])
        .collect()
}

fn failure_policy() -> PodFailurePolicy {
    let on_exit = |action: &str, codes: &[i32]| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: codes.to_vec(),
        }),
        on_pod_conditions: None,
    };
    let disrupted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
    };
    PodFailurePolicy {
        rules: vec![on_exit("FailJob", &NEEDS_A_PERSON), on_exit("Ignore", &BUSY), disrupted],
    }
}
