//! The stage of the Helm chart.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::Run;
use crate::{shell, shell::Log, tools};

const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn chart(run: &Run, log: &Log) -> Result<()> {
    let helm = tools::helm(&run.cache, log)?;
    let chart = crate::tree().join("charts/berth");
    shell::run(Command::new(&helm).args(["lint", "--strict"]).arg(&chart), log, LIMIT)?;
    let rendered = shell::read(
        Command::new(&helm)
            .args(["template", "berth", "--include-crds", "--kube-version", "1.33.0"])
            .arg(&chart),
        LIMIT,
    )?;
    for kind in [
        "Deployment",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
    ] {
        ensure!(
            rendered.lines().any(|line| line == format!("kind: {kind}")),
            "the chart renders no {kind}"
        );
    }
    let (generated, shipped) = (
        definitions(&crate::tree().join("crds"))?,
        definitions(&chart.join("crds"))?,
    );
    ensure!(!generated.is_empty(), "crds/ is empty");
    ensure!(generated == shipped, "charts/berth/crds is not a copy of crds/");
    Ok(())
}

fn definitions(folder: &Path) -> Result<BTreeMap<String, String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(path)?))
        })
        .collect()
}
