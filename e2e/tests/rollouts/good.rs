//! Good releases pass without one wrong answer; what must not be rolled out is refused before anything moves.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{image::STABLE, releases as r, wait};
use serde_json::{Value, json};

use crate::{
    client::{Clients, Load},
    lane::{Expected, Lane},
    report,
};

const FEW: Load = Load {
    clients: 1,
    rest: Duration::from_secs(2),
};
const MANY: Load = Load {
    clients: 4,
    rest: Duration::from_millis(100),
};
const PASSES: Expected = Expected {
    stopped_in: "",
    end: "Completed",
    reasons: &[],
};

/// A change that must be refused: nothing of the Registry moves, and what is said names `remedy`.
fn refused(lane: &Lane, about: &str, change: &Value, remedy: &str) -> Result<()> {
    let (pods, deployment) = (lane.main_pods()?, generation(lane)?);
    let seen = lane.roll_out(change)?;
    report::line(about, "Preflight -> Failed", &seen, report::Counted::default())?;
    let told = format!("{about}: {:#}", seen.record["status"]);
    ensure!(seen.stopped_in() == "Preflight" && seen.end() == "Failed", "{told}");
    ensure!(seen.message.contains(remedy), "`{remedy}` is not said; {told}");
    ensure!(
        lane.main_pods()? == pods && generation(lane)? == deployment,
        "something moved; {told}"
    );
    ensure!(has_no_canary(lane)?, "there is a canary; {told}");
    Ok(())
}

/// The Deployment of an earlier canary goes after its last pod.
fn has_no_canary(lane: &Lane) -> Result<bool> {
    let deployment = lane.get("apis/apps/v1", "deployments/registry-canary")?;
    Ok(deployment.is_none_or(|deployment| deployment["spec"]["replicas"] == 0))
}

/// Of the Deployment: it counts every change of its spec.
fn generation(lane: &Lane) -> Result<Value> {
    let deployment = lane.get("apis/apps/v1", "deployments/registry")?.unwrap_or_default();
    Ok(deployment["metadata"]["generation"].clone())
}

#[test]
fn clients_of_a_registry_that_nobody_changes_see_nothing_wrong() {
    let lane = Lane::new("control", &json!({})).unwrap();
    let clients = Clients::start(&lane.host, MANY);

    let asked = wait::until("the clients have asked a lot", Duration::from_mins(2), || {
        Ok(Some(clients.asked()).filter(|asked| asked.len() >= 300))
    });

    let wrong: Vec<_> = asked.unwrap().into_iter().filter_map(|one| one.wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn good_releases_pass_and_no_client_notices() {
    let few = json!({"rollout": {"canary": {"bake": {"max": "12s"}}, "analysis": {"onNoData": "ProceedIfSynthetic"}}});
    let lane = Lane::new("good", &few).unwrap();

    lane.release(&r::QUIET, PASSES, FEW).unwrap();
    let busy = json!({"rollout": {"canary": {"bake": {"max": "40s"}}, "analysis": {"onNoData": "Pause"}}});
    lane.change(&busy).unwrap().unwrap();
    lane.release(&r::BUSY, PASSES, MANY).unwrap();
    let config = json!({"config": {"uploads": {"expiry": "12h"}}});
    lane.change_beside_clients("1.2.1 other configuration", &config, PASSES, MANY)
        .unwrap();
}

#[test]
fn a_release_with_migrations_of_both_phases_passes_and_closes_the_way_back() {
    let lane = Lane::new("floor", &json!({})).unwrap();

    let seen = lane.release(&r::MIGRATES, PASSES, MANY).unwrap();

    for phase in ["PreMigrating", "Soaking", "PostMigrating"] {
        assert!(
            seen.phases.iter().any(|(seen, _)| seen == phase),
            "{phase}: {:#}",
            seen.record
        );
    }
    let applied = lane.sql("SELECT count(*) FROM schema_migrations").unwrap();
    assert_eq!(applied.trim(), "3", "both of its migrations are in the database");
    let floor = lane.registry().unwrap()["status"]["rollbackFloor"].clone();
    assert_eq!(floor["version"], r::MIGRATES.version, "{floor:#}");
    let older = json!({"version": STABLE.version});
    refused(&lane, "1.0.0 below the floor", &older, r::MIGRATES.version).unwrap();
    let newer = json!({"version": r::AFTER_STOP.version});
    refused(&lane, "1.5.0 over a required stop", &newer, r::STOPPED_AT).unwrap();
}

#[test]
fn a_downgrade_below_what_a_consumer_needs_is_refused_before_anything_moves() {
    let needs =
        json!({"version": r::QUIET.version, "requirements": [{"consumer": "builds", "minVersion": r::QUIET.version}]});
    let lane = Lane::new("contract", &needs).unwrap();

    refused(
        &lane,
        "1.0.0 below a consumer's need",
        &json!({"version": STABLE.version}),
        "builds",
    )
    .unwrap();
}
