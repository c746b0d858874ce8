//! The operator's own pushes and pulls: what clients do, through one base URL, with content that is compared.
//!
//! A version can answer every request with 200 and a corrupt body, or lose uploads that another version began. Counting
//! codes does not find that; pushing and pulling does. What is pushed is new each time, so that nothing is answered from
//! what was there, and it is deleted at the end, also after a step failed.

mod client;
mod content;
mod steps;

use std::time::{Duration, Instant};

use client::Client;
use content::Content;
use steps::Steps;

/// One stage, and how it is spoken to.
#[derive(Clone)]
pub struct Base {
    /// Scheme, host and port, such as `http://10.0.0.7:5000`.
    pub url: String,
    /// Sent as bearer token where there is one.
    pub token: Option<String>,
    /// Whose certificates are believed.
    pub trust: Trust,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the public authorities.
    #[default]
    Public,
    /// Those of these authorities, in PEM.
    Authority(Vec<u8>),
    /// Any: the pod's address comes from the API server, and all content is compared.
    Anyone,
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where.
    pub base: Base,
    /// Name of the roll-out: the repository is `berth-probe/<that>`.
    pub rollout: String,
    /// How long each request may take.
    pub deadline: Duration,
}

/// What was tried, in order. It ends with the first step that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeReport {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, such as `pull_by_tag`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What went wrong: the request, what was expected and what came.
    pub result: Result<(), String>,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Base {
    /// A stage without TLS and without authentication.
    pub fn plain(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            token: None,
            trust: Trust::Public,
        }
    }
}

impl ProbeReport {
    /// True when there were steps and all of them succeeded.
    pub fn is_green(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| step.result.is_ok())
    }

    /// The step that failed, and what went wrong.
    pub fn failure(&self) -> Option<String> {
        self.steps.iter().find_map(|step| {
            step.result
                .as_ref()
                .err()
                .map(|error| format!("{}: {error}", step.name))
        })
    }

    async fn step(&mut self, name: &'static str, work: impl Future<Output = Result<(), String>>) -> Result<(), Ended> {
        let begun = Instant::now();
        let result = work.await;
        let ended = if result.is_ok() { Ok(()) } else { Err(Ended) };
        let took = begun.elapsed();
        self.steps.push(Step { name, took, result });
        ended
    }

    fn failed(name: &'static str, error: String) -> Self {
        let step = Step {
            name,
            took: Duration::ZERO,
            result: Err(error),
        };
        Self { steps: vec![step] }
    }
}

/// A step failed; the report says how.
struct Ended;

/// Pushes and pulls through one base URL, and deletes what it pushed.
pub async fn run(probe: &Probe) -> ProbeReport {
    let client = match Client::new(&probe.base, probe.deadline) {
        Ok(client) => client,
        Err(error) => return ProbeReport::failed("settings", error),
    };
    let content = Content::new(&probe.rollout);
    let steps = Steps::new(&client, &content);
    let mut report = ProbeReport::default();
    let tried = Box::pin(through(&steps, &mut report)).await;
    // Also after a failure: what was pushed before it is not to stay.
    let removed = report.step("delete", steps.delete()).await;
    if tried.is_ok() && removed.is_ok() {
        drop(report.step("gone", steps.gone()).await);
    }
    report
}

async fn through(steps: &Steps<'_>, report: &mut ProbeReport) -> Result<(), Ended> {
    report.step("ping", steps.ping()).await?;
    report.step("push_small", steps.push_small()).await?;
    report.step("push_chunked", steps.push_chunked()).await?;
    report.step("push_manifest", steps.push_manifest()).await?;
    report.step("pull_by_tag", steps.pull_by_tag()).await?;
    report.step("pull_by_digest", steps.pull_by_digest()).await?;
    report.step("pull_blobs", steps.pull_blobs()).await?;
    report.step("pull_range", steps.pull_range()).await?;
    report.step("head", steps.head()).await?;
    report.step("list_tags", steps.list_tags()).await?;
    report.step("referrers", steps.referrers()).await
}

/// Begins an upload through `main`, goes on and ends through `canary`, pulls through both, and deletes it.
pub async fn crossed(main: &Base, canary: &Base, rollout: &str, deadline: Duration) -> ProbeReport {
    let clients = Client::new(main, deadline).and_then(|main| Ok((main, Client::new(canary, deadline)?)));
    let (main, canary) = match clients {
        Ok(clients) => clients,
        Err(error) => return ProbeReport::failed("settings", error),
    };
    let content = Content::new(rollout);
    let (old, new) = (Steps::new(&main, &content), Steps::new(&canary, &content));
    let mut report = ProbeReport::default();
    drop(Box::pin(across(&old, &new, &mut report)).await);
    drop(report.step("delete", new.delete()).await);
    report
}

async fn across(old: &Steps<'_>, new: &Steps<'_>, report: &mut ProbeReport) -> Result<(), Ended> {
    let mut upload = None;
    let begin = async {
        upload = Some(old.begin_chunked().await?);
        Ok(())
    };
    report.step("crossed_begin_on_main", begin).await?;
    let upload = upload.ok_or(Ended)?;
    report
        .step("crossed_finish_on_canary", new.finish_chunked(upload))
        .await?;
    report.step("crossed_pull_from_canary", new.pull_large()).await?;
    report.step("crossed_pull_from_main", old.pull_large()).await
}
