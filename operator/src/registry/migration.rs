//! Whether a migration Job is done; pure.

use k8s_openapi::api::batch::v1::Job;

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
