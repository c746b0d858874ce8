//! The section `storage` of the configuration file; pure.

use serde_json::{Map, Value, json};

use super::{DATA_DIR, STORAGE_KEY_DIR, STORAGE_KEY_FILE};
use crate::api::Registry;
use crate::api::storage::{AzureStorage, GcsStorage, Redirect, S3Storage};

/// Where images are, and who fetches them there. Secrets reach the pods as variables and files.
pub(super) fn part(registry: &Registry) -> Value {
    let mut part = if let Some(s3) = registry.s3() {
        json!({"s3": s3_part(s3)})
    } else if let Some(azure) = registry.azure() {
        json!({"azure": azure_part(azure)})
    } else if let Some(gcs) = registry.gcs() {
        json!({"gcs": gcs_part(gcs)})
    } else {
        json!({"filesystem": {"root_directory": format!("{DATA_DIR}/blobs")}})
    };
    let storage = registry.spec.storage.as_ref();
    if let Some(redirect) = storage.and_then(|storage| storage.redirect.as_ref()) {
        part["redirect"] = redirect_part(redirect);
    }
    if let Some(size) = storage.and_then(|storage| storage.inline_size.as_ref()) {
        part["inline_size"] = json!(size);
    }
    part
}

fn s3_part(s3: &S3Storage) -> Value {
    given([
        ("bucket", Some(json!(s3.bucket))),
        ("region", Some(json!(s3.region))),
        ("endpoint", s3.endpoint.as_ref().map(|url| json!(url))),
        ("root_directory", prefix(&s3.root_directory)),
        ("public_endpoint", s3.public_endpoint.as_ref().map(|url| json!(url))),
        ("path_style", s3.path_style.map(|is_path| json!(is_path))),
        ("checksum", s3.checksum.map(|checksum| json!(checksum.as_str()))),
        ("equal_parts", s3.equal_parts.map(|are_equal| json!(are_equal))),
    ])
}

fn azure_part(azure: &AzureStorage) -> Value {
    given([
        ("account", Some(json!(azure.account))),
        ("container", Some(json!(azure.container))),
        ("endpoint", azure.endpoint.as_ref().map(|url| json!(url))),
        ("root_directory", prefix(&azure.root_directory)),
    ])
}

fn gcs_part(gcs: &GcsStorage) -> Value {
    let key_file = format!("{STORAGE_KEY_DIR}/{STORAGE_KEY_FILE}");
    given([
        ("bucket", Some(json!(gcs.bucket))),
        ("endpoint", gcs.endpoint.as_ref().map(|url| json!(url))),
        ("root_directory", prefix(&gcs.root_directory)),
        (
            "service_account_file",
            gcs.credentials_ref.as_ref().map(|_| json!(key_file)),
        ),
    ])
}

fn redirect_part(redirect: &Redirect) -> Value {
    let list = |items: &Vec<String>| json!(items.join(","));
    let cdn = redirect.cdn.as_ref();
    given([
        ("mode", Some(json!(redirect.mode.as_str()))),
        ("user_agents", redirect.user_agents.as_ref().map(list)),
        ("networks", redirect.networks.as_ref().map(list)),
        ("lifetime", redirect.lifetime.as_ref().map(|lifetime| json!(lifetime.0))),
        ("base_url", cdn.map(|cdn| json!(cdn.base_url))),
        ("key_name", cdn.map(|cdn| json!(cdn.key_name))),
    ])
}

fn prefix(root_directory: &str) -> Option<Value> {
    (!root_directory.is_empty()).then(|| json!(root_directory))
}

/// A mapping of the keys that have a value.
pub(super) fn given<const N: usize>(keys: [(&str, Option<Value>); N]) -> Value {
    let given = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures;

    fn storage(spec: &Value) -> Value {
        part(&fixtures::registry(&json!({"storage": spec})))
    }

    #[test]
    fn azure_and_google_are_told_without_their_secrets() {
        let azure = storage(&json!({"azure": {
            "account": "images", "container": "registry", "rootDirectory": "a", "accessKeyRef": {"name": "key"},
        }}));
        let gcs = storage(&json!({"gcs": {"bucket": "images", "credentialsRef": {"name": "key"}}}));
        let identity = storage(&json!({"gcs": {"bucket": "images"}}));

        assert_eq!(
            azure,
            json!({"azure": {"account": "images", "container": "registry", "root_directory": "a"}})
        );
        assert_eq!(gcs["gcs"]["service_account_file"], "/etc/berth-storage/key.json");
        assert_eq!(identity, json!({"gcs": {"bucket": "images"}}));
    }

    #[test]
    fn the_size_of_blobs_in_the_database_is_told_when_it_is_said() {
        let said = storage(&json!({"s3": {"bucket": "images"}, "inlineSize": "0KiB"}));

        assert_eq!(said["inline_size"], "0KiB");
        assert_eq!(storage(&json!({"s3": {"bucket": "images"}})).get("inline_size"), None);
    }

    #[test]
    fn a_redirect_is_told_as_the_configuration_file_spells_it() {
        let storage = storage(&json!({
            "s3": {"bucket": "images", "checksum": "Off"},
            "redirect": {"mode": "Matching", "userAgents": ["containerd/", "docker/"], "networks": ["10.0.0.0/8"],
                "lifetime": "5m", "cdn": {"baseUrl": "https://cdn.example.com", "keyName": "k1", "keyRef": {"name": "cdn"}}},
        }));

        assert_eq!(storage["s3"]["checksum"], "none");
        assert_eq!(
            storage["redirect"],
            json!({
                "mode": "matching", "user_agents": "containerd/,docker/", "networks": "10.0.0.0/8", "lifetime": "5m",
                "base_url": "https://cdn.example.com", "key_name": "k1",
            })
        );
    }
}
