//! What the program says of its settings.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use std::process::{Command, Output};

fn check_config(database_url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth-registry"))
        .args(["check-config", "--database-url", database_url])
        .output()
        .unwrap()
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn check_config_shows_a_database_url_without_its_password() {
    let output = check_config("postgres://berth:hunter2@db:5432/berth?password=hunter2&sslmode=require");

    let told = both(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("postgres://berth:***@db:5432/berth?password=***&sslmode=require"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_misspelt_database_url_is_refused_without_its_password() {
    let output = check_config("postgre://berth:hunter2@db/berth");

    let told = both(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--database-url: database.url: the value is not `postgres://"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}
