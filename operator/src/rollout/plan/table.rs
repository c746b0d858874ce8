//! Every place where a roll-out can be against everything that can happen there. What follows is in `table.txt`, and no
//! place is without a way out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::facts::{
    ApprovalFact, Burn, Command, CommandKind, Evidence, Facts, JobFact, LockFact, PodSeen, Pods, Probe, Verdict,
};
use super::properties::VERDICTS;
use super::tests::{at, at_phase, evidence, facts, pods, revision, settings};
use super::*;
use crate::api::rollout::Decision;
use crate::registry::trouble::{Needs, Trouble};

/// When every place was come to.
const COME: i64 = 10_000_000;
/// Longer than any deadline.
const LONG: i64 = 100 * 24 * 3600;

const ENDS: [Phase; 5] = [
    Phase::Idle,
    Phase::Completed,
    Phase::RolledBack,
    Phase::Superseded,
    Phase::Failed,
];

const UNDER_WAY: [Phase; 11] = [
    Phase::Preflight,
    Phase::AwaitingLock,
    Phase::PreMigrating,
    Phase::CanaryDeploying,
    Phase::CanaryAnalyzing,
    Phase::AwaitingApproval,
    Phase::Promoting,
    Phase::MainVerifying,
    Phase::Soaking,
    Phase::PostMigrating,
    Phase::RollingBack,
];

const STEPS: [ApprovalStep; 3] = [ApprovalStep::Canary, ApprovalStep::Main, ApprovalStep::PostMigrations];

/// Where a roll-out is.
#[derive(Debug)]
struct Place {
    phase: Phase,
    stands_in: Option<Phase>,
    asks: Option<ApprovalStep>,
}

/// What an event changes at a time in what is seen.
type Change = Box<dyn Fn(&mut Facts, Timestamp)>;

/// What happens there.
struct Event {
    name: String,
    /// Seconds between the place and its first turn.
    after: i64,
    /// Turns, half a minute apart, as far as the place is not left.
    turns: i64,
    change: Change,
}

fn places() -> Vec<Place> {
    let plain = |phase| Place {
        phase,
        stands_in: None,
        asks: None,
    };
    let asking = |asks| Place {
        asks: Some(asks),
        ..plain(Phase::AwaitingApproval)
    };
    let without_asking = UNDER_WAY
        .into_iter()
        .filter(|phase| *phase != Phase::AwaitingApproval)
        .map(plain);
    let standing_still = [Phase::Paused, Phase::Held].into_iter().flat_map(|phase| {
        UNDER_WAY.into_iter().map(move |stood| Place {
            phase,
            stands_in: Some(stood),
            asks: (stood == Phase::AwaitingApproval).then_some(ApprovalStep::Main),
        })
    });
    let mut places: Vec<Place> = without_asking.chain(STEPS.into_iter().map(asking)).collect();
    places.extend(standing_still.filter(Place::is_come_to));
    places.extend(ENDS.into_iter().map(plain));
    places
}

impl Place {
    fn name(&self) -> String {
        match (self.stands_in, self.asks) {
            (Some(stood), _) => format!("{} in {}", self.phase.as_str(), stood.as_str()),
            (None, Some(asks)) => format!("{} of {}", self.phase.as_str(), asks.as_str()),
            (None, None) => self.phase.as_str().to_owned(),
        }
    }

    /// Whether a roll-out can stand still there.
    fn is_come_to(&self) -> bool {
        self.stands_in
            .is_none_or(|stood| followers(stood).contains(&self.phase))
    }

    fn memory(&self) -> Memory {
        let (mut memory, _) = at_phase(Phase::Soaking);
        if self.phase == Phase::Idle {
            return Memory::default();
        }
        let state = memory.rollout.as_mut().unwrap();
        (state.phase, state.stands_in, state.asks) = (self.phase, self.stands_in, self.asks);
        state.phase_since = Time(at(COME));
        state.baking_since = Some(Time(at(COME)));
        state.verdict = None;
        state.ended_before = Some(BTreeMap::new());
        state.finished_at = self.phase.is_final().then(|| Time(at(COME)));
        if self.phase == Phase::RolledBack {
            memory.refused.push(Refused {
                revision: state.to.revision.clone(),
                ..Refused::default()
            });
        }
        memory
    }
}

