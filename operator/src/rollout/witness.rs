//! The witness that asks the pods themselves.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;

use super::evidence::{Question, Stage, Witness};
use super::facts::{Evidence, Probe, Verdict};
use crate::error;
use crate::labels::names;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the pods of a stage, through their Service.
#[derive(Clone, Debug)]
pub struct PodWitness {
    http: reqwest::Client,
}

impl PodWitness {
    /// A witness that never goes through a proxy: it only speaks to the cluster's own Services.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http })
    }

    async fn probe(&self, question: &Question<'_>) -> Probe {
        let name = question.registry.name_any();
        let namespace = question.registry.namespace().unwrap_or_default();
        let service = match question.stage {
            Stage::Canary => names::canary(&name),
            Stage::Main => name,
        };
        let port = question
            .registry
            .spec
            .service
            .as_ref()
            .map_or(5000, |service| service.port);
        let url = format!("http://{service}.{namespace}.svc:{port}/v2/");
        match self.http.get(&url).send().await {
            Ok(answer) if matches!(answer.status().as_u16(), 200 | 401) => Probe::Passed,
            Ok(answer) => Probe::Failed(format!("GET {url} was answered with {}", answer.status())),
            Err(failed) => Probe::Unreachable(error::chain(&failed)),
        }
    }
}

impl Witness for PodWitness {
    fn look<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Evidence> {
        async move {
            let probe = self.probe(&question).await;
            Evidence {
                at: question.now,
                verdict: Verdict::NoData,
                message: "no requests were counted".to_owned(),
                measurements: Vec::new(),
                probe,
            }
        }
        .boxed()
    }
}
