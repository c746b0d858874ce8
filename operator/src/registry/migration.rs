//! Whether a migration Job is done; pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use super::build::MIGRATED_BY;
use crate::api::Registry;
use crate::api::conditions::{self, ConditionType, Reason};
use crate::api::rollout::RolloutState;

/// What the condition says when it is done.
pub(super) const MIGRATED: &str = "the database has what the version needs";

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It runs, or will be tried again.
    Running,
    /// It will not be tried again.
    Failed {
        /// What Kubernetes says about it.
        message: String,
    },
    /// It did what it was for.
    Succeeded,
}

/// How far `job` is.
pub fn state(job: &Job) -> JobState {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let holds = |type_: &str| {
        conditions
            .iter()
            .find(|found| found.type_ == type_ && found.status == "True")
    };
    if holds("Complete").is_some() {
        return JobState::Succeeded;
    }
    holds("Failed").map_or(JobState::Running, |failed| JobState::Failed {
        message: failed.message.clone().unwrap_or_default(),
    })
}

/// Name of the Job that migrated the database for `deployment` as it is, so that this Job need not be there any more.
///
/// None when the pods miss migrations all the same, as after a restored backup: then another Job is needed.
pub fn done_by<'a>(registry: &Registry, deployment: Option<&'a Deployment>) -> Option<&'a str> {
    let conditions = registry
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let said = conditions::find(conditions, ConditionType::DatabaseMigrated);
    if said.is_some_and(|said| said.reason == Reason::MigrationPending.as_str()) {
        return None;
    }
    deployment?.annotations().get(MIGRATED_BY).map(String::as_str)
}

/// Name of the Job in which a roll-out's migration failed, as its status tells.
pub fn rollout_job(state: &RolloutState) -> String {
    let job = state.job.clone();
    job.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::api::RegistryStatus;
    use crate::api::conditions::{Truth, Verdict};
    use crate::registry::build::build;
    use crate::registry::fixtures::{production, valid};

    fn told(reason: Reason) -> Registry {
        let verdict = Verdict {
            type_: ConditionType::DatabaseMigrated,
            truth: Truth::False,
            reason,
            message: String::new(),
        };
        let conditions = conditions::follow(&[], vec![verdict], Some(1), Timestamp::UNIX_EPOCH);
        Registry {
            status: Some(RegistryStatus {
                conditions,
                ..RegistryStatus::default()
            }),
            ..production(&json!({}))
        }
    }

    #[test]
    fn a_deployment_names_the_job_that_it_was_rolled_out_after() {
        let registry = told(Reason::AsExpected);
        let objects = build(&valid(&registry), "digest");

        let job = objects.migration.unwrap().name_any();

        assert_eq!(done_by(&registry, Some(&objects.deployment)), Some(job.as_str()));
        assert_eq!(done_by(&registry, None), None);
        assert_eq!(done_by(&registry, Some(&Deployment::default())), None);
    }

    #[test]
    fn pods_that_miss_migrations_need_another_job() {
        let registry = told(Reason::MigrationPending);
        let deployment = build(&valid(&registry), "digest").deployment;

        assert_eq!(done_by(&registry, Some(&deployment)), None);
    }
}
