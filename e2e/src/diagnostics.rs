//! What a person needs to see when something in the cluster is not as it should be.

use std::fmt::Write;

use crate::cluster::Kubectl;

/// The namespace's pods, events and Registries, the logs of its pods and the operator's last words.
pub fn of_namespace(kubectl: &Kubectl, namespace: &str) -> String {
    let mut text = String::new();
    let mut show = |title: &str, arguments: &[&str]| {
        let shown = kubectl.run(arguments).unwrap_or_else(|error| format!("{error:#}"));
        // Writing to a string cannot fail.
        writeln!(text, "--- {title}\n{shown}").ok();
    };
    show(
        "pods",
        &[
            "--namespace",
            namespace,
            "get",
            "pods,jobs,persistentvolumeclaims",
            "--output",
            "wide",
        ],
    );
    show(
        "events",
        &["--namespace", namespace, "get", "events", "--sort-by", ".lastTimestamp"],
    );
    show(
        "registries",
        &["--namespace", namespace, "describe", "registries.berth.dev"],
    );
    let logs = [
        "logs",
        "--all-containers",
        "--prefix",
        "--ignore-errors",
        "--tail",
        "12",
        "--selector",
    ];
    show(
        "logs",
        &[
            &["--namespace", namespace],
            &logs[..],
            &["app.kubernetes.io/managed-by=berth-operator"],
        ]
        .concat(),
    );
    let operator = ["app.kubernetes.io/name=berth-operator"];
    show(
        "operator",
        &[&["--namespace", crate::install::NAMESPACE], &logs[..], &operator].concat(),
    );
    text
}
