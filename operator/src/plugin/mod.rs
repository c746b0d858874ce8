//! `kubectl berth`: what Registries and their roll-outs look like, and commands for them.
//!
//! [`view`] and [`screen`] make lines of what is read (pure), [`ask`] makes objects and annotations of commands (pure), and
//! [`api`] speaks to the API server with the rights of whoever runs it. Every command gives JSON with `--output json`, and
//! ends with 0, 1 (it failed) or 2 (used wrongly).

pub mod api;
pub mod ask;
pub mod screen;
pub mod view;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::{CustomResourceExt, ResourceExt};
use semver::Version;
use serde_json::{Value, json};

use crate::api::rollout::Decision;
use crate::api::{self as kinds, Registry};
use crate::clock::Clock;
use api::Session;
use screen::{Line, Tone};

/// How often a live screen looks again.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at container registries and their roll-outs, and steers them.
#[derive(Debug, Parser)]
#[command(name = "kubectl-berth", bin_name = "kubectl berth", version, about, long_about = None)]
pub struct Plugin {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub target: Target,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster and namespace.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// Path of the kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace; without it the one of the context
    #[arg(short, long, global = true, value_name = "NS")]
    pub namespace: Option<String>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; coloured on a terminal, unless `NO_COLOR` is set
    Text,
    /// For programs
    Json,
    /// A picture of the screen
    Svg,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a Registry, or all of the namespace
    Status {
        /// The Registry
        name: Option<String>,
        /// Show it again each second
        #[arg(short, long)]
        watch: bool,
    },
    /// Look at roll-outs and steer them
    #[command(subcommand)]
    Rollout(Rollout),
    /// Check what Berth needs in this cluster
    Doctor,
    /// Wait until every serving pod has at least a version
    Wait {
        /// The Registry
        name: String,
        /// The version
        #[arg(long, value_name = "VERSION")]
        min_version: Version,
        /// How long
        #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

/// What to do with roll-outs.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Follow the newest roll-out until it ends
    Watch(Named),
    /// List the roll-outs
    History(Named),
    /// Approve what the roll-out asks
    Approve(Reasoned),
    /// Reject it: the old version comes back
    Reject(Reasoned),
    /// Let it stand still
    Pause(Reasoned),
    /// Let it go on
    Resume(Reasoned),
    /// Go to the whole without measuring any longer
    Promote(Reasoned),
    /// Go to the next step of the canary
    SkipStep(Reasoned),
    /// Take the old version back
    Abort(Reasoned),
    /// Try a version again that was taken back
    Retry(Reasoned),
}

/// A Registry.
#[derive(Debug, Args)]
pub struct Named {
    /// The Registry
    pub name: String,
}

/// A Registry, and why.
#[derive(Debug, Args)]
pub struct Reasoned {
    /// The Registry
    pub name: String,
    /// Why: it is kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Plugin {
    /// Does what was asked. True when it came out well.
    ///
    /// # Errors
    /// When it could not be done.
    pub async fn run(&self) -> anyhow::Result<bool> {
        let session = Session::begin(&self.target).await?;
        match &self.command {
            Command::Status { name, watch } => self.status(&session, name.as_deref(), *watch).await,
            Command::Rollout(rollout) => self.rollout(&session, rollout).await,
            Command::Doctor => self.doctor(&session).await,
            Command::Wait {
                name,
                min_version,
                timeout,
            } => self.wait(&session, name, min_version, *timeout).await,
        }
    }