/// What is seen while nothing new happens: work that was begun goes on.
fn quiet(memory: &Memory) -> Facts {
    let mut facts = facts();
    let is_new = memory.rollout.as_ref().is_some_and(main_is_new);
    facts.main = Some(pods(if is_new { "2.0.0" } else { "1.0.0" }, 3));
    facts.canary = Some(pods("2.0.0", 1));
    let running = JobFact::Running { trouble: None };
    (facts.preflight, facts.pre, facts.post) = (running.clone(), running.clone(), running);
    match memory.rollout.as_ref().map(standing) {
        Some(Phase::CanaryDeploying) => facts.canary.as_mut().unwrap().rollout.ready = 0,
        Some(Phase::Promoting) => facts.main.as_mut().unwrap().rollout.ready = 1,
        Some(Phase::RollingBack) => facts.main = Some(pods("2.0.0", 3)),
        _ => {}
    }
    facts
}

/// What is seen while all goes well.
fn well(facts: &mut Facts, memory: &Memory, now: Timestamp) {
    let state = memory.rollout.as_ref();
    let is_new = state.is_some_and(|state| main_is_new(state) && standing(state) != Phase::RollingBack);
    let is_back = state.is_some_and(|state| standing(state) == Phase::RollingBack);
    facts.main = Some(pods(if is_new { "2.0.0" } else { "1.0.0" }, 3));
    facts.canary = Some(pods("2.0.0", 1)).filter(|_| !is_back);
    let succeeded = JobFact::Succeeded {
        digest: None,
        contract: state.and_then(|state| state.contract.clone()),
        migrated: None,
    };
    (facts.preflight, facts.pre, facts.post) = (succeeded.clone(), succeeded.clone(), succeeded);
    facts.evidence = Some(evidence(Verdict::Strong, now));
}

fn event(name: &str, (after, turns): (i64, i64), change: impl Fn(&mut Facts, Timestamp) + 'static) -> Event {
    Event {
        name: name.to_owned(),
        after,
        turns,
        change: Box::new(change),
    }
}

fn seen(verdict: Verdict, probe: &Probe, burn: Burn) -> impl Fn(&mut Facts, Timestamp) + use<> {
    let probe = probe.clone();
    move |facts, now| {
        facts.evidence = Some(Evidence {
            probe: probe.clone(),
            burn,
            ..evidence(verdict, now)
        });
    }
}

/// Everything that can be measured, by itself: these are also what may go on for ever.
fn looks(after: i64, turns: i64) -> Vec<Event> {
    let mut looks = Vec::new();
    for verdict in VERDICTS {
        let change = seen(verdict, &Probe::Passed, Burn::Quiet);
        looks.push(event(verdict.as_str(), (after, turns), change));
    }
    let failed = Probe::Failed("corrupt".to_owned());
    let away = Probe::Unreachable("refused".to_owned());
    let more = [
        ("a failed probe beside NoData", Verdict::NoData, &failed, Burn::NoData),
        ("a failed probe beside Strong", Verdict::Strong, &failed, Burn::Quiet),
        ("a probe out of reach", Verdict::NoData, &away, Burn::NoData),
        (
            "a burning budget beside Strong",
            Verdict::Strong,
            &Probe::Passed,
            Burn::Burning,
        ),
    ];
    for (name, verdict, probe, burn) in more {
        looks.push(event(name, (after, turns), seen(verdict, probe, burn)));
    }
    looks
}

fn jobs() -> Vec<Event> {
    let set = |fact: JobFact| {
        move |facts: &mut Facts, _now: Timestamp| {
            (facts.preflight, facts.pre, facts.post) = (fact.clone(), fact.clone(), fact.clone());
        }
    };
    let mut jobs = vec![
        event("no Job", (30, 1), set(JobFact::Absent)),
        event("a Job that goes on", (LONG, 1), |_, _| {}),
    ];
    for code in [None, Some(1), Some(40), Some(50)] {
        let failed = JobFact::Failed {
            job: "j".to_owned(),
            code,
            message: "no".to_owned(),
            migrated: None,
            contract: None,
        };
        let name = code.map_or_else(
            || "a Job that failed".to_owned(),
            |code| format!("a Job that ended with {code}"),
        );
        jobs.push(event(&name, (30, 1), set(failed)));
    }
    let succeeded = JobFact::Succeeded {
        digest: None,
        contract: at_phase(Phase::Soaking).0.rollout.unwrap().contract,
        migrated: None,
    };
    jobs.push(event("a Job that succeeded", (30, 1), set(succeeded)));
    jobs
}

