//! What the plugin asks of the API server, with the rights of whoever runs it.

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::Value;

use super::Target;
use crate::api::{Registry, RegistryApproval, RegistryRollout};

/// A cluster, and the namespace that is meant.
pub struct Session {
    client: Client,
    namespace: String,
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
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await,
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.context("read the kubeconfig")?;
        let namespace = target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client: Client::try_from(config).context("set up TLS")?,
            namespace,
        })
    }

    /// That Registry.
    ///
    /// # Errors
    /// What the API server says, or that there is none.
    pub async fn registry(&self, name: &str) -> anyhow::Result<Registry> {
        let found = self
            .registries_api()
            .get_opt(name)
            .await
            .with_context(|| format!("read Registry {name}"))?;
        found.with_context(|| format!("there is no Registry {name} in namespace {}", self.namespace))
    }

    /// Every Registry of the namespace.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn registries(&self) -> anyhow::Result<Vec<Registry>> {
        let listed = self.registries_api().list(&ListParams::default()).await;
        Ok(listed.context("list Registries")?.items)
    }

    /// The roll-outs of that Registry, newest first.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn rollouts(&self, registry: &str) -> anyhow::Result<Vec<RegistryRollout>> {
        let api: Api<RegistryRollout> = Api::namespaced(self.client.clone(), &self.namespace);
        let listed = api
            .list(&ListParams::default())
            .await
            .context("list RegistryRollouts")?;
        let mut found: Vec<RegistryRollout> = listed
            .items
            .into_iter()
            .filter(|found| found.spec.registry_ref.name == registry)
            .collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.creation_timestamp().map(|at| at.0)));
        Ok(found)
    }

    /// Gives `patch` to that Registry.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let patched = self
            .registries_api()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.map(drop).with_context(|| format!("annotate Registry {name}"))
    }

    /// Leaves `approval`; gives its name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn approve(&self, approval: &RegistryApproval) -> anyhow::Result<String> {
        let api: Api<RegistryApproval> = Api::namespaced(self.client.clone(), &self.namespace);
        let made = api
            .create(&PostParams::default(), approval)
            .await
            .context("create a RegistryApproval")?;
        Ok(made.name_any())
    }

    /// Who the API server takes this user for.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn user(&self) -> anyhow::Result<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let status = review
            .context("ask who this user is")?
            .status
            .and_then(|status| status.user_info);
        status
            .and_then(|user| user.username)
            .context("the API server does not say who this user is")
    }

    /// Whether this user may do that.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn may(&self, verb: &str, resource: &str) -> anyhow::Result<bool> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let attributes = ResourceAttributes {
            group: Some(crate::api::GROUP.to_owned()),
            namespace: Some(self.namespace.clone()),
            resource: Some(resource.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = SelfSubjectAccessReview {
            spec,
            ..SelfSubjectAccessReview::default()
        };
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .context("ask what this user may do")?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The definition of that name in the cluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn definition(&self, name: &str) -> anyhow::Result<Option<CustomResourceDefinition>> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        api.get_opt(name)
            .await
            .with_context(|| format!("read the definition {name}"))
    }

    fn registries_api(&self) -> Api<Registry> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
