use serde_json::json;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn micro(seconds: i64) -> String {
    format!("{:.6}", at(seconds))
}

fn rollout(name: &str, id: &str) -> Holder {
    Holder::parse(&format!("Registry/team/{name}/{id}"))
}

fn claim(holder: &Holder, created: i64) -> Claim<'_> {
    Claim {
        holder,
        created: at(created),
        duration: MINUTE,
        idle: None,
    }
}

/// A Lease that was acquired at 0 and renewed at `renewed`.
fn held_by(holder: &str, renewed: i64) -> Lease {
    serde_json::from_value(json!({
        "metadata": {"name": "l", "namespace": "team", "uid": "u", "resourceVersion": "1"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 3,
            "acquireTime": micro(0), "renewTime": micro(renewed)},
    }))
    .unwrap()
}

fn free() -> Lease {
    let mut lease = held_by("x", 0);
    lease.spec.as_mut().unwrap().holder_identity = None;
    lease
}

/// The Lease after `claim` did what it is to do.
fn after_turn(lease: &Lease, claim: &Claim<'_>, now: i64) -> Lease {
    let step = plan(Some(lease), claim, at(now));
    written(Some(lease), &step, claim, at(now)).unwrap_or_else(|| lease.clone())
}

fn blocked(lease: &Lease, claim: &Claim<'_>, now: i64) -> Blocked {
    let step = plan(Some(lease), claim, at(now));
    let LockStep::Wait { blocked, .. } = step else {
        panic!("it does not wait: {step:?}");
    };
    blocked
}

#[test]
fn a_lock_that_is_not_there_is_made() {
    let holder = rollout("a", "1");
    let step = plan(None, &claim(&holder, 0), at(0));

    assert_eq!(step, LockStep::Create);
    let lease = written(None, &step, &claim(&holder, 0), at(0)).unwrap();
    assert_eq!(lease::hold(&lease).unwrap().holder, holder);
}

#[test]
fn a_free_lock_is_taken_under_a_new_token() {
    let holder = rollout("a", "1");
    let (lease, claim) = (free(), claim(&holder, 0));

    assert_eq!(plan(Some(&lease), &claim, at(9)), LockStep::Take);
    let taken = after_turn(&lease, &claim, 9);
    let hold = lease::hold(&taken).unwrap();
    assert_eq!((hold.token.transitions, hold.since), (4, at(9)));
}

#[test]
fn a_hold_is_renewed_after_a_third_of_its_duration_and_not_before() {
    let holder = rollout("a", "1");
    let lease = held_by("Registry/team/a/1", 10);
    let token = lease::token(&lease);

    let early = plan(Some(&lease), &claim(&holder, 0), at(29));
    let due = plan(Some(&lease), &claim(&holder, 0), at(30));

    assert_eq!(
        early,
        LockStep::Keep {
            token: token.clone(),
            renew_in: Duration::from_secs(1)
        }
    );
    assert_eq!(due, LockStep::Renew(token.clone()));
    let renewed = after_turn(&lease, &claim(&holder, 0), 30);
    let hold = lease::hold(&renewed).unwrap();
    assert_eq!((hold.token, hold.since, hold.renewed), (token, at(0), at(30)));
}

#[test]
fn a_hold_that_expired_and_that_nobody_took_is_kept_under_its_token() {
    let holder = rollout("a", "1");
    let lease = held_by("Registry/team/a/1", 0);

    assert_eq!(
        plan(Some(&lease), &claim(&holder, 0), at(5000)),
        LockStep::Renew(lease::token(&lease))
    );
}

#[test]
fn who_waits_is_told_the_holder_and_the_age() {
    let holder = rollout("b", "1");
    let lease = held_by("external/4711", 100);

    let blocked = blocked(&lease, &claim(&holder, 0), 125);

    assert_eq!(blocked.by, Some(Holder::External("external/4711".to_owned())));
    assert_eq!(blocked.to_string(), "held by external/4711 for 2m 5s");
    assert_eq!(blocked.left_behind, None);
}

#[test]
fn an_expired_lock_is_taken_only_after_its_jobs_were_looked_for() {
    let holder = rollout("b", "1");
    let lease = held_by("Registry/team/a/1", 0);
    let token = lease::token(&lease);
    let seen = Claim {
        idle: Some(&token),
        ..claim(&holder, 0)
    };
    let other = Token {
        uid: "u".to_owned(),
        transitions: 2,
    };
    let seen_another = Claim {
        idle: Some(&other),
        ..claim(&holder, 0)
    };

    assert_eq!(
        blocked(&lease, &claim(&holder, 0), 79).left_behind,
        None,
        "a third more for clocks that differ"
    );
    assert_eq!(blocked(&lease, &claim(&holder, 0), 81).left_behind, Some(token.clone()));
    assert_eq!(blocked(&lease, &seen, 79).left_behind, None, "it has not expired");
    assert_eq!(blocked(&lease, &seen_another, 81).left_behind, Some(token.clone()));
    assert_eq!(plan(Some(&lease), &seen, at(81)), LockStep::Take);
}

