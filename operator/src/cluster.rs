//! Every request to the API server, each checked against the table of permissions before it is sent.
//!
//! All methods are safe to drop midway: a request was either carried out by the API server or it was not.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, DeleteParams, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions, WatchEvent,
    WatchParams,
};
use kube::runtime::events::{Event, Recorder};
use kube::runtime::wait::Condition;
use kube::runtime::wait::conditions::is_crd_established;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::Registry;
use crate::content_hash;
use crate::error::{self, Error, is_conflict, is_not_found};
use crate::foreign::OptionalApi;
use crate::labels::OPERATOR;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::ownership::{self, APPLIED_HASH};
use crate::rbac::{self, Verb};

/// How long an answer to the question whether the cluster has an API is believed.
const DISCOVERY_LIFETIME: Duration = Duration::from_secs(30);
/// The field manager that holds the number of pods until an autoscaler takes it.
const SCALE_KEEPER: &str = "berth-operator-scale";

/// Which groups were asked for, when, and the plural names of their kinds.
type Discovered = HashMap<&'static str, (Instant, Vec<String>)>;

/// A kind of object that lives in a namespace and that the operator reads or writes.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
{
}

/// How often it is looked whether a definition is served.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why a definition could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The API server did not do it.
    #[error("the API server did not take it")]
    Api(#[from] Box<kube::Error>),
    /// It did, and does not serve the kind.
    #[error("the API server does not serve it after {0} s: `kubectl describe crd` says why")]
    NotServed(u64),
}

/// What became of a write that was decided on what may be out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was carried out.
    Done,
    /// It was not: somebody has changed the object since it was read.
    Stale,
}

