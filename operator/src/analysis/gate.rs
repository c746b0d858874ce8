//! Several looks, one decision.

use std::time::Duration;

use super::verdict::{Evaluation, Verdict};
use crate::api::rollout::OnNoData;
use crate::api::rollout::status::Counters;

/// Bad looks in a row after which a canary is bad.
pub const FAILURES: i32 = 2;
/// Looks in a row at which the old version was bad too, after which a person is asked.
pub const SHARED: i32 = 2;
/// Looks in a row without a measurement after which a person is asked.
pub const ERRORS: i32 = 6;

/// How long the canary has been measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bake {
    /// So long, without the time in which it stood still.
    pub elapsed: Duration,
    /// It passes after so long at the earliest.
    pub min: Duration,
    /// After so long it is not waited for any more.
    pub max: Duration,
}

/// What the operator's own requests and the pods show, which decides where clients' requests are too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    /// Every push and pull through the canary succeeded.
    pub probes_green: bool,
    /// No pod of the canary ended.
    pub pods_calm: bool,
}

/// How well a pass is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Enough requests of clients.
    Strong,
    /// No sign of harm in too few requests.
    Weak,
    /// Only the operator's own requests.
    Synthetic,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Look again.
    Wait,
    /// The canary is good.
    Pass(Evidence),
    /// The canary is bad.
    Fail,
    /// Both versions are bad: a person must look.
    HoldShared,
    /// There is no measurement: a person must look.
    HoldErrors,
    /// It could not be shown in time: a person must say.
    Inconclusive,
}

impl Evidence {
    /// The word for records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "Strong",
            Self::Weak => "Weak",
            Self::Synthetic => "Synthetic",
        }
    }
}

impl Synthetic {
    fn is_good(self) -> bool {
        self.probes_green && self.pods_calm
    }
}

/// What follows from a look, and the counters after it.
///
/// A bad look is forgotten only by one that saw that things are well, not by one that saw nothing.
pub fn conclude(
    before: Counters,
    look: &Evaluation,
    bake: Bake,
    synthetic: Synthetic,
    on_no_data: OnNoData,
) -> (Counters, Conclusion) {
    let counters = counted(before, look.verdict);
    let is_over = bake.elapsed >= bake.max;
    // Right after a bad look one good one is not enough: it may be one that swings around the limit.
    let may_pass = look.verdict.is_pass() && before.failures == 0;
    let conclusion = if look.verdict == (Verdict::Fail { hard: true }) || counters.failures >= FAILURES {
        Conclusion::Fail
    } else if counters.shared >= SHARED {
        Conclusion::HoldShared
    } else if counters.errors >= ERRORS {
        Conclusion::HoldErrors
    } else if may_pass && look.verdict == Verdict::Strong && bake.elapsed >= bake.min {
        Conclusion::Pass(Evidence::Strong)
    } else if !is_over {
        Conclusion::Wait
    } else if may_pass && synthetic.is_good() {
        Conclusion::Pass(Evidence::Weak)
    } else if look.verdict == Verdict::NoData {
        without_data(on_no_data, synthetic)
    } else {
        Conclusion::Inconclusive
    };
    (counters, conclusion)
}

fn counted(before: Counters, verdict: Verdict) -> Counters {
    match verdict {
        Verdict::Fail { .. } => Counters {
            failures: before.failures + 1,
            ..Counters::default()
        },
        Verdict::Shared => Counters {
            shared: before.shared + 1,
            ..Counters::default()
        },
        Verdict::Error => Counters {
            errors: before.errors + 1,
            ..before
        },
        Verdict::NoData => Counters { errors: 0, ..before },
        Verdict::Unsure | Verdict::Weak | Verdict::Strong => Counters::default(),
    }
}

fn without_data(wanted: OnNoData, synthetic: Synthetic) -> Conclusion {
    match wanted {
        OnNoData::Fail => Conclusion::Fail,
        OnNoData::ProceedIfSynthetic if synthetic.is_good() => Conclusion::Pass(Evidence::Synthetic),
        OnNoData::ProceedIfSynthetic | OnNoData::Pause => Conclusion::Inconclusive,
    }
}
