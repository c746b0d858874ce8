//! Bad releases: each is stopped where it shows that it is bad, and the pods that serve are never touched.

use std::{thread, time::Duration};

use anyhow::Result;
use e2e::{image::Release, releases as r};
use serde_json::json;

use crate::{
    client::Load,
    lane::{Expected, Lane},
};

const LOAD: Load = Load {
    clients: 2,
    rest: Duration::from_millis(150),
};

const fn stopped(stopped_in: &'static str, end: &'static str, reasons: &'static [&'static str]) -> Expected {
    Expected {
        stopped_in,
        end,
        reasons,
    }
}

/// Rolls out one after the other, on a Registry whose pods are the same ones at the end.
fn each(lane: &Lane, releases: &[(Release, Expected)]) -> Result<()> {
    let pods = lane.main_pods()?;
    for (release, expected) in releases {
        lane.release(release, *expected, LOAD)?;
        anyhow::ensure!(
            lane.main_pods()? == pods,
            "{}: the pods that serve were replaced",
            release.version
        );
    }
    Ok(())
}

#[test]
fn a_release_that_cannot_migrate_never_gets_a_pod() {
    let lane = Lane::new("migrations", &json!({})).unwrap();

    each(
        &lane,
        &[
            (
                r::MIGRATION_FAILS,
                stopped("PreMigrating", "Failed", &["MigrationFailed"]),
            ),
            (
                r::MIGRATION_HANGS,
                stopped("PreMigrating", "Failed", &["MigrationFailed"]),
            ),
        ],
    )
    .unwrap();

    assert!(
        lane.get("apis/apps/v1", "deployments/registry-canary")
            .unwrap()
            .is_none()
    );
    let applied = lane.sql("SELECT count(*) FROM schema_migrations").unwrap();
    assert_eq!(applied.trim(), "1", "nothing of them is in the database");
}

#[test]
fn a_migration_that_would_keep_clients_waiting_gives_up_first() {
    let lane = Lane::new("locks", &json!({})).unwrap();
    let shortly = json!({"migrations": {"pre": {"activeDeadline": "40s"}}});
    lane.change(&shortly).unwrap().unwrap();
    thread::scope(|scope| {
        let holder = scope
            .spawn(|| lane.sql("BEGIN; LOCK TABLE repositories IN ACCESS SHARE MODE; SELECT pg_sleep(300); COMMIT"));

        each(
            &lane,
            &[(
                r::MIGRATION_LOCKS,
                stopped("PreMigrating", "Failed", &["MigrationFailed"]),
            )],
        )
        .unwrap();

        // It ends with its connection; that it was cut off is no news.
        lane.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)%' AND pid <> pg_backend_pid()")
            .unwrap();
        holder.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_release_that_does_not_do_its_work_is_found_out_by_the_operators_own_requests() {
    let lane = Lane::new("probed", &json!({})).unwrap();

    each(
        &lane,
        &[
            (r::CRASHES, stopped("CanaryDeploying", "RolledBack", &[])),
            (r::LIES, stopped("CanaryDeploying", "RolledBack", &[])),
            (r::CORRUPTS, stopped("CanaryDeploying", "RolledBack", &[])),
            (r::FAILS_FOREIGN_UPLOADS, stopped("CanaryDeploying", "RolledBack", &[])),
        ],
    )
    .unwrap();
}

#[test]
fn a_release_that_is_slow_or_fails_is_measured_and_taken_away() {
    let lane = Lane::new("measured", &json!({})).unwrap();

    each(
        &lane,
        &[
            (r::READS_SLOWLY, stopped("CanaryAnalyzing", "RolledBack", &[])),
            (r::WRITES_SLOWLY, stopped("CanaryAnalyzing", "RolledBack", &[])),
            (r::FAILS_MANIFESTS, stopped("CanaryDeploying", "RolledBack", &[])),
        ],
    )
    .unwrap();
}

#[test]
fn a_release_that_cannot_be_judged_does_not_pass() {
    let lane = Lane::new("unjudged", &json!({})).unwrap();

    each(
        &lane,
        &[
            (r::WITHOUT_METRICS, stopped("CanaryAnalyzing", "Paused", &["NoData"])),
            // Its memory ends amid the operator's own requests, or later, as fast as the machine is.
            (
                r::LEAKS,
                stopped("CanaryDeploying or CanaryAnalyzing", "RolledBack", &[]),
            ),
        ],
    )
    .unwrap();
}
