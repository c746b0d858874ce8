//! What `cargo demo` says at its end, and about a cluster that is up.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use super::{CLUSTER, NAMESPACE, running};
use crate::{
    cache::Cache,
    cluster::{Cluster, HOST},
    progress::{line, seconds},
};

pub(super) fn how_to_go_on(took: &Duration) {
    line(&format!(
        "
Done in {}. The cluster stays up, in a network of its own. To go on by hand:

  cargo demo -- kubectl --namespace {NAMESPACE} get registries,pods,services
  cargo demo -- kubectl --namespace {NAMESPACE} describe registry registry
  cargo demo -- in skopeo inspect --tls-verify=false docker://{HOST}:30500/hello/world:latest
  cargo demo -- in skopeo --insecure-policy copy --dest-tls-verify=false oci-archive:IMAGE.tar docker://{HOST}:30500/my/image:1
  eval \"$(cargo demo -- shell-env)\"      kubectl and berth_in for this shell
  cargo demo -- status                   what is up
  cargo demo -- down                     ends it; nothing of the cluster is left",
        seconds(*took)
    ));
}

pub(super) fn how_to_go_on_in(context: &str, took: &Duration) {
    line(&format!(
        "
Done in {}. To go on by hand:

  kubectl --context {context} --namespace {NAMESPACE} describe registry registry
  kubectl --context {context} --namespace {NAMESPACE} port-forward service/registry 5000
  skopeo inspect --tls-verify=false docker://127.0.0.1:5000/hello/world:latest

To undo it: kubectl --context {context} delete namespace {NAMESPACE}; helm --kube-context {context} uninstall berth --namespace {}",
        seconds(*took),
        crate::install::NAMESPACE,
    ));
}

pub(super) fn status(cache: &Cache) -> Result<ExitCode> {
    let Some(cluster) = Cluster::running(cache, CLUSTER)? else {
        line("The cluster is not up: `cargo demo` brings it up.");
        return Ok(ExitCode::FAILURE);
    };
    line(&format!(
        "The cluster is up; its logs are in {}.",
        cluster.logs().display()
    ));
    let kubectl = cluster.kubectl();
    line(&kubectl.run(&["get", "pods", "--all-namespaces", "--output", "wide"])?);
    let registries = kubectl.attempt(&["get", "registries.berth.dev", "--all-namespaces"])?;
    line(if registries.status.success() {
        &registries.stdout
    } else {
        "Berth is not installed in it."
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) fn shell_functions(cache: &Cache) -> Result<ExitCode> {
    let cluster = running(cache)?;
    let kubectl = cluster.kubectl().command(&[]);
    let words: Vec<_> = kubectl.get_args().map(|word| quoted(&word.to_string_lossy())).collect();
    let kubeconfig = quoted(&cluster.kubeconfig().display().to_string());
    line(&format!("export KUBECONFIG={kubeconfig}"));
    line(&format!("kubectl() {{ nsenter {} \"$@\"; }}", words.join(" ")));
    line(&format!(
        "berth_in() {{ nsenter --net=/proc/{}/ns/net -- \"$@\"; }}",
        cluster.init()
    ));
    Ok(ExitCode::SUCCESS)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
