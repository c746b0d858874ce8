//! The stages of the operator and of the whole cluster.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use super::{
    Run,
    source::integration,
    test_binaries::{self, pass},
};
use crate::{
    cache::Cache,
    cluster::{self, Cluster, ControlPlane, Target},
    image::{self, Archive},
    install, releases,
    shell::{self, Log},
    tools,
};

/// The name of the cluster that the tests run in.
pub const CLUSTER: &str = "verify";
const QUESTION_LIMIT: Duration = Duration::from_mins(1);

pub(super) fn operator(run: &Run, log: &Log) -> Result<()> {
    integration(run, ("operator", "it"), &[], log)
}

pub(super) fn api_server(run: &Run, log: &Log) -> Result<()> {
    let target = ("operator", "cluster");
    let helm = tools::helm(&run.cache, log)?.display().to_string();
    let registry = run.tests.program("berth-registry", log)?.display().to_string();
    let Some(context) = &run.context else {
        let control_plane = ControlPlane::start(&run.cache, log)?;
        let settings = [
            (
                "BERTH_TEST_KUBECONFIG",
                control_plane.kubeconfig().display().to_string(),
            ),
            ("BERTH_TEST_AUDIT_LOG", control_plane.audit_log().display().to_string()),
            ("BERTH_TEST_HELM", helm),
            ("BERTH_TEST_REGISTRY", registry),
        ];
        return integration(run, target, &settings, log);
    };
    let kubectl = Target::existing(context, &run.cache, log)?.kubectl();
    let minified = ["config", "view", "--minify", "--flatten", "--context", context];
    let kubeconfig = shell::read(&mut kubectl.command(&minified), QUESTION_LIMIT)?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), kubeconfig)?;
    integration(
        run,
        target,
        &[
            ("BERTH_TEST_KUBECONFIG", file.path().display().to_string()),
            ("BERTH_TEST_HELM", helm),
            ("BERTH_TEST_REGISTRY", registry),
        ],
        log,
    )
}

pub(super) fn cluster(run: &Run, log: &Log) -> Result<()> {
    let tests = run.tests.integration("e2e", "cluster", log)?;
    let images = image::build(&run.cache, log)?;
    with_berth(run, &[&images.registry, &images.operator], log, |cluster| {
        pass(tests.within(cluster.inside(tests.path())), log)
    })
}

/// Several roll-outs at once: most of their time they wait.
const LANES: &str = "6";

pub(super) fn rollouts(run: &Run, log: &Log) -> Result<()> {
    let tests = test_binaries::of_this_package("rollouts", log)?;
    let built = image::with_releases(&run.cache, releases::ALL, log)?;
    // A program that is open for writing cannot be started.
    let plugin = built.plugin.into_temp_path();
    let table = tempfile::NamedTempFile::new()?;
    let outcome = with_berth(run, &[&built.releases, &built.operator], log, |cluster| {
        let mut command = tests.within(cluster.inside(tests.path()));
        command.env(releases::TABLE, table.path());
        command.env(releases::PLUGIN, &plugin);
        command.args(["--test-threads", LANES]).args(&run.words);
        pass(command, log)
    });
    for line in fs::read_to_string(table.path())?.lines() {
        run.report(line.to_owned());
    }
    outcome
}

/// Carries out `work` in a cluster that has these images, and the operator installed from its chart.
fn with_berth(run: &Run, images: &[&Archive], log: &Log, work: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let helm = tools::helm(&run.cache, log)?;
    tools::skopeo(&run.cache, log)?;
    // Another checkout's run uses clusters of the same names.
    let _alone = run.cache.lock("verify-clusters")?;
    // What an interrupted run left must not decide the result of this one.
    cluster::down(&run.cache, CLUSTER)?;
    let _ended = Ended(&run.cache);
    let cluster = Cluster::up(&run.cache, CLUSTER, log)?;
    for image in images {
        cluster.import(image, log)?;
    }
    let target = Target::Own(cluster.clone());
    let installed = install::operator(&target, &helm, &install::References::default(), log);
    let outcome = installed.and_then(|()| work(&cluster));
    if outcome.is_err() {
        keep_logs(&cluster, run)?;
    }
    cluster::down(&run.cache, CLUSTER).context("end the cluster")?;
    outcome
}

/// Ends the cluster on every way out; the way without an error says when that fails.
struct Ended<'c>(&'c Cache);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        cluster::down(self.0, CLUSTER).ok();
    }
}

/// The components' logs go with the cluster; those of a failed run are kept.
fn keep_logs(cluster: &Cluster, run: &Run) -> Result<()> {
    let kept = run.cache.folder("log/verify-cluster")?;
    for entry in fs::read_dir(cluster.logs())? {
        let path = entry?.path();
        fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}
