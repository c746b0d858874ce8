//! One share against its limit and against the old version's.

use super::interval::{Interval, Share, Z_FAIL, Z_PASS};
use super::verdict::{Verdict, Why};

/// Requests below which nothing is concluded, not even that something is bad: one failure of three is chance.
pub const FLOOR: f64 = 20.0;

/// What a share is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The highest share.
    pub max: f64,
    /// The share over which nobody waits for a second look.
    pub hard: f64,
    /// How much higher than the old version's it may be.
    pub allowed_increase: f64,
    /// Requests below which nothing passes.
    pub min_samples: f64,
}

/// What a share came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// Where the share is likely to be, as wide as for passing.
    pub interval: Interval,
}

/// Judges a share of the canary's requests, and compares it with the old version's where there is one.
pub fn judge(canary: Share, main: Option<Share>, limit: &Limit) -> Judged {
    let (verdict, why) = match main {
        None => absolute(canary, limit),
        Some(main) => compared(canary, main, limit),
    };
    Judged {
        verdict,
        why,
        interval: canary.wilson(Z_PASS),
    }
}

/// True when there is proof that a share is over its limit.
pub fn is_over(share: Share, limit: f64) -> bool {
    share.n >= FLOOR && share.wilson(Z_FAIL).lower > limit
}

fn absolute(share: Share, limit: &Limit) -> (Verdict, Why) {
    if is_over(share, limit.hard.max(limit.max)) {
        (Verdict::Fail { hard: true }, Why::FarOverLimit)
    } else if is_over(share, limit.max) {
        (Verdict::Fail { hard: false }, Why::OverLimit)
    } else if share.n < limit.min_samples.max(FLOOR) {
        (Verdict::NoData, Why::TooFewRequests)
    } else if share.wilson(Z_PASS).upper < limit.max {
        (Verdict::Strong, Why::WithinLimit)
    } else if share.value() <= limit.max {
        (Verdict::Weak, Why::SeemsWithinLimit)
    } else {
        (Verdict::Unsure, Why::SeemsOverLimit)
    }
}

/// The old version excuses the canary, unless the canary is at least twice as bad; and it is a limit of its own.
fn compared(canary: Share, main: Share, limit: &Limit) -> (Verdict, Why) {
    let (verdict, why) = absolute(canary, limit);
    let is_comparable = canary.n >= FLOOR && main.n >= FLOOR;
    let is_worse_by = |by: f64| is_comparable && canary.minus(main, Z_FAIL).lower > by;
    let is_regression = is_worse_by(limit.allowed_increase);
    let is_excused = is_over(main, limit.max) && !is_worse_by(limit.allowed_increase.max(main.value()));
    if is_excused && (verdict.is_fail() || is_regression) {
        (Verdict::Shared, Why::MainIsBadToo)
    } else if verdict.is_fail() {
        (verdict, why)
    } else if is_regression {
        (Verdict::Fail { hard: false }, Why::Regression)
    } else if verdict.is_pass() && main.n > 0.0 && canary.value() - main.value() > limit.allowed_increase {
        (Verdict::Unsure, Why::SeemsRegression)
    } else if verdict == Verdict::Strong && main.n < FLOOR {
        // Nothing to compare with is less than a comparison that went well.
        (Verdict::Weak, Why::SeemsWithinLimit)
    } else {
        (verdict, why)
    }
}
