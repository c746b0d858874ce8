//! The configuration file of the pods: the user's free part under the operator's own keys; pure.

mod collection;
mod storage;

use serde_json::{Map, Value, json};

use crate::api::Registry;
use crate::api::database::Postgres;

/// Where the volume is in a pod.
pub const DATA_DIR: &str = "/var/lib/berth";
/// Where the configuration file is in a pod.
pub const CONFIG_DIR: &str = "/etc/berth";
/// Where the certificate authority of the database is in a pod.
pub const DATABASE_CA_DIR: &str = "/etc/berth-database-ca";
/// Where the certificate of the pods is in a pod.
pub const TLS_DIR: &str = "/etc/berth-tls";
/// Where the key file of a cloud's account is in a pod.
pub const STORAGE_KEY_DIR: &str = "/etc/berth-storage";
/// The key of the Secret, and the name of the file in that folder.
pub const STORAGE_KEY_FILE: &str = "key.json";
/// The port for clients.
pub const HTTP_PORT: i32 = 5000;
/// The port for probes, metrics and the management API.
pub const ADMIN_PORT: i32 = 5001;
/// How long a stopping pod lets requests finish when `config` does not say.
pub const DRAIN_TIMEOUT: &str = "30s";

/// Keys that belong to the operator, each with the way to say the same thing.
const OWNED: &[(&str, &str)] = &[
    (
        "data_dir",
        "the volume is mounted where the operator says; see spec.storage.filesystem",
    ),
    ("http.listen", "use spec.service.port"),
    (
        "http.secret",
        "the operator generates it, in the Secret that has -http behind the name of the Registry",
    ),
    ("http.tls.certificate_file", "use spec.tls"),
    ("http.tls.key_file", "use spec.tls"),
    ("admin.listen", "it cannot be changed"),
    ("database.url", "use spec.database.postgres"),
    ("database.username", "use spec.database.postgres.credentialsRef"),
    ("database.password", "use spec.database.postgres.credentialsRef"),
    ("database.ca_file", "use spec.database.postgres.caRef"),
    ("storage.filesystem", "use spec.storage.filesystem"),
    ("storage.s3.bucket", "use spec.storage.s3.bucket"),
    ("storage.s3.region", "use spec.storage.s3.region"),
    ("storage.s3.endpoint", "use spec.storage.s3.endpoint"),
    ("storage.s3.root_directory", "use spec.storage.s3.rootDirectory"),
    ("storage.s3.access_key_id", "use spec.storage.s3.credentialsRef"),
    ("storage.s3.secret_access_key", "use spec.storage.s3.credentialsRef"),
    ("storage.azure", "use spec.storage.azure"),
    ("storage.gcs", "use spec.storage.gcs"),
    ("storage.redirect.key", "use spec.storage.redirect.cdn.keyRef"),
];

/// Keys that may also be said in `config`, as long as the field of the spec is not used.
fn said_twice(registry: &Registry) -> Vec<String> {
    let spec = &registry.spec;
    let storage = spec.storage.as_ref();
    let s3 = registry.s3();
    let fields = [
        ("gc", "gc", spec.gc.is_some()),
        ("deletion", "deletion", spec.deletion.is_some()),
        (
            "storage.redirect",
            "storage.redirect",
            storage.is_some_and(|storage| storage.redirect.is_some()),
        ),
        (
            "storage.s3.path_style",
            "storage.s3.pathStyle",
            s3.is_some_and(|s3| s3.path_style.is_some()),
        ),
        (
            "storage.s3.checksum",
            "storage.s3.checksum",
            s3.is_some_and(|s3| s3.checksum.is_some()),
        ),
        (
            "storage.s3.equal_parts",
            "storage.s3.equalParts",
            s3.is_some_and(|s3| s3.equal_parts.is_some()),
        ),
        (
            "storage.s3.public_endpoint",
            "storage.s3.publicEndpoint",
            s3.is_some_and(|s3| s3.public_endpoint.is_some()),
        ),
        (
            "database.max_connections",
            "database.postgres.maxConnections",
            registry
                .postgres()
                .is_some_and(|postgres| postgres.max_connections.is_some()),
        ),
    ];
    let twice = fields
        .into_iter()
        .filter(|(path, _, is_used)| *is_used && at(&spec.config, path).is_some());
    twice
        .map(|(path, field, _)| {
            format!("spec.config.{path} and spec.{field} say the same thing: remove spec.config.{path}")
        })
        .collect()
}

/// What is wrong with `config`, in words that say what to do instead.
pub fn problems(registry: &Registry) -> Vec<String> {
    let config = &registry.spec.config;
    let mut problems: Vec<String> = OWNED
        .iter()
        .filter(|(path, _)| at(config, path).is_some())
        .map(|(path, remedy)| format!("spec.config.{path} belongs to the operator: {remedy}"))
        .collect();
    problems.extend(said_twice(registry));
    problems.extend(collection::problems(registry));
    problems.extend(sections().filter_map(|section| not_a_mapping(config, &section)));
    if registry.s3().is_none() && at(config, "storage.s3").is_some() {
        problems.push("spec.config.storage.s3 has no bucket to speak about: use spec.storage.s3".to_owned());
    }
    problems
}

