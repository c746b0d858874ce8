//! Five hundred Registries and one operator, a process of its own: what it costs when nothing happens, and that one which the API
//! server refuses keeps no other waiting.

use std::time::{Duration, Instant};

use berth_operator::api::Registry;
use berth_operator::api::conditions::{self, ConditionType};
use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::program::{Account, Program, writes_of};
use crate::support::{Fixture, bind, controllers, eventually, production};

const REGISTRIES: usize = 500;
const AT_REST: Duration = Duration::from_mins(2);
const MADE: Duration = Duration::from_mins(8);
/// The one that is refused, again and again.
const REFUSED: &str = "refused";
/// What it may cost in [`AT_REST`]: by then it has been tried for minutes, and is seldom tried again.
const REFUSED_WRITES: usize = 20;
/// The API server answers so many at a time on a small machine.
const AT_ONCE: usize = 8;

async fn create_all(fixture: &Fixture) {
    fixture.create_credentials().await;
    fixture
        .create("shared", &production(&json!({"replicas": 2})))
        .await
        .unwrap();
    fixture
        .create(REFUSED, &json!({"service": {"type": "NodePort", "nodePort": 1}}))
        .await
        .unwrap();
    stream::iter(0..REGISTRIES)
        .for_each_concurrent(AT_ONCE, async |index| {
            fixture.create(&format!("r{index}"), &json!({})).await.unwrap();
        })
        .await;
}

/// Plays the controllers until every Registry is Ready.
async fn until_all_are_ready(fixture: &Fixture) {
    let began = Instant::now();
    loop {
        let registries = fixture.list::<Registry>().await;
        let waiting: Vec<String> = registries
            .iter()
            .filter(|registry| !is_ready(registry))
            .map(ResourceExt::name_any)
            .filter(|name| name != REFUSED)
            .collect();
        if waiting.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < MADE,
            "{} are not ready: {:?}",
            waiting.len(),
            waiting.first()
        );
        controllers::finish_jobs(fixture).await;
        stream::iter(waiting)
            .for_each_concurrent(AT_ONCE, async |name| {
                controllers::complete_rollout(fixture, &name).await;
            })
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn is_ready(registry: &Registry) -> bool {
    let conditions = registry.status.as_ref().map(|status| status.conditions.as_slice());
    conditions::find(conditions.unwrap_or_default(), ConditionType::Ready).is_some_and(|ready| ready.status == "True")
}

/// Waits until the operator has written nothing for 20 seconds.
async fn until_quiet(user: &str) -> Vec<String> {
    let (began, mut last, mut since) = (Instant::now(), writes(user), Instant::now());
    while since.elapsed() < Duration::from_secs(20) {
        assert!(began.elapsed() < MADE, "it goes on writing: {:?}", last.last());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = writes(user);
        if now.len() != last.len() {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// What the operator wrote, but for its own Lease, which it renews each third of its duration, and for what it tries in vain.
fn writes(user: &str) -> Vec<String> {
    let mut writes = writes_of(user);
    writes.retain(|write| !write.starts_with("update leases berth-operator-leader ") && !is_of_the_refused(write));
    writes
}

fn is_of_the_refused(write: &str) -> bool {
    let name = write.split(' ').nth(2).unwrap_or_default();
    name == REFUSED || name.starts_with(&format!("{REFUSED}.")) || name.starts_with(&format!("{REFUSED}-"))
}

fn writes_of_the_refused(user: &str) -> usize {
    writes_of(user).iter().filter(|write| is_of_the_refused(write)).count()
}

#[derive(Clone, Copy)]
struct Cost {
    processor: Duration,
    memory_kib: u64,
    largest_kib: u64,
}

impl Cost {
    fn of(program: &Program) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", program.pid())).unwrap();
        let (stat, status) = (read("stat"), read("status"));
        // Behind the name, which may have blanks, the third field is the first; time is in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let kib = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            processor: Duration::from_millis(ticks * 10),
            memory_kib: kib("VmRSS:"),
            largest_kib: kib("VmHWM:"),
        }
    }
}

/// How long a change of the spec takes until it is in the Deployment.
async fn reaction(fixture: &Fixture, replicas: i32) -> Duration {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    fixture
        .api::<Registry>()
        .patch("shared", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let began = Instant::now();
    eventually("the Deployment has the replicas", async || {
        let spec = fixture.get::<Deployment>("shared").await.spec?;
        (spec.replicas == Some(replicas)).then_some(())
    })
    .await;
    began.elapsed()
}

#[tokio::test]
async fn five_hundred_registries_at_rest_cost_no_write_and_next_to_nothing_else() {
    let fixture = Fixture::alone().await;
    let account = Account {
        namespace: &fixture.namespace,
        name: "berth-operator",
    };
    account.create(&fixture.client).await;
    bind(&fixture.client, &fixture.namespace, account).await;
    let watch = format!("--watch-namespace={}", fixture.namespace);
    let program = Program::start(&fixture.client, account, &["--leader-elect", &watch]).await;
    program.works().await;
    let began = Instant::now();
    create_all(&fixture).await;
    until_all_are_ready(&fixture).await;
    let made = began.elapsed();
    let before = until_quiet(&account.user()).await;

    let refused = writes_of_the_refused(&account.user());
    let cost = Cost::of(&program);
    tokio::time::sleep(AT_REST).await;
    let (now, after) = (Cost::of(&program), writes(&account.user()));
    let in_vain = writes_of_the_refused(&account.user()) - refused;
    let mut reactions = Vec::new();
    for replicas in [3, 2, 4, 5, 2] {
        reactions.push(reaction(&fixture, replicas).await);
    }
    reactions.sort();

    let processor = now.processor.saturating_sub(cost.processor).as_secs_f64() / AT_REST.as_secs_f64();
    let figures = format!(
        "{REGISTRIES} Registries made in {:.0} s; at rest {processor:.4} of a core and {} MiB (at most {} MiB); a change \
         is in the Deployment after {} ms, at most {} ms; of one that is refused {in_vain} writes",
        made.as_secs_f64(),
        now.memory_kib / 1024,
        now.largest_kib / 1024,
        reactions[2].as_millis(),
        reactions[4].as_millis(),
    );
    tell(&figures);
    assert_eq!(
        after[before.len()..],
        [] as [String; 0],
        "it wrote while nothing happened"
    );
    let spoken = fixture.get::<Registry>(REFUSED).await.status.unwrap().conditions;
    let degraded = conditions::find(&spoken, ConditionType::Degraded).unwrap();
    assert_eq!(
        (degraded.status.as_str(), degraded.reason.as_str()),
        ("True", "ApplyRefused")
    );
    assert!(in_vain <= REFUSED_WRITES, "{figures}");
    // Bounds for a build without optimisation on a machine that has more to do; docs/scale.md has the figures.
    assert!(processor < 0.5, "{figures}");
    assert!(now.memory_kib < 128 * 1024, "{figures}");
    assert!(reactions[2] < Duration::from_secs(3), "{figures}");
}

/// The figures are what the test is for: what a test that succeeds prints is not shown otherwise.
fn tell(figures: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{figures}\n").as_bytes()).unwrap();
}
