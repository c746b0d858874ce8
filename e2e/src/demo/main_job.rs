//! The demonstration, step by step.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{
    CLUSTER, NAMESPACE, UpArguments, push_pull, report,
    steps::{Steps, done},
};
use crate::{
    background::Background,
    cache::Cache,
    cluster::{self, Cluster, Object, Target, condition},
    diagnostics,
    image::{self, Images},
    install,
    progress::seconds,
    shell::Log,
    tools::{self, apt, kubernetes},
};

const READY_LIMIT: Duration = Duration::from_mins(3);
const EXAMPLE: &str = include_str!("../../examples/registry.yaml");

/// The steps on a cluster of this machine.
const HERE: [&str; 9] = [
    "Debian packages",
    "Kubernetes, one binary (6 min of 2 cores the first time)",
    "Cluster",
    "Berth's images, from static binaries",
    "Helm",
    OPERATOR,
    REGISTRY,
    PUSH,
    PULL,
];
/// The steps on an existing cluster.
const ELSEWHERE: [&str; 5] = ["Tools: kubectl, helm, skopeo", OPERATOR, REGISTRY, PUSH, PULL];
const OPERATOR: &str = "Operator, from the chart";
const REGISTRY: &str = "Registry, from e2e/examples/registry.yaml";
const PUSH: &str = "An image of four layers, pushed with skopeo";
const PULL: &str = "The same image, pulled back";

/// What takes long the first time, begun at once.
struct Builds {
    kubernetes: Background<PathBuf>,
    images: Background<Images>,
    helm: Background<PathBuf>,
}

pub(super) fn run(cache: &Cache, arguments: &UpArguments) -> Result<()> {
    let log = |name: &str| Log::create(cache.path("log").join(format!("demo-{name}.log")));
    match &arguments.context {
        None => on_this_machine(cache, arguments, &log),
        Some(context) => on_existing(cache, arguments, context, &log),
    }
}

/// The cluster, with nothing of Berth in it.
pub(super) fn cluster_only(cache: &Cache) -> Result<()> {
    let log = Log::create(cache.path("log/demo-cluster.log"))?;
    Steps::new(&["Cluster"])
        .step(&log, || Ok(done(Cluster::up(cache, CLUSTER, &log)?, "node ready")))
        .map(drop)
}

type Logs<'a> = dyn Fn(&str) -> Result<Log> + 'a;

fn on_this_machine(cache: &Cache, arguments: &UpArguments, logs: &Logs<'_>) -> Result<()> {
    cluster::ensure_possible()?;
    let mut steps = Steps::new(&HERE);
    let log = logs("packages")?;
    steps.step(&log, || {
        apt::ensure(
            &[&apt::NODE[..], &[apt::SKOPEO, apt::BUSYBOX, apt::CERTIFICATES]].concat(),
            cache,
            &log,
        )?;
        Ok(done((), ""))
    })?;
    let builds = start_builds(cache, logs)?;
    let log = logs("cluster")?;
    join(&mut steps, builds.kubernetes)?;
    let cluster = steps.step(&log, || {
        let cluster = Cluster::up(cache, CLUSTER, &log)?;
        Ok(done(cluster, "node ready"))
    })?;
    let images = join(&mut steps, builds.images)?;
    let helm = join(&mut steps, builds.helm)?;
    let target = Target::Own(cluster.clone());
    let log = logs("operator")?;
    steps.step(&log, || {
        let fresh = cluster.import(&images.operator, &log)?;
        let data_plane_fresh = cluster.import(&images.registry, &log)?;
        install::operator(&target, &helm, &arguments.references(), &log)?;
        if fresh {
            install::restart_pods(&target, "berth-operator")?;
        }
        if data_plane_fresh {
            install::restart_pods(&target, "berth-registry")?;
        }
        Ok(done(
            (),
            format!("{} and {}", size(&images.operator), size(&images.registry)),
        ))
    })?;
    apply_push_pull(cache, &mut steps, &target, logs)?;
    report::how_to_go_on(&steps.elapsed());
    Ok(())
}

fn on_existing(cache: &Cache, arguments: &UpArguments, context: &str, logs: &Logs<'_>) -> Result<()> {
    let mut steps = Steps::new(&ELSEWHERE);
    let log = logs("tools")?;
    let (target, helm) = steps.step(&log, || {
        tools::skopeo(cache, &log)?;
        apt::ensure(&[apt::BUSYBOX], cache, &log)?;
        Ok(done(
            (Target::existing(context, cache, &log)?, tools::helm(cache, &log)?),
            "",
        ))
    })?;
    let log = logs("operator")?;
    steps.step(&log, || {
        install::operator(&target, &helm, &arguments.references(), &log)?;
        Ok(done((), format!("in the cluster {context}")))
    })?;
    apply_push_pull(cache, &mut steps, &target, logs)?;
    report::how_to_go_on_in(context, &steps.elapsed());
    Ok(())
}

fn apply_push_pull(cache: &Cache, steps: &mut Steps, target: &Target, logs: &Logs<'_>) -> Result<()> {
    let log = logs("registry")?;
    steps.step(&log, || {
        target.kubectl().apply(EXAMPLE)?;
        Ok(done((), wait_until_ready(target, &log)?))
    })?;
    let log = logs("push")?;
    let pushed = steps.step(&log, || {
        let pushed = push_pull::push(cache, target, &log)?;
        let note = pushed.archive.digest.clone();
        Ok(done(pushed, note))
    })?;
    let log = logs("pull")?;
    steps.step(&log, || {
        let said = push_pull::pull(target, &pushed, &log)?;
        Ok(done((), said))
    })
}

fn start_builds(cache: &Cache, logs: &Logs<'_>) -> Result<Builds> {
    let (first, second, third) = (cache.clone(), cache.clone(), cache.clone());
    Ok(Builds {
        kubernetes: Background::start(logs("kubernetes")?, move |log| kubernetes::binary(&first, log)),
        images: Background::start(logs("images")?, move |log| image::build(&second, log)),
        helm: Background::start(logs("helm")?, move |log| {
            // One Go build at a time: the second finds what the first has fetched, and memory stays within bounds.
            kubernetes::binary(&third, log)?;
            tools::helm(&third, log)
        }),
    })
}

fn join<T: Send + 'static>(steps: &mut Steps, build: Background<T>) -> Result<T> {
    let log = build.log().clone();
    steps.step(&log, || {
        let (value, took) = build.join()?;
        Ok(done(value, format!("{} since it was begun", seconds(took))))
    })
}

fn size(image: &image::Archive) -> String {
    format!("{} of {} MB", image.reference, image.size_bytes / 1_000_000)
}

fn wait_until_ready(target: &Target, log: &Log) -> Result<String> {
    let kubectl = target.kubectl();
    let registry = Object {
        namespace: NAMESPACE,
        what: "registry.berth.dev/registry",
        until: "is Ready",
    };
    let waited = kubectl.wait_for(registry, READY_LIMIT, |registry| {
        let current = registry["status"]["observedGeneration"] == registry["metadata"]["generation"];
        current && condition(registry, "Ready") == Some("True")
    });
    if waited.is_err() {
        log.note(&diagnostics::of_namespace(&kubectl, NAMESPACE))?;
    }
    waited.context("wait for the Registry")?;
    Ok("Ready".to_owned())
}
