//! When channels are looked at, and what is remembered of it.
//!
//! The schedule is in memory, the result in the Registry's status: an operator that is started again goes on with what
//! was resolved, and spreads its first looks over the interval instead of asking every registry at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use semver::Version;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::credentials::{self, Login};
use super::reference::Repository;
use super::signature::PublicKey;
use super::told::Told;
use super::{ChannelError, Question, resolve, source::SourceError};
use crate::api::Registry;
use crate::api::conditions::Reason;
use crate::api::release::{Channel, ResolvedRelease};
use crate::content_hash;
use crate::outbound;
use crate::registry::credentials::Secrets;
use crate::rollout::guard;

/// How often tags are looked at where the spec does not say it.
const INTERVAL: Duration = Duration::from_mins(5);
/// More often than that they are not.
const SHORTEST: Duration = Duration::from_secs(5);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a whole look may take: other work on the Registry waits for it.
const LOOK: Duration = Duration::from_secs(15);

/// The looks at every channel.
#[derive(Debug)]
pub struct Channels {
    http: reqwest::Client,
    known: Mutex<HashMap<String, Known>>,
}

/// What is known of one channel.
#[derive(Clone, Debug)]
struct Known {
    /// Hash of what was asked.
    question: String,
    due: Timestamp,
    told: Told,
}

/// What a pass knows of its channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The image that is to run. Absent: none was ever found.
    pub release: Option<ResolvedRelease>,
    /// What is said about it.
    pub told: Told,
    /// How long until the next look.
    pub next: Duration,
}

/// What a look needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The Registry, with the status that was written last.
    pub registry: &'a Registry,
    /// The Secrets that it refers to.
    pub secrets: &'a Secrets,
    /// The image that its pods run.
    pub image: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

impl Channels {
    /// Nothing was looked at yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: outbound::client(ANSWER)?,
            known: Mutex::default(),
        })
    }

    /// What `channel` comes to: looked up when it is time, or when something about it is new; else what is known.
    ///
    /// Safe to drop midway: then the next pass looks again.
    pub async fn look(&self, sight: Sight<'_>, channel: &Channel) -> Looked {
        let Sight { registry, now, .. } = sight;
        let key = registry.uid().unwrap_or_else(|| registry.name_any());
        let question = question_hash(sight, channel);
        let kept = registry.status.as_ref().and_then(|status| status.release.clone());
        if let Some(known) = self.known_before(&key, &question, sight, channel)
            && known.due > now
        {
            let next = left(known.due, now);
            self.note(key, known.clone());
            return Looked {
                release: kept,
                told: known.told,
                next,
            };
        }
        let found = self.ask(sight, channel, kept.as_ref()).await;
        let (release, told) = match found {
            Ok(release) => (Some(release.clone()), Told::resolved(&release)),
            Err(told) => (kept, told),
        };
        let next = spread(interval(channel), &[&key, &now.as_second().to_string()]);
        let due = now.checked_add(next).unwrap_or(now);
        let told_to = told.clone();
        self.note(
            key,
            Known {
                question,
                due,
                told: told_to,
            },
        );
        Looked { release, told, next }
    }

    /// What is known of a channel that nobody is to look at now.
    pub fn unasked(registry: &Registry) -> Looked {
        let release = registry.status.as_ref().and_then(|status| status.release.clone());
        let told = Told::before(registry).unwrap_or_else(|| {
            let problem = "spec.suspend is true, so the tags are not looked at".to_owned();
            Told::without(Reason::Suspended, problem)
        });
        Looked {
            release,
            told,
            next: INTERVAL,
        }
    }

    /// Forgets a Registry that is gone or has no channel any more.
    pub fn forget(&self, registry: &Registry) {
        let key = registry.uid().unwrap_or_else(|| registry.name_any());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    fn note(&self, key: String, known: Known) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, known);
    }

    fn known_before(&self, key: &str, question: &str, sight: Sight<'_>, channel: &Channel) -> Option<Known> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned();
        match known {
            Some(known) => (known.question == question).then_some(known),
            // Started again: the status has what was found, and the first look is somewhere within the interval.
            None => first_look(key, question, sight, channel),
        }
    }

    async fn ask(
        &self,
        sight: Sight<'_>,
        channel: &Channel,
        kept: Option<&ResolvedRelease>,
    ) -> Result<ResolvedRelease, Told> {
        let status = sight.registry.status.as_ref();
        let refused = status.map(|status| status.refused.as_slice()).unwrap_or_default();
        let question = Question {
            login: login(channel, sight.secrets)?,
            key: key(channel, sight.secrets)?,
            current: kept,
            running: running(sight),
            refused: refused.iter().filter_map(|refused| refused.digest.clone()).collect(),
        };
        let resolved = tokio::time::timeout(LOOK, resolve(&self.http, channel, &question)).await;
        let resolved = resolved.unwrap_or_else(|_late| {
            Err(ChannelError::Unreachable {
                repository: channel.repository.clone(),
                source: SourceError::Answer("it took too long"),
            })
        });
        resolved.map_err(|failed| Told::failed(&failed, channel, kept))
    }
}

