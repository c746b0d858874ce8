//! An operator that has nothing to do writes nothing.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{http::Request, install, wait};
use serde_json::{Value, json};

use crate::harness::Namespace;

const RECONCILES: u64 = 100;
const OPERATOR: &str = "system:serviceaccount:berth-system:berth-operator";

#[test]
fn a_hundred_reconciles_without_a_change_write_nothing() {
    let namespace = Namespace::alone("idle").unwrap();
    namespace.apply_registry("registry", &json!({})).unwrap();
    namespace.wait_until_ready("registry").unwrap();
    let written = settled_writes(&namespace).unwrap();
    assert!(
        !written.is_empty(),
        "the audit log shows what the operator wrote to make the Registry ready"
    );
    let before = reconciles(&namespace).unwrap();

    // Each annotation of ours makes the operator look at the Registry once, or at several annotations at once.
    let mut touched = 0;
    wait::until("100 reconciles", Duration::from_mins(4), || {
        touched += 1;
        let annotation = format!("test/touched={touched}");
        namespace.run(&["annotate", "--overwrite", "registries.berth.dev/registry", &annotation])?;
        Ok((touched >= RECONCILES && reconciles(&namespace)? >= before + RECONCILES).then_some(()))
    })
    .unwrap();

    let after = operator_writes(&namespace).unwrap();
    assert_eq!(after[written.len()..], [] as [String; 0], "the operator wrote");
}

/// What the operator has written, once it has stopped: nothing new while it reconciled five times more.
fn settled_writes(namespace: &Namespace) -> Result<Vec<String>> {
    let (mut last, mut touched) = (operator_writes(namespace)?, 0);
    wait::until(
        "the operator is done with the new Registry",
        Duration::from_mins(1),
        || {
            let seen = reconciles(namespace)?;
            wait::until("5 more reconciles", Duration::from_secs(30), || {
                touched += 1;
                let annotation = format!("test/settling={touched}");
                namespace.run(&["annotate", "--overwrite", "registries.berth.dev/registry", &annotation])?;
                Ok((reconciles(namespace)? >= seen + 5).then_some(()))
            })?;
            let now = operator_writes(namespace)?;
            let same = now.len() == last.len();
            last = now;
            Ok(same.then(|| last.clone()))
        },
    )
}

/// The operator's writes in the namespace, from the API server's audit log.
fn operator_writes(namespace: &Namespace) -> Result<Vec<String>> {
    let audit = fs::read_to_string(namespace.cluster.audit_log()).context("read the audit log")?;
    let mut writes = Vec::new();
    for line in audit.lines() {
        // The last line may still be being written.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let object = &event["objectRef"];
        if event["user"]["username"] == OPERATOR && object["namespace"] == namespace.name {
            writes.push(format!("{} {} {}", event["verb"], object["resource"], object["name"]));
        }
    }
    Ok(writes)
}

/// How often the operators have looked at a Registry, by their own count: only one of them does.
fn reconciles(namespace: &Namespace) -> Result<u64> {
    let pods = namespace
        .kubectl
        .list(install::NAMESPACE, "pods", "app.kubernetes.io/name=berth-operator")?;
    let addresses: Vec<&str> = pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
    ensure!(!addresses.is_empty(), "no operator runs");
    addresses.into_iter().map(reconciles_of).sum()
}

fn reconciles_of(address: &str) -> Result<u64> {
    let metrics = Request::new("GET", &format!("http://{address}:8080/metrics"))
        .send()?
        .expect_status(200)?
        .text();
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("berth_operator_reconcile_total{"));
    let values = counts.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>());
    Ok(values.sum::<Result<u64, _>>()?)
}
