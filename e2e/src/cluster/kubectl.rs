//! `kubectl`, pointed at one cluster.

use std::{ffi::OsString, io::Write, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{shell, shell::Outcome, wait};

const LIMIT: Duration = Duration::from_mins(1);

/// The words that start `kubectl` for one cluster; each method runs it once.
#[derive(Debug, Clone)]
pub struct Kubectl {
    words: Vec<OsString>,
    kubeconfig: Option<OsString>,
}

impl Kubectl {
    /// `words` are the program and its first arguments.
    pub fn new(words: Vec<OsString>, kubeconfig: Option<OsString>) -> Self {
        Self { words, kubeconfig }
    }

    /// The command with `arguments`, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or_else(|| "kubectl".into(), OsString::clone));
        command.args(words).args(arguments);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
    }

    /// What it prints.
    ///
    /// # Errors
    /// What it says when it fails, or that it takes longer than a minute.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        shell::read(&mut self.command(arguments), LIMIT)
    }

    /// What came of it, a failure included.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than a minute.
    pub fn attempt(&self, arguments: &[&str]) -> Result<Outcome> {
        shell::outcome(&mut self.command(arguments), LIMIT)
    }

    /// Applies the objects of a manifest (YAML or JSON).
    ///
    /// # Errors
    /// What the API server says.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        file.write_all(manifest.as_bytes())?;
        self.run(&["apply", "--filename", &file.path().display().to_string()])
    }

    /// One object, or None when it is not there. `what` is `KIND/NAME`.
    ///
    /// # Errors
    /// What the API server says, unless it is "not found".
    pub fn get(&self, namespace: &str, what: &str) -> Result<Option<Value>> {
        let shown = self.run(&[
            "--namespace",
            namespace,
            "get",
            what,
            "--output",
            "json",
            "--ignore-not-found",
        ])?;
        if shown.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&shown).map(Some).context("read kubectl's JSON")
    }

    /// The objects of a kind that fit a label selector.
    ///
    /// # Errors
    /// What the API server says.
    pub fn list(&self, namespace: &str, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let shown = self.run(&[
            "--namespace",
            namespace,
            "get",
            kind,
            "--selector",
            selector,
            "--output",
            "json",
        ])?;
        let mut list: Value = serde_json::from_str(&shown).context("read kubectl's JSON")?;
        let Value::Array(items) = list["items"].take() else {
            bail!("a list has no items")
        };
        Ok(items)
    }

    /// Waits until the object `what` passes `holds`; the error shows the object as it was last.
    ///
    /// # Errors
    /// That it does not within `limit`, or what the API server says.
    pub fn wait_for(&self, at: Object<'_>, limit: Duration, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = None;
        let Object { namespace, what, until } = at;
        let waited = wait::until(&format!("{namespace}/{what} {until}"), limit, || {
            last = self.get(namespace, what)?;
            Ok(last.as_ref().filter(|object| holds(object)).cloned())
        });
        waited.with_context(|| {
            last.map_or_else(
                || "it is not there".to_owned(),
                |last| format!("its status: {:#}", last["status"]),
            )
        })
    }
}

/// Which object is waited for, and until when, in words.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// `KIND/NAME`.
    pub what: &'a str,
    /// What it shall become: fits behind its name.
    pub until: &'a str,
}

/// The status of a condition of an object: `True`, `False`, `Unknown`, or nothing when it has none of that type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}
