//! The last migrations of a version wait for the next one, where the spec says so.

use std::collections::BTreeSet;

use berth_operator::api::rollout::Phase;
use berth_operator::api::rollout::record::MigrationRun;
use berth_operator::api::{Registry, RegistryRollout};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::controllers::{Play, play};
use crate::support::{Fixture, production};

fn spec(version: &str, level: &str) -> Value {
    production(&json!({
        "version": version,
        "config": {"log": {"level": level}},
        "rollout": {"canary": {"bake": {"min": "0s", "max": "0s"}}, "analysis": {"interval": "0s"}},
        "migrations": {"post": {"policy": "WithNextRelease"}},
    }))
}

/// What the Jobs of `version` print, which brings a migration before the pods change and one after.
fn script(version: &str, [pre, last]: [&str; 2], pending_post: &[&str]) -> Play {
    let contract = json!({
        "version": version, "problems": [], "schema": {"min_level": "1"},
        "database": {"pending_pre": [pre], "pending_post": pending_post},
    });
    let result = |applied: &str| json!({"applied": [applied], "level_after": applied, "pending": []});
    Play {
        preflight: Some(contract),
        printed: vec![("-mig-pre-", result(pre)), ("-mig-post-", result(last))],
        ..Play::default()
    }
}

/// The Jobs of a roll-out in the order in which they were made, each with its image.
async fn roll(fixture: &Fixture, as_said: &Play) -> Vec<(String, String)> {
    let (mut known, mut made) = (jobs(fixture).await, Vec::new());
    for _ in 0..30 {
        let registry = fixture.pass("images").await;
        let now = jobs(fixture).await;
        made.extend(now.difference(&known).cloned());
        known.extend(now);
        let state = registry.status.unwrap().rollout;
        if state.is_some_and(|state| state.phase.is_final()) && registry.metadata.generation == observed(fixture).await
        {
            return made;
        }
        play(fixture, "images", as_said).await;
    }
    panic!(
        "it came to no end: {:?}",
        fixture.get::<Registry>("images").await.status
    );
}

async fn observed(fixture: &Fixture) -> Option<i64> {
    let registry: Registry = fixture.get("images").await;
    registry.status.unwrap().observed_generation
}

async fn jobs(fixture: &Fixture) -> BTreeSet<(String, String)> {
    let of = |job: Job| {
        let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        (job.name_any(), pod.containers[0].image.clone().unwrap())
    };
    fixture.list::<Job>().await.into_iter().map(of).collect()
}

/// Kind and version of each Job.
fn in_short(made: &[(String, String)]) -> Vec<String> {
    let kinds = ["preflight", "mig-pre", "mig-post"];
    let short = made.iter().map(|(name, image)| {
        let kind = kinds.iter().find(|kind| name.contains(*kind)).unwrap();
        format!("{kind} {}", image.rsplit_once(':').unwrap().1)
    });
    short.collect()
}

async fn runs_of(fixture: &Fixture, version: &str) -> Vec<MigrationRun> {
    let records = fixture.list::<RegistryRollout>().await;
    let of_version = |record: &RegistryRollout| record.spec.to.version.as_deref() == Some(version);
    let record = records.into_iter().find(of_version).unwrap();
    record.status.unwrap().migrations
}

pub(crate) async fn lose_status(fixture: &Fixture) {
    let nothing = json!({"status": null});
    let parameters = PatchParams::default();
    let registries = fixture.api::<Registry>();
    let left = registries
        .patch_status("images", &parameters, &Patch::Merge(&nothing))
        .await
        .unwrap();
    assert!(left.status.is_none_or(|status| status.pending_post.is_none()));
}

