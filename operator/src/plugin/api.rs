//! What the plugin asks of the API server, with the rights of whoever runs it.

use anyhow::Context as _;
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::Target;
use super::near;
use super::refusal::{Asked, Refusal};
use crate::api::{Registry, RegistryApproval, RegistryRollout};

/// A kind that the plugin reads.
pub trait Kind: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize {}
impl<K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize> Kind for K {}

/// A cluster, and the namespace that is meant.
#[derive(Clone)]
pub struct Session {
    client: Client,
    namespace: String,
    everywhere: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The cluster that `target` names.
    ///
    /// # Errors
    /// When there is no such context or file.
    pub async fn begin(target: &Target) -> anyhow::Result<Self> {
        let options = KubeConfigOptions {
            context: target.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &target.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.context(
            "there is no kubeconfig that can be used: name one with --kubeconfig FILE or in KUBECONFIG (without either \
             it is ~/.kube/config), and a context of it with --context",
        )?;
        let namespace = target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client: Client::try_from(config).context("set up TLS")?,
            namespace,
            everywhere: target.all_namespaces,
        })
    }

    /// The namespace that is meant; empty for all of them.
    pub fn scope(&self) -> &str {
        if self.everywhere { "" } else { &self.namespace }
    }

    /// The one namespace that is meant.
    ///
    /// # Errors
    /// That all of them are.
    pub fn namespace(&self) -> anyhow::Result<&str> {
        anyhow::ensure!(
            !self.everywhere,
            "a Registry or a lock is in one namespace: name it with -n in place of -A"
        );
        Ok(&self.namespace)
    }

    /// The Registry of that name, and near names when there is none.
    ///
    /// # Errors
    /// What the API server says, or that there is none.
    pub async fn registry(&self, name: &str) -> anyhow::Result<Registry> {
        let namespace = self.namespace()?;
        match self.get::<Registry>(namespace, name).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        let there: Vec<Registry> = self.list(namespace, "").await?;
        let names: Vec<String> = there.iter().map(ResourceExt::name_any).collect();
        anyhow::bail!(near::unknown("Registry", name, namespace, &names))
    }

    /// The roll-outs of that Registry, or of all that are meant, newest first.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn rollouts(&self, registry: Option<&str>) -> Result<Vec<RegistryRollout>, Refusal> {
        let mut found: Vec<RegistryRollout> = self.list(self.scope(), "").await?;
        found.retain(|found| registry.is_none_or(|name| found.spec.registry_ref.name == name));
        found.sort_by_key(|found| std::cmp::Reverse(found.creation_timestamp().map(|at| at.0)));
        Ok(found)
    }

    /// An object of a namespace.
    ///
    /// # Errors
    /// What the API server says, unless it is "not found".
    pub async fn get<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, Refusal> {
        let got = self.api::<K>(namespace).get_opt(name).await;
        got.map_err(|error| Refusal::of(&error, &asked::<K>("get", namespace)))
    }

    /// The objects of a namespace that a label selector fits; without a namespace those of all.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn list<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<K>, Refusal> {
        let listed = self
            .api::<K>(namespace)
            .list(&ListParams::default().labels(selector))
            .await;
        listed
            .map(|listed| listed.items)
            .map_err(|error| Refusal::of(&error, &asked::<K>("list", namespace)))
    }

    /// An object that is in no namespace.
    ///
    /// # Errors
    /// What the API server says, unless it is "not found".
    pub async fn of_cluster<K: Kind>(&self, name: &str) -> Result<Option<K>, Refusal> {
        let got = Api::<K>::all(self.client.clone()).get_opt(name).await;
        got.map_err(|error| Refusal::of(&error, &asked::<K>("get", "")))
    }

    /// The plural names of the kinds of a group and version; empty when the cluster has none. Everybody may ask.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn kinds_of(&self, group_version: &str) -> Result<Vec<String>, Refusal> {
        match self.client.list_api_group_resources(group_version).await {
            Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(Refusal::of(&error, &asked::<Registry>("get", ""))),
        }
    }

    /// The lines that a pod printed and, if asked so, prints.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn log(
        &self,
        namespace: &str,
        pod: &str,
        lines: &LogParams,
    ) -> Result<BoxStream<'static, std::io::Result<String>>, Refusal> {
        let stream = self.api::<Pod>(namespace).log_stream(pod, lines).await;
        let wanted = Asked {
            resource: "pods/log".to_owned(),
            ..asked::<Pod>("get", namespace)
        };
        Ok(stream.map_err(|error| Refusal::of(&error, &wanted))?.lines().boxed())
    }

    /// Gives `patch` to that Registry.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let namespace = self.namespace()?;
        let patched = self
            .api::<Registry>(namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.map_err(|error| Refusal::of(&error, &asked::<Registry>("patch", namespace)))?;
        Ok(())
    }

    /// Leaves `approval`; gives its name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn approve(&self, approval: &RegistryApproval) -> anyhow::Result<String> {
        let namespace = self.namespace()?;
        let made = self
            .api::<RegistryApproval>(namespace)
            .create(&PostParams::default(), approval)
            .await;
        let made = made.map_err(|error| Refusal::of(&error, &asked::<RegistryApproval>("create", namespace)))?;
        Ok(made.name_any())
    }

    /// Writes `lease` as it is, made anew or in place of the version that was read. False: somebody else wrote first.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn write_lease(&self, lease: &Lease) -> Result<bool, Refusal> {
        let (namespace, name) = (lease.namespace().unwrap_or_default(), lease.name_any());
        let api = self.api::<Lease>(&namespace);
        let parameters = PostParams::default();
        let (verb, written) = if lease.metadata.resource_version.is_some() {
            ("update", api.replace(&name, &parameters, lease).await)
        } else {
            ("create", api.create(&parameters, lease).await)
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(Refusal::of(&error, &asked::<Lease>(verb, &namespace))),
        }
    }

    /// Who the API server takes this user for.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn user(&self) -> anyhow::Result<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let review = review.map_err(|error| Refusal::of(&error, &asked::<SelfSubjectReview>("create", "")))?;
        let user = review.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username)
            .context("the API server does not say who this user is")
    }

    /// Whether this user may do that. `resource` may name a part, such as `pods/log`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn may(&self, verb: &str, group: &str, resource: &str) -> Result<bool, Refusal> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = ResourceAttributes {
            group: Some(group.to_owned()),
            namespace: Some(self.scope().to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(part.to_owned()).filter(|part| !part.is_empty()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..Default::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Refusal::of(&error, &asked::<SelfSubjectAccessReview>("create", "")))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn api<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self, namespace: &str) -> Api<K> {
        match namespace {
            "" => Api::all(self.client.clone()),
            namespace => Api::namespaced(self.client.clone(), namespace),
        }
    }
}

fn asked<K: Kind>(verb: &'static str, namespace: &str) -> Asked {
    Asked {
        verb,
        resource: K::plural(&()).into_owned(),
        group: K::group(&()).into_owned(),
        namespace: namespace.to_owned(),
    }
}
