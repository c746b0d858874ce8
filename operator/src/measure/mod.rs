//! How requests to the pods of one stage are counted: by a Prometheus server, or by asking the pods themselves.
//!
//! Both give the same [`Sample`], so that the same arithmetic comes to the same verdict. Neither guesses: what it does
//! not understand whole is an error, and an error never passes.
//!
//! | module | job |
//! |---|---|
//! | [`prometheus`] | the questions to a Prometheus server |
//! | [`reply`] | its answers, read strictly |
//! | [`pods`] | fetches `/metrics` of each pod |
//! | [`text`] | reads it |
//! | [`memory`] | how much the counters grew, over restarts and changes of pods |

pub mod memory;
pub mod pods;
pub mod prometheus;
pub mod reply;
pub mod text;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::analysis::Sample;

pub use pods::Pods;
pub use prometheus::{Prometheus, PrometheusAccess};

/// The pods of one stage, and since when they are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Namespace and name of the Registry, as its pods say it in their metrics.
    pub registry: String,
    /// `main` or `canary`.
    pub stage: &'static str,
    /// The version that the pods must say they are. Absent: any.
    pub version: Option<String>,
    /// Those that are ready.
    pub pods: Vec<Pod>,
    /// Only requests of so long ago count. It must not begin before the pods were ready.
    pub window: Duration,
}

/// A pod that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Which one of that name.
    pub uid: String,
    /// The base URL of its admin listener, such as `http://10.0.0.7:5001`.
    pub admin: String,
}

/// Where measurements come from.
#[derive(Debug)]
pub enum Source {
    /// A Prometheus server, or one that speaks its query API.
    Prometheus(Prometheus),
    /// The pods. It must live as long as what it measures: it remembers their counters.
    Pods(Pods),
}

impl Source {
    /// Counts the requests to the pods of `target`.
    ///
    /// # Errors
    /// When the source does not answer, or not with what can be understood whole.
    pub async fn sample(&self, target: &Target) -> Result<Sample, MeasureError> {
        let mut samples = self.samples(target, &[target.window]).await?;
        Ok(samples.pop().unwrap_or_default())
    }

    /// The same in each of `windows`, in their order, in place of the target's own.
    ///
    /// # Errors
    /// When the source does not answer one of the questions, or not with what can be understood whole.
    pub async fn samples(&self, target: &Target, windows: &[Duration]) -> Result<Vec<Sample>, MeasureError> {
        let prometheus = match self {
            Self::Prometheus(prometheus) => prometheus,
            Self::Pods(pods) => return Ok(Box::pin(pods.samples(target, windows)).await),
        };
        let mut samples = Vec::with_capacity(windows.len());
        for window in windows {
            let target = Target {
                window: *window,
                ..target.clone()
            };
            samples.push(Box::pin(prometheus.sample(&target)).await?);
        }
        Ok(samples)
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// No client can be made from the settings.
    #[error(
        "rollout.analysis.prometheus: no client can be made of these settings: check the certificate authority and the token"
    )]
    Settings(#[source] reqwest::Error),
    /// The token cannot be sent.
    #[error("rollout.analysis.prometheus.bearerTokenRef: the token has characters that cannot be sent in a header")]
    Token,
    /// No answer, or none in time.
    #[error("{url} did not answer: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why, in the words of the client.
        why: String,
    },
    /// An answer that is none.
    #[error("{url} answered {status}, expected 200: {body}")]
    Status {
        /// What was asked.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// More bytes than an answer has.
    #[error("{url} answered with more than {limit} bytes")]
    TooLong {
        /// What was asked.
        url: String,
        /// The most that is read.
        limit: usize,
    },
    /// An answer that is not what it must be.
    #[error("the answer to `{query}` cannot be used: {flaw}")]
    Flawed {
        /// What was asked.
        query: String,
        /// What is wrong with the answer.
        flaw: Flaw,
    },
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not JSON, cut off, or another JSON.
    #[error("it is not an answer of the query API ({0})")]
    NotAnAnswer(String),
    /// The server refused the question.
    #[error("the server refused it: {0}")]
    Refused(String),
    /// The server says that something is missing.
    #[error("it is partial: {0}")]
    Partial(String),
    /// A range, a text, a number without series.
    #[error("it is of the type {0}")]
    Type(String),
    /// Labels that were not asked for, or lacking ones.
    #[error("a series has the labels {0}")]
    Labels(String),
    /// Two series where there can be one.
    #[error("there are several series with {0}")]
    Several(String),
    /// Not a number, infinite or negative.
    #[error("`{0}` is no count")]
    NotACount(String),
    /// Not of the time that was asked for.
    #[error("it is of another time than asked for")]
    Time,
}

/// The beginning of a text, on one line, for a message.
fn beginning(text: &str) -> String {
    let line: String = text.chars().take(160).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a whole answer, unless it is longer than `limit`.
async fn read_bounded(url: &str, mut answer: reqwest::Response, limit: usize) -> Result<Vec<u8>, MeasureError> {
    let mut body = Vec::new();
    let unreachable = |error: &reqwest::Error| MeasureError::Unreachable {
        url: url.to_owned(),
        why: causes(error),
    };
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + piece.len() > limit {
            let url = url.to_owned();
            return Err(MeasureError::TooLong { url, limit });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The error and what caused it. The client's errors name the URL in the outermost text only.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    beginning(&said)
}
