//! Changes of the Secrets and `ConfigMaps` that Registries refer to, which belong to others and carry no label of ours.
//!
//! They are watched namespace by namespace, only where a Registry is, and by metadata alone: what changes is told, what
//! is in it is not, so the content of other Secrets never reaches the operator. A rule by name cannot grant this,
//! because the names come with the Registries; and one watch for each name would be a connection for each name. The
//! right is `watch` without `list`, in the namespaces that the operator looks after. Where it is not granted, each
//! Registry is looked at again by itself, which takes minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{PartialObjectMeta, WatchEvent};
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::Registry;
use crate::cluster::{Cluster, Object};
use crate::registry::credentials;

/// How often the namespaces with Registries are looked up.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait after a watch that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// The version from which a watch first tells everything that is there.
const FROM_THE_BEGINNING: &str = "0";

/// What changed: the kind by its plural, namespace and name.
type Changed = (&'static str, String, String);

const SECRETS: &str = "secrets";
const CONFIG_MAPS: &str = "configmaps";

/// The Registries in `store` that refer to something that has changed.
pub fn changes(cluster: Cluster, store: Store<Registry>) -> impl Stream<Item = ObjectRef<Registry>> + Send + 'static {
    let watches = Watches {
        cluster,
        store,
        watched: BTreeSet::new(),
        streams: SelectAll::new(),
    };
    stream::unfold(watches, |mut watches| async move {
        let concerned = watches.next().await;
        Some((stream::iter(concerned), watches))
    })
    .flatten()
}

struct Watches {
    cluster: Cluster,
    store: Store<Registry>,
    watched: BTreeSet<(&'static str, String)>,
    streams: SelectAll<BoxStream<'static, Changed>>,
}

impl Watches {
    async fn next(&mut self) -> Vec<ObjectRef<Registry>> {
        loop {
            let wanted = wanted(&self.store.state());
            self.watch(&wanted);
            let changed = async {
                if self.streams.is_empty() {
                    std::future::pending::<()>().await;
                }
                self.streams.next().await
            };
            if let Ok(Some((kind, namespace, name))) = tokio::time::timeout(LOOK, changed).await
                && let Some(concerned) = wanted.get(&(kind, namespace)).and_then(|names| names.get(&name))
            {
                return concerned.clone();
            }
        }
    }

    /// Begins what is wanted and not watched. What is no longer wanted goes on until the operator ends: it costs little,
    /// and nobody is concerned by it.
    fn watch(&mut self, wanted: &Wanted) {
        for (kind, namespace) in wanted.keys() {
            if !self.watched.insert((kind, namespace.clone())) {
                continue;
            }
            let cluster = self.cluster.clone();
            self.streams.push(match *kind {
                SECRETS => of_kind::<Secret>(cluster, SECRETS, namespace.clone()),
                kind => of_kind::<ConfigMap>(cluster, kind, namespace.clone()),
            });
        }
    }
}

/// The Registries that are concerned by an object, by kind and namespace, and then by name.
type Wanted = BTreeMap<(&'static str, String), BTreeMap<String, Vec<ObjectRef<Registry>>>>;

fn wanted(registries: &[std::sync::Arc<Registry>]) -> Wanted {
    let mut wanted = Wanted::new();
    for registry in registries {
        let (name, namespace) = (registry.name_any(), registry.namespace().unwrap_or_default());
        let secrets = credentials::secret_names(registry, &name)
            .into_iter()
            .map(|name| (SECRETS, name));
        let config_maps = credentials::config_map_names(registry)
            .into_iter()
            .map(|name| (CONFIG_MAPS, name));
        for (kind, referred) in secrets.chain(config_maps) {
            let names = wanted.entry((kind, namespace.clone())).or_default();
            names
                .entry(referred)
                .or_default()
                .push(ObjectRef::from_obj(registry.as_ref()));
        }
    }
    wanted
}

/// The changes of one kind in one namespace, over as many connections as it takes.
fn of_kind<K: Object + 'static>(
    cluster: Cluster,
    kind: &'static str,
    namespace: String,
) -> BoxStream<'static, Changed> {
    let watch = Watch::<K> {
        version: FROM_THE_BEGINNING.to_owned(),
        events: None,
    };
    let names = stream::unfold(watch, move |watch| {
        let (cluster, namespace) = (cluster.clone(), namespace.clone());
        async move {
            let (name, watch) = watch.next(&cluster, &namespace).await;
            let changed = name.map(|name| (kind, namespace, name));
            Some((stream::iter(changed), watch))
        }
    });
    names.flatten().boxed()
}

type Events<K> = BoxStream<'static, Result<WatchEvent<PartialObjectMeta<K>>, kube::Error>>;

/// One connection, and the version from which the next goes on.
struct Watch<K: Object + 'static> {
    version: String,
    events: Option<Events<K>>,
}

impl<K: Object + 'static> Watch<K> {
    /// The name of the next object that has changed, if that is what came next.
    async fn next(self, cluster: &Cluster, namespace: &str) -> (Option<String>, Self) {
        let mut events = match self.events {
            Some(events) => events,
            None => match cluster.watch_names::<K>(namespace, &self.version).await {
                Ok(events) => events,
                Err(failed) => {
                    tracing::debug!(%namespace, "not watching {} of {namespace}: {failed}", K::plural(&()));
                    return (None, Self::begun_again().await);
                }
            },
        };
        match events.next().await {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object))) => {
                let version = object.resource_version().unwrap_or(self.version);
                (object.metadata.name, Self::at(version, events))
            }
            Some(Ok(WatchEvent::Bookmark(bookmark))) => (None, Self::at(bookmark.metadata.resource_version, events)),
            Some(Ok(WatchEvent::Error(_)) | Err(_)) => (None, Self::begun_again().await),
            // Every watch ends after some minutes.
            None => (
                None,
                Self {
                    version: self.version,
                    events: None,
                },
            ),
        }
    }

    fn at(version: String, events: Events<K>) -> Self {
        Self {
            version,
            events: Some(events),
        }
    }

    async fn begun_again() -> Self {
        tokio::time::sleep(AGAIN).await;
        Self {
            version: FROM_THE_BEGINNING.to_owned(),
            events: None,
        }
    }
}
