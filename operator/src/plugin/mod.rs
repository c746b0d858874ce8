//! `kubectl berth`: what Registries and their roll-outs look like, and commands for them.
//!
//! [`view`] and [`screen`] make lines of what is read, [`ask`] makes objects and annotations of commands, and
//! [`doctor::judge`] makes findings of what is around a Registry (all pure); [`api`] speaks to the API server with the
//! rights of whoever runs it. Every command gives JSON with `--output json`, and ends with 0, 1 (it failed, or something
//! is wrong) or 2 (used wrongly).

pub mod api;
pub mod args;
pub mod ask;
pub mod doctor;
pub mod lock;
pub mod logs;
pub mod near;
pub mod refusal;
pub mod screen;
pub mod show;
pub mod steer;
pub mod view;

use std::time::Duration;

use clap::CommandFactory as _;
use serde_json::{Value, json};

use crate::api::Registry;
use crate::clock::Clock;
use api::Session;
pub use args::Plugin;
use args::{Command, Output};
use screen::{Line, Tone};
use show::Printer;

/// How often a live screen looks again.
const LOOK: Duration = Duration::from_secs(1);

impl Plugin {
    /// Does what was asked. True when it came out well.
    ///
    /// # Errors
    /// When it could not be done.
    pub async fn run(&self) -> anyhow::Result<bool> {
        if let Command::Completion { shell } = &self.command {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Self::command(), "kubectl-berth", &mut script);
            return show::write(&String::from_utf8_lossy(&script)).map(|_| true);
        }
        let session = Session::begin(&self.target).await?;
        let printer = Printer::new(self.output, self.width);
        match &self.command {
            Command::Status { name, watch } => status(&session, &printer, name.as_deref(), *watch).await,
            Command::Rollout(rollout) => steer::run(&session, &printer, rollout).await,
            Command::Logs(asked) => logs::run(&session, &printer, asked).await,
            Command::Lock(lock) => lock::run(&session, &printer, lock).await,
            Command::Doctor {
                name,
                operator_namespace,
            } => doctor::run(&session, &printer, name.as_deref(), operator_namespace.as_deref()).await,
            Command::Wait {
                name,
                min_version,
                timeout,
            } => steer::wait(&session, &printer, name, min_version, *timeout).await,
            Command::Completion { .. } => Ok(true),
        }
    }
}

/// The Registries that are meant, and how they are shown: one in full, several one a line.
async fn look(session: &Session, name: Option<&str>, width: usize) -> anyhow::Result<(Vec<Line>, Value, ())> {
    let now = Clock::System.now();
    if let Some(name) = name {
        let registry = session.registry(name).await?;
        return Ok((view::registry(&registry, width, now), json!(registry), ()));
    }
    let found: Vec<Registry> = session.list(session.scope(), "").await?;
    let lines = match found.as_slice() {
        [] => {
            let place = match session.scope() {
                "" => "this cluster".to_owned(),
                namespace => format!("namespace {namespace}; -A shows all namespaces"),
            };
            vec![Line::of(Tone::Faint, format!("there is no Registry in {place}"))]
        }
        [one] => view::registry(one, width, now),
        several => view::table::registries(several, now),
    };
    Ok((lines, json!(found), ()))
}

async fn status(session: &Session, printer: &Printer, name: Option<&str>, watch: bool) -> anyhow::Result<bool> {
    let mut last = look(session, name, printer.width()).await?;
    if !watch || printer.output() == Output::Svg {
        printer.once(&last.0, &last.1)?;
        return Ok(true);
    }
    while printer.live(&last.0, &last.1)? {
        tokio::time::sleep(LOOK).await;
        last = steer::again(look(session, name, printer.width()).await, last)?;
    }
    Ok(true)
}