/// The parents of owned keys, which must be mappings for the operator's keys to go in.
fn sections() -> impl Iterator<Item = String> {
    [
        "http",
        "http.tls",
        "admin",
        "database",
        "storage",
        "storage.s3",
        "storage.redirect",
        "gc",
        "deletion",
        "log",
    ]
    .into_iter()
    .map(str::to_owned)
}

fn not_a_mapping(config: &Map<String, Value>, section: &str) -> Option<String> {
    let value = at(config, section)?;
    (!value.is_object()).then(|| format!("spec.config.{section} must be a mapping of keys"))
}

fn at<'a>(config: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = config.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.get(key))
}

/// `http.drain_timeout` of the user's part, or the default.
pub fn drain_timeout(config: &Map<String, Value>) -> &str {
    at(config, "http.drain_timeout").map_or(DRAIN_TIMEOUT, |value| value.as_str().unwrap_or_default())
}

/// The whole configuration: what the user says, and over it what the operator says.
pub fn merged(registry: &Registry) -> Value {
    let mut config = json!({"log": {"format": "json"}, "http": {"drain_timeout": DRAIN_TIMEOUT}});
    merge(&mut config, Value::Object(registry.spec.config.clone()));
    merge(&mut config, operators_part(registry));
    config
}

fn operators_part(registry: &Registry) -> Value {
    let mut part = json!({
        "data_dir": DATA_DIR,
        "http": {"listen": format!("0.0.0.0:{HTTP_PORT}")},
        "admin": {"listen": format!("0.0.0.0:{ADMIN_PORT}")},
    });
    part["storage"] = storage::part(registry);
    if registry.spec.tls.is_some() {
        part["http"]["tls"] = json!({
            "certificate_file": format!("{TLS_DIR}/tls.crt"), "key_file": format!("{TLS_DIR}/tls.key"),
        });
    }
    if let Some(postgres) = registry.postgres() {
        part["database"] = database_part(postgres);
    }
    for (section, keys) in [
        ("gc", registry.spec.gc.as_ref().map(collection::gc)),
        ("deletion", registry.spec.deletion.as_ref().map(collection::deletion)),
    ] {
        if let Some(keys) = keys {
            part[section] = keys;
        }
    }
    part
}

fn database_part(postgres: &Postgres) -> Value {
    let mut part = json!({"url": database_url(postgres)});
    if let Some(connections) = postgres.max_connections {
        part["max_connections"] = json!(connections);
    }
    if let Some(ca) = &postgres.ca_ref {
        part["ca_file"] = json!(format!("{DATABASE_CA_DIR}/{}", ca.key));
    }
    part
}

/// User and password are not in it: they reach the pods as environment variables.
fn database_url(postgres: &Postgres) -> String {
    let Postgres {
        host,
        port,
        name,
        ssl_mode,
        ..
    } = postgres;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    format!(
        "postgres://{host}:{port}/{}?sslmode={}",
        percent_encoded(name),
        ssl_mode.as_str()
    )
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encoded).collect()
}

fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures;

    #[test]
    fn an_empty_spec_keeps_everything_on_the_volume() {
        let config = merged(&fixtures::registry(&json!({})));

        assert_eq!(
            config,
            json!({
                "data_dir": "/var/lib/berth",
                "http": {"listen": "0.0.0.0:5000", "drain_timeout": "30s"},
                "admin": {"listen": "0.0.0.0:5001"},
                "storage": {"filesystem": {"root_directory": "/var/lib/berth/blobs"}},
                "log": {"format": "json"},
            })
        );
    }

    #[test]
    fn the_users_part_wins_over_defaults_and_keeps_its_other_keys() {
        let config = merged(&fixtures::registry(&json!({
            "config": {"log": {"format": "text"}, "http": {"drain_timeout": "5m"}, "uploads": {"expiry": "1h"}}
        })));

        assert_eq!(config["log"]["format"], "text");
        assert_eq!(config["http"], json!({"listen": "0.0.0.0:5000", "drain_timeout": "5m"}));
        assert_eq!(config["uploads"]["expiry"], "1h");
    }

    #[test]
    fn a_key_of_the_operator_is_refused_with_the_field_to_use() {
        let registry = fixtures::registry(&json!({"config": {"database": {"url": "postgres://x/y"}}}));

        assert_eq!(
            problems(&registry),
            ["spec.config.database.url belongs to the operator: use spec.database.postgres"]
        );
    }

    #[test]
    fn a_section_that_is_not_a_mapping_is_refused() {
        let registry = fixtures::registry(&json!({"config": {"http": "x"}}));

        assert_eq!(problems(&registry), ["spec.config.http must be a mapping of keys"]);
    }

    #[test]
    fn further_keys_of_s3_go_beside_the_operators() {
        let registry = fixtures::production(&json!({"config": {"storage": {"s3": {"path_style": true}}}}));

        assert!(problems(&registry).is_empty());
        assert_eq!(
            merged(&registry)["storage"],
            json!({"s3": {"bucket": "images", "region": "us-east-1", "path_style": true}})
        );
    }

    #[test]
    fn a_database_name_with_strange_letters_and_an_ipv6_host_make_a_valid_url() {
        let postgres = Postgres {
            host: "fd00::1".to_owned(),
            port: 5432,
            name: "a b/c".to_owned(),
            ..Postgres::default()
        };

        assert_eq!(
            database_url(&postgres),
            "postgres://[fd00::1]:5432/a%20b%2Fc?sslmode=prefer"
        );
    }
}
