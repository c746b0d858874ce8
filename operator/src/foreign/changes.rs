//! Changes of objects of other projects' kinds, from the moment on at which the cluster has the kind.
//!
//! A controller that watches a kind which is not there fails over and over; so each kind is looked for first, again and
//! again, and watched once it is there.

use std::future::ready;
use std::time::Duration;

use futures::stream::{BoxStream, select_all};
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};

use super::{Certificate, HTTPRoute, OptionalApi, PodMonitor, ServiceMonitor};
use crate::api::Registry;
use crate::cluster::{Cluster, Object};
use crate::error::Error;
use crate::labels::MANAGED;

/// How long to wait before a kind that was not there is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The Registries whose objects of other projects' kinds have changed.
///
/// # Errors
/// When the table of permissions lacks what is watched.
pub fn changes(cluster: &Cluster, namespace: Option<&str>) -> Result<BoxStream<'static, ObjectRef<Registry>>, Error> {
    Ok(select_all([
        of_kind::<HTTPRoute>(cluster, namespace, OptionalApi::Routes)?,
        of_kind::<Certificate>(cluster, namespace, OptionalApi::Certificates)?,
        of_kind::<PodMonitor>(cluster, namespace, OptionalApi::PodMonitors)?,
        of_kind::<ServiceMonitor>(cluster, namespace, OptionalApi::ServiceMonitors)?,
    ])
    .boxed())
}

fn of_kind<K: Object + 'static>(
    cluster: &Cluster,
    namespace: Option<&str>,
    kind: OptionalApi,
) -> Result<BoxStream<'static, ObjectRef<Registry>>, Error> {
    let api = cluster.watched::<K>(namespace)?;
    let watched = move |()| {
        watcher(api.clone(), watcher::Config::default().labels(MANAGED))
            .default_backoff()
            .touched_objects()
    };
    let until_served = until_served(cluster.clone(), kind);
    let touched = until_served.into_stream().flat_map(watched);
    Ok(touched
        .filter_map(|object| ready(object.ok().and_then(|object| owner(&object))))
        .boxed())
}

async fn until_served(cluster: Cluster, kind: OptionalApi) {
    while !cluster.serves(kind).await.unwrap_or_default() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn owner(object: &impl Object) -> Option<ObjectRef<Registry>> {
    let owners = object.owner_references();
    let owner = owners
        .iter()
        .find(|owner| owner.controller == Some(true) && owner.kind == "Registry")?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace()?))
}
