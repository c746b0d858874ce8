//! Which keys of which Secrets a Registry's pods read, and what may be said about them; pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::config::STORAGE_KEY_FILE;
use crate::api::Registry;
use crate::api::scheduling::ExtraVariable;
use crate::labels::names;

/// Key of the generated Secret.
pub const HTTP_SECRET_KEY: &str = "http-secret";

/// A key of a Secret that pods read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Name of the Secret.
    pub secret: String,
    /// Key in it.
    pub key: String,
    /// How the pods get it.
    pub delivery: Delivery,
    /// The field of the spec that names the Secret.
    pub field: &'static str,
}

/// How a value reaches the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As an environment variable. The value must never be shown.
    SecretVariable(&'static str),
    /// As an environment variable whose value may be shown.
    Variable(&'static str),
    /// As a file that is read once.
    File,
    /// As a file that is read again when it changes: a new content needs no new pods.
    ReloadedFile,
    /// Not to the pods, but to what stands before them.
    Elsewhere,
    /// As an environment variable of the pods that migrate, in place of another one.
    Migrator(&'static str),
    /// As an environment variable that the spec names itself. The value must never be shown.
    Extra,
}

/// The keys that `registry`'s spec refers to. The generated Secret is not among them.
pub fn referenced(registry: &Registry) -> Vec<Credential> {
    use Delivery::{Elsewhere, File, ReloadedFile, SecretVariable, Variable};
    let mut credentials = Vec::new();
    let mut refer = |secret: &str, key: &str, delivery, field| {
        credentials.push(Credential {
            secret: secret.to_owned(),
            key: key.to_owned(),
            delivery,
            field,
        });
    };
    if let Some(postgres) = registry.postgres() {
        let (secret, field) = (&postgres.credentials_ref.name, "database.postgres.credentialsRef");
        refer(secret, "username", Variable("BERTH_DATABASE_USERNAME"), field);
        refer(secret, "password", SecretVariable("BERTH_DATABASE_PASSWORD"), field);
        if let Some(migrator) = &postgres.migrator_credentials_ref {
            let field = "database.postgres.migratorCredentialsRef";
            refer(
                &migrator.name,
                "username",
                Delivery::Migrator("BERTH_DATABASE_USERNAME"),
                field,
            );
            refer(
                &migrator.name,
                "password",
                Delivery::Migrator("BERTH_DATABASE_PASSWORD"),
                field,
            );
        }
        if let Some(ca) = &postgres.ca_ref {
            refer(&ca.name, &ca.key, File, "database.postgres.caRef");
        }
    }
    let spec = &registry.spec;
    let ingress = spec
        .exposure
        .as_ref()
        .and_then(|exposure| exposure.ingress.as_ref()?.tls.as_ref());
    for (source, delivery, field) in [
        (spec.tls.as_ref(), ReloadedFile, "tls.secretRef"),
        (ingress, Elsewhere, "exposure.ingress.tls.secretRef"),
    ] {
        if let Some(secret) = source.and_then(|source| source.secret_ref.as_ref()) {
            refer(&secret.name, "tls.crt", delivery, field);
            refer(&secret.name, "tls.key", delivery, field);
        }
    }
    for variable in extra_variables(registry) {
        if let Some(secret) = &variable.secret_key_ref {
            refer(&secret.name, &secret.key, Delivery::Extra, "podTemplate.extraEnv");
        }
    }
    refer_to_storage(registry, &mut refer);
    credentials
}

fn refer_to_storage(registry: &Registry, refer: &mut impl FnMut(&str, &str, Delivery, &'static str)) {
    use Delivery::{File, SecretVariable};
    if let Some(secret) = registry.s3().and_then(|s3| s3.credentials_ref.as_ref()) {
        let field = "storage.s3.credentialsRef";
        for (key, variable) in [
            ("access-key-id", "BERTH_STORAGE_S3_ACCESS_KEY_ID"),
            ("secret-access-key", "BERTH_STORAGE_S3_SECRET_ACCESS_KEY"),
        ] {
            refer(&secret.name, key, SecretVariable(variable), field);
        }
    }
    if let Some(azure) = registry.azure() {
        if let Some(secret) = &azure.access_key_ref {
            let variable = SecretVariable("BERTH_STORAGE_AZURE_ACCESS_KEY");
            refer(&secret.name, "access-key", variable, "storage.azure.accessKeyRef");
        }
        if let Some(secret) = &azure.sas_token_ref {
            let variable = SecretVariable("BERTH_STORAGE_AZURE_SAS_TOKEN");
            refer(&secret.name, "sas-token", variable, "storage.azure.sasTokenRef");
        }
    }
    if let Some(secret) = registry.gcs().and_then(|gcs| gcs.credentials_ref.as_ref()) {
        refer(&secret.name, STORAGE_KEY_FILE, File, "storage.gcs.credentialsRef");
    }
    let redirect = registry
        .spec
        .storage
        .as_ref()
        .and_then(|storage| storage.redirect.as_ref());
    if let Some(cdn) = redirect.and_then(|redirect| redirect.cdn.as_ref()) {
        let variable = SecretVariable("BERTH_STORAGE_REDIRECT_KEY");
        refer(&cdn.key_ref.name, "key", variable, "storage.redirect.cdn.keyRef");
    }
}

/// The variables that the spec adds.
pub fn extra_variables(registry: &Registry) -> &[ExtraVariable] {
    let template = registry.spec.pod_template.as_ref();
    template
        .map(|template| template.extra_env.as_slice())
        .unwrap_or_default()
}

/// Objects that pods refer to as a whole, by name, each with the field of the spec that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wholes {
    /// Secrets that are mounted.
    pub secrets: Vec<(String, &'static str)>,
    /// `ConfigMaps`, mounted or read by key.
    pub config_maps: Vec<(String, &'static str)>,
    /// Secrets with which nodes fetch the image.
    pub pull_secrets: Vec<(String, &'static str)>,
}

/// What `registry`'s spec refers to as a whole.
pub fn wholes(registry: &Registry) -> Wholes {
    let mut wholes = Wholes::default();
    let template = registry.spec.pod_template.as_ref();
    for volume in template
        .map(|template| template.extra_volumes.as_slice())
        .unwrap_or_default()
    {
        let field = "podTemplate.extraVolumes";
        wholes
            .secrets
            .extend(volume.secret_ref.iter().map(|secret| (secret.name.clone(), field)));
        wholes
            .config_maps
            .extend(volume.config_map_ref.iter().map(|map| (map.name.clone(), field)));
    }
    let maps = extra_variables(registry)
        .iter()
        .filter_map(|variable| variable.config_map_key_ref.as_ref());
    wholes
        .config_maps
        .extend(maps.map(|map| (map.name.clone(), "podTemplate.extraEnv")));
    let image = registry.spec.image.as_ref();
    let pull_secrets = image.map(|image| image.pull_secrets.as_slice()).unwrap_or_default();
    wholes.pull_secrets.extend(
        pull_secrets
            .iter()
            .map(|secret| (secret.name.clone(), "image.pullSecrets")),
    );
    let of_channel = registry.channel().and_then(|channel| channel.pull_secret_ref.as_ref());
    wholes
        .pull_secrets
        .extend(of_channel.map(|secret| (secret.name.clone(), "release.channel.pullSecretRef")));
    wholes
}

/// Names of the Secrets whose content matters to `registry`, the ones that are made for it among them.
pub fn secret_names(registry: &Registry, name: &str) -> BTreeSet<String> {
    let wholes = wholes(registry);
    let named = referenced(registry).into_iter().map(|credential| credential.secret);
    let whole = wholes
        .secrets
        .into_iter()
        .chain(wholes.pull_secrets)
        .map(|(name, _)| name);
    let issued = is_issued(registry).then(|| names::certificate(name));
    let of_metrics = of_metrics(registry);
    let of_signer = registry
        .channel()
        .and_then(|channel| Some(channel.verify.as_ref()?.cosign.key_ref.name.clone()));
    named
        .chain(whole)
        .chain(issued)
        .chain(of_metrics)
        .chain(of_signer)
        .chain([names::http_secret(name)])
        .collect()
}

/// Names of the `ConfigMaps` whose content matters to `registry`, but for its own configuration.
pub fn config_map_names(registry: &Registry) -> BTreeSet<String> {
    wholes(registry).config_maps.into_iter().map(|(name, _)| name).collect()
}

/// What is missing of the objects that are referred to as a whole, and of keys of `ConfigMaps`.
pub fn missing_wholes(registry: &Registry, secrets: &Secrets, config_maps: &Secrets) -> Vec<String> {
    let wholes = wholes(registry);
    let absent = |kind: &str, name: &String, field: &str| {
        format!("{kind} {name} of spec.{field} does not exist: create it in this namespace")
    };
    let mut missing: Vec<String> = Vec::new();
    for (name, field) in wholes.secrets.iter().chain(&wholes.pull_secrets) {
        if !secrets.contains_key(name) {
            missing.push(absent("Secret", name, field));
        }
    }
    for (name, field) in &wholes.config_maps {
        if !config_maps.contains_key(name) {
            missing.push(absent("ConfigMap", name, field));
        }
    }
    for reference in extra_variables(registry)
        .iter()
        .filter_map(|variable| variable.config_map_key_ref.as_ref())
    {
        if config_maps
            .get(&reference.name)
            .is_some_and(|values| !values.contains_key(&reference.key))
        {
            missing.push(format!(
                "ConfigMap {} of spec.podTemplate.extraEnv has nothing under the key {}: add it",
                reference.name, reference.key
            ));
        }
    }
    missing.dedup();
    missing
}

/// Whether cert-manager fills the Secret with the certificate of the pods.
pub fn is_issued(registry: &Registry) -> bool {
    registry.spec.tls.as_ref().is_some_and(|tls| tls.cert_manager.is_some())
}

/// The Secrets that the operator itself reads to measure a canary. Pods do not get them.
pub fn of_metrics(registry: &Registry) -> Vec<String> {
    let analysis = registry
        .spec
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.analysis.as_ref());
    let Some(prometheus) = analysis.and_then(|analysis| analysis.prometheus.as_ref()) else {
        return Vec::new();
    };
    let token = prometheus.bearer_token_ref.iter().map(|token| token.name.clone());
    let authority = prometheus.ca_ref.iter().map(|authority| authority.name.clone());
    token.chain(authority).collect()
}

/// The key of the generated Secret, which every Registry has.
pub fn http_secret(registry: &str) -> Credential {
    Credential {
        secret: names::http_secret(registry),
        key: HTTP_SECRET_KEY.to_owned(),
        delivery: Delivery::SecretVariable("BERTH_HTTP_SECRET"),
        field: "",
    }
}

/// The Secrets that were found, by name: their values by key.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// What is missing of `credentials`, in words that say what to do.
pub fn missing(credentials: &[Credential], secrets: &Secrets) -> Vec<String> {
    let mut missing: Vec<String> = credentials
        .iter()
        .filter_map(|credential| lack(credential, secrets))
        .collect();
    missing.dedup();
    missing
}

fn lack(credential: &Credential, secrets: &Secrets) -> Option<String> {
    let Credential { secret, key, field, .. } = credential;
    let Some(values) = secrets.get(secret) else {
        return Some(format!(
            "Secret {secret} of spec.{field} does not exist: create it in this namespace"
        ));
    };
    values
        .get(key)
        .is_none_or(Vec::is_empty)
        .then(|| format!("Secret {secret} of spec.{field} has no value under the key {key}: add it"))
}

/// Every key and value of what pods have mounted or read as a whole, in order.
pub fn mounted(wholes: &Wholes, secrets: &Secrets, config_maps: &Secrets) -> Vec<Vec<u8>> {
    let secrets = wholes.secrets.iter().filter_map(|(name, _)| secrets.get(name));
    let config_maps = wholes.config_maps.iter().filter_map(|(name, _)| config_maps.get(name));
    secrets
        .chain(config_maps)
        .flatten()
        .flat_map(|(key, value)| [key.clone().into_bytes(), value.clone()])
        .collect()
}

/// Sixteen hexadecimal digits that change when a value does, so that pods are replaced when a Secret is rotated.
///
/// The generated secret is hashed first: without it nobody can try passwords against the hash.
pub fn digest(http_secret: &[u8], credentials: &[Credential], secrets: &Secrets, mounted: &[Vec<u8>]) -> String {
    let mut digest = Sha256::new();
    let is_read_once = |credential: &&Credential| {
        !matches!(
            credential.delivery,
            Delivery::ReloadedFile | Delivery::Elsewhere | Delivery::Migrator(_)
        )
    };
    let values = credentials
        .iter()
        .filter(is_read_once)
        .filter_map(|credential| secrets.get(&credential.secret)?.get(&credential.key));
    let mounted = mounted.iter().map(Vec::as_slice);
    for value in std::iter::once(http_secret)
        .chain(values.map(Vec::as_slice))
        .chain(mounted)
    {
        digest.update((value.len() as u64).to_be_bytes());
        digest.update(value);
    }
    hex::encode(&digest.finalize()[..8])
}

/// `text` without the secret values, as they are and as a JSON string has them, and without user names and passwords
/// in URLs.
pub fn scrubbed(text: &str, credentials: &[Credential], secrets: &Secrets) -> String {
    let secret_values = credentials
        .iter()
        .filter(|credential| is_hidden(credential))
        .filter_map(|credential| std::str::from_utf8(secrets.get(&credential.secret)?.get(&credential.key)?).ok());
    let secret_values = secret_values.map(str::trim).filter(|value| !value.is_empty());
    let mut secret_values: Vec<String> = secret_values
        .flat_map(|value| [value.to_owned(), json_escaped(value)])
        .collect();
    // A value that is part of another must not break that one up.
    secret_values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    secret_values
        .into_iter()
        .fold(without_url_credentials(text), |text, value| text.replace(&value, "***"))
}

/// A user name that is in a message helps; a password does not.
fn is_hidden(credential: &Credential) -> bool {
    match credential.delivery {
        Delivery::SecretVariable(_) | Delivery::Extra => true,
        Delivery::Migrator(variable) => variable.ends_with("_PASSWORD"),
        Delivery::Variable(_) | Delivery::File | Delivery::ReloadedFile | Delivery::Elsewhere => false,
    }
}

/// `value` as it is between the quotes of a JSON string.
fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `scheme://user:password@host` as `scheme://***@host`.
fn without_url_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let authority_end = after
            .find(|c: char| c.is_whitespace() || "/?#\"'".contains(c))
            .unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(at) => {
                clean.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password() -> Credential {
        Credential {
            secret: "db".to_owned(),
            key: "password".to_owned(),
            delivery: Delivery::SecretVariable("BERTH_DATABASE_PASSWORD"),
            field: "database.postgres.credentialsRef",
        }
    }

    fn secrets(value: &str) -> Secrets {
        [(
            "db".to_owned(),
            [("password".to_owned(), value.as_bytes().to_vec())].into(),
        )]
        .into()
    }

    #[test]
    fn a_missing_secret_is_named_with_the_field_that_refers_to_it() {
        let missing = missing(&[password()], &Secrets::new());

        assert_eq!(
            missing,
            ["Secret db of spec.database.postgres.credentialsRef does not exist: create it in this namespace"]
        );
    }

    #[test]
    fn an_empty_value_is_missing() {
        let missing = missing(&[password()], &secrets(""));

        assert!(missing[0].contains("no value under the key password"), "{missing:?}");
    }

    #[test]
    fn a_rotated_value_changes_the_digest() {
        let of = |value| digest(b"key", &[password()], &secrets(value), &[]);

        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
    }

    #[test]
    fn a_renewed_certificate_and_another_migrator_need_no_new_pods() {
        for delivery in [
            Delivery::ReloadedFile,
            Delivery::Elsewhere,
            Delivery::Migrator("BERTH_DATABASE_PASSWORD"),
        ] {
            let credential = Credential { delivery, ..password() };
            let of = |value| digest(b"key", std::slice::from_ref(&credential), &secrets(value), &[]);

            assert_eq!(of("one"), of("two"), "{delivery:?}");
        }
    }

    #[test]
    fn a_secret_that_is_part_of_another_leaves_nothing_of_it() {
        let other = Credential {
            secret: "bucket".to_owned(),
            ..password()
        };
        let mut secrets = secrets("key");
        secrets.insert(
            "bucket".to_owned(),
            [("password".to_owned(), b"key-and-more".to_vec())].into(),
        );

        assert_eq!(
            scrubbed("key-and-more is wrong", &[password(), other], &secrets),
            "*** is wrong"
        );
    }

    #[test]
    fn a_secret_within_a_json_string_is_not_shown() {
        let text = serde_json::json!({"error": "password a\"b\\c refused"}).to_string();

        let scrubbed = scrubbed(&text, &[password()], &secrets("a\"b\\c"));

        assert_eq!(scrubbed, r#"{"error":"password *** refused"}"#);
    }

    #[test]
    fn neither_a_password_nor_a_url_with_one_is_shown() {
        let text = "cannot connect to postgres://berth:hunter2@db:5432/x: password hunter3 refused";

        let scrubbed = scrubbed(text, &[password()], &secrets("hunter3\n"));

        assert_eq!(
            scrubbed,
            "cannot connect to postgres://***@db:5432/x: password *** refused"
        );
    }
}
