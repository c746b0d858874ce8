//! Two operators, each a process of its own: one works, the other takes over.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use berth_operator::error::Error;
use berth_operator::leader::Leadership;
use berth_operator::registry;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use crate::support::controllers::meddle;
use crate::support::program::{Account, Program, writes_of};
use crate::support::{Fixture, bind, eventually};

/// An operator for the test's namespace whose Lease holds for 3 seconds, as an account of its own.
async fn start(fixture: &Fixture, name: &str) -> Program {
    let account = account(fixture, name);
    account.create(&fixture.client).await;
    bind(&fixture.client, &fixture.namespace, account).await;
    let watch = format!("--watch-namespace={}", fixture.namespace);
    let options = ["--leader-elect", "--lease-duration=3s", "--identity", name, &watch];
    Program::start(&fixture.client, account, &options).await
}

fn account<'a>(fixture: &'a Fixture, name: &'a str) -> Account<'a> {
    Account {
        namespace: &fixture.namespace,
        name,
    }
}

/// Who leads; nobody when the Lease was released.
async fn leader(fixture: &Fixture) -> Option<String> {
    let lease = fixture.api::<Lease>().get_opt("berth-operator-leader").await.unwrap()?;
    let holder = lease.spec?.holder_identity?;
    Some(holder.split('_').next()?.to_owned())
}

async fn leads(fixture: &Fixture, name: &str) {
    eventually(&format!("{name} leads"), async || {
        (leader(fixture).await.as_deref() == Some(name)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_stops_hands_over_within_two_seconds() {
    let fixture = Fixture::new().await;
    let mut first = start(&fixture, "first").await;
    first.works().await;
    let second = start(&fixture, "second").await;
    eventually("the one that waits is ready too", async || {
        second.is_ready().await.then_some(())
    })
    .await;
    assert!(second.metrics().await.unwrap().contains("berth_operator_leader 0\n"));

    first.signal("TERM");
    assert!(first.ended().await.success(), "{}", first.log());
    let released: Lease = fixture.get("berth-operator-leader").await;
    leads(&fixture, "second").await;
    let taken: Lease = fixture.get("berth-operator-leader").await;

    let released_at = released.spec.unwrap().renew_time.unwrap().0;
    let waited = taken.spec.unwrap().acquire_time.unwrap().0.duration_since(released_at);
    // Bound for a machine that is busy; it looks each 0.6 s.
    assert!(waited.as_secs_f64() < 4.0, "{waited}");
    second.works().await;
    fixture.create("images", &json!({})).await.unwrap();
    eventually("the new one works", async || {
        fixture.api::<Service>().get_opt("images").await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_was_paused_past_its_lease_ends_without_writing() {
    let fixture = Fixture::new().await;
    fixture.create("images", &json!({})).await.unwrap();
    let mut first = start(&fixture, "first").await;
    first.works().await;
    eventually("the first one works", async || {
        fixture.api::<Service>().get_opt("images").await.unwrap()
    })
    .await;
    let second = start(&fixture, "second").await;
    eventually("the second one waits", async || second.is_ready().await.then_some(())).await;

    first.signal("STOP");
    let before = settled(&account(&fixture, "first").user()).await;
    leads(&fixture, "second").await;
    // Work that the first would begin at once when it goes on.
    let moved = json!({"spec": {"selector": {"app.kubernetes.io/instance": "x"}}});
    meddle::<Service>(&fixture, "images", moved).await;
    first.signal("CONT");
    let ended = first.ended().await;

    assert_eq!(ended.code(), Some(1), "{}", first.log());
    assert!(
        first.log().contains("the Lease berth-operator-leader"),
        "{}",
        first.log()
    );
    let after = settled(&account(&fixture, "first").user()).await;
    assert_eq!(after[before.len()..], [] as [String; 0]);
}

/// A task that a pause caught between deciding and writing.
#[tokio::test]
async fn a_pass_under_way_writes_nothing_once_the_leadership_has_run_out() {
    let fixture = Fixture::new().await;
    let registry = fixture.create("images", &json!({})).await.unwrap();
    let mut context = fixture.restarted();
    context.cluster = context.cluster.guarded_by(Leadership::none());

    let ended = Box::pin(registry::reconcile(Arc::new(registry), Arc::new(context))).await;

    assert!(matches!(ended, Err(Error::NotLeading)), "{ended:?}");
    assert!(fixture.api::<Service>().get_opt("images").await.unwrap().is_none());
}

/// What `user` has written, once the log has stood still: it is written a moment after the answer.
async fn settled(user: &str) -> Vec<String> {
    let mut last = writes_of(user);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = writes_of(user);
        if now.len() == last.len() {
            break;
        }
        last = now;
    }
    last
}

/// What `berth-operator check` says about the operator, which is what `helm test` asks of all of them.
fn check(program: &Program, timeout: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-operator"));
    let checked = command
        .args(["check", &program.address(), "--timeout", timeout])
        .output()
        .unwrap();
    let told = [checked.stdout, checked.stderr].concat();
    (checked.status.success(), String::from_utf8(told).unwrap())
}

#[tokio::test]
async fn a_check_succeeds_when_one_works_and_says_when_none_does() {
    let fixture = Fixture::new().await;
    let first = start(&fixture, "first").await;
    first.works().await;
    let second = start(&fixture, "second").await;
    eventually("the second one waits", async || second.is_ready().await.then_some(())).await;

    let (well, told) = check(&first, "10s");
    assert!(well && told.contains("1 of 1 operators ready, one works"), "{told}");
    let (well, told) = check(&second, "1s");
    assert!(!well && told.contains("0 of the operators"), "{told}");
}

#[tokio::test]
async fn an_operator_whose_lease_somebody_took_ends() {
    let fixture = Fixture::new().await;
    let mut only = start(&fixture, "only").await;
    only.works().await;

    meddle::<Lease>(
        &fixture,
        "berth-operator-leader",
        json!({"spec": {"holderIdentity": "somebody"}}),
    )
    .await;

    assert_eq!(only.ended().await.code(), Some(1));
    assert!(only.log().contains("is held by somebody"), "{}", only.log());
}

#[tokio::test]
async fn a_lease_that_somebody_annotated_is_kept() {
    let fixture = Fixture::new().await;
    let only = start(&fixture, "only").await;
    only.works().await;

    meddle::<Lease>(
        &fixture,
        "berth-operator-leader",
        json!({"metadata": {"annotations": {"a": "b"}}}),
    )
    .await;
    let annotated: Lease = fixture.get("berth-operator-leader").await;
    eventually("it is renewed", async || {
        let now: Lease = fixture.get("berth-operator-leader").await;
        (now.spec.as_ref()?.renew_time > annotated.spec.as_ref()?.renew_time).then_some(())
    })
    .await;

    assert_eq!(leader(&fixture).await.as_deref(), Some("only"));
}
