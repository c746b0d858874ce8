//! The specs: from the definition, field by field, and pairs of settings.

use berth_operator::api;
use serde_json::{Map, Value, json};

/// Stands for the name of the Registry, which is not known before the spec is used.
const OWN_NAME: &str = "OWN-NAME";

/// Parts that say how a new version comes, not what a Registry is.
const OF_ROLLOUTS: [&str; 5] = ["rollout", "migrations", "requirements", "release", "notifications"];

/// A spec to try.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// Whether it varies one field or joins two settings.
    pub(super) group: &'static str,
    /// What is special about it.
    pub(super) label: String,
    /// The spec.
    pub(super) content: Value,
}

/// Every spec.
pub(super) fn all() -> Vec<Spec> {
    let mut specs = Vec::new();
    let schema = schema();
    each_field(&schema, &mut Vec::new(), &mut |path, field, is_required| {
        // How a new version comes has tests of its own.
        if OF_ROLLOUTS.contains(&path[0].as_str()) {
            return;
        }
        let base = base_for(path);
        for (what, value) in variants(path, field, is_required) {
            let mut content = base.clone();
            set(&mut content, path, value);
            specs.push(Spec {
                group: "field:",
                label: format!("{} {what}", path.join(".")),
                content,
            });
        }
    });
    specs.extend(pairs());
    specs
}

/// `content` for the Registry of that name.
pub(super) fn named(content: &Value, name: &str) -> Value {
    serde_json::from_str(&content.to_string().replace(OWN_NAME, name)).unwrap()
}

fn schema() -> Value {
    let definitions = api::definitions();
    let registry = definitions
        .iter()
        .find(|definition| definition.spec.names.kind == "Registry")
        .unwrap();
    let definition = serde_json::to_value(registry).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Visits every field below `schema`; items of lists are the step `0`.
fn each_field(schema: &Value, path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &Value, bool)) {
    let required = |name: &str| {
        let mut names = schema["required"].as_array().into_iter().flatten();
        names.any(|required| required == name)
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        visit(path, field, required(name));
        each_field(field, path, visit);
        path.pop();
    }
    if schema["items"]["properties"].is_object() {
        path.push("0".to_owned());
        each_field(&schema["items"], path, visit);
        path.pop();
    }
}

/// Values of one field, each with what it is. None is the field left out.
fn variants(path: &[String], field: &Value, is_required: bool) -> Vec<(&'static str, Option<Value>)> {
    let mut variants = vec![("of another type", Some(another_type(field)))];
    if is_required || path.len() == 1 {
        variants.push(("left out", None));
    }
    if let Some(words) = field["enum"].as_array() {
        variants.push(("its last word", words.last().cloned()));
        variants.push(("no word of its own", Some(json!("Nonsense"))));
        return variants;
    }
    if field["x-kubernetes-int-or-string"] == true {
        variants.extend([
            ("zero", Some(json!(0))),
            ("all", Some(json!("100%"))),
            ("too much", Some(json!("101%"))),
        ]);
        return variants;
    }
    match field["type"].as_str() {
        Some("string") => variants.extend(texts(path, field)),
        Some("integer" | "number") => {
            let bound = |name: &str, otherwise: i64| whole(&field[name]).unwrap_or(otherwise);
            let (least, most) = (bound("minimum", 0), bound("maximum", i64::from(i32::MAX)));
            variants.extend([
                ("its least", Some(json!(least))),
                ("its most", Some(json!(most))),
                ("below its least", Some(json!(least - 1))),
            ]);
        }
        Some("boolean") => variants.extend([("true", Some(json!(true))), ("false", Some(json!(false)))]),
        Some("array") => variants.push(("empty", Some(json!([])))),
        _ => variants.push(("empty", Some(json!({})))),
    }
    variants
}

/// The definition writes `1.0` for 1.
fn whole(bound: &Value) -> Option<i64> {
    format!("{:.0}", bound.as_f64()?).parse().ok()
}

fn another_type(field: &Value) -> Value {
    match field["type"].as_str() {
        Some("string") => json!(7),
        Some("object") => json!("text"),
        _ => json!({"a": "b"}),
    }
}

