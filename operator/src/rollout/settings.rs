//! What a spec says about roll-outs, with everything that it leaves open; pure.

use std::time::Duration;

use crate::api::rollout::{
    ApprovalSettings, MigrationMode, OnNoData, PostPolicy, Requirement, RollbackMode, RolloutSettings, Strategy,
};
use crate::api::{Registry, rollout};
use crate::locks::windows::FreezeWindow;

/// What a spec says about roll-outs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How the pods are replaced.
    pub strategy: Strategy,
    /// How many pods the canary has.
    pub size: CanarySize,
    /// Shares of the requests, one after the other; empty: one step of the canary's own size.
    pub steps: Vec<i32>,
    /// How long each step is measured at least.
    pub bake_min: Duration,
    /// How long at most.
    pub bake_max: Duration,
    /// How often.
    pub interval: Duration,
    /// What to do with a canary that cannot be judged.
    pub on_no_data: OnNoData,
    /// Why nothing is measured, where nothing is.
    pub skip: Option<String>,
    /// Where a person is asked.
    pub approval: ApprovalSettings,
    /// How long to wait for a person.
    pub approval_ttl: Duration,
    /// How long to wait for the lock.
    pub wait_timeout: Duration,
    /// Who decides that the old version comes back.
    pub rollback: RollbackMode,
    /// How long pods may take to serve.
    pub deadline: Duration,
    /// Stand still.
    pub paused: bool,
    /// Whether somebody else migrates.
    pub external: bool,
    /// When migrations that end the way back are run.
    pub post: PostPolicy,
    /// How long the new version is watched before that.
    pub soak: Duration,
    /// How many records are kept.
    pub history_limit: usize,
    /// Who needs which version.
    pub requirements: Vec<Requirement>,
}

/// How many pods a canary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanarySize {
    /// That many in a hundred.
    Percent(i32),
    /// That many.
    Replicas(i32),
}

impl CanarySize {
    /// Pods of a canary beside `main` others: at least one.
    pub fn pods(self, main: i32) -> i32 {
        match self {
            Self::Percent(percent) => main.saturating_mul(percent).saturating_add(50) / 100,
            Self::Replicas(replicas) => replicas,
        }
        .max(1)
    }
}

impl Settings {
    /// What `registry` says; `is_shared` when replicas share a database and a bucket.
    pub fn of(registry: &Registry, is_shared: bool) -> Self {
        let said = registry.spec.rollout.clone().unwrap_or_default();
        let migrations = registry.spec.migrations.clone().unwrap_or_default();
        let post = migrations.post.unwrap_or_default();
        let analysis = said.analysis.clone().unwrap_or_default();
        let approval = said.approval.clone().unwrap_or_default();
        let (bake_min, bake_max) = bake(&said);
        Self {
            strategy: strategy(&said, is_shared),
            size: size(&said),
            steps: said
                .canary
                .as_ref()
                .map(|canary| canary.steps.clone())
                .unwrap_or_default(),
            bake_min,
            bake_max,
            interval: or(analysis.interval.as_ref(), Duration::from_secs(30)),
            on_no_data: analysis.on_no_data,
            skip: analysis.skip.then(|| analysis.skip_reason.unwrap_or_default()),
            approval_ttl: or(approval.ttl.as_ref(), Duration::from_hours(24)),
            approval,
            wait_timeout: or(
                said.lock.as_ref().and_then(|lock| lock.wait_timeout.as_ref()),
                Duration::from_hours(4),
            ),
            rollback: said.rollback.unwrap_or_default().mode,
            deadline: or(said.progress_deadline.as_ref(), Duration::from_mins(30)),
            paused: said.paused,
            external: migrations.mode == MigrationMode::External,
            post: post.policy,
            soak: or(post.soak.as_ref(), Duration::from_hours(24)),
            history_limit: usize::try_from(said.history_limit.unwrap_or(20)).unwrap_or(20),
            requirements: registry.spec.requirements.clone(),
        }
    }

    /// How many steps a canary has.
    pub fn step_count(&self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(i32::MAX).max(1)
    }