#[test]
fn a_newer_roll_out_of_the_same_registry_takes_the_lock_over_before_others_once_no_job_runs() {
    let (old, new, other) = (rollout("a", "1"), rollout("a", "2"), rollout("b", "1"));
    let lease = held_by(&old.to_string(), 0);
    let lease = after_turn(&lease, &claim(&other, -50), 1);
    let token = lease::token(&lease);

    assert_eq!(blocked(&lease, &claim(&new, 5), 6).left_behind, Some(token.clone()));
    let cleared = Claim {
        idle: Some(&token),
        ..claim(&new, 5)
    };
    let inherited = after_turn(&lease, &cleared, 6);
    let hold = lease::hold(&inherited).unwrap();
    assert_eq!((hold.holder, hold.token.transitions), (new, 4));
    assert_eq!(lease::waiters(&inherited, at(6)).len(), 1, "the other still waits");
}

#[test]
fn a_lock_goes_to_the_oldest_roll_out_that_waits() {
    let (older, newer) = (rollout("a", "1"), rollout("b", "1"));
    let lease = held_by("external/1", 0);
    let lease = after_turn(&lease, &claim(&newer, -10), 1);
    let lease = after_turn(&lease, &claim(&older, -20), 2);

    assert_eq!(blocked(&lease, &claim(&newer, -10), 3).ahead, 1);
    assert_eq!(blocked(&lease, &claim(&older, -20), 3).ahead, 0);
    let lease = released(&lease, &Holder::parse("external/1"), at(4)).unwrap();
    assert_eq!(
        blocked(&lease, &claim(&newer, -10), 5).to_string(),
        "free, and not this one's turn; 1 other comes first"
    );
    let lease = after_turn(&lease, &claim(&older, -20), 5);
    assert_eq!(lease::hold(&lease).unwrap().holder, older);
    let lease = released(&lease, &older, at(6)).unwrap();
    assert_eq!(plan(Some(&lease), &claim(&newer, -10), at(7)), LockStep::Take);
}

#[test]
fn who_stopped_asking_holds_nobody_up() {
    let (gone, here) = (rollout("a", "1"), rollout("b", "1"));
    let lease = held_by("external/1", 0);
    let lease = after_turn(&lease, &claim(&gone, -20), 1);
    let lease = released(&lease, &Holder::parse("external/1"), at(4)).unwrap();

    assert_eq!(blocked(&lease, &claim(&here, 0), 60).ahead, 1);
    assert_eq!(plan(Some(&lease), &claim(&here, 0), at(62)), LockStep::Take);
}

#[test]
fn a_registry_has_one_place_in_the_queue_and_keeps_it_for_its_newer_roll_out() {
    let (first, second, other) = (rollout("a", "1"), rollout("a", "2"), rollout("b", "1"));
    let lease = held_by("external/1", 0);
    let lease = after_turn(&lease, &claim(&first, -20), 1);
    let lease = after_turn(&lease, &claim(&other, -10), 2);
    let lease = after_turn(&lease, &claim(&second, 0), 3);

    let waiting: Vec<String> = lease::waiters(&lease, at(4))
        .into_iter()
        .map(|waiter| waiter.holder)
        .collect();
    assert_eq!(waiting, [second.to_string(), other.to_string()]);
}

#[test]
fn waiting_is_written_once_in_a_third_of_the_duration() {
    let holder = rollout("b", "1");
    let lease = after_turn(&held_by("external/1", 0), &claim(&holder, 0), 0);
    let enrols = |now| {
        matches!(
            plan(Some(&lease), &claim(&holder, 0), at(now)),
            LockStep::Wait { enrol: true, .. }
        )
    };

    assert!(!enrols(1));
    assert!(!enrols(19));
    assert!(enrols(20));
}

#[test]
fn releasing_gives_up_the_lock_and_the_place_and_nothing_of_others() {
    let (own, other) = (rollout("a", "1"), rollout("b", "1"));
    let lease = after_turn(&held_by(&own.to_string(), 0), &claim(&other, 0), 1);

    let lease_without_other = released(&lease, &other, at(2)).unwrap();
    assert_eq!(lease::hold(&lease_without_other).unwrap().holder, own);
    assert!(lease::waiters(&lease_without_other, at(2)).is_empty());
    assert_eq!(released(&lease_without_other, &other, at(3)), None);
    let free = released(&lease, &own, at(2)).unwrap();
    assert_eq!(lease::hold(&free), None);
    assert_eq!(lease::token(&free).transitions, 3, "the count goes on from here");
    assert_eq!(lease::waiters(&free, at(2)).len(), 1);
}

#[test]
fn a_lease_that_a_pipeline_made_with_nothing_but_its_name_and_duration_is_held() {
    let lease: Lease = serde_json::from_value(json!({
        "metadata": {"name": "l", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2027-01-15T08:00:00Z"},
        "spec": {"holderIdentity": "external/7", "leaseDurationSeconds": 3600},
    }))
    .unwrap();
    let holder = rollout("a", "1");

    assert_eq!(blocked(&lease, &claim(&holder, 0), 100).age, Duration::from_secs(100));
}

#[test]
fn a_queue_that_cannot_be_read_counts_as_empty() {
    let mut lease = free();
    lease.metadata.annotations = Some([(lease::WAITERS.to_owned(), "[{".to_owned())].into());
    let holder = rollout("a", "1");

    assert_eq!(plan(Some(&lease), &claim(&holder, 0), at(0)), LockStep::Take);
}