fn texts(path: &[String], field: &Value) -> Vec<(&'static str, Option<Value>)> {
    let most = field["maxLength"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(64);
    let mut texts = vec![
        ("empty", Some(json!(""))),
        ("its longest", Some(json!("a".repeat(most)))),
        ("longer than its longest", Some(json!("a".repeat(most + 1)))),
    ];
    let name = path.last().map(String::as_str).unwrap_or_default();
    let parent = path.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
    if name == "claimName" || (name == "name" && (parent.ends_with("Ref") || parent == "serviceAccount")) {
        texts.push(("dangling", Some(json!("dangling"))));
    }
    if name == "key" && parent.ends_with("Ref") {
        texts.push(("a key that is not there", Some(json!("dangling"))));
    }
    texts
}

/// Puts `value` at `path`, or takes what is there away; what is missing on the way is made, empty.
fn set(content: &mut Value, path: &[String], value: Option<Value>) {
    let Some((step, rest)) = path.split_first() else { return };
    if step == "0" {
        if content.as_array().is_none_or(Vec::is_empty) {
            *content = json!([{}]);
        }
        return set(&mut content[0], rest, value);
    }
    if !content.is_object() {
        *content = Value::Object(Map::new());
    }
    match (rest.is_empty(), value) {
        (true, Some(value)) => content[step] = value,
        (true, None) => drop(content.as_object_mut().and_then(|members| members.remove(step))),
        (false, value) => set(&mut content[step], rest, value),
    }
}

/// A whole spec in which the parent of `path` is there, if any has it.
fn base_for(path: &[String]) -> Value {
    let bases = bases();
    let has_parent = |base: &&Value| {
        let mut parents = path[..path.len() - 1].iter();
        let found = parents.try_fold(*base, |value, step| match step.as_str() {
            "0" => value.get(0),
            step => value.get(step),
        });
        found.is_some()
    };
    bases.iter().find(has_parent).unwrap_or(&bases[0]).clone()
}

fn postgres() -> Value {
    let secret = json!({"name": "secret"});
    json!({"postgres": {"host": "db", "name": "berth", "credentialsRef": secret, "migratorCredentialsRef": secret,
        "sslMode": "verify-full", "caRef": {"name": "secret"}}})
}

fn pod_settings() -> Value {
    let secret = json!({"name": "secret"});
    json!({
        "topologySpread": [{"topologyKey": "zone"}],
        "tolerations": [{"key": "only", "value": "registries", "effect": "NoExecute", "tolerationSeconds": 60}],
        "podTemplate": {
            "extraEnv": [{"name": "A", "secretKeyRef": {"name": "secret", "key": "token"}}],
            "extraVolumes": [{"name": "a", "mountPath": "/etc/extra", "secretRef": secret}],
        },
        "serviceAccount": {"create": true},
        "image": {"repository": "r.example.com/berth", "pullSecrets": [secret]},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    })
}

/// Whole specs that together have every part: the first that has a part is where its fields are varied.
fn bases() -> Vec<Value> {
    let secret = json!({"name": "secret"});
    let cdn = json!({"baseUrl": "https://cdn.example.com", "keyName": "k", "keyRef": secret});
    let mut production = json!({
        "database": postgres(),
        "storage": {"s3": {"bucket": "images", "credentialsRef": secret},
            "redirect": {"mode": "Matching", "userAgents": ["docker/"], "networks": ["10.0.0.0/8"], "cdn": cdn}},
        "autoscaling": {"maxReplicas": 4, "cpu": 70, "behavior": {
            "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
            "scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}}},
        "disruption": {"maxUnavailable": 1},
        "service": {"type": "LoadBalancer"},
        "exposure": {
            "ingress": {"host": "a.example.com", "tls": {"secretRef": secret}},
            "gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["a.example.com"]}},
        "tls": {"certManager": {"issuerRef": {"name": "ca"}}},
        "networkPolicy": {"allowFrom": [{"namespace": "a"}], "metricsFrom": [{"namespace": "a"}],
            "egress": [{"cidr": "10.0.0.0/8", "ports": [5432]}]},
        "monitoring": {"kind": "PodMonitor"},
        "gc": {"delays": {"default": "1h"}, "budget": {"objectsPerHour": 5}},
        "deletion": {"retention": "1d"},
        "auth": {"kind": "Open"},
    });
    merge(&mut production, &pod_settings());
    let other_bucket = |storage: Value, more: Value| {
        let mut spec = json!({"database": postgres(), "storage": storage});
        merge(&mut spec, &more);
        spec
    };
    let variable = json!([{"name": "A", "configMapKeyRef": {"name": "settings", "key": "key"}}]);
    let volume = json!([{"name": "a", "mountPath": "/etc/extra", "configMapRef": {"name": "settings"}}]);
    vec![
        production,
        other_bucket(
            json!({"azure": {"account": "images", "container": "registry", "accessKeyRef": secret}}),
            json!({"replicas": 2, "tls": {"secretRef": secret}, "podTemplate": {"extraEnv": variable}}),
        ),
        other_bucket(
            json!({"gcs": {"bucket": "images", "credentialsRef": secret}}),
            json!({"podTemplate": {"extraVolumes": volume},
                "exposure": {"ingress": {"host": "a.example.com", "tls": {"certManager": {"issuerRef": {"name": "ca"}}}}}}),
        ),
        json!({"storage": {"azure": {"account": "images", "container": "registry", "sasTokenRef": secret}}}),
        json!({"storage": {"filesystem": {"volumeClaim": {"size": "1Gi"}}}}),
        json!({"storage": {"filesystem": {"claimName": "claim"}}}),
        json!({}),
    ]
}

/// Settings that are right for themselves, to be joined two by two.
fn settings() -> Vec<(&'static str, Value)> {
    let secret = json!({"name": "secret"});
    let s3 = json!({"storage": {"s3": {"bucket": "images", "credentialsRef": secret}}});
    vec![
        ("S3", s3),
        (
            "Azure",
            json!({"storage": {"azure": {"account": "images", "container": "registry"}}}),
        ),
        ("GCS", json!({"storage": {"gcs": {"bucket": "images"}}})),
        (
            "a volume",
            json!({"storage": {"filesystem": {"volumeClaim": {"size": "5Gi"}}}}),
        ),
        ("a claim", json!({"storage": {"filesystem": {"claimName": "claim"}}})),
        ("a redirect", json!({"storage": {"redirect": {"mode": "Always"}}})),
        ("PostgreSQL", json!({"database": postgres()})),
        ("three replicas", json!({"replicas": 3})),
        ("an autoscaler", json!({"autoscaling": {"maxReplicas": 3, "cpu": 50}})),
        ("a version", json!({"version": "1.2.3"})),
        (
            "an Ingress",
            json!({"exposure": {"ingress": {"host": "b.example.com"}}}),
        ),
        (
            "a Gateway",
            json!({"exposure": {"gateway": {"parentRefs": [{"name": "e"}], "hostnames": ["c.example.com"]}}}),
        ),
        ("TLS", json!({"tls": {"secretRef": secret}})),
        ("a monitor", json!({"monitoring": {"kind": "ServiceMonitor"}})),
        (
            "deletion",
            json!({"deletionPolicy": "Delete", "confirmDelete": OWN_NAME}),
        ),
        ("suspension", json!({"suspend": true})),
        ("garbage by config", json!({"config": {"gc": {"enabled": false}}})),
        (
            "a foreign account",
            json!({"serviceAccount": {"create": false, "name": "mine"}}),
        ),
        (
            "a dangling Secret",
            json!({"podTemplate": {"extraVolumes":
            [{"name": "a", "mountPath": "/etc/extra", "secretRef": {"name": "dangling"}}]}}),
        ),
        ("strange config", json!({"config": {"http": "text"}})),
    ]
}

fn pairs() -> Vec<Spec> {
    let settings = settings();
    let mut pairs = Vec::new();
    for (index, (one, first)) in settings.iter().enumerate() {
        for (other, second) in &settings[index + 1..] {
            let mut content = first.clone();
            merge(&mut content, second);
            pairs.push(Spec {
                group: "pair: ",
                label: format!("{one} with {other}"),
                content,
            });
        }
    }
    pairs
}

fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}
