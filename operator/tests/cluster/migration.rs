//! The database is migrated before the pods change, and a failure changes nothing.

use berth_operator::api::Registry;
use berth_operator::api::conditions::ConditionType;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{Fixture, condition, controllers, production};

async fn registry() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &production(&json!({}))).await.unwrap();
    fixture
}

async fn only_job(fixture: &Fixture) -> Job {
    let mut jobs = fixture.list::<Job>().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

/// The new image has looked at the database, and the migration has been started.
async fn pass_to_migration(fixture: &Fixture) -> Registry {
    fixture.pass("images").await;
    controllers::finish_jobs(fixture).await;
    fixture.pass("images").await
}

async fn migrations(fixture: &Fixture) -> Vec<Job> {
    let mut jobs = fixture.list::<Job>().await;
    jobs.retain(|job| job.name_any().contains("-mig-pre-"));
    jobs
}

/// A Registry that serves, whose next version does not get through its migration.
async fn failed_upgrade(printed: &str) -> (Fixture, Registry, Job) {
    let fixture = registry().await;
    fixture.pass_until_ready("images").await;
    let done = only_job(&fixture).await.name_any();
    fixture
        .respec("images", &production(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    pass_to_migration(&fixture).await;
    let job = migrations(&fixture)
        .await
        .into_iter()
        .find(|job| job.name_any() != done)
        .unwrap();
    controllers::fail_job(&fixture, &job, printed).await;
    let registry = fixture.pass("images").await;
    (fixture, registry, job)
}

#[tokio::test]
async fn no_pod_starts_before_the_first_migration_has_succeeded() {
    let fixture = registry().await;

    let migrating = fixture.pass("images").await;

    assert_eq!(condition(&migrating, ConditionType::Progressing).1, "Migrating");
    assert_eq!(condition(&migrating, ConditionType::DatabaseMigrated).0, "Unknown");
    assert!(fixture.list::<Deployment>().await.is_empty());
    fixture.pass("images").await;
    controllers::finish_jobs(&fixture).await;
    let deployed = fixture.pass("images").await;
    assert_eq!(condition(&deployed, ConditionType::DatabaseMigrated).0, "True");
    assert_eq!(fixture.list::<Deployment>().await.len(), 1);
}

#[tokio::test]
async fn a_new_version_is_migrated_by_a_job_of_its_own_and_the_old_one_goes_after_the_rollout() {
    let fixture = registry().await;
    fixture.pass_until_ready("images").await;
    let first = only_job(&fixture).await.name_any();

    fixture
        .respec("images", &production(&json!({"version": "0.2.0"})))
        .await
        .unwrap();
    let migrating = pass_to_migration(&fixture).await;

    assert_eq!(condition(&migrating, ConditionType::Progressing).1, "Migrating");
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.1.0");
    fixture.pass_until_ready("images").await;
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.2.0");
    assert_ne!(only_job(&fixture).await.name_any(), first);
}

async fn image(fixture: &Fixture) -> String {
    let deployment: Deployment = fixture.get("images").await;
    deployment
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0)
        .image
        .unwrap()
}

#[tokio::test]
async fn a_failed_migration_leaves_the_running_version_untouched_and_says_what_to_do() {
    let (fixture, failed, job) = Box::pin(failed_upgrade(
        "ERROR: permission denied for schema public (user berth)",
    ))
    .await;

    let (status, reason, message) = condition(&failed, ConditionType::DatabaseMigrated);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "MigrationFailed"));
    let remedy = format!("kubectl delete job -n {} {}", fixture.namespace, job.name_any());
    for words in ["permission denied for schema public", remedy.as_str(), "go on serving"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert_eq!(condition(&failed, ConditionType::Degraded).0, "True");
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.1.0");
    assert_eq!(failed.status.unwrap().ready_replicas, 2);
}

#[tokio::test]
async fn a_failed_migration_is_told_once_in_a_warning_with_the_remedy() {
    let (fixture, ..) = Box::pin(failed_upgrade("ERROR: permission denied")).await;
    for _ in 0..5 {
        fixture.pass("images").await;
    }

    let warnings: Vec<Event> = fixture
        .events()
        .await
        .into_iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .collect();

    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].reason.as_deref(), Some("MigrationFailed"));
    assert!(warnings[0].series.is_none() && warnings[0].note.as_ref().unwrap().contains("kubectl delete job"));
}

#[tokio::test]
async fn secrets_that_a_migration_prints_are_not_shown() {
    let (_, failed, _) = Box::pin(failed_upgrade(
        "cannot connect to postgres://berth:hunter2@db:5432/berth: hunter2 refused",
    ))
    .await;

    let message = condition(&failed, ConditionType::DatabaseMigrated).2;

    assert!(!message.contains("hunter2"), "{message}");
    assert!(
        message.contains("postgres://***@db:5432/berth: *** refused"),
        "{message}"
    );
}

#[tokio::test]
async fn a_deleted_failed_job_is_started_again_and_the_rollout_goes_on() {
    let (fixture, _, job) = Box::pin(failed_upgrade("ERROR: out of disk")).await;

    fixture
        .api::<Job>()
        .delete(&job.name_any(), &DeleteParams::background())
        .await
        .unwrap();
    let migrating = fixture.pass("images").await;

    assert_eq!(condition(&migrating, ConditionType::Degraded).0, "False");
    pass_to_migration(&fixture).await;
    let again = migrations(&fixture).await;
    assert!(again.iter().all(|again| again.uid() != job.uid()), "{again:?}");
    fixture.pass_until_ready("images").await;
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.2.0");
}

#[tokio::test]
async fn a_deleted_finished_job_is_not_run_again_and_the_registry_stays_ready() {
    let fixture = registry().await;
    fixture.pass_until_ready("images").await;
    let done = only_job(&fixture).await.name_any();

    fixture
        .api::<Job>()
        .delete(&done, &DeleteParams::background())
        .await
        .unwrap();
    let after = fixture.pass("images").await;

    assert_eq!(condition(&after, ConditionType::Ready).0, "True");
    assert!(fixture.list::<Job>().await.is_empty());
}

#[tokio::test]
async fn a_corrected_spec_is_migrated_by_another_job_without_a_hand() {
    let (fixture, _, job) = Box::pin(failed_upgrade("ERROR: too many connections")).await;
    let corrected = json!({"version": "0.2.0", "config": {"database": {"max_connections": 2}}});

    fixture.respec("images", &production(&corrected)).await.unwrap();
    let migrating = pass_to_migration(&fixture).await;

    assert_eq!(condition(&migrating, ConditionType::Progressing).1, "Migrating");
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.1.0");
    fixture.pass_until_ready("images").await;
    assert_eq!(image(&fixture).await, "berth/berth-registry:0.2.0");
    assert_ne!(only_job(&fixture).await.name_any(), job.name_any());
}

#[tokio::test]
async fn going_back_to_the_running_version_ends_the_failure() {
    let (fixture, ..) = Box::pin(failed_upgrade("ERROR: out of disk")).await;

    fixture.respec("images", &production(&json!({}))).await.unwrap();
    let back = fixture.pass("images").await;

    assert_eq!(condition(&back, ConditionType::Ready).0, "True");
    assert_eq!(condition(&back, ConditionType::DatabaseMigrated).0, "True");
}
