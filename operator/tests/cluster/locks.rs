//! The deploy lock against a real API server: many ask at once, holders vanish, Jobs go on.

use std::time::Duration;

use berth_operator::locks::{self, Claim, Held, Holder, LockName, Outcome, Renewed, TOKEN_LABEL};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use serde_json::json;

use crate::support::controllers::{finish_jobs, meddle};
use crate::support::{Fixture, eventually};

const MINUTE: Duration = Duration::from_mins(1);

fn rollout(fixture: &Fixture, name: &str) -> Holder {
    Holder::parse(&format!("Registry/{}/{name}/1", fixture.namespace))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn claim(holder: &Holder, created: i64) -> Claim<'_> {
    Claim {
        holder,
        created: at(created),
        duration: MINUTE,
        idle: None,
    }
}

async fn acquire(fixture: &Fixture, lock: &LockName, claim: &Claim<'_>, now: i64) -> Outcome {
    locks::acquire(&fixture.context.cluster, lock, claim, at(now))
        .await
        .unwrap()
}

async fn release(fixture: &Fixture, lock: &LockName, holder: &Holder, now: i64) {
    locks::release(&fixture.context.cluster, lock, holder, at(now))
        .await
        .unwrap();
}

fn held(outcome: Outcome) -> Held {
    match outcome {
        Outcome::Held { mut held, .. } => held.remove(0),
        Outcome::Waiting { lock, blocked } => panic!("{lock} is {blocked}"),
    }
}

fn is_held(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Held { .. })
}

#[tokio::test]
async fn of_ten_that_ask_at_once_one_has_the_lock_and_the_others_have_it_in_the_order_of_their_age() {
    let fixture = Fixture::new().await;
    let lock = LockName::of_group(&fixture.namespace, "shop");
    let holders: Vec<Holder> = (0..10).map(|index| rollout(&fixture, &format!("r{index}"))).collect();
    // Those who are not done ask at once; gives the one who has the lock.
    let ask = async |now: i64, done: &[usize]| {
        let asked = holders
            .iter()
            .enumerate()
            .filter(|(index, _)| !done.contains(index))
            .map(|(index, holder)| {
                let (fixture, lock) = (&fixture, &lock);
                async move {
                    let claim = claim(holder, 100 - i64::try_from(index).unwrap());
                    is_held(&acquire(fixture, lock, &claim, now).await).then_some(index)
                }
            });
        let held: Vec<usize> = futures::future::join_all(asked).await.into_iter().flatten().collect();
        assert!(held.len() <= 1, "{held:?} have it at once");
        held.first().copied()
    };

    let mut order = vec![ask(0, &[]).await.expect("one is first")];
    // So many at once that not each could write itself into the queue at its first attempt.
    for now in 1..6 {
        ask(now, &[]).await;
    }
    for now in 10..19 {
        release(&fixture, &lock, &holders[*order.last().unwrap()], now).await;
        order.push(ask(now, &order).await.expect("the next one has it"));
    }

    let mut by_age: Vec<usize> = (0..10).rev().filter(|index| *index != order[0]).collect();
    by_age.insert(0, order[0]);
    assert_eq!(order, by_age);
    let lease: Lease = fixture.get("berth-rollout-shop").await;
    assert_eq!(
        lease.spec.unwrap().lease_transitions,
        Some(10),
        "each hold has a token of its own"
    );
}

#[tokio::test]
async fn an_expired_lock_is_not_taken_while_a_job_of_its_holder_runs() {
    let fixture = Fixture::new().await;
    let lock = LockName::of_registry(&fixture.namespace, "images");
    let (gone, here) = (rollout(&fixture, "gone"), rollout(&fixture, "here"));
    let token = held(acquire(&fixture, &lock, &claim(&gone, 0), 0).await).token;
    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "pre", "labels": {(TOKEN_LABEL): token.to_string()}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }))
    .unwrap();
    fixture.api::<Job>().create(&PostParams::default(), &job).await.unwrap();

    let Outcome::Waiting { blocked, .. } = acquire(&fixture, &lock, &claim(&here, 1), 200).await else {
        panic!("it was taken unasked");
    };
    assert_eq!(blocked.left_behind, Some(token.clone()));
    let cluster = &fixture.context.cluster;
    assert!(
        locks::has_active_job(cluster, &fixture.namespace, &token)
            .await
            .unwrap()
    );
    finish_jobs(&fixture).await;
    assert!(
        !locks::has_active_job(cluster, &fixture.namespace, &token)
            .await
            .unwrap()
    );
    let cleared = Claim {
        idle: Some(&token),
        ..claim(&here, 1)
    };
    let second = held(acquire(&fixture, &lock, &cleared, 201).await);

    assert_ne!(second.token, token);
    let old = Held {
        since: None,
        lock,
        token,
    };
    let Renewed::Lost(why) = locks::renew(cluster, &old, &claim(&gone, 0), at(202)).await.unwrap() else {
        panic!("the old holder still believes it");
    };
    assert!(why.ends_with(&format!("is held by {here}")), "{why}");
}

#[tokio::test]
async fn a_lock_that_is_held_costs_one_write_in_a_third_of_its_duration() {
    let fixture = Fixture::new().await;
    let lock = LockName::of_group(&fixture.namespace, "shop");
    let holder = rollout(&fixture, "images");
    let mut versions = Vec::new();
    for now in 0..=60 {
        held(acquire(&fixture, &lock, &claim(&holder, 0), now).await);
        versions.push(fixture.get::<Lease>(&lock.name).await.metadata.resource_version);
    }
    versions.dedup();

    assert_eq!(versions.len(), 4, "made at 0, renewed at 20, 40 and 60");
}

