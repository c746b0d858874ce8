//! A roll-out comes to the same end whatever happens to the operator on the way.

mod ending;
mod killed;
mod storms;

use std::sync::Arc;

use berth_operator::api::Registry;
use berth_operator::api::rollout::Phase;
use berth_operator::context::Context;
use berth_operator::registry;
use berth_operator::rollout::evidence::{Question, Stage, Witness};
use berth_operator::rollout::facts::{Burn, Evidence, Probe, Verdict};
use futures::future::{BoxFuture, Either, select};
use kube::Client;
use serde_json::{Value, json};

use crate::support::controllers::{Play, play};
use crate::support::faults::{Faults, Plan};
use crate::support::{Fixture, production};

/// More passes than any roll-out here needs.
const PASSES: usize = 400;

/// What becomes of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    Good,
    Bad,
}

/// Says of every canary what is to become of it.
#[derive(Debug)]
pub(crate) struct Judge(pub(crate) Canary);

impl Witness for Judge {
    fn look<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Evidence> {
        let is_bad = self.0 == Canary::Bad && question.stage == Stage::Canary;
        let evidence = Evidence {
            at: question.now,
            verdict: if is_bad { Verdict::HardFail } else { Verdict::Strong },
            probe: Probe::Passed,
            burn: Burn::Quiet,
            measurements: Vec::new(),
            message: if is_bad { "every answer is wrong" } else { "all good" }.to_owned(),
        };
        Box::pin(std::future::ready(evidence))
    }
}

fn spec(version: &str) -> Value {
    production(&json!({
        "version": version,
        "rollout": {
            "canary": {"bake": {"min": "0s", "max": "0s"}}, "analysis": {"interval": "0s"},
            "lock": {"group": "shop"},
        },
        "migrations": {"post": {"policy": "AfterSoak", "soak": "0s"}},
    }))
}

fn script() -> Play {
    let contract = json!({
        "version": "0.2.0", "problems": [],
        "database": {"pending_pre": ["0002_wider"], "pending_post": ["0003_drop"]},
    });
    Play {
        preflight: Some(contract),
        ..Play::default()
    }
}

/// One Registry whose version is to change, and an operator to which anything can happen.
struct Scene {
    fixture: Fixture,
    faults: Arc<Faults>,
    client: Client,
    canary: Canary,
}

impl Scene {
    /// Version 0.1.0 serves, 0.2.0 is wanted, and nobody has seen that yet.
    async fn set(root: &Fixture, canary: Canary, plan: Plan) -> Self {
        let fixture = root.another().await;
        let faults = Arc::new(Faults::default());
        let client = fixture.client_through(&faults).await;
        fixture.create_credentials().await;
        fixture.create("images", &spec("0.1.0")).await.unwrap();
        let scene = Self {
            fixture,
            faults,
            client,
            canary,
        };
        scene.roll().await;
        scene.fixture.respec("images", &spec("0.2.0")).await.unwrap();
        scene.faults.begin(plan);
        scene
    }

    /// An operator that was just started: it remembers nothing.
    fn operator(&self) -> Arc<Context> {
        let mut context = Fixture::context_of(&self.client);
        context.witness = Arc::new(Judge(self.canary));
        Arc::new(context)
    }

    async fn registry(&self) -> Registry {
        self.fixture.get("images").await
    }

    /// Passes and the controllers' part, until there is nothing to do any more. An operator that dies is followed by
    /// another; a pass that fails, by another pass. Gives how many operators there were.
    async fn roll(&self) -> usize {
        let (mut operator, mut operators) = (self.operator(), 1);
        for _ in 0..PASSES {
            let before = (self.faults.writes().len(), self.faults.failed());
            let registry = Arc::new(self.registry().await);
            let pass = Box::pin(registry::reconcile(registry, Arc::clone(&operator)));
            let passed = match select(pass, Box::pin(self.faults.death())).await {
                Either::Left((passed, _)) => passed,
                Either::Right(_) => {
                    (operator, operators) = (self.operator(), operators + 1);
                    continue;
                }
            };
            let is_quiet = passed.is_ok() && before == (self.faults.writes().len(), self.faults.failed());
            if is_quiet && self.is_over().await {
                return operators;
            }
            play(&self.fixture, "images", &script()).await;
        }
        panic!("it came to no end: {:?}", self.registry().await.status);
    }

    /// Whether everything is as the spec wants it, or never will be.
    async fn is_over(&self) -> bool {
        let registry = self.registry().await;
        let status = registry.status.unwrap_or_default();
        let is_ready = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        status.rollout.map_or(is_ready, |rollout| rollout.phase.is_final())
    }

    async fn phase(&self) -> Phase {
        let status = self.registry().await.status.unwrap_or_default();
        status.rollout.map(|rollout| rollout.phase).unwrap_or_default()
    }
}