fn both(facts: &mut Facts, change: impl Fn(&mut Pods)) {
    facts.main.iter_mut().for_each(&change);
    facts.canary.iter_mut().for_each(&change);
}

fn ending(ends: i32) -> PodSeen {
    PodSeen {
        name: "a".to_owned(),
        ends,
        ..PodSeen::default()
    }
}

fn of_pods() -> Vec<Event> {
    vec![
        event("the pods serve", (30, 1), |facts, _| {
            both(facts, |pods| pods.rollout.ready = pods.rollout.wanted);
        }),
        event("the old pods are back", (30, 1), |facts, _| {
            (facts.main, facts.canary) = (Some(pods("1.0.0", 3)), None);
        }),
        event("pods that do not serve", (30, 1), |facts, _| {
            both(facts, |pods| pods.rollout.ready = 0);
        }),
        event("pods that never serve", (30, 70), |facts, _| {
            both(facts, |pods| pods.rollout.ready = 0);
        }),
        event("a pod whose container ends once", (30, 20), |facts, _| {
            both(facts, |pods| pods.seen = vec![ending(1)]);
        }),
        event("a pod whose container ends twice", (30, 1), |facts, _| {
            both(facts, |pods| pods.seen = vec![ending(2)]);
        }),
        event("a pod that runs and is not ready", (30, 8), |facts, _| {
            both(facts, |pods| {
                pods.seen = vec![PodSeen {
                    unready_since: Some(at(COME)),
                    ..ending(0)
                }];
            });
        }),
        event("pods that crash", (30, 1), |facts, _| {
            both(facts, |pods| {
                (pods.rollout.ready, pods.restarts) = (0, 3);
                pods.trouble = Some(Trouble {
                    reason: Reason::PodsCrash,
                    message: "exit code 1".to_owned(),
                    needs: Needs::Person,
                });
            });
        }),
    ]
}

fn from_outside(place: &Place) -> Vec<Event> {
    let mut events = vec![
        event("a lock that is busy", (30, 1), |facts, _| {
            facts.lock = LockFact::Busy("another".to_owned());
        }),
        event("a lock that is lost", (30, 1), |facts, _| {
            facts.lock = LockFact::Lost("another".to_owned());
        }),
        event("a freeze", (30, 1), |facts, _| facts.frozen = Some("frozen".to_owned())),
        event("another version is wanted", (30, 1), |facts, _| {
            facts.target.revision = revision("3.0.0");
        }),
        event("the old version is wanted", (30, 1), |facts, _| {
            facts.target.revision = revision("1.0.0");
        }),
    ];
    let id = place.memory().rollout.map(|state| state.id).unwrap_or_default();
    for kind in CommandKind::ALL {
        let command = command(kind, &id, 0);
        events.push(event(kind.as_str(), (30, 1), move |facts, _| {
            facts.commands.push(command.clone());
        }));
    }
    for (name, decision) in [("approval", Decision::Approve), ("rejection", Decision::Reject)] {
        let step = place.asks.unwrap_or(ApprovalStep::Main);
        events.push(event(name, (30, 1), move |facts, _| {
            facts.approvals.push(word(step, decision));
        }));
    }
    events
}

fn command(kind: CommandKind, id: &str, number: i64) -> Command {
    Command {
        kind,
        value: format!("{id} {number}"),
        rollout: id.to_owned(),
        reason: String::new(),
        by: "alice".to_owned(),
    }
}

fn word(step: ApprovalStep, decision: Decision) -> ApprovalFact {
    ApprovalFact {
        step,
        decision,
        by: "bob".to_owned(),
        digest: None,
        reason: String::new(),
    }
}

fn events(place: &Place) -> Vec<Event> {
    let mut events = vec![
        event("nothing", (30, 1), |_, _| {}),
        event("nothing for long", (LONG, 1), |_, _| {}),
    ];
    for (suffix, after, turns) in [("once", 30, 1), ("twice", 30, 2), ("at the end", LONG, 1)] {
        events.extend(looks(after, turns).into_iter().map(|look| Event {
            name: format!("{} {suffix}", look.name),
            ..look
        }));
    }
    events.extend(jobs());
    events.extend(of_pods());
    events.extend(from_outside(place));
    events
}

