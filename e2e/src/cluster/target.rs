//! The cluster that a command works on: the one of this machine, or an existing one.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::Result;

use super::{Cluster, Kubectl};
use crate::{cache::Cache, shell, shell::Log, tools::kubernetes};

/// A cluster and how it is reached.
#[derive(Debug, Clone)]
pub enum Target {
    /// The one that this program brought up.
    Own(Cluster),
    /// One that was there, under this name in the user's kubeconfig.
    Existing {
        /// The name of the context.
        context: String,
        /// The words that start kubectl.
        kubectl: Vec<OsString>,
    },
}

impl Target {
    /// The cluster of `context`, with the kubectl in PATH or the one in the Kubernetes binary.
    ///
    /// # Errors
    /// When there is no kubectl and it cannot be built.
    pub fn existing(context: &str, cache: &Cache, log: &Log) -> Result<Self> {
        let kubectl: Vec<PathBuf> = match shell::which("kubectl") {
            Some(kubectl) => vec![kubectl],
            None => vec![kubernetes::binary(cache, log)?, "kubectl".into()],
        };
        Ok(Self::Existing {
            context: context.to_owned(),
            kubectl: kubectl.into_iter().map(PathBuf::into).collect(),
        })
    }

    /// Its kubectl.
    pub fn kubectl(&self) -> Kubectl {
        match self {
            Self::Own(cluster) => cluster.kubectl(),
            Self::Existing { context, kubectl } => {
                let context = ["--context".into(), OsString::from(context)];
                Kubectl::new(kubectl.iter().cloned().chain(context).collect(), None)
            }
        }
    }

    /// A command that can reach its API server.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        match self {
            Self::Own(cluster) => cluster.inside(program),
            Self::Existing { .. } => Command::new(program.into()),
        }
    }

    /// Helm for this cluster.
    pub fn helm(&self, helm: impl Into<OsString>) -> Command {
        let mut command = self.command(helm);
        if let Self::Existing { context, .. } = self {
            command.args(["--kube-context", context]);
        }
        command
    }
}
