//! The kinds of other projects: their names are theirs, their content is not checked here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::{LIMIT, TESTER};

const KINDS: [(&str, &str, &str); 4] = [
    ("gateway.networking.k8s.io", "httproutes", "HTTPRoute"),
    ("cert-manager.io", "certificates", "Certificate"),
    ("monitoring.coreos.com", "podmonitors", "PodMonitor"),
    ("monitoring.coreos.com", "servicemonitors", "ServiceMonitor"),
];

/// Brings the kinds to the API server.
pub(crate) async fn install(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (group, plural, kind) in KINDS {
        let definition = definition(group, plural, kind);
        let name = definition.name_any();
        definitions
            .patch(&name, &PatchParams::apply(TESTER).force(), &Patch::Apply(&definition))
            .await
            .unwrap();
        let established = await_condition(definitions.clone(), &name, is_crd_established());
        tokio::time::timeout(LIMIT, established)
            .await
            .expect("the definition is established")
            .unwrap();
    }
}

fn definition(group: &str, plural: &str, kind: &str) -> CustomResourceDefinition {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema: Value = json!({"type": "object", "properties": {"spec": any, "status": any}});
    // Projects that ask to be approved by Kubernetes say so.
    let approved = "https://github.com/kubernetes-sigs/gateway-api/pull/2466";
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": approved},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    }))
    .unwrap()
}