#[tokio::test]
async fn a_lock_that_somebody_took_by_hand_is_lost_and_a_deleted_one_has_another_token() {
    let fixture = Fixture::new().await;
    let lock = LockName::of_group(&fixture.namespace, "shop");
    let holder = rollout(&fixture, "images");
    let first = held(acquire(&fixture, &lock, &claim(&holder, 0), 0).await);
    let kept = async || {
        let renewed = locks::renew(&fixture.context.cluster, &first, &claim(&holder, 0), at(30)).await;
        matches!(renewed.unwrap(), Renewed::Kept(_))
    };

    assert!(kept().await);
    meddle::<Lease>(&fixture, &lock.name, json!({"spec": {"holderIdentity": null}})).await;
    assert!(!kept().await);
    fixture
        .api::<Lease>()
        .delete(&lock.name, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    assert!(!kept().await);
    let second = held(acquire(&fixture, &lock, &claim(&holder, 0), 40).await);

    assert_ne!(first.token, second.token);
}

#[tokio::test]
async fn two_that_want_the_same_two_locks_in_another_order_both_come_to_their_turn() {
    let fixture = Fixture::new().await;
    let database = LockName::of_database(&fixture.namespace, "db", 5432, "berth");
    let group = LockName::of_group(&fixture.namespace, "shop");
    let all = async |name: &str, locks: [&LockName; 2]| {
        let holder = rollout(&fixture, name);
        let locks = locks.map(Clone::clone);
        eventually("both locks are held", async || {
            let now = fixture.context.clock.now();
            let cluster = &fixture.context.cluster;
            let claim = Claim {
                created: now,
                ..claim(&holder, 0)
            };
            let outcome = locks::acquire_all(cluster, &locks, &claim, now).await.unwrap();
            is_held(&outcome).then_some(())
        })
        .await;
        for lock in &locks {
            locks::release(&fixture.context.cluster, lock, &holder, fixture.context.clock.now())
                .await
                .unwrap();
        }
    };

    futures::join!(all("a", [&database, &group]), all("b", [&group, &database]));
}

/// The requests of docs/locks.md, as `kubectl patch --type json` sends them.
async fn patch_as_pipeline(fixture: &Fixture, lock: &LockName, operations: &serde_json::Value) -> bool {
    let path = format!(
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
        lock.namespace, lock.name
    );
    let request = axum::http::Request::patch(path)
        .header("content-type", "application/json-patch+json")
        .body(operations.to_string().into_bytes())
        .unwrap();
    fixture.client.request::<Lease>(request).await.is_ok()
}

#[tokio::test]
async fn a_pipeline_holds_and_releases_the_lock_by_the_documented_requests() {
    let fixture = Fixture::new().await;
    let lock = LockName::of_group(&fixture.namespace, "shop");
    let holder = rollout(&fixture, "images");
    let bare = json!({"metadata": {"name": lock.name}, "spec": {}});
    let bare: Lease = serde_json::from_value(bare).unwrap();
    fixture
        .api::<Lease>()
        .create(&PostParams::default(), &bare)
        .await
        .unwrap();
    let now = fixture.context.clock.now();
    let stamp = format!("{now:.6}");
    let take = json!([
        {"op": "test", "path": "/spec/holderIdentity", "value": null},
        {"op": "add", "path": "/spec/holderIdentity", "value": "external/7"},
        {"op": "add", "path": "/spec/leaseDurationSeconds", "value": 3600},
        {"op": "add", "path": "/spec/acquireTime", "value": stamp},
        {"op": "add", "path": "/spec/renewTime", "value": stamp},
    ]);
    let give_up = json!([
        {"op": "test", "path": "/spec/holderIdentity", "value": "external/7"},
        {"op": "remove", "path": "/spec/holderIdentity"},
    ]);
    let claim = Claim {
        created: now,
        ..claim(&holder, 0)
    };
    let ask = async || {
        locks::acquire(&fixture.context.cluster, &lock, &claim, now)
            .await
            .unwrap()
    };

    assert!(patch_as_pipeline(&fixture, &lock, &take).await);
    assert!(
        !patch_as_pipeline(&fixture, &lock, &take).await,
        "a second pipeline is refused"
    );
    let Outcome::Waiting { blocked, .. } = ask().await else {
        panic!("the pipeline's lock was taken");
    };
    assert_eq!(blocked.by, Some(Holder::External("external/7".to_owned())));
    assert!(patch_as_pipeline(&fixture, &lock, &give_up).await);
    held(ask().await);
    assert!(
        !patch_as_pipeline(&fixture, &lock, &take).await,
        "the roll-out's lock is not the pipeline's"
    );
    release(&fixture, &lock, &holder, 0).await;
    assert!(patch_as_pipeline(&fixture, &lock, &take).await);
}

#[test]
fn one_database_has_one_lock_however_its_host_is_written() {
    let of = |host: &str, port: u16| LockName::of_database("n", host, port, "berth");

    assert_eq!(of("db.example.com", 5432), of("DB.example.com.", 5432));
    assert_ne!(of("db.example.com", 5432), of("db.example.com", 5433));
    assert!(of("db", 5432).name.len() <= 63);
}
