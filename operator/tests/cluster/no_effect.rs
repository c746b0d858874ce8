//! What contradicts itself or would have no effect is refused by the API server, with the remedy.

use serde_json::{Value, json};

use crate::admission::assert_refused;
use crate::support::{Fixture, production};

async fn assert_each_refused(cases: &[(Value, &str)]) {
    let fixture = Fixture::new().await;
    for (spec, words) in cases {
        assert_refused(&fixture, "images", spec, words).await;
    }
}

fn scaled(autoscaling: &Value) -> Value {
    production(&json!({"autoscaling": autoscaling}))
}

#[tokio::test]
async fn scaling_that_cannot_scale_is_refused() {
    assert_each_refused(&[
        (
            json!({"autoscaling": {"maxReplicas": 3, "cpu": 50}}),
            "or remove autoscaling",
        ),
        (
            scaled(&json!({"maxReplicas": 3, "cpu": 50})),
            "set resources.requests.cpu",
        ),
        (
            scaled(&json!({"maxReplicas": 3, "memory": 50})),
            "set resources.requests.memory",
        ),
        (
            scaled(&json!({"maxReplicas": 3})),
            "set autoscaling.cpu or autoscaling.memory",
        ),
        (
            scaled(&json!({"maxReplicas": 1, "cpu": 50})),
            "raise autoscaling.maxReplicas",
        ),
        (json!({"disruption": {}}), "exactly one of them"),
        (
            json!({"disruption": {"minAvailable": 1, "maxUnavailable": 1}}),
            "exactly one of them",
        ),
    ])
    .await;
}

#[tokio::test]
async fn ways_in_that_lead_nowhere_are_refused() {
    let two_names = json!({"exposure": {
        "ingress": {"host": "a.example.com"}, "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["b.example.com"]},
    }});
    assert_each_refused(&[
        (two_names, "add exposure.ingress.host to exposure.gateway.hostnames"),
        (
            json!({"networkPolicy": {"mode": "Off", "egress": [{"cidr": "10.0.0.0/8"}]}}),
            "set mode to Restricted",
        ),
        (
            json!({"networkPolicy": {"allowFrom": [{}]}}),
            "set cidr, or namespace and podLabels",
        ),
        (
            json!({"networkPolicy": {"allowFrom": [{"cidr": "10.0.0.0/99"}]}}),
            "not a range of addresses",
        ),
        (json!({"tls": {}}), "set secretRef or certManager"),
        (
            json!({"service": {"loadBalancerClass": "x"}}),
            "set service.type to LoadBalancer",
        ),
    ])
    .await;
}

#[tokio::test]
async fn redirects_that_nobody_follows_are_refused() {
    let redirect =
        |redirect: Value| production(&json!({"storage": {"s3": {"bucket": "images"}, "redirect": redirect}}));
    let azure = json!({"account": "images", "container": "registry", "sasTokenRef": {"name": "s"}});
    let signed = production(&json!({"storage": {"azure": azure, "redirect": {"mode": "Always"}}}));
    assert_each_refused(&[
        (
            json!({"storage": {"redirect": {"mode": "Always"}}}),
            "remove storage.redirect",
        ),
        (
            redirect(json!({"mode": "Always", "userAgents": ["docker/"]})),
            "set mode to Matching",
        ),
        (redirect(json!({"mode": "Matching"})), "needs userAgents or networks"),
        (
            redirect(json!({"lifetime": "5m"})),
            "nobody is redirected in mode Never",
        ),
        (signed, "cannot sign URLs for clients"),
    ])
    .await;
}

#[tokio::test]
async fn deletion_of_what_is_not_there_is_refused() {
    let deletes = json!({"deletionPolicy": "Delete", "confirmDelete": "images"});
    assert_each_refused(&[
        (json!({"gc": {"enabled": false, "interval": "5s"}}), "or remove enabled"),
        (json!({"deletionPolicy": "Delete"}), "set both, or remove both"),
        (json!({"confirmDelete": "images"}), "set both, or remove both"),
        (
            json!({"deletionPolicy": "Delete", "confirmDelete": "other"}),
            "must be the name of this Registry",
        ),
        (production(&deletes), "a bucket and a database are never deleted"),
    ])
    .await;
}

#[tokio::test]
async fn overrides_of_pods_that_cannot_work_are_refused() {
    let template = |template: Value| json!({"podTemplate": template});
    let over_own = json!({"extraVolumes": [{"name": "a", "mountPath": "/etc", "secretRef": {"name": "s"}}]});
    assert_each_refused(&[
        (json!({"serviceAccount": {"create": false}}), "set serviceAccount.name"),
        (json!({"serviceAccount": {"name": "x"}}), "has the name of the Registry"),
        (
            json!({"tolerations": [{"operator": "Exists", "value": "x"}]}),
            "remove value",
        ),
        (json!({"tolerations": [{"value": "x"}]}), "set key"),
        (
            template(json!({"extraEnv": [{"name": "BERTH_LOG_LEVEL", "value": "x"}]})),
            "use the fields of the spec",
        ),
        (
            template(json!({"extraEnv": [{"name": "A"}]})),
            "a variable has one value",
        ),
        (template(over_own), "the operator's own"),
    ])
    .await;
}
