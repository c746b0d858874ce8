//! The alerts of the chart, as Prometheus itself understands them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian has both programs in one package.
fn promtool() -> PathBuf {
    let prometheus = std::env::var("BERTH_TEST_PROMETHEUS").unwrap();
    Path::new(&prometheus).with_file_name("promtool")
}

#[test]
fn every_alert_fires_when_its_trouble_lasts_and_none_when_all_is_well() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/berth/alerts.yaml");
    let alerts = fs::read_to_string(&chart).unwrap();
    let cases = include_str!("alerts.yaml");
    let alerts_count = alerts.matches("- alert: ").count();
    assert!(
        cases.contains(&format!("value: {alerts_count}}}")),
        "{alerts_count} alerts"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.yaml");
    fs::write(&file, cases.replace("[ALERTS]", &format!("[{}]", chart.display()))).unwrap();

    let tried = Command::new(promtool())
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&tried.stdout).into_owned() + &String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success(), "{said}");
}
