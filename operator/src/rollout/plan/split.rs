//! The canary's share of the requests that come through a Gateway.
//!
//! A Gateway can weigh Services, and so give a canary exactly the share that the step asks for, and nothing before it is to be
//! measured. What it gives to a Service without pods is lost, so the share is that of the pods that serve. Who comes another way (through the Service, an Ingress) meets pods at random, as without a Gateway.

use std::time::Duration;

use super::super::settings::CanarySize;
use super::{Turn, standing};
use crate::api::rollout::{ApprovalStep, Phase, Strategy};

/// How long a Service is there before a Gateway is pointed to it: by then the Gateway knows its pods.
const SETTLED: Duration = Duration::from_secs(5);
/// More is not given to a version that is still to be judged.
const MOST: i32 = 50;

impl Turn<'_> {
    /// Says how the Gateway's requests are split in the state as it has become.
    pub(super) fn split(&mut self) {
        let share = self.gateway_share().filter(|_| self.can_split());
        self.state.weight.gateway = share;
        if let Some(share) = share {
            self.state.weight.actual = share;
        }
    }

    fn can_split(&self) -> bool {
        let since = self.facts.stage_services;
        since.is_some_and(|since| self.now.duration_since(since).unsigned_abs() >= SETTLED && since <= self.now)
    }

    fn gateway_share(&self) -> Option<i32> {
        if self.state.strategy != Strategy::Canary {
            return None;
        }
        match standing(&self.state) {
            Phase::CanaryDeploying | Phase::RollingBack => Some(0),
            Phase::CanaryAnalyzing => Some(self.share_that_serves()),
            Phase::AwaitingApproval if self.state.asks == Some(ApprovalStep::Main) => Some(self.share_that_serves()),
            _ => None,
        }
    }

    /// The share of the step when all its pods serve, less while some are missing: a step that begins has its pods to come, and
    /// a node may take pods away.
    fn share_that_serves(&self) -> i32 {
        let wanted = self.wanted_pods().max(1);
        let ready = self.facts.canary.as_ref().map_or(0, |canary| canary.rollout.ready);
        match ready.clamp(0, wanted) {
            0 => 0,
            ready => (self.share_of_step().saturating_mul(ready) / wanted).max(1),
        }
    }

    /// What the step asks for; a canary of so many pods gets what they are of all.
    fn share_of_step(&self) -> i32 {
        let step = usize::try_from(self.state.step).ok();
        let said = step.and_then(|step| self.settings.steps.get(step)).copied();
        let share = said.unwrap_or_else(|| match self.settings.size {
            CanarySize::Percent(percent) => percent,
            CanarySize::Replicas(canary) => {
                let main = self.facts.main.as_ref().map_or(1, |main| main.rollout.wanted);
                canary.saturating_mul(100) / canary.saturating_add(main).max(1)
            }
        });
        share.clamp(1, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::Settings;
    use super::super::tests::{at, at_phase, settings};
    use super::super::{Facts, Memory, step};
    use super::*;
    use crate::api::rollout::RolloutState;
    use crate::api::rollout::status::Weight;

    /// The share in a roll-out that stands still in `phase`, whatever else would follow.
    fn held_in(phase: Phase, more: impl FnOnce(&mut RolloutState, &mut Facts)) -> Weight {
        let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
        facts.stage_services = Some(at(-60));
        let mut state = memory.rollout.clone().unwrap();
        state.phase = Phase::Paused;
        state.stands_in = Some(phase);
        more(&mut state, &mut facts);
        let paused = Settings {
            paused: true,
            ..settings()
        };
        let memory = Memory {
            rollout: Some(state),
            ..memory
        };
        step(&paused, &memory, &facts, at(0)).rollout.unwrap().weight
    }

    #[test]
    fn a_canary_gets_requests_of_the_gateway_while_it_is_measured_only() {
        for (phase, share) in [
            (Phase::PreMigrating, None),
            (Phase::CanaryDeploying, Some(0)),
            (Phase::CanaryAnalyzing, Some(10)),
            (Phase::Promoting, None),
            (Phase::MainVerifying, None),
            (Phase::RollingBack, Some(0)),
        ] {
            let weight = held_in(phase, |_, _| {});
            assert_eq!(weight.gateway, share, "{phase:?}");
            assert!(share.is_none_or(|share| weight.actual == share), "{weight:?}");
        }
    }

    #[test]
    fn a_canary_gets_no_more_than_its_pods_that_serve_can_take() {
        let canary = |ready: i32| {
            move |_: &mut RolloutState, facts: &mut Facts| facts.canary.as_mut().unwrap().rollout.ready = ready
        };
        assert_eq!(held_in(Phase::CanaryAnalyzing, canary(0)).gateway, Some(0));
        assert_eq!(
            held_in(Phase::CanaryAnalyzing, |_, facts| facts.canary = None).gateway,
            Some(0)
        );
        let asked = held_in(Phase::AwaitingApproval, |state, facts| {
            state.asks = Some(ApprovalStep::Main);
            canary(0)(state, facts);
        });
        assert_eq!(asked.gateway, Some(0));

        let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
        facts.stage_services = Some(at(-60));
        facts.main.as_mut().unwrap().rollout.wanted = 9;
        let half = Settings {
            steps: vec![50],
            ..settings()
        };
        for (ready, share) in [(0, 0), (1, 5), (5, 27), (9, 50), (10, 50)] {
            facts.canary.as_mut().unwrap().rollout.ready = ready;
            let after = step(&half, &memory, &facts, at(0)).rollout.unwrap();
            assert_eq!(after.weight.gateway, Some(share), "{ready} of 9 serve");
        }
    }

    #[test]
    fn without_a_gateway_or_before_it_knows_the_services_all_pods_are_alike() {
        for since in [None, Some(at(-4)), Some(at(3))] {
            let weight = held_in(Phase::CanaryDeploying, |_, facts| facts.stage_services = since);
            assert_eq!(weight.gateway, None, "{since:?}");
        }
    }

    #[test]
    fn a_roll_out_without_a_canary_leaves_the_gateway_alone() {
        let weight = held_in(Phase::RollingBack, |state, _| state.strategy = Strategy::Direct);
        assert_eq!(weight.gateway, None);
    }

    #[test]
    fn the_share_is_that_of_the_step_and_no_more_than_half() {
        let (memory, mut facts) = at_phase(Phase::CanaryAnalyzing);
        facts.stage_services = Some(at(-60));
        facts.canary.as_mut().unwrap().rollout.ready = 9;
        let share = |size: CanarySize, steps: &[i32]| {
            let settings = Settings {
                size,
                steps: steps.to_vec(),
                ..settings()
            };
            let after = step(&settings, &memory, &facts, at(0)).rollout.unwrap();
            assert_eq!(after.phase, Phase::CanaryAnalyzing);
            after.weight.gateway
        };

        assert_eq!(share(CanarySize::Percent(20), &[]), Some(20));
        assert_eq!(share(CanarySize::Replicas(1), &[]), Some(25), "one beside three");
        assert_eq!(share(CanarySize::Percent(20), &[5, 25]), Some(5));
        assert_eq!(share(CanarySize::Percent(20), &[100]), Some(50));
    }
}