    /// Pods of the canary in that step beside `main` others.
    ///
    /// Requests spread evenly over pods, so a share of them is a share of the pods. More than half of all is not given
    /// to a version that is still to be judged.
    pub fn canary_pods(&self, step: i32, main: i32) -> i32 {
        let main = main.max(1);
        let share = usize::try_from(step).ok().and_then(|step| self.steps.get(step));
        let Some(share) = share.copied() else {
            return self.size.pods(main);
        };
        let rest = (100 - share).max(1);
        let pods = main.saturating_mul(share).saturating_add(rest / 2) / rest;
        pods.clamp(1, main)
    }
}

fn strategy(said: &RolloutSettings, is_shared: bool) -> Strategy {
    if is_shared {
        said.strategy.unwrap_or(Strategy::Canary)
    } else {
        Strategy::Direct
    }
}

fn size(said: &RolloutSettings) -> CanarySize {
    let canary = said.canary.clone().unwrap_or_default();
    canary.replicas.map_or_else(
        || CanarySize::Percent(canary.percent.unwrap_or(10)),
        CanarySize::Replicas,
    )
}

fn bake(said: &RolloutSettings) -> (Duration, Duration) {
    let bake = said
        .canary
        .as_ref()
        .and_then(|canary| canary.bake.clone())
        .unwrap_or_default();
    let min = or(bake.min.as_ref(), Duration::from_mins(10));
    let max = or(bake.max.as_ref(), Duration::from_hours(1)).max(min);
    (min, max)
}

fn or(said: Option<&crate::api::span::Span>, otherwise: Duration) -> Duration {
    said.map_or(otherwise, crate::api::span::Span::duration)
}

/// The times when no roll-out of `registry` begins.
///
/// # Errors
/// What is wrong with one of them, with the remedy.
pub fn windows(registry: &Registry) -> Result<Vec<FreezeWindow>, String> {
    let said = registry
        .spec
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.lock.clone())
        .unwrap_or_default();
    let window = |(index, said): (usize, &rollout::FreezeWindow)| {
        let made = match (&said.schedule, &said.from, &said.to) {
            (Some(schedule), ..) => {
                let zone = said.time_zone.as_deref().unwrap_or_default();
                FreezeWindow::recurring(schedule, or(said.duration.as_ref(), Duration::ZERO), zone, &said.reason)
            }
            (None, from, to) => {
                let moment = |text: &Option<String>| text.clone().unwrap_or_default();
                FreezeWindow::once(&moment(from), &moment(to), &said.reason)
            }
        };
        made.map_err(|error| format!("spec.rollout.lock.freezeWindows[{index}]: {error}"))
    };
    said.freeze_windows.iter().enumerate().map(window).collect()
}

/// What is wrong with what a spec says about roll-outs, each with its remedy.
pub fn problems(registry: &Registry, is_shared: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(said) = &registry.spec.rollout else {
        return problems;
    };
    problems.extend(windows(registry).err());
    if said.strategy == Some(Strategy::Canary) && !is_shared {
        problems.push(
            "a canary needs pods that share a database and a bucket: set database.postgres and storage.s3, or set \
             rollout.strategy to Direct"
                .to_owned(),
        );
    }
    let bake = said.canary.as_ref().and_then(|canary| canary.bake.as_ref());
    if let Some((min, max)) = bake.and_then(|bake| bake.min.as_ref().zip(bake.max.as_ref()))
        && min.duration() > max.duration()
    {
        problems.push("rollout.canary.bake.min is longer than bake.max: raise max or lower min".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::fixtures::production;

    #[test]
    fn a_share_of_the_requests_is_a_share_of_the_pods() {
        let steps = json!({"rollout": {"canary": {"steps": [5, 25, 50, 100]}}});
        let settings = Settings::of(&production(&steps), true);

        let pods: Vec<i32> = (0..5).map(|step| settings.canary_pods(step, 9)).collect();

        assert_eq!(pods, [1, 3, 9, 9, 1]);
    }

    #[test]
    fn a_volume_has_room_for_one_pod_so_there_is_no_canary() {
        assert_eq!(Settings::of(&production(&json!({})), false).strategy, Strategy::Direct);
        assert_eq!(Settings::of(&production(&json!({})), true).strategy, Strategy::Canary);
    }

    #[test]
    fn a_canary_that_is_asked_for_on_a_volume_is_refused_with_the_remedy() {
        let asked = production(&json!({"rollout": {"strategy": "Canary"}}));

        assert!(problems(&asked, false)[0].contains("rollout.strategy to Direct"));
        assert!(problems(&asked, true).is_empty());
    }
}
