//! What can go wrong between the operator and the API server.

use std::time::Duration;

use kube::core::Status;

use crate::rbac::Verb;

/// Why a pass over a Registry ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error("could not {} {resource} {name}", verb.as_str())]
    Api {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
        /// Of which object; empty for lists.
        name: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },

    /// The definition of the object's kind lacks a field that this operator writes.
    #[error(
        "the definition of {resource} in the cluster is older than this operator: bring it up to date with `berth-operator crds \
         --apply`, which the chart does by itself unless `crds.upgrade` is off ({said})"
    )]
    OlderDefinition {
        /// The resource.
        resource: String,
        /// What the API server said.
        said: String,
    },

    /// The code asks for something that the chart does not grant: a fault of the operator.
    #[error("the operator's own table of permissions has no {} of {resource}", verb.as_str())]
    NotGranted {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
    },

    /// An object could not be written as JSON.
    #[error("could not serialise {kind}")]
    Serialise {
        /// Kind of the object.
        kind: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },

    /// The pass took too long.
    #[error("the API server did not answer within {} s", LIMIT.as_secs())]
    TimedOut,

    /// Others changed an object each time before this operator could.
    #[error("others kept changing {0}")]
    Contended(String),

    /// Another operator may lead by now, so nothing is written.
    #[error("this operator does not lead any more")]
    NotLeading,

    /// The API server gave an object without a name, namespace or UID.
    #[error("the API server gave a Registry without {0}")]
    Incomplete(&'static str),
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Soon, and later each time it fails again.
    BackOff,
    /// When the object changes, or after that long: trying sooner cannot help.
    OnChange(Duration),
}

/// How long a pass may take. It may be cut off anywhere: the next one goes on from what is in the cluster.
pub const LIMIT: Duration = Duration::from_mins(1);

/// How long a pass waits for a change before it looks again by itself.
pub const IDLE: Duration = Duration::from_mins(5);

impl Error {
    /// A fixed word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => match api_code(source) {
                Some(409) => "Conflict",
                Some(401 | 403) => "Forbidden",
                Some(400 | 422) => "Invalid",
                Some(429) => "TooManyRequests",
                Some(_) => "ApiServer",
                None => "Unreachable",
            },
            Self::OlderDefinition { .. } => "OlderDefinition",
            Self::NotGranted { .. } => "NotGranted",
            Self::Serialise { .. } => "Serialise",
            Self::TimedOut => "TimedOut",
            Self::Contended(_) => "Contended",
            Self::NotLeading => "NotLeading",
            Self::Incomplete(_) => "Incomplete",
        }
    }

    /// When it is worth trying again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Api { .. }
            | Self::OlderDefinition { .. }
            | Self::TimedOut
            | Self::Contended(_)
            | Self::NotLeading => Retry::BackOff,
            Self::NotGranted { .. } | Self::Serialise { .. } | Self::Incomplete(_) => Retry::OnChange(IDLE),
        }
    }

    /// What the API server said about an object that it refused for good, such as one that is not valid or over quota.
    pub fn refusal(&self) -> Option<String> {
        let Self::Api {
            resource, name, source, ..
        } = self
        else {
            return None;
        };
        let status = api_status(source)?;
        matches!(status.code, 400 | 403 | 422).then(|| format!("{resource} {name}: {}", status.message))
    }
}

fn api_status(error: &kube::Error) -> Option<&Status> {
    if let kube::Error::Api(status) = error {
        Some(status)
    } else {
        None
    }
}

fn api_code(error: &kube::Error) -> Option<u16> {
    api_status(error).map(|status| status.code)
}

/// What the API server said about a field that the definition of the object's kind lacks. It has no code of its own for
/// that.
pub(crate) fn undeclared(error: &kube::Error) -> Option<&str> {
    let said = &api_status(error)?.message;
    said.contains("field not declared in schema").then_some(said)
}

/// Whether the API server says that the object was there already.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    api_code(error) == Some(409)
}

/// Whether the API server says that there is no such thing.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    api_code(error) == Some(404)
}

/// `error` and all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut text = error.to_string();
    for cause in causes {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
