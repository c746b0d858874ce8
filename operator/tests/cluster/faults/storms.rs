//! Everything that can go wrong with requests goes wrong all the time, and what the operator sees is old.

use std::sync::Arc;
use std::time::Duration;

use berth_operator::api::Registry;
use berth_operator::api::rollout::Phase;
use berth_operator::registry;
use futures::future::{Either, join_all, select};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::ending::Ending;
use super::{Canary, PASSES, Scene, script};
use crate::support::Fixture;
use crate::support::controllers::{meddle, play};
use crate::support::faults::Plan;

/// Of each kind of storm.
const SEEDS: u64 = 4;

async fn calm(root: &Fixture, canary: Canary) -> Ending {
    let scene = Scene::set(root, canary, Plan::Calm).await;
    scene.roll().await;
    Ending::of(&scene.fixture).await
}

async fn assert_same(calm: &Ending, scene: &Scene, what: &str) {
    let ending = Ending::of(&scene.fixture).await;
    assert!(ending == *calm, "{what}: {}", calm.against(&ending));
}

#[tokio::test]
async fn conflicts_errors_lost_connections_and_slow_answers_lead_to_the_same_end() {
    let root = Fixture::new().await;
    for (canary, end) in [(Canary::Good, Phase::Completed), (Canary::Bad, Phase::RolledBack)] {
        let calm = calm(&root, canary).await;
        let runs = (0..SEEDS).map(|seed| Scene::set(&root, canary, Plan::Storm { seed }));
        let storms = runs.map(|scene| async {
            let scene = scene.await;
            scene.roll().await;
            assert!(scene.faults.failed() > 10, "{} is no storm", scene.faults.failed());
            assert_eq!(scene.phase().await, end);
            assert_same(&calm, &scene, "a storm").await;
        });
        join_all(storms).await;
    }
}

#[tokio::test]
async fn an_api_server_that_takes_its_time_leads_to_the_same_end() {
    let root = Fixture::new().await;
    let calm = calm(&root, Canary::Good).await;

    let scene = Scene::set(&root, Canary::Good, Plan::Slow(Duration::from_millis(40))).await;
    scene.roll().await;

    assert_same(&calm, &scene, "a slow API server").await;
}

#[tokio::test]
async fn deployments_that_are_shown_as_they_were_lead_to_the_same_end() {
    let root = Fixture::new().await;
    for canary in [Canary::Good, Canary::Bad] {
        let calm = calm(&root, canary).await;

        let scene = Scene::set(&root, canary, Plan::Outdated).await;
        scene.roll().await;
        // In the end it sees what is.
        scene.faults.begin(Plan::Calm);
        scene.roll().await;

        assert_same(&calm, &scene, "outdated Deployments").await;
    }
}

/// Two operators at once, each with several passes over the newest Registry and over old ones.
async fn crowd(scene: &Scene) {
    let operators = [scene.operator(), scene.operator()];
    let mut known: Vec<Arc<Registry>> = Vec::new();
    for pass in 0..PASSES {
        known.push(Arc::new(scene.registry().await));
        let old = &known[pass / 2];
        let passes = [(0, &known[pass]), (1, &known[pass]), (1, old), (0, old)];
        let passes = passes.map(|(operator, registry)| {
            Box::pin(registry::reconcile(
                Arc::clone(registry),
                Arc::clone(&operators[operator]),
            ))
        });
        let failed: Vec<_> = join_all(passes).await.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
        play(&scene.fixture, "images", &script()).await;
        if scene.phase().await.is_final() {
            break;
        }
    }
    scene.roll().await;
}

#[tokio::test]
async fn passes_that_overlap_and_passes_over_old_copies_lead_to_the_same_end() {
    let root = Fixture::new().await;
    for (canary, end) in [(Canary::Good, Phase::Completed), (Canary::Bad, Phase::RolledBack)] {
        let calm = calm(&root, canary).await;

        let scene = Scene::set(&root, canary, Plan::Calm).await;
        crowd(&scene).await;

        assert_eq!(scene.phase().await, end);
        assert_same(&calm, &scene, "overlapping passes").await;
    }
}

/// Another writer changes the Registry, its status and the Deployment without a break.
async fn meddler(fixture: &Fixture) {
    for turn in 0_u64.. {
        let label = json!({"metadata": {"annotations": {"example.com/turn": turn.to_string()}}});
        meddle_merge::<Registry>(fixture, label.clone()).await;
        meddle::<Deployment>(fixture, "images", label).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn meddle_merge<K: berth_operator::cluster::Object>(fixture: &Fixture, patch: serde_json::Value) {
    let (patch, parameters) = (Patch::Merge(patch), PatchParams::default());
    fixture.api::<K>().patch("images", &parameters, &patch).await.unwrap();
}

#[tokio::test]
async fn somebody_who_changes_the_same_objects_all_the_time_does_not_change_the_end() {
    let root = Fixture::new().await;
    let scene = Scene::set(&root, Canary::Good, Plan::Calm).await;

    let rolled = async {
        while !scene.phase().await.is_final() {
            let operator = scene.operator();
            let registry = Arc::new(scene.registry().await);
            Box::pin(registry::reconcile(registry, operator)).await.ok();
            play(&scene.fixture, "images", &script()).await;
        }
    };
    match select(Box::pin(rolled), Box::pin(meddler(&scene.fixture))).await {
        Either::Left(_) => {}
        Either::Right(_) => panic!("the meddler never ends"),
    }
    scene.roll().await;

    assert_eq!(scene.phase().await, Phase::Completed);
    let remove = json!({"metadata": {"annotations": {"example.com/turn": null}}});
    meddle_merge::<Registry>(&scene.fixture, remove.clone()).await;
    meddle::<Deployment>(&scene.fixture, "images", remove).await;
    scene.roll().await;
    assert_same(&calm(&root, Canary::Good).await, &scene, "a meddler").await;
}