/// The API server, as far as the operator may use it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    discovered: Arc<Mutex<Discovered>>,
    discovery_lifetime: Duration,
    leadership: Leadership,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The API server behind `client`.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        let recorder = Recorder::new(client.clone(), OPERATOR.into());
        Self {
            client,
            recorder,
            metrics,
            discovered: Arc::default(),
            discovery_lifetime: DISCOVERY_LIFETIME,
            leadership: Leadership::unchallenged(),
        }
    }

    /// The same API server, to which nothing is written while `leadership` does not hold.
    #[must_use]
    pub fn guarded_by(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// The same, believing for `lifetime` what it has heard about the cluster's APIs.
    #[must_use]
    pub fn believing_discovery_for(self, lifetime: Duration) -> Self {
        Self {
            discovery_lifetime: lifetime,
            ..self
        }
    }

    /// Whether the cluster has `kind`; asked again after half a minute, because it may come or go.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn serves(&self, kind: OptionalApi) -> Result<bool, Error> {
        let group = kind.group_version();
        if let Some(plurals) = self.known_plurals(group) {
            return Ok(plurals.iter().any(|plural| plural == kind.plural()));
        }
        // Every account may discover; no rule of the chart is needed.
        let plurals: Vec<String> = match self.client.list_api_group_resources(group).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
            Err(error) if is_not_found(&error) => Vec::new(),
            Err(source) => {
                return Err(Error::Api {
                    verb: Verb::Get,
                    resource: group.to_owned(),
                    name: String::new(),
                    source: Box::new(source),
                });
            }
        };
        let serves = plurals.iter().any(|plural| plural == kind.plural());
        let mut discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        discovered.insert(group, (Instant::now(), plurals));
        Ok(serves)
    }

    fn known_plurals(&self, group: &str) -> Option<Vec<String>> {
        let discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, plurals) = discovered.get(group)?;
        (asked.elapsed() < self.discovery_lifetime).then(|| plurals.clone())
    }

    /// Lets `deployment` keep its number of pods when the operator no longer applies one, so that an autoscaler can
    /// take it over: a field that nobody owns any more would fall back to 1.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn keep_replicas(&self, deployment: &Deployment) -> Result<Written, Error> {
        self.check::<Deployment>("", Verb::Patch)?;
        let name = deployment.name_any();
        let patch = serde_json::json!({
            "apiVersion": Deployment::api_version(&()), "kind": Deployment::kind(&()),
            "metadata": {"name": name, "resourceVersion": deployment.resource_version()},
            "spec": {"replicas": deployment.spec.as_ref().and_then(|spec| spec.replicas)},
        });
        let api = self.api::<Deployment>(&deployment.namespace().unwrap_or_default());
        let applied = api
            .patch(&name, &PatchParams::apply(SCALE_KEEPER).force(), &Patch::Apply(&patch))
            .await;
        match applied {
            Ok(_) => Ok(Written::Done),
            Err(error) if is_conflict(&error) => Ok(Written::Stale),
            Err(error) => Err(failed::<Deployment>(Verb::Patch, &name)(error)),
        }
    }

    /// The object of that name, if it is there.
    ///
    /// # Errors
    /// [`Error::Api`], as from every method here.
    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error> {
        self.check::<K>("", Verb::Get)?;
        self.api::<K>(namespace)
            .get_opt(name)
            .await
            .map_err(failed::<K>(Verb::Get, name))
    }

    /// The objects with those labels.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn list<K: Object>(&self, namespace: &str, selector: &str) -> Result<Vec<K>, Error> {
        self.check::<K>("", Verb::List)?;
        let listed = self
            .api::<K>(namespace)
            .list(&ListParams::default().labels(selector))
            .await;
        listed.map(|list| list.items).map_err(failed::<K>(Verb::List, ""))
    }

    /// The API of a kind in one namespace or in all, for watching.
    ///
    /// # Errors
    /// [`Error::NotGranted`].
    pub fn watched<K: Object>(&self, namespace: Option<&str>) -> Result<Api<K>, Error> {
        self.check::<K>("", Verb::List)?;
        self.check::<K>("", Verb::Watch)?;
        Ok(namespace.map_or_else(|| Api::all(self.client.clone()), |namespace| self.api(namespace)))
    }

    /// Changes of objects of a kind in one namespace since `version`: their names only, never their content.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn watch_names<K: Object + 'static>(
        &self,
        namespace: &str,
        version: &str,
    ) -> Result<BoxStream<'static, Result<WatchEvent<PartialObjectMeta<K>>, kube::Error>>, Error> {
        self.check::<K>("", Verb::Watch)?;
        let watched = self
            .api::<K>(namespace)
            .watch_metadata(&WatchParams::default(), version)
            .await;
        Ok(watched.map_err(failed::<K>(Verb::Watch, ""))?.boxed())
    }

    /// `secret` made, or the one that was there already.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn create_secret_once(&self, namespace: &str, secret: &Secret) -> Result<Secret, Error> {
        self.check::<Secret>("", Verb::Create)?;
        let name = secret.name_any();
        match self
            .api::<Secret>(namespace)
            .create(&PostParams::default(), secret)
            .await
        {
            Ok(created) => Ok(created),
            Err(error) if is_conflict(&error) => {
                let existing = self.get(namespace, &name).await?;
                existing.ok_or(error).map_err(failed::<Secret>(Verb::Create, &name))
            }
            Err(error) => Err(failed::<Secret>(Verb::Create, &name)(error)),
        }
    }

    /// `wanted` made; `None` when an object of its name is there already.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn create_new<K: Object>(&self, wanted: &K) -> Result<Option<K>, Error> {
        self.check::<K>("", Verb::Create)?;
        let api = self.api::<K>(&wanted.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), wanted).await {
            Ok(created) => Ok(Some(created)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(failed::<K>(Verb::Create, &wanted.name_any())(error)),
        }
    }

    /// `wanted` put in the place of the object with its resource version; `None` when that has changed or is gone.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn replace<K: Object>(&self, wanted: &K) -> Result<Option<K>, Error> {
        self.check::<K>("", Verb::Update)?;
        if wanted.resource_version().is_none() {
            return Err(Error::Incomplete("resource version"));
        }
        let name = wanted.name_any();
        let api = self.api::<K>(&wanted.namespace().unwrap_or_default());
        match api.replace(&name, &PostParams::default(), wanted).await {
            Ok(replaced) => Ok(Some(replaced)),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(failed::<K>(Verb::Update, &name)(error)),
        }
    }

    /// `desired` as it is in the cluster, applied unless `live` already is as it was applied.
    ///
    /// Fields that others own and that `desired` has are taken over; all other fields are left alone.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn apply<K: Object>(&self, desired: &K, live: Option<&K>) -> Result<K, Error> {
        let patch = with_hash(desired)?;
        if let Some(live) = live.filter(|live| ownership::is_as_applied(live.meta(), &patch)) {
            return Ok(live.clone());
        }
        self.check::<K>("", Verb::Create)?;
        self.check::<K>("", Verb::Patch)?;
        let name = desired.name_any();
        tracing::info!(kind = %K::kind(&()), %name, new = live.is_none(), "applying {} {name}", K::kind(&()));
        let api = self.api::<K>(&desired.namespace().unwrap_or_default());
        let applied = api
            .patch(&name, &PatchParams::apply(OPERATOR).force(), &Patch::Apply(&patch))
            .await;
        applied.map_err(failed::<K>(Verb::Patch, &name))
    }

    /// Makes `status` the status of `registry`, unless that has changed since it was read: then it says
    /// [`Written::Stale`] and changes nothing.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn apply_status(&self, registry: &Registry, status: &Value) -> Result<Written, Error> {
        let written = self.apply_status_of(registry, status).await?;
        Ok(if written.is_some() {
            Written::Done
        } else {
            Written::Stale
        })
    }

    /// `object` with `status` as its status; `None` when it has changed since it was read, or is gone.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn apply_status_of<K: Object>(&self, object: &K, status: &Value) -> Result<Option<K>, Error> {
        self.check::<K>("status", Verb::Patch)?;
        let namespace = object.namespace().ok_or(Error::Incomplete("namespace"))?;
        let version = object.resource_version().ok_or(Error::Incomplete("resource version"))?;
        let name = object.name_any();
        let patch = serde_json::json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "resourceVersion": version}, "status": status,
        });
        let parameters = PatchParams::apply(OPERATOR).force();
        let applied = self
            .api::<K>(&namespace)
            .patch_status(&name, &parameters, &Patch::Apply(&patch))
            .await;
        match applied {
            Ok(applied) => Ok(Some(applied)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(failed::<K>(Verb::Patch, &name)(error)),
        }
    }

    /// Removes the object with that UID and what it owns; that it is gone already, or another one is in its place, is
    /// no error.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        self.check::<K>("", Verb::Delete)?;
        let this_one = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        let parameters = DeleteParams::background().preconditions(this_one);
        match self.api::<K>(namespace).delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(failed::<K>(Verb::Delete, name)(error)),
        }
    }

    /// Tells `event` about `registry`. One that cannot be published stops nothing: the statuses say the same.
    pub async fn tell(&self, registry: &Registry, event: &Event) {
        if let Err(untold) = self.publish(registry, event).await {
            tracing::warn!("an event could not be published: {}", error::chain(&untold));
        }
    }

    /// The same where the caller knows whether it was told, and comes back if not.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn publish(&self, registry: &Registry, event: &Event) -> Result<(), Error> {
        for verb in [Verb::Create, Verb::Patch] {
            self.check_named("events.k8s.io", "events", verb)?;
        }
        let failed = failed::<k8s_openapi::api::events::v1::Event>(Verb::Create, &event.reason);
        self.recorder
            .publish(event, &registry.object_ref(&()))
            .await
            .map_err(failed)
    }

    fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn check<K: Object>(&self, subresource: &str, verb: Verb) -> Result<(), Error> {
        let plural = K::plural(&());
        match subresource {
            "" => self.check_named(&K::group(&()), &plural, verb),
            subresource => self.check_named(&K::group(&()), &format!("{plural}/{subresource}"), verb),
        }
    }

    fn check_named(&self, group: &str, resource: &str, verb: Verb) -> Result<(), Error> {
        if !rbac::is_granted(group, resource, verb) {
            return Err(Error::NotGranted {
                verb,
                resource: resource.to_owned(),
            });
        }
        if verb.writes() && !self.leadership.holds() {
            return Err(Error::NotLeading);
        }
        self.metrics.asked(verb.as_str(), group, resource);
        Ok(())
    }
}

