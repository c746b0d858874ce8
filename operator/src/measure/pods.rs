//! Fetches `/metrics` of each pod: where there is no Prometheus, the operator counts by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::memory::Memory;
use super::text::{self, Shown};
use super::{MeasureError, Pod, Target, causes, read_bounded};
use crate::analysis::Sample;

/// How long a pod's answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What the pods say. It remembers their counters, so one value is for one roll-out.
#[derive(Debug)]
pub struct Pods {
    http: reqwest::Client,
    begun: Instant,
    stages: Mutex<BTreeMap<(String, &'static str), Stage>>,
}

#[derive(Debug, Default)]
struct Stage {
    memory: Memory,
    last: Option<Instant>,
}

impl Pods {
    /// A client that never goes through a proxy: it only speaks to pods.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            begun: Instant::now(),
            stages: Mutex::default(),
        })
    }

    /// Asks every pod of `target` once, and counts what was asked of them in each of `windows`.
    ///
    /// A pod that does not answer is one that is not seen, which never passes. A window that is longer than the memory is as
    /// long as that.
    pub async fn samples(&self, target: &Target, windows: &[Duration]) -> Vec<Sample> {
        let asked = target
            .pods
            .iter()
            .map(|pod| async move { (pod, self.ask(pod, target).await) });
        let answers = futures::future::join_all(asked).await;
        let now = Instant::now();
        let mut stages = self.stages.lock().await;
        let stage = stages.entry((target.registry.clone(), target.stage)).or_default();
        stage.memory.retain(|uid| target.pods.iter().any(|pod| pod.uid == uid));
        let (mut seen, mut troubles) = (0, Vec::new());
        for (pod, answer) in answers {
            match answer {
                Ok(shown) => {
                    seen += 1;
                    stage.memory.note(&pod.uid, &shown.counters);
                }
                Err(trouble) => troubles.push(format!("{}: {trouble}", pod.name)),
            }
        }
        let since_begun = now.duration_since(self.begun);
        let interval = stage
            .last
            .replace(now)
            .map_or(Duration::ZERO, |last| now.duration_since(last));
        let query = if troubles.is_empty() {
            "/metrics of each pod".to_owned()
        } else {
            troubles.join("; ")
        };
        let counted = windows.iter().map(|window| {
            let counted = stage.memory.counted(since_begun, *window);
            Sample {
                age: (seen > 0).then_some(Duration::ZERO),
                interval,
                targets_seen: seen,
                targets_expected: u32::try_from(target.pods.len()).unwrap_or(u32::MAX),
                panics: counted.get(super::memory::Place::Panics),
                classes: counted.classes(),
                query: query.clone(),
            }
        });
        let counted = counted.collect();
        stage.memory.mark(since_begun);
        counted
    }

    async fn ask(&self, pod: &Pod, target: &Target) -> Result<Shown, String> {
        let shown = self.fetch(pod).await.map_err(|error| error.to_string())?;
        let shown = text::read(&shown).map_err(|error| format!("/metrics cannot be used: {error}"))?;
        let is_version = target.version.as_ref().is_none_or(|version| *version == shown.version);
        if shown.registry != target.registry || shown.stage != target.stage || !is_version {
            return Err(format!(
                "it says it is {} of {}, version {}",
                shown.stage, shown.registry, shown.version
            ));
        }
        Ok(shown)
    }

    async fn fetch(&self, pod: &Pod) -> Result<String, MeasureError> {
        let url = format!("{}/metrics", pod.admin);
        let answer = self
            .http
            .get(&url)
            .send()
            .await
            .map_err(|error| MeasureError::Unreachable {
                url: url.clone(),
                why: causes(&error.without_url()),
            })?;
        let status = answer.status().as_u16();
        let body = read_bounded(&url, answer, ANSWER_BYTES).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == 200 {
            return Ok(text);
        }
        let body = super::beginning(&text);
        Err(MeasureError::Status { url, status, body })
    }
}
