//! What the objects of a Registry look like.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::*;
use crate::api::Registry;
use crate::registry::fixtures::{self, production, registry, valid};
use crate::registry::observe::Observed;
use crate::registry::validate::validate;

fn objects(registry: &Registry) -> Objects {
    build(&valid(registry), "digest")
}

fn pod(objects: &Objects) -> Value {
    json!(
        objects
            .deployment
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap()
    )
}

fn job_pod(objects: &Objects) -> PodSpec {
    objects.migration.clone().unwrap().spec.unwrap().template.spec.unwrap()
}

/// What the `restricted` level of Pod Security asks for, and more.
fn assert_restricted(pod: &Value) {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for member in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[member].is_null(), "{member}");
    }
    let containers = ["containers", "initContainers"]
        .into_iter()
        .filter_map(|member| pod[member].as_array())
        .flatten();
    for container in containers {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    }
}

#[test]
fn every_pod_keeps_to_the_restricted_level() {
    assert_restricted(&pod(&objects(&registry(&json!({})))));

    let production = objects(&production(&json!({})));

    assert_restricted(&pod(&production));
    assert_restricted(&json!(job_pod(&production)));
}

#[test]
fn sqlite_is_migrated_by_the_one_pod_that_owns_the_file() {
    let objects = objects(&registry(&json!({})));

    assert_eq!(objects.migration, None);
    assert_eq!(
        pod(&objects)["initContainers"][0]["args"],
        json!(["migrate", "up", "--phase", "all", "--config", "/etc/berth/config.yaml"])
    );
    assert_eq!(
        objects.deployment.spec.unwrap().strategy.unwrap().type_.as_deref(),
        Some("Recreate")
    );
}

#[test]
fn postgres_is_migrated_by_a_job_and_pods_are_replaced_one_by_one() {
    let objects = objects(&production(&json!({})));

    assert_eq!(
        job_pod(&objects).containers[0].args.as_deref().unwrap(),
        [
            "migrate",
            "up",
            "--phase",
            "pre",
            "--output",
            "json",
            "--config",
            "/etc/berth/config.yaml"
        ]
    );
    assert!(pod(&objects)["initContainers"].is_null());
    assert_eq!(
        objects.deployment.spec.unwrap().strategy.unwrap().type_.as_deref(),
        Some("RollingUpdate")
    );
}

#[test]
fn a_migration_is_bounded_as_the_spec_says_and_some_failures_are_for_people() {
    let said = json!({"migrations": {"pre": {
        "activeDeadline": "2m", "retries": 0, "lockTimeout": "1s", "statementTimeout": "90s",
    }}});

    let job = objects(&production(&said)).migration.unwrap().spec.unwrap();

    let arguments = job.template.spec.unwrap().containers[0].args.clone().unwrap();
    let waits = ["--lock-timeout", "1000ms", "--statement-timeout", "90000ms"];
    assert!(arguments.windows(4).any(|four| four == waits), "{arguments:?}");
    assert_eq!((job.active_deadline_seconds, job.backoff_limit), (Some(120), Some(0)));
    let policy = json!(job.pod_failure_policy.unwrap().rules);
    assert_eq!(policy[0]["action"], "FailJob");
    assert_eq!(policy[0]["onExitCodes"]["values"], json!([2, 40, 50]));
    assert_eq!(policy[1]["action"], "Ignore");
    assert_eq!(policy[1]["onExitCodes"]["values"], json!([20, 21]));
}

#[test]
fn a_migration_is_named_after_the_registry_and_everything_that_its_pod_is_made_of() {
    let name = |registry: &Registry| objects(registry).migration.unwrap().metadata.name.unwrap();
    let first = name(&production(&json!({})));
    let mut others = vec![production(&json!({}))];
    others[0].metadata.uid = Some("uid-2".to_owned());
    let changes = [
        json!({"version": "0.2.0"}),
        json!({"image": {"pullSecrets": [{"name": "pull"}]}}),
        json!({"image": {"pullPolicy": "Always"}}),
        json!({"config": {"database": {"max_connections": 4}}}),
        json!({"database": {"postgres": {"host": "db2", "name": "berth", "credentialsRef": {"name": "db"}}}}),
    ];
    others.extend(changes.iter().map(production));

    let names: std::collections::BTreeSet<_> = others.iter().map(name).collect();

    assert!(first.starts_with("images-mig-pre-"), "{first}");
    assert_eq!(names.len(), others.len(), "{names:?}");
    assert!(!names.contains(&first), "{first} is in {names:?}");
}

