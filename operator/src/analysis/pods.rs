//! What the pods themselves show, whatever they answer.

use super::verdict::{CheckResult, Verdict, Why};

/// The pods of the canary, since they were first ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodHealth {
    /// How many are ready.
    pub ready: u32,
    /// How many there must be.
    pub wanted: u32,
    /// How often their containers ended.
    pub restarts: u32,
    /// How often one was ended because it used too much memory.
    pub out_of_memory: u32,
    /// How many wait before they are started again.
    pub crash_looping: u32,
}

impl PodHealth {
    /// True when no pod ended.
    pub fn is_calm(&self) -> bool {
        self.restarts == 0 && self.out_of_memory == 0 && self.crash_looping == 0
    }
}

/// The checks of the pods. One restart is no proof, but nothing passes with it; a second one, or one for memory, is bad.
pub fn check_pods(pods: &PodHealth) -> Vec<CheckResult> {
    let ended = format!(
        "{} restarts, {} of them for memory, {} pods that wait to be started again",
        pods.restarts, pods.out_of_memory, pods.crash_looping
    );
    let (verdict, why) = if pods.out_of_memory > 0 || pods.crash_looping > 0 || pods.restarts > 1 {
        (
            Verdict::Fail {
                hard: pods.crash_looping > 0,
            },
            Why::PodsEnded,
        )
    } else if pods.restarts == 1 {
        (Verdict::Unsure, Why::PodsEnded)
    } else {
        (Verdict::Strong, Why::WithinLimit)
    };
    let mut checks = vec![CheckResult::plain("restarts", "canary", verdict, why, &ended)];
    if pods.ready < pods.wanted || pods.wanted == 0 {
        let detail = format!("{} of {} pods are ready", pods.ready, pods.wanted);
        checks.push(CheckResult::plain(
            "ready",
            "canary",
            Verdict::NoData,
            Why::PodsNotReady,
            &detail,
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::verdict::Evaluation;

    fn verdict(change: impl FnOnce(&mut PodHealth)) -> Verdict {
        let mut pods = PodHealth {
            ready: 2,
            wanted: 2,
            ..PodHealth::default()
        };
        change(&mut pods);
        Evaluation::of(check_pods(&pods)).verdict
    }

    #[test]
    fn pods_that_run_are_good() {
        assert_eq!(verdict(|_| {}), Verdict::Strong);
    }

    #[test]
    fn one_restart_is_not_good_and_two_are_bad() {
        assert_eq!(verdict(|pods| pods.restarts = 1), Verdict::Unsure);
        assert_eq!(verdict(|pods| pods.restarts = 2), Verdict::Fail { hard: false });
    }

    #[test]
    fn a_pod_that_needed_too_much_memory_is_bad() {
        let leak = |pods: &mut PodHealth| (pods.restarts, pods.out_of_memory) = (1, 1);
        assert_eq!(verdict(leak), Verdict::Fail { hard: false });
    }

    #[test]
    fn a_crash_loop_is_not_looked_at_twice() {
        assert_eq!(verdict(|pods| pods.crash_looping = 1), Verdict::Fail { hard: true });
    }

    #[test]
    fn pods_that_are_not_ready_have_not_passed() {
        assert_eq!(verdict(|pods| pods.ready = 1), Verdict::NoData);
        assert_eq!(verdict(|pods| (pods.ready, pods.wanted) = (0, 0)), Verdict::NoData);
    }
}
