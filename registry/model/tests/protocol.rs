//! Explores the protocol as it is, and as it would be with each flaw.
//!
//! `cargo verify --only model` shows the lines that begin with `model: `.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's tool stops where it fails, and this one reports"
)]

use berth_model::flaw::Flaw;
use berth_model::promise::{self, Promise};
use berth_model::scenario::{self, Scenario};
use berth_model::state::{Action, Protocol, State};
use stateright::{Checker, HasDiscoveries, Model, Path};
use std::collections::BTreeSet;

type Holds = fn(&Protocol, &State) -> bool;

/// The number of states, and what came about in them.
fn explored(scenario: &'static Scenario) -> (usize, BTreeSet<&'static str>) {
    let protocol = Protocol { scenario, flaw: None };
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let found: BTreeSet<&str> = checker.discoveries().into_keys().collect();
    for (name, holds) in promise::ALL {
        if let Some(path) = checker.discovery(name) {
            let trace = shortened(protocol, path, *holds);
            panic!("{}: {name}\n{}", scenario.name, told(protocol, &trace).join("\n"));
        }
    }
    assert!(checker.is_done(), "{}: not all states were explored", scenario.name);
    println!(
        "model: {:>8} states, up to {} steps deep: {}",
        checker.unique_state_count(),
        checker.max_depth(),
        scenario.name
    );
    (checker.unique_state_count(), found)
}

#[test]
fn the_protocol_keeps_every_promise_in_every_state() {
    let (mut states, mut came_about) = (0, BTreeSet::new());
    for scenario in scenario::ALL {
        let (count, found) = explored(scenario);
        states += count;
        came_about.extend(found);
    }
    for (name, _) in promise::COMES_ABOUT {
        assert!(came_about.contains(name), "no scenario has it that {name}");
    }
    println!("model: {states:>8} states in all, 0 violations");
}

#[test]
fn every_flaw_breaks_a_promise() {
    for flaw in Flaw::ALL {
        let broken = promise::ALL.iter().find(|(name, _)| name.starts_with(flaw.breaks()));
        let (name, holds) = *broken.unwrap();
        let trace = counterexample(*flaw, (name, holds));
        println!("model: {}: in {} steps not {name}", flaw.describe(), trace.len());
        for step in trace {
            println!("model:     {step}");
        }
    }
}

/// The shortest way to break a promise.
fn counterexample(flaw: Flaw, (name, holds): Promise) -> Vec<String> {
    let protocol = Protocol {
        scenario: flaw.scenario(),
        flaw: Some(flaw),
    };
    let until = HasDiscoveries::AllOf(BTreeSet::from([name]));
    let checker = protocol.checker().finish_when(until).spawn_bfs().join();
    let path = checker.discovery(name);
    let path = path.unwrap_or_else(|| panic!("{} breaks nothing of {name}", flaw.describe()));
    told(protocol, &shortened(protocol, path, holds))
}

/// The steps up to the first state that does not hold, without those that it does not take.
fn shortened(protocol: Protocol, path: Path<State, Action>, holds: Holds) -> Vec<Action> {
    let mut steps = path.into_actions();
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let without: Vec<Action> = [&steps[..at], &steps[at + 1..]].concat();
        let end = played(protocol, &without).pop();
        if end.is_some_and(|state| !holds(&protocol, &state)) {
            steps = without;
        }
    }
    steps
}

/// The states along these steps; none when one of them cannot be taken.
fn played(protocol: Protocol, steps: &[Action]) -> Vec<State> {
    let mut states = protocol.init_states();
    for step in steps {
        let next = states.last().and_then(|last| protocol.next_state(last, *step));
        let Some(next) = next else {
            return Vec::new();
        };
        states.push(next);
    }
    states
}

fn told(protocol: Protocol, steps: &[Action]) -> Vec<String> {
    let states = played(protocol, steps);
    let taken = states.iter().zip(steps);
    taken.map(|(before, step)| protocol.tell(before, *step)).collect()
}