    async fn status(&self, session: &Session, name: Option<&str>, watch: bool) -> anyhow::Result<bool> {
        loop {
            let found = match name {
                Some(name) => vec![session.registry(name).await?],
                None => session.registries().await?,
            };
            let width = width();
            let now = Clock::System.now();
            let mut lines: Vec<Line> = Vec::new();
            for registry in &found {
                lines.extend(view::registry(registry, width, now));
                lines.push(Line::default());
            }
            if found.is_empty() {
                lines.push(Line::of(Tone::Faint, "there is no Registry in this namespace"));
            }
            self.show(&lines, &json!(found), watch)?;
            if !watch {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn rollout(&self, session: &Session, rollout: &Rollout) -> anyhow::Result<bool> {
        let (command, asked) = match rollout {
            Rollout::Watch(named) => return self.watch(session, &named.name).await,
            Rollout::History(named) => {
                let records = session.rollouts(&named.name).await?;
                self.show(&view::history(&records, Clock::System.now()), &json!(records), false)?;
                return Ok(true);
            }
            Rollout::Approve(asked) => return self.decide(session, asked, Decision::Approve).await,
            Rollout::Reject(asked) => return self.decide(session, asked, Decision::Reject).await,
            Rollout::Pause(asked) => ("pause", asked),
            Rollout::Resume(asked) => ("resume", asked),
            Rollout::Promote(asked) => ("promote", asked),
            Rollout::SkipStep(asked) => ("skip-step", asked),
            Rollout::Abort(asked) => ("abort", asked),
            Rollout::Retry(asked) => ("retry", asked),
        };
        let registry = session.registry(&asked.name).await?;
        let state = ask::rollout_for(&registry, command)?;
        let user = session.user().await?;
        session
            .patch(
                &asked.name,
                &ask::command(command, &state.id, asked.reason.as_deref(), &user),
            )
            .await?;
        let told = format!("asked roll-out {} to {command}", state.id);
        self.show(
            &[Line::of(Tone::Good, told)],
            &json!({"rollout": state.id, "command": command, "by": user}),
            false,
        )?;
        Ok(true)
    }

    async fn decide(&self, session: &Session, asked: &Reasoned, decision: Decision) -> anyhow::Result<bool> {
        let registry = session.registry(&asked.name).await?;
        let state = ask::rollout_for(&registry, "approve")?;
        let user = session.user().await?;
        let approval = ask::approval(&registry, state, decision, asked.reason.clone(), &user)?;
        let name = session.approve(&approval).await?;
        let told = format!(
            "{decision:?} of {user} for {:?} is in RegistryApproval {name}",
            approval.spec.step
        );
        self.show(
            &[Line::of(Tone::Good, told)],
            &json!({"approval": name, "spec": approval.spec}),
            false,
        )?;
        Ok(true)
    }

    /// True when the roll-out completed.
    async fn watch(&self, session: &Session, name: &str) -> anyhow::Result<bool> {
        loop {
            let registry = session.registry(name).await?;
            let state = ask::rollout_for(&registry, "retry")?;
            let (now, width) = (Clock::System.now(), width());
            let mut lines = view::rollout(state, width, now);
            let records = session.rollouts(name).await?;
            if let Some(record) = records.iter().find(|record| record.name_any() == state.id) {
                lines.push(Line::default());
                lines.extend(view::record(record, width, now));
            }
            self.show(&lines, &json!(state), self.output == Output::Text)?;
            if state.phase.is_final() || self.output == Output::Svg {
                return Ok(state.phase == kinds::rollout::Phase::Completed || !state.phase.is_final());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn wait(&self, session: &Session, name: &str, wanted: &Version, limit: Duration) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            let registry = session.registry(name).await?;
            let runs = lowest(&registry);
            if runs.as_ref().is_some_and(|runs| runs >= wanted) {
                let told = format!(
                    "{name} runs {}",
                    runs.as_ref().map(Version::to_string).unwrap_or_default()
                );
                self.show(
                    &[Line::of(Tone::Good, told)],
                    &json!({"version": runs.map(|runs| runs.to_string()), "met": true}),
                    false,
                )?;
                return Ok(true);
            }
            if began.elapsed() >= limit {
                let runs = runs.map_or_else(|| "no known version".to_owned(), |runs| runs.to_string());
                bail!(
                    "{name} runs {runs} and not {wanted} or more after {}",
                    humantime::format_duration(limit)
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn doctor(&self, session: &Session) -> anyhow::Result<bool> {
        let checks = checks(session).await;
        let lines: Vec<Line> = checks.iter().map(Check::line).collect();
        let value: Vec<Value> = checks
            .iter()
            .map(|check| json!({"check": check.name, "ok": check.problem.is_none(), "problem": check.problem}))
            .collect();
        self.show(&lines, &json!(value), false)?;
        Ok(checks.iter().all(|check| check.problem.is_none()))
    }

    /// Prints; `anew` clears a terminal first. A reader that went away is no error.
    fn show(&self, lines: &[Line], value: &Value, anew: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let is_terminal = out.is_terminal();
        let text = match self.output {
            Output::Json => format!("{value:#}\n"),
            Output::Svg => screen::svg(lines, width(), "kubectl berth"),
            Output::Text => {
                let clear = if anew && is_terminal { "\u{1b}[H\u{1b}[2J" } else { "" };
                let coloured = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
                format!("{clear}{}", screen::text(lines, width(), coloured))
            }
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("write to standard output"),
        }
    }
}

/// One thing that `doctor` looked at.
struct Check {
    name: String,
    problem: Option<String>,
}

impl Check {
    fn of(name: impl Into<String>, outcome: Result<(), String>) -> Self {
        Self {
            name: name.into(),
            problem: outcome.err(),
        }
    }

    fn line(&self) -> Line {
        match &self.problem {
            None => Line::of(Tone::Good, "✔ ").and(Tone::Plain, self.name.as_str()),
            Some(problem) => Line::of(Tone::Bad, "✖ ").and(Tone::Plain, format!("{}: {problem}", self.name)),
        }
    }
}

async fn checks(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    for wanted in kinds::definitions() {
        let name = wanted.name_any();
        let outcome = match session.definition(&name).await {
            Ok(Some(live)) if !lacking(&json!(live), &json!(wanted)).is_empty() => Err(format!(
                "it does not know spec.{}: run `berth-operator crds --apply`",
                lacking(&json!(live), &json!(wanted)).join(", spec.")
            )),
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it is not there: install the chart, or run `berth-operator crds --apply`".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        checks.push(Check::of(format!("definition {name}"), outcome));
    }
    for (verb, resource) in [
        ("list", "registries"),
        ("patch", "registries"),
        ("list", "registryrollouts"),
        ("create", "registryapprovals"),
    ] {
        let outcome = match session.may(verb, resource).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("you may not: ask for the role registry-edit, or registry-approver".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        checks.push(Check::of(format!("you may {verb} {resource}"), outcome));
    }
    match session.registries().await {
        Ok(registries) => checks.extend(registries.iter().map(health)),
        Err(error) => checks.push(Check::of(Registry::crd_name(), Err(format!("{error:#}")))),
    }
    checks
}

/// The fields of a spec that this plugin knows and the definition in the cluster does not.
fn lacking(live: &Value, wanted: &Value) -> Vec<String> {
    let fields = |definition: &Value| {
        let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
        spec.and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let live = fields(live);
    fields(wanted)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !live.contains_key(name))
        .collect()
}

/// What a Registry says about itself; one that no operator has ever looked at says nothing.
fn health(registry: &Registry) -> Check {
    let status = registry.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let outcome = match ready {
        None => Err("no operator has looked at it: is one running, and does it watch this namespace?".to_owned()),
        Some(_) if status.observed_generation < registry.metadata.generation => {
            Err("the operator has not seen its newest spec yet".to_owned())
        }
        Some(ready) if ready.status == "True" => Ok(()),
        Some(ready) => Err(format!("{}: {}", ready.reason, ready.message)),
    };
    Check::of(format!("Registry {}", registry.name_any()), outcome)
}

/// The lowest version that serves: while a roll-out is under way, the older of both.
fn lowest(registry: &Registry) -> Option<Version> {
    let status = registry.status.as_ref()?;
    let main = Version::parse(&status.version.as_ref()?.main).ok()?;
    let state = status.rollout.as_ref().filter(|state| !state.phase.is_final());
    let both = state.and_then(|state| {
        let from = Version::parse(state.from.as_ref()?.version.as_ref()?).ok()?;
        let to = Version::parse(state.to.version.as_ref()?).ok()?;
        Some(from.min(to))
    });
    Some(match both {
        Some(both) => both.min(main),
        None => main,
    })
}

fn width() -> usize {
    terminal_size::terminal_size()
        .map_or(100, |(width, _)| usize::from(width.0))
        .max(40)
}
