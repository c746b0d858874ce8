//! The witness that asks the pods themselves, and whoever measures them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::evidence::{PodAddress, Question, Stage, Witness};
use super::facts::{Evidence, Probe, Verdict};
use crate::analysis::{self, Burn, CheckResult, Evaluation, Objectives, Sample, evaluate, watch};
use crate::api::conditions::shortened;
use crate::api::rollout::status::Measurement;
use crate::error;
use crate::measure::{MeasureError, Pod, Pods, Prometheus, PrometheusAccess, Source, Target};
use crate::probe::{self, Base, Trust};
use crate::registry::config::ADMIN_PORT;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of the operator's own requests may take: longer than any objective, so that what is slow is measured and
/// not called broken.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// Where clients connect inside a pod.
const CLIENT_PORT: u16 = 5000;
/// How much of a question or an answer is kept in the record.
const QUERY_CHARS: usize = 500;

/// Pushes and pulls through the pods of a stage, and judges what all requests to them came to.
#[derive(Debug)]
pub struct PodWitness {
    http: reqwest::Client,
    /// Of each Registry, the source of its newest roll-out: it remembers counters.
    sources: Mutex<HashMap<String, (String, Arc<Source>)>>,
}

impl PodWitness {
    /// A witness that never goes through a proxy: it only speaks to the cluster's own pods.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // A pod's address comes from the API server, and all content is compared.
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        Ok(Self {
            http,
            sources: Mutex::default(),
        })
    }

    fn source(&self, question: &Question<'_>) -> Result<Arc<Source>, MeasureError> {
        let registry = registry_of(question);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = sources.get(&registry).filter(|(id, _)| *id == question.state.id) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(source_of(question)?);
        sources.insert(registry, (question.state.id.clone(), Arc::clone(&made)));
        Ok(made)
    }

    async fn probe(&self, question: &Question<'_>) -> Probe {
        let pod = |stage: Stage| question.pods.iter().find(|pod| pod.stage == stage);
        let Some(tried) = pod(question.stage) else {
            return Probe::Unreachable("no pod is ready that could be pushed to".to_owned());
        };
        let base = base(question, tried);
        if let Err(failed) = self.http.get(format!("{}/v2/", base.url)).send().await {
            return Probe::Unreachable(error::chain(&failed));
        }
        let rollout = &question.state.id;
        let wanted = probe::Probe {
            base: base.clone(),
            rollout: rollout.clone(),
            deadline: PROBE_TIMEOUT,
        };
        let alone = probe::run(&wanted).await;
        if let Some(why) = alone.failure() {
            return Probe::Failed(format!("through pod {}: {why}", tried.name));
        }
        let main = pod(Stage::Main).filter(|_| question.stage == Stage::Canary);
        let Some(main) = main else { return Probe::Passed };
        let both = probe::crossed(&self::base(question, main), &base, rollout, PROBE_TIMEOUT).await;
        match both.failure() {
            Some(why) => Probe::Failed(format!(
                "begun on pod {} and finished on pod {}: {why}",
                main.name, tried.name
            )),
            None => Probe::Passed,
        }
    }

    async fn evaluate(&self, question: &Question<'_>) -> (Evaluation, Burn) {
        let stage = word(question.stage);
        let unmeasured =
            |stage, why: &dyn std::error::Error| (Evaluation::unmeasured(stage, &error::chain(why)), Burn::NoData);
        let settings = question.registry.spec.rollout.as_ref();
        let settings = settings
            .and_then(|rollout| rollout.analysis.clone())
            .unwrap_or_default();
        let objectives = match Objectives::of(&settings) {
            Ok(objectives) => objectives,
            Err(wrong) => return unmeasured(stage, &wrong),
        };
        let source = match self.source(question) {
            Ok(source) => source,
            Err(failed) => return unmeasured(stage, &failed),
        };
        let of_stage = target(question, question.stage);
        if question.stage == Stage::Main {
            return match watched(&source, &of_stage).await {
                Ok(samples) => judge_main(&objectives, &of_stage, &samples),
                Err(failed) => unmeasured(stage, &failed),
            };
        }
        let canary = match source.sample(&of_stage).await {
            Ok(sample) => sample,
            Err(failed) => return unmeasured(stage, &failed),
        };
        match source.sample(&target(question, Stage::Main)).await {
            Ok(main) => (evaluate(&objectives, &canary, Some(&main)), Burn::NoData),
            Err(failed) => unmeasured("main", &failed),
        }
    }
}

