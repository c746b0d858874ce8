//! What Secrets and the spec add to every pod: variables, volumes, tolerations.

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, ConfigMapVolumeSource, EnvVar, EnvVarSource, SecretKeySelector, Toleration, Volume,
};

use super::super::credentials::{Credential, Delivery};
use super::super::validate::ValidRegistry;
use super::pod;
use crate::api::scheduling::{ExtraVariable, ExtraVolume, KeyRef, TaintEffect, TolerationOperator};

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It serves clients.
    Serves,
    /// It changes tables.
    Migrates,
}

/// The variables from Secrets, then those that the spec adds.
pub(super) fn variables(registry: &ValidRegistry, role: Role) -> Vec<EnvVar> {
    let has_migrator = registry
        .credentials
        .iter()
        .any(|credential| matches!(credential.delivery, Delivery::Migrator(_)));
    let is_migrator = has_migrator && role == Role::Migrates;
    let own = registry
        .credentials
        .iter()
        .filter_map(|credential| variable(credential, is_migrator));
    own.chain(registry.template.extra_env.iter().map(extra_variable))
        .collect()
}

/// The user that migrates takes the place of the one that serves.
fn variable(credential: &Credential, is_migrator: bool) -> Option<EnvVar> {
    let name = match credential.delivery {
        Delivery::Variable(name) | Delivery::SecretVariable(name) => {
            let is_replaced = is_migrator && name.starts_with("BERTH_DATABASE_");
            (!is_replaced).then_some(name)
        }
        Delivery::Migrator(name) => is_migrator.then_some(name),
        Delivery::Extra | Delivery::File | Delivery::ReloadedFile | Delivery::Elsewhere => None,
    }?;
    let source = EnvVarSource {
        secret_key_ref: Some(secret_key(&credential.secret, &credential.key)),
        ..EnvVarSource::default()
    };
    Some(EnvVar {
        name: name.to_owned(),
        value_from: Some(source),
        ..EnvVar::default()
    })
}

fn secret_key(name: &str, key: &str) -> SecretKeySelector {
    SecretKeySelector {
        name: name.to_owned(),
        key: key.to_owned(),
        optional: None,
    }
}

fn config_map_key(reference: &KeyRef) -> ConfigMapKeySelector {
    ConfigMapKeySelector {
        name: reference.name.clone(),
        key: reference.key.clone(),
        optional: None,
    }
}

fn extra_variable(variable: &ExtraVariable) -> EnvVar {
    let secret = variable.secret_key_ref.as_ref();
    let source = EnvVarSource {
        secret_key_ref: secret.map(|reference| secret_key(&reference.name, &reference.key)),
        config_map_key_ref: variable.config_map_key_ref.as_ref().map(config_map_key),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: variable.name.clone(),
        value: variable.value.clone(),
        value_from: (source != EnvVarSource::default()).then_some(source),
    }
}

/// The operator's own volumes have other names.
pub(super) fn volume_name(volume: &ExtraVolume) -> String {
    format!("extra-{}", volume.name)
}

/// The volumes that the spec adds.
pub(super) fn volumes(registry: &ValidRegistry) -> impl Iterator<Item = Volume> {
    registry.template.extra_volumes.iter().map(volume)
}

fn volume(volume: &ExtraVolume) -> Volume {
    let name = volume_name(volume);
    if let Some(secret) = &volume.secret_ref {
        return pod::whole_secret(&name, &secret.name);
    }
    let config_map = volume.config_map_ref.as_ref().map(|config_map| ConfigMapVolumeSource {
        name: config_map.name.clone(),
        ..ConfigMapVolumeSource::default()
    });
    Volume {
        name,
        config_map,
        ..Volume::default()
    }
}

/// The tolerations of a pod; none is none, not an empty list.
pub(super) fn tolerations(registry: &ValidRegistry) -> Option<Vec<Toleration>> {
    let tolerations = &registry.placement.tolerations;
    let built = tolerations.iter().map(|toleration| Toleration {
        key: toleration.key.clone(),
        operator: Some(operator(toleration.operator).to_owned()),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| self::effect(effect).to_owned()),
        toleration_seconds: toleration.toleration_seconds,
    });
    (!tolerations.is_empty()).then(|| built.collect())
}

fn operator(operator: TolerationOperator) -> &'static str {
    match operator {
        TolerationOperator::Equal => "Equal",
        TolerationOperator::Exists => "Exists",
    }
}

fn effect(effect: TaintEffect) -> &'static str {
    match effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    }
}