fn happens(place: &Place, event: &Event) -> Memory {
    let mut memory = place.memory();
    for turn in 0..event.turns {
        let now = at(COME + event.after + 30 * turn);
        let mut facts = quiet(&memory);
        (event.change)(&mut facts, now);
        memory = step(&settings(), &memory, &facts, now);
        if memory.rollout.as_ref().map(|state| state.phase) != Some(place.phase) {
            break;
        }
    }
    memory
}

fn phase_of(memory: &Memory) -> Phase {
    memory.rollout.as_ref().map_or(Phase::Idle, |state| state.phase)
}

/// What follows on every event. What ends as it would if nothing happened for as long is not named.
fn row(place: &Place) -> String {
    let events = events(place);
    let nexts: Vec<Phase> = events.iter().map(|event| phase_of(&happens(place, event))).collect();
    let by_itself = |event: &Event| match event.after {
        LONG => &nexts[1..2],
        _ if event.turns >= 60 => &nexts[..2],
        _ => &nexts[..1],
    };
    let mut outcomes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (index, (event, next)) in events.iter().zip(&nexts).enumerate() {
        let is_stay = *next == place.phase;
        assert!(
            is_stay || followers(place.phase).contains(next),
            "{}: {} leads to {next:?}",
            place.name(),
            event.name
        );
        let is_told = if index < 2 {
            !is_stay
        } else {
            !by_itself(event).contains(next)
        };
        if is_told {
            let outcome = if is_stay { "(stays)" } else { next.as_str() };
            outcomes.entry(outcome).or_default().push(&event.name);
        }
    }
    let leads_out = nexts.iter().any(|next| *next != place.phase);
    assert!(
        place.phase.is_final() || leads_out,
        "nothing leads out of {}",
        place.name()
    );
    let mut row = format!("{}\n", place.name());
    for (outcome, events) in outcomes {
        writeln!(row, "  -> {outcome}: {}", events.join(", ")).unwrap();
    }
    row
}

#[test]
fn what_follows_on_every_event_in_every_place_is_as_the_table_says() {
    let table: String = places().iter().map(row).collect();

    assert!(
        table == include_str!("table.txt"),
        "the table is not what it was; if that is meant, table.txt becomes:\n{table}"
    );
}

/// An hour passes well, and people answer what they are asked.
fn an_hour_goes_well(memory: &Memory, hour: i64) -> Memory {
    let now = at(COME + 2 * LONG + hour * 3600);
    let mut facts = quiet(memory);
    well(&mut facts, memory, now);
    let state = memory.rollout.clone().unwrap();
    match state.phase {
        Phase::Paused => facts.commands.push(command(CommandKind::Resume, &state.id, hour)),
        Phase::Held => facts.commands.push(command(CommandKind::Retry, &state.id, hour)),
        Phase::AwaitingApproval => facts
            .approvals
            .extend(state.asks.map(|step| word(step, Decision::Approve))),
        _ => {}
    }
    step(&settings(), memory, &facts, now)
}

#[test]
fn once_all_is_well_again_every_roll_out_comes_to_its_end_whatever_has_happened() {
    for place in places().into_iter().filter(|place| !place.phase.is_final()) {
        for event in events(&place) {
            let mut memory = happens(&place, &event);
            for hour in 0..100 {
                if memory.active().is_none() {
                    break;
                }
                memory = an_hour_goes_well(&memory, hour);
            }
            let end = memory.rollout.as_ref();
            assert!(memory.active().is_none(), "{}: {}: {end:?}", place.name(), event.name);
        }
    }
}

#[test]
fn what_is_measured_for_ever_ends_a_roll_out_or_asks_a_person() {
    for place in places().into_iter().filter(|place| !place.phase.is_final()) {
        for look in looks(0, 0) {
            let mut memory = place.memory();
            for turn in 1..2000 {
                let is_asked = matches!(phase_of(&memory), Phase::Paused | Phase::Held | Phase::AwaitingApproval);
                if memory.active().is_none() || is_asked {
                    break;
                }
                let now = at(COME + 600 * turn);
                let mut facts = quiet(&memory);
                well(&mut facts, &memory, now);
                (look.change)(&mut facts, now);
                memory = step(&settings(), &memory, &facts, now);
            }
            let is_asked = matches!(phase_of(&memory), Phase::Paused | Phase::Held | Phase::AwaitingApproval);
            let end = memory.rollout.as_ref();
            assert!(
                memory.active().is_none() || is_asked,
                "{}: {}: {end:?}",
                place.name(),
                look.name
            );
        }
    }
}
