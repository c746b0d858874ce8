//! How good a canary must be.

use std::collections::BTreeMap;

use crate::api::rollout::{AnalysisSettings, RouteClass};

/// Bounds of the data plane's histograms, in seconds. A time that is none of them cannot be counted.
pub const BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0,
];

/// What is measured against.
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    /// Requests below which nothing passes.
    pub min_samples: f64,
    /// The highest share of failed requests.
    pub max_errors: f64,
    /// How much higher than the old version's it may be.
    pub allowed_increase: f64,
    /// How fast answers must be.
    pub apdex: BTreeMap<RouteClass, Speed>,
}

/// How fast the answers of one class must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Seconds within which an answer satisfies.
    pub satisfied: f64,
    /// Seconds within which it counts half.
    pub tolerated: f64,
    /// The lowest score.
    pub min: f64,
}

/// A time that cannot be measured, because the histograms have no such bound.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "rollout.analysis.apdex: {seconds} s of {} is not a bound of the histograms: use one of 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 25 60", .class.as_str()
)]
pub struct InvalidThreshold {
    /// Of which class.
    pub class: RouteClass,
    /// The time.
    pub seconds: f64,
}

impl Default for Objectives {
    fn default() -> Self {
        let speed = |satisfied, tolerated| Speed {
            satisfied,
            tolerated,
            min: 0.95,
        };
        Self {
            min_samples: 200.0,
            max_errors: 0.01,
            allowed_increase: 0.005,
            apdex: BTreeMap::from([
                (RouteClass::ManifestRead, speed(0.5, 1.0)),
                (RouteClass::ManifestWrite, speed(2.5, 10.0)),
                (RouteClass::BlobRead, speed(0.5, 2.5)),
                (RouteClass::BlobUpload, speed(5.0, 25.0)),
                (RouteClass::Admin, speed(1.0, 5.0)),
            ]),
        }
    }
}

impl Objectives {
    /// What `settings` ask for; what they leave out is as by default.
    ///
    /// # Errors
    /// When a time is none of [`BOUNDS`].
    pub fn of(settings: &AnalysisSettings) -> Result<Self, InvalidThreshold> {
        let mut objectives = Self::default();
        if let Some(samples) = settings.min_samples {
            objectives.min_samples = f64::from(samples);
        }
        if let Some(ratio) = &settings.error_ratio {
            objectives.max_errors = ratio.max.unwrap_or(objectives.max_errors);
            objectives.allowed_increase = ratio.allowed_increase.unwrap_or(objectives.allowed_increase);
        }
        for wanted in &settings.apdex {
            let speed = Speed {
                satisfied: wanted.satisfied,
                tolerated: wanted.tolerated,
                min: wanted.min,
            };
            objectives.apdex.insert(wanted.class, speed);
        }
        objectives.check()?;
        Ok(objectives)
    }

    /// Refuses times that cannot be measured.
    ///
    /// # Errors
    /// When a time is none of [`BOUNDS`].
    pub fn check(&self) -> Result<(), InvalidThreshold> {
        let is_bound = |seconds: f64| BOUNDS.iter().any(|bound| (bound - seconds).abs() < 1e-9);
        for (&class, speed) in &self.apdex {
            for seconds in [speed.satisfied, speed.tolerated] {
                if !is_bound(seconds) {
                    return Err(InvalidThreshold { class, seconds });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rollout::ApdexObjective;

    #[test]
    fn a_time_between_two_bounds_is_refused_by_name() {
        let settings = AnalysisSettings {
            apdex: vec![ApdexObjective {
                class: RouteClass::BlobRead,
                satisfied: 0.3,
                tolerated: 1.0,
                min: 0.9,
            }],
            ..AnalysisSettings::default()
        };

        let refused = Objectives::of(&settings).unwrap_err();

        assert!(refused.to_string().contains("0.3 s of blob_read"), "{refused}");
    }

    #[test]
    fn what_is_not_said_is_as_by_default() {
        assert_eq!(Objectives::of(&AnalysisSettings::default()), Ok(Objectives::default()));
    }

    #[test]
    fn one_class_can_be_changed_alone() {
        let settings = AnalysisSettings {
            apdex: vec![ApdexObjective {
                class: RouteClass::BlobRead,
                satisfied: 0.1,
                tolerated: 0.25,
                min: 0.99,
            }],
            ..AnalysisSettings::default()
        };

        let objectives = Objectives::of(&settings).unwrap();

        assert!((objectives.apdex[&RouteClass::BlobRead].satisfied - 0.1).abs() < 1e-12);
        let unchanged = Objectives::default().apdex[&RouteClass::ManifestRead];
        assert_eq!(objectives.apdex[&RouteClass::ManifestRead], unchanged);
    }
}