/// All that was counted since the pods serve, and in each window of the long watch.
async fn watched(source: &Source, of: &Target) -> Result<Vec<(Duration, Sample)>, MeasureError> {
    let mut windows = watch::windows(of.window);
    if !windows.contains(&of.window) {
        windows.push(of.window);
    }
    let samples = source.samples(of, &windows).await?;
    Ok(windows.into_iter().zip(samples).collect())
}

/// There is nothing any more that they could be compared with.
fn judge_main(objectives: &Objectives, of: &Target, samples: &[(Duration, Sample)]) -> (Evaluation, Burn) {
    let whole = samples.iter().find(|(window, _)| *window == of.window);
    let whole = whole.map(|(_, sample)| evaluate(objectives, sample, None));
    let whole = whole.unwrap_or_else(|| Evaluation::of(Vec::new()));
    let (burn, burning) = watch::watch(objectives, samples);
    (whole.with(burning), burn)
}

fn registry_of(question: &Question<'_>) -> String {
    let namespace = question.registry.namespace().unwrap_or_default();
    format!("{namespace}/{}", question.registry.name_any())
}

fn source_of(question: &Question<'_>) -> Result<Source, MeasureError> {
    let analysis = question.registry.spec.rollout.as_ref();
    let analysis = analysis.and_then(|rollout| rollout.analysis.as_ref());
    let Some(said) = analysis.and_then(|analysis| analysis.prometheus.as_ref()) else {
        return Ok(Source::Pods(Pods::new().map_err(MeasureError::Settings)?));
    };
    let access = PrometheusAccess {
        url: said.url.clone(),
        token: question.source_secrets.token.clone(),
        ca: question.source_secrets.authority.clone(),
        timeout: said.timeout.as_ref().map_or(TIMEOUT, crate::api::span::Span::duration),
    };
    Ok(Source::Prometheus(Prometheus::new(&access)?))
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Canary => "canary",
        Stage::Main => "main",
    }
}

fn target(question: &Question<'_>, stage: Stage) -> Target {
    let contract = question.state.contract.as_ref();
    let says = contract
        .map(|contract| contract.version.clone())
        .filter(|version| !version.is_empty());
    let of_stage = question.pods.iter().filter(|pod| pod.stage == stage);
    Target {
        registry: registry_of(question),
        stage: word(stage),
        // What the others run is what it is.
        version: says.filter(|_| stage == question.stage),
        pods: of_stage
            .map(|pod| Pod {
                name: pod.name.clone(),
                uid: pod.name.clone(),
                admin: format!("http://{}", host(&pod.ip, ADMIN_PORT)),
            })
            .collect(),
        window: Duration::try_from(question.now.duration_since(question.since)).unwrap_or_default(),
    }
}

fn base(question: &Question<'_>, pod: &PodAddress) -> Base {
    let scheme = if question.registry.spec.tls.is_some() {
        "https"
    } else {
        "http"
    };
    Base {
        url: format!("{scheme}://{}", host(&pod.ip, CLIENT_PORT)),
        token: None,
        trust: Trust::Anyone,
    }
}

fn host(ip: &str, port: impl std::fmt::Display) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn verdict(found: analysis::Verdict) -> Verdict {
    match found {
        analysis::Verdict::Strong => Verdict::Strong,
        analysis::Verdict::Weak => Verdict::Weak,
        analysis::Verdict::Unsure => Verdict::Unsure,
        analysis::Verdict::NoData => Verdict::NoData,
        analysis::Verdict::Error => Verdict::Error,
        analysis::Verdict::Shared => Verdict::Shared,
        analysis::Verdict::Fail { hard: false } => Verdict::Fail,
        analysis::Verdict::Fail { hard: true } => Verdict::HardFail,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a count of requests, for people")]
fn measurement(question: &Question<'_>, check: &CheckResult) -> Measurement {
    Measurement {
        at: Time(question.now),
        check: check.check.clone(),
        stage: check.stage.to_owned(),
        samples: check.samples as i64,
        value: check.value,
        lower: check.lower,
        upper: check.upper,
        limit: check.limit,
        verdict: check.verdict.as_str().to_owned(),
        query: (!check.detail.is_empty()).then(|| shortened(&check.detail, QUERY_CHARS)),
    }
}

impl Witness for PodWitness {
    fn look<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Evidence> {
        async move {
            let (probe, (found, burn)) =
                tokio::join!(Box::pin(self.probe(&question)), Box::pin(self.evaluate(&question)));
            let message = found
                .worst()
                .map_or_else(|| "nothing was measured".to_owned(), CheckResult::text);
            Evidence {
                at: question.now,
                verdict: verdict(found.verdict),
                message,
                measurements: found.checks.iter().map(|check| measurement(&question, check)).collect(),
                probe,
                burn,
            }
        }
        .boxed()
    }
}
