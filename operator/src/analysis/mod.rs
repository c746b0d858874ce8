//! Whether a canary is as good as it must be: arithmetic on counted requests, without a client and without a clock.
//!
//! | module | job |
//! |---|---|
//! | [`sample`] | what a source of measurements counted |
//! | [`interval`] | how far a share may be from what was counted |
//! | [`objectives`] | how good a canary must be |
//! | [`verdict`] | the words for what a measurement came to |
//! | [`judge`] | one share against its limit and against the old version |
//! | [`evaluate`](mod@evaluate) | every check of one look at the canary |
//! | [`pods`] | what the pods themselves show: restarts, memory |
//! | [`gate`] | several looks, one decision |
//! | [`trial`] | whether the gate can fail at all |
//! | [`burn`] | how fast the error budget may burn, after every pod was replaced |
//! | [`watch`](mod@watch) | whether it burns faster |

pub mod burn;
pub mod evaluate;
pub mod gate;
pub mod interval;
pub mod judge;
pub mod objectives;
pub mod pods;
pub mod sample;
pub mod trial;
pub mod verdict;
pub mod watch;

#[cfg(test)]
mod tests;

pub use burn::Burn;
pub use evaluate::evaluate;
pub use gate::{Bake, Conclusion, Evidence, Synthetic, conclude};
pub use objectives::{InvalidThreshold, Objectives};
pub use pods::{PodHealth, check_pods};
pub use sample::{Bucket, Counts, Sample};
pub use trial::try_gate;
pub use verdict::{CheckResult, Evaluation, Verdict, Why};
