//! The operator dies at every write of a roll-out: before the API server has it, and before it hears that it was done.

use std::collections::BTreeMap;

use berth_operator::api::rollout::Phase;
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;

use super::ending::Ending;
use super::{Canary, Scene};
use crate::support::Fixture;
use crate::support::faults::{Moment, Plan};

/// So many at the same time: most of the time each waits for the API server.
const AT_ONCE: usize = 24;

/// Every write at which it may die, in both moments, and what became of the roll-out; each that ends otherwise in words.
async fn deaths(root: &Fixture, canary: Canary, calm: &Ending, writes: &[String]) -> Vec<String> {
    let deaths = (1..=writes.len()).flat_map(|write| [Moment::Before, Moment::After].map(|moment| (write, moment)));
    let runs = deaths.map(|(write, moment)| async move {
        let scene = Scene::set(root, canary, Plan::Kill { write, moment }).await;
        let operators = scene.roll().await;
        let ending = Ending::of(&scene.fixture).await;
        let mut wrong = Vec::new();
        if operators != 2 {
            wrong.push(format!("{operators} operators"));
        }
        if ending != *calm {
            wrong.push(calm.against(&ending));
        }
        wrong.extend(made_twice(&scene));
        let at = &writes[write - 1];
        (!wrong.is_empty()).then(|| format!("killed {moment:?} write {write} ({at}): {}", wrong.join("\n")))
    });
    let runs = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
    runs.filter_map(std::future::ready).collect().await
}

/// What was made more than once by its name. Leases and events are asked for without one: a second Lease of a name is
/// refused, and events are told again rather than not at all.
fn made_twice(scene: &Scene) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for made in scene.faults.made() {
        *counts.entry(made).or_default() += 1;
    }
    counts.retain(|made, count| *count > 1 && made.starts_with("PATCH"));
    counts
        .into_iter()
        .map(|(made, count)| format!("{made} was made {count} times"))
        .collect()
}

/// Every lock is free again, and every Job was made once.
async fn assert_undisturbed(scene: &Scene) {
    let leases = scene.fixture.list::<Lease>().await;
    assert!(!leases.is_empty());
    for lease in leases {
        assert_eq!(lease.spec.unwrap().holder_identity.unwrap_or_default(), "");
    }
    let jobs = scene
        .faults
        .made()
        .iter()
        .filter(|made| made.contains("/jobs/"))
        .count();
    assert_eq!(
        jobs,
        if scene.canary == Canary::Good { 3 } else { 2 },
        "{:?}",
        scene.faults.made()
    );
}

async fn enumerate(canary: Canary, end: Phase, what: &str) {
    let root = Fixture::new().await;
    let scene = Scene::set(&root, canary, Plan::Calm).await;
    assert_eq!(scene.roll().await, 1);
    assert_eq!(scene.phase().await, end, "{:?}", scene.registry().await.status);
    assert_undisturbed(&scene).await;
    let (calm, writes) = (Ending::of(&scene.fixture).await, scene.faults.writes());

    let wrong = deaths(&root, canary, &calm, &writes).await;

    tell(&format!(
        "{what}: {} writes, so the operator was killed {} times; {} ended otherwise",
        writes.len(),
        2 * writes.len(),
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[expect(clippy::print_stderr, reason = "the figures are what the documentation tells")]
fn tell(figures: &str) {
    eprintln!("{figures}");
}

#[tokio::test]
async fn an_operator_killed_at_any_write_of_a_roll_out_leaves_the_same_behind_as_one_that_was_not() {
    Box::pin(enumerate(Canary::Good, Phase::Completed, "a roll-out that completes")).await;
}

#[tokio::test]
async fn an_operator_killed_at_any_write_of_a_roll_back_leaves_the_same_behind_as_one_that_was_not() {
    Box::pin(enumerate(
        Canary::Bad,
        Phase::RolledBack,
        "a roll-out that is taken back",
    ))
    .await;
}
