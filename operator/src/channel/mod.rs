//! Release channels: from the tags of a repository to one image, by its digest.
//!
//! [`choose`] (pure) says which tag is meant, [`source`] asks the registry, [`signature`] (pure) checks what was signed.
//! [`resolve`] puts them together. Whatever goes wrong, what was resolved before stays: a source that is away, or has lost
//! tags, never changes what runs.

pub mod choose;
pub mod credentials;
pub mod reference;
pub mod signature;
pub mod source;
pub mod told;
pub mod watch;

use semver::Version;

use crate::api::conditions::Reason;
use crate::api::release::{Channel, ResolvedRelease};
use choose::Choice;
use credentials::Login;
use reference::Repository;
use signature::PublicKey;
use source::{Source, SourceError};

/// Why a channel came to nothing new.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The spec of the channel is wrong.
    #[error("spec.release.channel.{field}: {problem}")]
    Spec {
        /// The field.
        field: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The registry could not be asked, or gave no answer that can be believed.
    #[error("{repository} could not be asked for its tags, so what runs stays")]
    Unreachable {
        /// The repository.
        repository: String,
        /// The cause.
        #[source]
        source: SourceError,
    },
    /// The repository has tags, and none fits.
    #[error("none of the {seen} tags of {repository} fits: {near}")]
    NoMatch {
        /// The repository.
        repository: String,
        /// How many tags there are.
        seen: usize,
        /// The newest that does not fit, or what else to look at.
        near: String,
    },
    /// What fits is older than what runs.
    #[error(
        "the newest version that fits is {newest}, and {current} runs: set spec.release.channel.allowDowngrade to go back"
    )]
    DowngradeRefused {
        /// What fits.
        newest: Version,
        /// What runs.
        current: Version,
    },
    /// The image of the tag is not signed as it must be.
    #[error("{tag} ({digest}) is not taken: {problem}")]
    SignatureInvalid {
        /// The tag.
        tag: String,
        /// Digest of the image.
        digest: String,
        /// What is wrong.
        problem: String,
    },
}

impl ChannelError {
    /// The word for the condition `VersionResolved`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Spec { .. } => Reason::InvalidSpec,
            Self::Unreachable { .. } => Reason::SourceUnreachable,
            Self::NoMatch { .. } => Reason::NoMatch,
            Self::DowngradeRefused { .. } => Reason::DowngradeRefused,
            Self::SignatureInvalid { .. } => Reason::SignatureInvalid,
        }
    }
}

/// What a channel is asked with.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// Who asks.
    pub login: Option<Login>,
    /// Whose signature is needed.
    pub key: Option<PublicKey>,
    /// What was resolved before.
    pub current: Option<&'a ResolvedRelease>,
    /// The version that runs, where the channel resolved nothing yet.
    pub running: Option<Version>,
    /// Digests that were rolled back, and are not tried again by themselves.
    pub refused: Vec<String>,
}

/// The newest image of `channel` that may run.
///
/// Safe to repeat: the same tags give the same answer.
///
/// # Errors
/// [`ChannelError`]: nothing is to change.
pub async fn resolve(
    http: &reqwest::Client,
    channel: &Channel,
    question: &Question<'_>,
) -> Result<ResolvedRelease, ChannelError> {
    let repository =
        Repository::parse(&channel.repository, channel.plain_http).map_err(|problem| ChannelError::Spec {
            field: "repository",
            problem,
        })?;
    let rule = choose::Rule::of(channel)?;
    let unreachable = |source| ChannelError::Unreachable {
        repository: channel.repository.clone(),
        source,
    };
    let source = Source::new(http, &repository, question.login.as_ref());
    let tags = source.tags().await.map_err(unreachable)?;
    let before = choose::Before {
        version: question
            .current
            .and_then(|current| Version::parse(&current.version).ok())
            .or_else(|| question.running.clone()),
        allow_downgrade: channel.allow_downgrade,
    };
    // Refused digests are found out one by one from the newest down, as far as it is not too far back.
    let mut passed_over = Vec::new();
    loop {
        let choice = choose::choose(&tags, &rule, &before, &passed_over);
        let (tag, version) = match choice {
            Choice::Tag { tag, version } => (tag, version),
            Choice::Nothing(error) => return Err(named(error, channel, tags.len())),
        };
        let digest = source.digest(&tag).await.map_err(unreachable)?;
        let is_current = question.current.is_some_and(|current| current.digest == digest);
        if question.refused.contains(&digest) && !is_current {
            passed_over.push(tag);
            continue;
        }
        let signed_by = match &question.key {
            Some(key) => Some(signed(&source, key, &tag, &digest).await?.map_err(unreachable)?),
            None => None,
        };
        return Ok(ResolvedRelease {
            version: version.to_string(),
            tag,
            repository: channel.repository.clone(),
            digest,
            signed_by,
        });
    }
}

/// The fingerprint of the key, once a signature of it was found. The inner error is one of the source.
async fn signed(
    source: &Source<'_>,
    key: &PublicKey,
    tag: &str,
    digest: &str,
) -> Result<Result<String, SourceError>, ChannelError> {
    let found = match source.signatures(digest).await {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    match signature::check(key, digest, &found) {
        Ok(()) => Ok(Ok(key.fingerprint())),
        Err(problem) => Err(ChannelError::SignatureInvalid {
            tag: tag.to_owned(),
            digest: digest.to_owned(),
            problem: problem.to_string(),
        }),
    }
}

fn named(nothing: choose::Nothing, channel: &Channel, seen: usize) -> ChannelError {
    match nothing {
        choose::Nothing::NoMatch { near } => ChannelError::NoMatch {
            repository: channel.repository.clone(),
            seen,
            near,
        },
        choose::Nothing::Downgrade { newest, current } => ChannelError::DowngradeRefused { newest, current },
    }
}