#[tokio::test]
async fn last_migrations_are_run_with_their_own_image_before_anything_of_the_next_version() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &spec("0.1.0", "info")).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture.respec("images", &spec("0.2.0", "info")).await.unwrap();
    let second = roll(&fixture, &script("0.2.0", ["2", "3"], &["3"])).await;

    let status = fixture.get::<Registry>("images").await.status.unwrap();
    let pending = status.pending_post.unwrap();
    assert_eq!(in_short(&second), ["preflight 0.2.0", "mig-pre 0.2.0"]);
    assert_eq!(
        (pending.version.as_str(), pending.migrations),
        ("0.2.0", vec!["3".to_owned()])
    );
    assert_eq!(status.rollback_floor, None);

    // Another configuration of the same version takes nothing up, and leaves what is needed for it.
    fixture.respec("images", &spec("0.2.0", "debug")).await.unwrap();
    let louder = roll(&fixture, &script("0.2.0", ["2", "3"], &["3"])).await;
    for _ in 0..3 {
        fixture.pass("images").await;
        play(&fixture, "images", &Play::default()).await;
    }
    assert!(in_short(&louder).iter().all(|job| !job.contains("post")), "{louder:?}");
    let kept = fixture.list::<ControllerRevision>().await;
    assert!(
        kept.iter()
            .any(|kept| kept.name_any().contains(&pending.revision.revision))
    );

    fixture.respec("images", &spec("0.3.0", "debug")).await.unwrap();
    let third = roll(&fixture, &script("0.3.0", ["4", "3"], &["3", "5"])).await;

    assert_eq!(in_short(&third), ["preflight 0.3.0", "mig-post 0.2.0", "mig-pre 0.3.0"]);
    let runs = runs_of(&fixture, "0.3.0").await;
    let have_times = runs
        .iter()
        .all(|run| run.started_at.is_some() && run.finished_at.is_some());
    assert!(runs.len() == 3 && have_times, "{runs:?}");
    let status = fixture.get::<Registry>("images").await.status.unwrap();
    assert_eq!(status.rollout.as_ref().map(|state| state.phase), Some(Phase::Completed));
    assert_eq!(status.rollback_floor.unwrap().version, "0.2.0");
    assert_eq!(
        status.pending_post.unwrap().migrations,
        ["5"],
        "those of the third wait now"
    );
    let applied = runs_of(&fixture, "0.3.0").await;
    let told = applied
        .iter()
        .map(|run| (run.phase.as_str(), run.applied.join(","), run.level_after.as_deref()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("preflight", String::new(), None),
            ("post", "3".to_owned(), Some("3")),
            ("pre", "4".to_owned(), Some("4")),
        ]
    );
}

#[tokio::test]
async fn a_lost_status_takes_what_waits_and_the_floor_from_the_records() {
    let fixture = Fixture::new().await;
    fixture.create_credentials().await;
    fixture.create("images", &spec("0.1.0", "info")).await.unwrap();
    fixture.pass_until_ready("images").await;
    fixture.respec("images", &spec("0.2.0", "info")).await.unwrap();
    roll(&fixture, &script("0.2.0", ["2", "3"], &["3"])).await;
    let before = fixture.get::<Registry>("images").await.status.unwrap();

    lose_status(&fixture).await;
    let rebuilt = fixture.pass("images").await.status.unwrap();
    assert!(before.pending_post.is_some());
    assert_eq!(rebuilt.pending_post, before.pending_post);

    fixture.respec("images", &spec("0.3.0", "info")).await.unwrap();
    let third = roll(&fixture, &script("0.3.0", ["4", "3"], &["3", "5"])).await;
    assert_eq!(in_short(&third), ["preflight 0.3.0", "mig-post 0.2.0", "mig-pre 0.3.0"]);
    lose_status(&fixture).await;
    let rebuilt = fixture.pass("images").await.status.unwrap();
    assert_eq!(rebuilt.rollback_floor.unwrap().version, "0.2.0");
    assert_eq!(rebuilt.pending_post.unwrap().migrations, ["5"]);

    // Nothing of the status says so any more, and the way back is closed all the same, even before a pass has rebuilt it.
    lose_status(&fixture).await;
    fixture.respec("images", &spec("0.1.0", "info")).await.unwrap();
    roll(&fixture, &Play::default()).await;
    let status = fixture.get::<Registry>("images").await.status.unwrap();
    let refused = status.rollout.unwrap();
    assert_eq!((refused.phase, refused.reason.as_str()), (Phase::Failed, "BelowFloor"));
}
