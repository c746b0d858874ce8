//! The words for what a measurement came to.

use super::sample::Unclean;

/// What one check, or all of one look, came to. The greater is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Shown to be good.
    Strong,
    /// No sign of harm, but too few requests to show that it is good.
    Weak,
    /// Neither shown to be good nor shown to be bad.
    Unsure,
    /// Nothing to conclude from: nobody asked, or nobody measured.
    NoData,
    /// The measurement itself is broken.
    Error,
    /// Bad, and so is the old version: not the canary's fault alone.
    Shared,
    /// Bad.
    Fail {
        /// So bad that nobody waits for a second look.
        hard: bool,
    },
}

/// Why a check came to its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Within the limit.
    WithinLimit,
    /// Within the limit as far as it was counted.
    SeemsWithinLimit,
    /// Over the limit as far as it was counted, by chance perhaps.
    SeemsOverLimit,
    /// Over the limit.
    OverLimit,
    /// Far over the limit.
    FarOverLimit,
    /// Worse than the old version.
    Regression,
    /// Worse than the old version as far as it was counted, by chance perhaps.
    SeemsRegression,
    /// The old version is as bad.
    MainIsBadToo,
    /// Too few requests.
    TooFewRequests,
    /// The newest measurement is too old.
    Stale,
    /// Pods are ready that nobody measures.
    TargetsMissing,
    /// The counts contradict one another, or are no counts.
    Unclean(Unclean),
    /// The source did not answer, or not with an answer.
    SourceFailed,
    /// Pods ended, or were ended.
    PodsEnded,
    /// Pods are not ready.
    PodsNotReady,
    /// Requests ended in a panic.
    Panicked,
    /// The error budget burns too fast.
    BudgetBurning,
}

/// One check of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// Its name, such as `errors/manifest_read`.
    pub check: String,
    /// `canary` or `main`.
    pub stage: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// Requests it is about.
    pub samples: f64,
    /// The share or score that was counted.
    pub value: Option<f64>,
    /// The lowest likely value.
    pub lower: Option<f64>,
    /// The highest likely value.
    pub upper: Option<f64>,
    /// What it is compared with.
    pub limit: Option<f64>,
    /// What was asked, or what went wrong.
    pub detail: String,
}

/// Every check of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The worst of the checks.
    pub verdict: Verdict,
    /// The checks.
    pub checks: Vec<CheckResult>,
}

impl Verdict {
    /// The word for records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "Strong",
            Self::Weak => "Weak",
            Self::Unsure => "Unsure",
            Self::NoData => "NoData",
            Self::Error => "Error",
            Self::Shared => "Shared",
            Self::Fail { hard: false } => "Fail",
            Self::Fail { hard: true } => "HardFail",
        }
    }

    /// True for good and for no sign of harm.
    pub fn is_pass(self) -> bool {
        matches!(self, Self::Strong | Self::Weak)
    }

    /// True for bad.
    pub fn is_fail(self) -> bool {
        matches!(self, Self::Fail { .. })
    }
}

impl Why {
    /// The word for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WithinLimit => "WithinLimit",
            Self::SeemsWithinLimit => "SeemsWithinLimit",
            Self::SeemsOverLimit => "SeemsOverLimit",
            Self::OverLimit => "OverLimit",
            Self::FarOverLimit => "FarOverLimit",
            Self::Regression => "Regression",
            Self::SeemsRegression => "SeemsRegression",
            Self::MainIsBadToo => "MainIsBadToo",
            Self::TooFewRequests => "TooFewRequests",
            Self::Stale => "Stale",
            Self::TargetsMissing => "TargetsMissing",
            Self::Unclean(Unclean::NotACount) => "NotACount",
            Self::Unclean(Unclean::Inconsistent) => "Inconsistent",
            Self::Unclean(Unclean::NoSuchBound) => "InvalidThreshold",
            Self::SourceFailed => "SourceFailed",
            Self::PodsEnded => "PodsEnded",
            Self::PodsNotReady => "PodsNotReady",
            Self::Panicked => "Panicked",
            Self::BudgetBurning => "BudgetBurning",
        }
    }
}

impl CheckResult {
    /// A check without numbers.
    pub fn plain(check: &str, stage: &'static str, verdict: Verdict, why: Why, detail: &str) -> Self {
        Self {
            check: check.to_owned(),
            stage,
            verdict,
            why,
            samples: 0.0,
            value: None,
            lower: None,
            upper: None,
            limit: None,
            detail: detail.to_owned(),
        }
    }

    /// One sentence for people.
    pub fn text(&self) -> String {
        let (verdict, why) = (self.verdict.as_str(), self.why.as_str());
        let numbers = self.numbers();
        let detail = if self.verdict.is_pass() || self.detail.is_empty() {
            String::new()
        } else {
            format!("; {}", self.detail)
        };
        format!("{} of {}: {verdict} ({why}){numbers}{detail}", self.check, self.stage)
    }

    fn numbers(&self) -> String {
        let (Some(value), Some(lower), Some(upper), Some(limit)) = (self.value, self.lower, self.upper, self.limit)
        else {
            return String::new();
        };
        let samples = self.samples;
        format!(", {value:.4} in {samples:.0} requests, likely {lower:.4} to {upper:.4}, limit {limit:.4}")
    }
}

impl Evaluation {
    /// The worst of `checks`. No check at all is no data: what was not looked at has not passed.
    pub fn of(checks: Vec<CheckResult>) -> Self {
        let worst = checks.iter().map(|check| check.verdict).max();
        Self {
            verdict: worst.unwrap_or(Verdict::NoData),
            checks,
        }
    }

    /// A look that saw nothing because the source failed.
    pub fn unmeasured(stage: &'static str, error: &str) -> Self {
        Self::of(vec![CheckResult::plain(
            "source",
            stage,
            Verdict::Error,
            Why::SourceFailed,
            error,
        )])
    }

    /// With more checks.
    #[must_use]
    pub fn with(mut self, checks: Vec<CheckResult>) -> Self {
        self.checks.extend(checks);
        Self::of(self.checks)
    }

    /// The check that decided, the first of several.
    pub fn worst(&self) -> Option<&CheckResult> {
        self.checks.iter().find(|check| check.verdict == self.verdict)
    }
}
