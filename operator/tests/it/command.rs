//! The program as a person runs it.

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn operator(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-operator"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    operator(arguments).output().unwrap()
}

#[test]
fn crds_prints_what_is_checked_in() {
    let printed = output(&["crds"]);

    assert!(printed.status.success());
    let checked_in = ["registries", "registryrollouts", "registryapprovals"]
        .map(|kind| format!("---\n{}", crate::read(&format!("crds/{kind}.yaml"))));
    assert!(
        String::from_utf8(printed.stdout).unwrap() == checked_in.concat(),
        "what is printed is not what is checked in"
    );
}

#[test]
fn crds_into_a_closed_pipe_is_no_failure() {
    let mut child = operator(&["crds"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());

    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(child.wait().unwrap().success(), "{complaint}");
}

#[test]
fn a_word_that_is_no_command_is_wrong_use() {
    assert_eq!(output(&["walk"]).status.code(), Some(2));
}

#[test]
fn an_operator_without_a_cluster_says_so() {
    let failed = output(&["run", "--admin-listen", "127.0.0.1:0"]);

    let complaint = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("find the cluster"), "{complaint}");
}
