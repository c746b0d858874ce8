//! Telling people and programs about roll-outs.
//!
//! What there is to tell follows from the status ([`events`], pure), so an operator that is started again tells what its
//! predecessor may not have: each notification arrives at least once, with an id by which a receiver knows it again.
//! Nothing waits for a receiver: each has a queue of its own with a bound ([`queue`]), and tries have one too.
//!
//! A notification is signed with the receiver's key ([`payload`], pure). It carries no secret, and nothing of a receiver's
//! answer but its status code is looked at.

pub mod events;
pub mod payload;
pub mod queue;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use crate::api::notifications::{NotificationEvent, NotificationSink, Severity, SinkKind};
use crate::api::{Registry, RegistryStatus};
use crate::cluster::Cluster;
use crate::error;
use crate::outbound;
pub use queue::{Pace, Sinks};

/// The shortest key that signs, in bytes.
const KEY_BYTES: usize = 16;

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The same each time this is told; no other notification has it.
    pub id: String,
    /// What happened.
    pub event: NotificationEvent,
    /// How much it matters.
    pub severity: Severity,
    /// Since when it is so.
    pub at: Timestamp,
    /// Namespace and name of the Registry.
    pub registry: (String, String),
    /// Name of the `RegistryRollout`.
    pub rollout: String,
    /// Where the roll-out is.
    pub phase: &'static str,
    /// A word for why.
    pub reason: String,
    /// What ran before.
    pub from: Version,
    /// What is to run.
    pub to: Version,
    /// What the last measurement came to.
    pub verdict: Option<String>,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// The same for people.
    pub text: String,
}

/// A version, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub version: Option<String>,
    /// Digest of its image.
    pub digest: Option<String>,
}

/// Where a notification goes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Receiver {
    /// How it is told.
    pub kind: SinkKind,
    /// Its address.
    pub url: String,
    /// What signs.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address of a receiver is a secret as well: whoever knows it can write there.
        f.debug_struct("Receiver")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Tells the receivers of `registry` what its `status` says and they have not been told. Never waits for a receiver.
///
/// A receiver whose Secret is missing, wrong or cannot be read is told later, once it is right: no roll-out stands still
/// because of it.
pub async fn tell(cluster: &Cluster, sinks: &Sinks, registry: &Registry, status: &RegistryStatus, now: Timestamp) {
    let news = events::of(registry, status, now);
    let namespace = registry.metadata.namespace.clone().unwrap_or_default();
    for sink in &registry.spec.notifications {
        let wanted = news.iter().filter(|news| sink.wants(news.event, news.severity));
        let untold: Vec<&Notification> = wanted.filter(|news| !sinks.is_told(news, &sink.name)).collect();
        if untold.is_empty() {
            continue;
        }
        let secret = cluster.get::<Secret>(&namespace, &sink.secret_ref.name).await;
        let found = secret.map_err(|error| error::chain(&error));
        match found.and_then(|secret| receiver(sink, secret)) {
            Ok(receiver) => {
                let receiver = Arc::new(receiver);
                for news in untold {
                    sinks.send(&sink.name, &receiver, news);
                }
            }
            Err(problem) => {
                let name = registry.metadata.name.as_deref().unwrap_or_default();
                sinks.count(sink.kind, "misconfigured");
                tracing::warn!(%namespace, %name, sink = %sink.name, "{problem}");
            }
        }
    }
}

/// Who is behind `sink`.
///
/// # Errors
/// What is wrong with its Secret, and what to do; never the secret's content.
pub fn receiver(sink: &NotificationSink, secret: Option<Secret>) -> Result<Receiver, String> {
    let name = &sink.secret_ref.name;
    let place = format!("Secret {name} of spec.notifications[{}].secretRef", sink.name);
    let mut values = secret
        .ok_or_else(|| format!("{place} does not exist: create it in this namespace"))?
        .data
        .unwrap_or_default();
    let url = values.remove("url").map(|url| url.0).unwrap_or_default();
    let url = String::from_utf8(url).unwrap_or_default();
    let url = outbound::address(&url).map_err(|refused| format!("{place}, key url: {refused}"))?;
    let key = values.remove("key").map(|key| key.0).unwrap_or_default();
    if sink.kind == SinkKind::Webhook && key.len() < KEY_BYTES {
        return Err(format!(
            "{place} needs a key of at least {KEY_BYTES} bytes under `key`: it signs what is sent"
        ));
    }
    Ok(Receiver {
        kind: sink.kind,
        url: url.into(),
        key,
    })
}