#[test]
fn what_no_migration_depends_on_leaves_its_name() {
    let name = |more: Value| objects(&production(&more)).migration.unwrap().metadata.name.unwrap();

    assert_eq!(
        name(json!({})),
        name(json!({"replicas": 4, "resources": {"limits": {"memory": "1Gi"}}, "service": {"port": 80}}))
    );
}

#[test]
fn the_claim_outlives_the_registry_and_everything_else_goes_with_it() {
    let objects = objects(&registry(&json!({})));

    assert_eq!(objects.claim.unwrap().metadata.owner_references, None);
    let owned = [
        objects.service_account.unwrap().metadata,
        objects.config_map.metadata,
        objects.service.metadata,
        objects.admin_service.metadata,
        objects.deployment.metadata,
    ];
    for metadata in owned {
        let owners = metadata.owner_references.unwrap();
        assert_eq!(
            (owners[0].uid.as_str(), owners[0].controller),
            ("uid-1", Some(true)),
            "{:?}",
            metadata.name
        );
    }
}

#[test]
fn an_existing_claim_is_mounted_and_not_applied() {
    let registry = registry(&json!({"storage": {"filesystem": {"claimName": "mine"}}}));
    let observed = Observed {
        claim: Some(PersistentVolumeClaim::default()),
        ..fixtures::observed()
    };
    let objects = build(
        &validate(&registry, &observed, &fixtures::defaults()).unwrap(),
        "digest",
    );

    assert_eq!(objects.claim, None);
    assert_eq!(
        pod(&objects)["volumes"][1]["persistentVolumeClaim"]["claimName"],
        "mine"
    );
}

#[test]
fn a_changed_configuration_is_another_config_map_and_another_pod_template() {
    let before = objects(&registry(&json!({})));
    let after = objects(&registry(&json!({"config": {"log": {"level": "debug"}}})));

    assert_ne!(before.config_map.metadata.name, after.config_map.metadata.name);
    assert_ne!(pod(&before), pod(&after));
}

#[test]
fn the_configuration_in_the_config_map_is_the_merged_one() {
    let registry = production(&json!({"config": {"uploads": {"expiry": "1h"}}}));
    let text = objects(&registry)
        .config_map
        .data
        .unwrap()
        .remove("config.yaml")
        .unwrap();

    let config: Value = serde_yaml::from_str(&text).unwrap();

    assert_eq!(config, valid(&registry).config);
}

#[test]
fn secrets_reach_the_pods_as_variables_and_never_as_text() {
    let objects = objects(&production(&json!({})));

    let env = pod(&objects)["containers"][0]["env"].clone();
    let names: Vec<_> = env
        .as_array()
        .unwrap()
        .iter()
        .filter(|variable| !variable["valueFrom"]["secretKeyRef"].is_null())
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "BERTH_DATABASE_USERNAME",
            "BERTH_DATABASE_PASSWORD",
            "BERTH_STORAGE_S3_ACCESS_KEY_ID",
            "BERTH_STORAGE_S3_SECRET_ACCESS_KEY",
            "BERTH_HTTP_SECRET"
        ]
    );
    assert!(
        !format!("{objects:?}").contains("value-of-"),
        "a value of a Secret is in an object"
    );
}

#[test]
fn a_pod_has_longer_than_the_drain_timeout_to_stop() {
    let objects = objects(&registry(&json!({"config": {"http": {"drain_timeout": "5m"}}})));

    assert!(pod(&objects)["terminationGracePeriodSeconds"].as_i64().unwrap() > 300);
}

#[test]
fn pods_get_no_variables_of_services() {
    let production = objects(&production(&json!({})));

    assert_eq!(pod(&production)["enableServiceLinks"], false);
    assert_eq!(job_pod(&production).enable_service_links, Some(false));
}

#[test]
fn the_database_authority_is_a_file_that_the_configuration_names() {
    let registry = production(&json!({"database": {"postgres": {
        "host": "db", "name": "berth", "sslMode": "verify-full",
        "credentialsRef": {"name": "db"}, "caRef": {"name": "db", "key": "username"},
    }}}));
    let objects = objects(&registry);

    let config: Value = serde_yaml::from_str(&objects.config_map.data.as_ref().unwrap()["config.yaml"]).unwrap();

    assert_eq!(config["database"]["ca_file"], "/etc/berth-database-ca/username");
    assert_eq!(pod(&objects)["volumes"][3]["secret"]["secretName"], "db");
}
