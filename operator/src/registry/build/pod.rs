//! What every pod of a Registry has in common: the container, its files, its variables, and the `restricted` level of
//! Pod Security.

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, KeyToPath, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::config::{CONFIG_DIR, DATA_DIR, DATABASE_CA_DIR, STORAGE_KEY_DIR, TLS_DIR};
use super::super::validate::ValidRegistry;
use super::additions::{self, Role};
use super::{config_map, exposure};
use crate::labels::{self, Component, names};

/// Name of the port for clients.
pub(super) const HTTP: &str = "http";
/// Name of the port for probes, metrics and the management API.
pub(super) const ADMIN: &str = "admin";

/// The user and group that own the image's files.
const USER: i64 = 65532;

/// Where a pod keeps what is not in the database or the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// On the Registry's volume, where it has one.
    Volume,
    /// Nowhere that outlives the pod.
    Scratch,
}

/// A container that runs `berth-registry` with `arguments`.
///
/// The last lines that it prints become the message of its end, which is how the operator knows why it failed.
pub(super) fn container(registry: &ValidRegistry, name: &str, arguments: &[&str]) -> Container {
    let config = format!("{CONFIG_DIR}/{}", config_map::FILE);
    let arguments = arguments.iter().copied().chain(["--config", &config]);
    Container {
        name: name.to_owned(),
        image: Some(registry.image.reference.clone()),
        image_pull_policy: Some(registry.image.pull_policy.as_str().to_owned()),
        args: Some(arguments.map(str::to_owned).collect()),
        env: Some(additions::variables(registry, Role::Serves)),
        volume_mounts: Some(mounts(registry)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// A container that may change tables: where the spec has a user of its own for that, it is that user.
pub(super) fn migrating_container(registry: &ValidRegistry, name: &str, arguments: &[&str]) -> Container {
    Container {
        env: Some(additions::variables(registry, Role::Migrates)),
        ..container(registry, name, arguments)
    }
}

/// Metadata of the pods of `component`, with the user's labels and annotations under the operator's own.
pub(super) fn template_metadata(registry: &ValidRegistry, component: Component) -> ObjectMeta {
    let mut labels = registry.template.labels.clone();
    labels.extend(labels::labels(&registry.name, component));
    let annotations = &registry.template.annotations;
    ObjectMeta {
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        ..ObjectMeta::default()
    }
}

/// A pod around `containers`.
pub(super) fn spec(registry: &ValidRegistry, config_name: &str, data: Data, containers: Vec<Container>) -> PodSpec {
    let pull_secrets = registry
        .image
        .pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    let pull_secrets: Vec<_> = pull_secrets.collect();
    let placement = &registry.placement;
    PodSpec {
        containers,
        service_account_name: Some(registry.service_account_name().to_owned()),
        automount_service_account_token: Some(false),
        // A Service named `berth` would put variables into every pod that begin with the registry's own prefix.
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        security_context: Some(pod_security()),
        volumes: Some(volumes(registry, config_name, data)),
        node_selector: (!placement.node_selector.is_empty()).then(|| placement.node_selector.clone()),
        tolerations: additions::tolerations(registry),
        affinity: placement.affinity.clone(),
        priority_class_name: placement.priority_class.clone(),
        ..PodSpec::default()
    }
}

fn mounts(registry: &ValidRegistry) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("config", CONFIG_DIR, true),
        mount("data", DATA_DIR, false),
        mount("tmp", "/tmp", false),
    ];
    if registry.database_ca().is_some() {
        mounts.push(mount("database-ca", DATABASE_CA_DIR, true));
    }
    if registry.tls.is_some() {
        mounts.push(mount("tls", TLS_DIR, true));
    }
    if registry.storage_key.is_some() {
        mounts.push(mount("storage-key", STORAGE_KEY_DIR, true));
    }
    for volume in &registry.template.extra_volumes {
        mounts.push(mount(&additions::volume_name(volume), &volume.mount_path, true));
    }
    mounts
}

fn volumes(registry: &ValidRegistry, config_name: &str, data: Data) -> Vec<Volume> {
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_name.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let data = match registry.volume.as_ref().filter(|_| data == Data::Volume) {
        Some(volume) => Volume {
            name: "data".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: volume.claim_name().to_owned(),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        },
        None => scratch("data"),
    };
    let ca = registry.database_ca().map(|ca| Volume {
        name: "database-ca".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(ca.name.clone()),
            items: Some(vec![KeyToPath {
                key: ca.key.clone(),
                path: ca.key.clone(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let tls = registry.tls.as_ref().map(|source| {
        let secret = exposure::secret_name(source, names::certificate(&registry.name));
        whole_secret("tls", &secret)
    });
    let key = registry
        .storage_key
        .as_deref()
        .map(|secret| whole_secret("storage-key", secret));
    let further = [ca, tls, key].into_iter().flatten();
    let own = [config, data, scratch("tmp")].into_iter().chain(further);
    own.chain(additions::volumes(registry)).collect()
}

/// A volume with every key of a Secret.
pub(super) fn whole_secret(name: &str, secret: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn scratch(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // A large volume is not walked through at each start when its root already has the group.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}