/// The version that runs: as the pods say, else as their image is named.
fn running(sight: Sight<'_>) -> Option<Version> {
    let status = sight.registry.status.as_ref();
    let told = status.and_then(|status| Some(status.version.as_ref()?.main.clone()));
    let named = sight.image.and_then(guard::version_of);
    told.or(named).and_then(|version| Version::parse(&version).ok())
}

fn first_look(key: &str, question: &str, sight: Sight<'_>, channel: &Channel) -> Option<Known> {
    sight.registry.status.as_ref()?.release.as_ref()?;
    let told = Told::before(sight.registry)?;
    let wait = interval(channel).mul_f64(share(&[key]));
    Some(Known {
        question: question.to_owned(),
        due: sight.now.checked_add(wait).unwrap_or(sight.now),
        told,
    })
}

fn interval(channel: &Channel) -> Duration {
    let said = channel.interval.as_ref().map(crate::api::span::Span::duration);
    said.unwrap_or(INTERVAL).max(SHORTEST)
}

/// `interval` and up to a tenth more, so that what began together does not stay together.
fn spread(interval: Duration, of: &[&str]) -> Duration {
    interval + interval.mul_f64(share(of) / 10.0)
}

/// A number from 0 to 1 that is another one for everything else.
fn share(of: &[&str]) -> f64 {
    let hash = Sha256::digest(of.join(" "));
    let high = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    f64::from(high) / f64::from(u32::MAX)
}

fn left(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default()
}

/// Whatever can change the answer, but for the tags themselves.
fn question_hash(sight: Sight<'_>, channel: &Channel) -> String {
    let secrets: Vec<_> = [pull_secret(channel), signer(channel)]
        .into_iter()
        .flatten()
        .map(|name| (name, sight.secrets.get(name)))
        .collect();
    let refused = sight.registry.status.as_ref().map(|status| &status.refused);
    content_hash::short(&[&json!([channel, secrets, refused]).to_string()])
}

fn pull_secret(channel: &Channel) -> Option<&str> {
    channel.pull_secret_ref.as_ref().map(|secret| secret.name.as_str())
}

fn signer(channel: &Channel) -> Option<&str> {
    channel
        .verify
        .as_ref()
        .map(|verify| verify.cosign.key_ref.name.as_str())
}

fn login(channel: &Channel, secrets: &Secrets) -> Result<Option<Login>, Told> {
    let Some(name) = pull_secret(channel) else {
        return Ok(None);
    };
    let file = secrets.get(name).and_then(|values| values.get(credentials::KEY));
    let file = file.ok_or_else(|| {
        let problem = format!(
            "Secret {name} of spec.release.channel.pullSecretRef has nothing under the key {}: make it with `kubectl \
             create secret docker-registry`",
            credentials::KEY
        );
        Told::without(Reason::SecretMissing, problem)
    })?;
    let Ok(repository) = Repository::parse(&channel.repository, channel.plain_http) else {
        return Ok(None);
    };
    credentials::login(file, &repository.host, &repository.name)
        .map_err(|problem| Told::without(Reason::SecretMissing, format!("Secret {name}: {problem}")))
}

fn key(channel: &Channel, secrets: &Secrets) -> Result<Option<PublicKey>, Told> {
    let Some(reference) = channel.verify.as_ref().map(|verify| &verify.cosign.key_ref) else {
        return Ok(None);
    };
    let absent = || {
        let problem = format!(
            "Secret {} of spec.release.channel.verify.cosign.keyRef has nothing under the key {}: put the public key there",
            reference.name, reference.key
        );
        Told::without(Reason::SecretMissing, problem)
    };
    let pem = secrets
        .get(&reference.name)
        .and_then(|values| values.get(&reference.key))
        .ok_or_else(absent)?;
    PublicKey::from_pem(&String::from_utf8_lossy(pem))
        .map(Some)
        .map_err(|problem| {
            let problem = format!("Secret {}, key {}: {problem}", reference.name, reference.key);
            Told::without(Reason::SecretMissing, problem)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_that_begin_together_are_not_asked_together() {
        let waits: std::collections::BTreeSet<Duration> = (0..100)
            .map(|number| INTERVAL.mul_f64(share(&[&format!("uid-{number}")])))
            .collect();

        assert!(waits.len() > 90, "{waits:?}");
        assert!(*waits.last().unwrap() > INTERVAL / 2 && *waits.first().unwrap() < INTERVAL / 2);
        assert!(spread(INTERVAL, &["a"]) >= INTERVAL && spread(INTERVAL, &["a"]) <= INTERVAL.mul_f64(1.1));
    }
}
