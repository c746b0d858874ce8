//! The same requests, counted by a Prometheus server and by the pods themselves.

use std::time::Duration;

use berth_operator::analysis::{Evaluation, Objectives, Sample, Verdict, evaluate};
use berth_operator::measure::{Pod, Pods, Prometheus, PrometheusAccess, Source, Target};
use tokio::time::Instant;

use crate::servers::{PrometheusServer, Registry};

/// How long the slower source may take to have seen everything.
const LIMIT: Duration = Duration::from_secs(40);

struct Both {
    prometheus: Source,
    pods: Source,
    target: Target,
}

impl Both {
    fn of(registry: &Registry, prometheus: &PrometheusServer) -> Self {
        let access = PrometheusAccess {
            url: prometheus.url.clone(),
            token: None,
            ca: None,
            timeout: Duration::from_secs(5),
        };
        let pod = Pod {
            name: "hub-canary-1".to_owned(),
            uid: "1".to_owned(),
            admin: registry.admin.clone(),
        };
        Self {
            prometheus: Source::Prometheus(Prometheus::new(&access).unwrap()),
            pods: Source::Pods(Pods::new().unwrap()),
            target: Target {
                registry: "team/hub".to_owned(),
                stage: "canary",
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                pods: vec![pod],
                window: Duration::from_mins(2),
            },
        }
    }

    async fn look(&self) -> [Sample; 2] {
        [
            self.prometheus.sample(&self.target).await.unwrap(),
            self.pods.sample(&self.target).await.unwrap(),
        ]
    }

    /// Looks until both sources see what is wanted.
    async fn until(&self, what: &str, seen: impl Fn(&Sample) -> bool) -> [Sample; 2] {
        let begun = Instant::now();
        loop {
            let samples = self.look().await;
            if samples.iter().all(&seen) {
                return samples;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: {samples:#?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

fn requests(sample: &Sample) -> f64 {
    sample.classes.values().map(|counts| counts.total).sum()
}

fn failures(sample: &Sample) -> f64 {
    sample.classes.values().map(|counts| counts.bad).sum()
}

fn judged(samples: &[Sample; 2]) -> [Evaluation; 2] {
    let objectives = Objectives {
        min_samples: 100.0,
        ..Objectives::default()
    };
    samples.each_ref().map(|sample| evaluate(&objectives, sample, None))
}

fn verdicts(samples: &[Sample; 2]) -> [Verdict; 2] {
    judged(samples).map(|evaluation| evaluation.verdict)
}

#[tokio::test]
async fn prometheus_and_the_pods_come_to_the_same_verdicts() {
    let mut registry = Registry::start().await;
    let prometheus = PrometheusServer::start(&registry.admin).await;
    let both = Both::of(&registry, &prometheus);
    let client = reqwest::Client::new();

    let idle = both.until("both see the pod", |sample| {
        sample.targets_seen == 1 && !sample.classes.is_empty()
    });
    assert_eq!(verdicts(&idle.await), [Verdict::NoData; 2], "nobody asked for anything");
    // A third look: the pods' source passes over the first two.
    both.look().await;

    for _ in 0..500 {
        client
            .get(format!("{}/v2/team/app/manifests/none", registry.url))
            .send()
            .await
            .unwrap();
    }
    let good = both
        .until("both saw 500 requests", |sample| requests(sample) >= 499.0)
        .await;
    let names = judged(&good).map(|evaluation| {
        evaluation
            .checks
            .into_iter()
            .map(|check| check.check)
            .collect::<Vec<_>>()
    });
    assert_eq!(names[0], names[1]);
    assert_eq!(verdicts(&good), [Verdict::Strong; 2], "{good:#?}");

    // A file where the folder was: whoever pushes gets a failure.
    std::fs::rename(registry.blobs(), registry.blobs().with_extension("away")).unwrap();
    std::fs::write(registry.blobs(), "").unwrap();
    let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    for _ in 0..500 {
        let push = client.post(format!("{}/v2/team/app/blobs/uploads/?digest={digest}", registry.url));
        let answer = push.body("foo").send().await.unwrap();
        assert!(answer.status().is_server_error(), "{}", answer.status());
    }
    let bad = both
        .until("both saw 500 failures", |sample| failures(sample) >= 499.0)
        .await;
    assert_eq!(verdicts(&bad), [Verdict::Fail { hard: true }; 2], "{bad:#?}");

    registry.stop();
    let gone = both.until("both miss the pod", |sample| sample.targets_seen == 0).await;
    assert_eq!(verdicts(&gone), [Verdict::NoData; 2], "nobody is measured");
}

#[tokio::test]
async fn pods_of_another_version_are_not_measured() {
    let registry = Registry::start().await;
    let prometheus = PrometheusServer::start(&registry.admin).await;
    let mut both = Both::of(&registry, &prometheus);
    both.until("both see the pod", |sample| sample.targets_seen == 1).await;

    both.target.version = Some("9.9.9".to_owned());
    let samples = both.look().await;

    assert!(samples.iter().all(|sample| sample.targets_seen == 0), "{samples:#?}");
    assert_eq!(verdicts(&samples), [Verdict::NoData; 2]);
}
