//! `berth-operator crds`.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::ResourceExt;

use crate::api;
use crate::cluster;

/// How long a definition may take until it is served.
const SERVED: Duration = Duration::from_secs(30);

/// Options of `crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// Folder that gets one file per kind; without it everything goes to standard output
    #[arg(long, value_name = "DIR", conflicts_with = "apply")]
    pub output_dir: Option<PathBuf>,

    /// Bring the definitions in the cluster up to date, and wait until they are served
    #[arg(long)]
    pub apply: bool,
}

impl Crds {
    /// Prints or writes the definitions.
    ///
    /// # Errors
    /// When the folder or standard output cannot be written to. A reader that went away is no error.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.output_dir {
            Some(folder) => write_definitions(folder),
            None if self.apply => apply_definitions(),
            None => print_definitions(&mut std::io::stdout().lock()),
        }
    }
}

fn apply_definitions() -> anyhow::Result<()> {
    super::block_on(async {
        let client = kube::Client::try_default().await.context("find the cluster")?;
        for definition in api::definitions() {
            let name = definition.name_any();
            let changed = cluster::apply_definition(&client, &definition, SERVED).await;
            let changed = changed.with_context(|| format!("apply {name}"))?;
            let word = if changed { "brought up to date" } else { "up to date" };
            writeln!(std::io::stdout(), "{name}: {word}").context("write to standard output")?;
        }
        Ok(())
    })
}

fn write_definitions(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for definition in api::definitions() {
        let path = folder.join(api::file_name(&definition));
        let text = api::definition_yaml(&definition)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn print_definitions(out: &mut dyn Write) -> anyhow::Result<()> {
    for definition in api::definitions() {
        let text = api::definition_yaml(&definition)?;
        match write!(out, "---\n{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("write to standard output")?,
        }
    }
    Ok(())
}