/// Makes `definition` the one in the cluster, waits until it is served, and says whether it was another one.
///
/// This is no part of what the operator does, and not in its table: it needs the rights of whoever installs Berth.
///
/// # Errors
/// What the API server says, or that the definition is not served within `limit`.
pub async fn apply_definition(
    client: &Client,
    definition: &CustomResourceDefinition,
    limit: Duration,
) -> Result<bool, DefinitionError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    let before = definitions.get_opt(&name).await.map_err(Box::new)?;
    let parameters = PatchParams::apply(OPERATOR).force();
    let applied = definitions.patch(&name, &parameters, &Patch::Apply(definition)).await;
    let mut live = applied.map_err(Box::new)?;
    let changed = before.is_none_or(|before| before.metadata.generation != live.metadata.generation);
    let is_served = is_crd_established();
    let served = async {
        while !is_served.matches_object(Some(&live)) {
            tokio::time::sleep(LOOK_AGAIN).await;
            live = definitions.get(&name).await?;
        }
        Ok::<(), kube::Error>(())
    };
    match tokio::time::timeout(limit, served).await {
        Ok(served) => served.map(|()| changed).map_err(|error| Box::new(error).into()),
        Err(_) => Err(DefinitionError::NotServed(limit.as_secs())),
    }
}

fn failed<K: Object>(verb: Verb, name: &str) -> impl FnOnce(kube::Error) -> Error {
    let (resource, name) = (K::plural(&()).into_owned(), name.to_owned());
    let is_ours = K::group(&()) == crate::api::GROUP;
    move |source| match error::undeclared(&source).filter(|_| is_ours) {
        Some(said) => Error::OlderDefinition {
            said: said.to_owned(),
            resource,
        },
        None => Error::Api {
            verb,
            resource,
            name,
            source: Box::new(source),
        },
    }
}

fn with_hash<K: Object>(desired: &K) -> Result<Value, Error> {
    let serialised = serde_json::to_value(desired);
    let mut value = serialised.map_err(|source| Error::Serialise {
        kind: K::kind(&()).into_owned(),
        source,
    })?;
    let hash = content_hash::of_value(&value);
    value["metadata"]["annotations"][APPLIED_HASH] = Value::String(hash);
    Ok(value)
}
