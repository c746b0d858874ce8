//! Ending a cluster.

use std::process::Stdio;

use e2e::{
    cache::Cache,
    cluster::{self, Cluster},
    shell::Log,
};

/// A cluster beside the one of the other tests.
const CLUSTER: &str = "ended";

#[test]
fn a_cluster_that_was_ended_leaves_nothing() {
    let cache = Cache::open().unwrap();
    let log = Log::create(cache.path("log/cluster-test-ended.log")).unwrap();
    let ended = Cluster::up(&cache, CLUSTER, &log).unwrap();
    ended
        .kubectl()
        .run(&["run", "pod", "--image", "berth/busybox:1", "--", "sleep", "1000"])
        .unwrap();
    ended
        .kubectl()
        .run(&["wait", "pod/pod", "--for", "condition=Ready", "--timeout", "50s"])
        .unwrap();
    let mut beside = ended.inside("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let there = cluster::leftovers(&cache, CLUSTER).unwrap();
    for kind in ["program", "control group", "folder"] {
        assert!(
            there.iter().any(|thing| thing.starts_with(kind)),
            "while it is up there is a {kind}: {there:?}"
        );
    }

    assert!(cluster::down(&cache, CLUSTER).unwrap());

    assert_eq!(cluster::leftovers(&cache, CLUSTER).unwrap(), [] as [String; 0]);
    assert!(
        !beside.wait().unwrap().success(),
        "a program that was started in its network has ended too"
    );
    assert!(
        !cluster::down(&cache, CLUSTER).unwrap(),
        "there is nothing to end a second time"
    );
}
