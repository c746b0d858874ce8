//! O2: a tag is a register with delete, and its history has an order in which everybody saw what was there.
//!
//! The search goes along the history (Wing and Gong, with Lowe's order of exploration): a state is a value and the set of
//! open requests that have had their effect. When a request returns it must have had it in every state that is kept. What
//! was not answered may have had it at any time until its replica was dead, or never.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    super::{history::NEVER, library::ManifestId},
    registers::{Act, Event},
};

/// More states than this are not searched.
const STATES: usize = 3_000_000;
/// So many requests may be open at a time: one bit each.
const OPEN: usize = 128;

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none that explains this event.
    NoOrder { event: usize },
    /// The search was given up.
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    value: Option<ManifestId>,
    /// The open requests, by slot, that have had their effect.
    done: u128,
}

/// Looks for an order of the events of one tag.
pub(super) fn search(events: &[Event]) -> Found {
    let mut search = Search::new(events);
    for point in points(events) {
        let going_on = match point {
            Point::Invoked(event) => search.open(event),
            Point::Returned(event) => search.close(event),
        };
        if let Err(found) = going_on {
            return found;
        }
    }
    Found::Order
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Invoked(usize),
    Returned(usize),
}

/// Beginnings and ends in the order of time; of two at one moment the beginning is first.
fn points(events: &[Event]) -> Vec<Point> {
    let mut all = Vec::new();
    for (place, event) in events.iter().enumerate() {
        all.push((event.invoked, 0, place));
        if event.until != NEVER {
            all.push((event.until, 1, place));
        }
    }
    all.sort_unstable();
    let point = |(_, end, place)| {
        if end == 0 {
            Point::Invoked(place)
        } else {
            Point::Returned(place)
        }
    };
    all.into_iter().map(point).collect()
}

struct Search<'e> {
    events: &'e [Event],
    states: HashSet<State>,
    /// The event in each slot.
    slots: [Option<usize>; OPEN],
    slot_of: HashMap<usize, usize>,
}

impl<'e> Search<'e> {
    fn new(events: &'e [Event]) -> Self {
        Self {
            events,
            states: HashSet::from([State { value: None, done: 0 }]),
            slots: [None; OPEN],
            slot_of: HashMap::new(),
        }
    }

    fn open(&mut self, event: usize) -> Result<(), Found> {
        let slot = self.slots.iter().position(Option::is_none).ok_or(Found::TooMany)?;
        self.slots[slot] = Some(event);
        self.slot_of.insert(event, slot);
        Ok(())
    }

    fn close(&mut self, event: usize) -> Result<(), Found> {
        let Some(slot) = self.slot_of.remove(&event) else {
            return Ok(());
        };
        let with = self.with(slot)?;
        if self.events[event].certain {
            self.states = with;
        } else {
            // It cannot happen any more: it has happened by now, or never.
            self.states.extend(with);
        }
        let bit = 1 << slot;
        let cleared = self.states.drain().map(|state| State {
            done: state.done & !bit,
            ..state
        });
        self.states = cleared.collect();
        self.slots[slot] = None;
        if self.states.is_empty() {
            return Err(Found::NoOrder { event });
        }
        self.forget_the_worse();
        Ok(())
    }

    /// Every state that can be reached and in which the event in `slot` has had its effect.
    fn with(&self, slot: usize) -> Result<HashSet<State>, Found> {
        let (mut reached, mut searched) = (HashSet::new(), 0);
        let mut best = Best::new(self.optional());
        // Those in which less has happened are first: they can do all that the others can.
        let mut todo: VecDeque<State> = self.states.iter().copied().collect();
        while let Some(state) = todo.pop_front() {
            let state = self.looked(state);
            if !best.takes(state) {
                continue;
            }
            searched += 1;
            if searched > STATES {
                return Err(Found::TooMany);
            }
            if state.done & (1 << slot) == 0 {
                todo.extend(self.next(state));
            } else {
                reached.insert(state);
            }
        }
        Ok(reached)
    }

    fn waiting(&self, state: State) -> impl Iterator<Item = (usize, &Event)> {
        let open = self.slots.iter().enumerate();
        open.filter(move |(slot, _)| state.done & (1 << slot) == 0)
            .filter_map(|(slot, event)| Some((slot, self.events.get((*event)?)?)))
    }

    /// A look that fits may as well be now: it changes nothing, and whoever has looked waits for nothing.
    fn looked(&self, state: State) -> State {
        let fitting = self
            .waiting(state)
            .filter(|(_, event)| event.act.is_a_look() && event.act.applied(state.value).is_ok());
        let done = fitting.fold(state.done, |done, (slot, _)| done | (1 << slot));
        State { done, ..state }
    }

    /// One request further.
    fn next(&self, state: State) -> Vec<State> {
        let mut optional: Vec<(Act, usize)> = Vec::new();
        let mut next = Vec::new();
        for (slot, event) in self.waiting(state).filter(|(_, event)| !event.act.is_a_look()) {
            let Ok(value) = event.act.applied(state.value) else {
                continue;
            };
            let done = state.done | (1 << slot);
            if event.certain {
                next.push(State { value, done });
            } else if value != state.value {
                // What need not have happened, and would change nothing, may as well happen later or never.
                optional.push((event.act, slot));
            }
        }
        // Of several that would do the same, the one that can wait the shortest.
        let until = |slot: usize| self.slots[slot].map_or(NEVER, |event| self.events[event].until);
        optional.sort_by_key(|(_, slot)| until(*slot));
        for (place, (act, slot)) in optional.iter().enumerate() {
            let first = optional[..place].iter().all(|(earlier, _)| earlier != act);
            if let (true, Ok(value)) = (first, act.applied(state.value)) {
                let done = state.done | (1 << slot);
                next.push(State { value, done });
            }
        }
        next
    }

    /// The slots of what need not have happened.
    fn optional(&self) -> u128 {
        let slots = self.slots.iter().enumerate();
        let optional = slots.filter(|(_, event)| event.is_some_and(|event| !self.events[event].certain));
        optional.fold(0, |mask, (slot, _)| mask | (1 << slot))
    }

    fn forget_the_worse(&mut self) {
        let optional = self.optional();
        if optional == 0 || self.states.len() < 2 {
            return;
        }
        let mut all: Vec<State> = self.states.drain().collect();
        all.sort_by_key(|state| (state.done & optional).count_ones());
        let mut best = Best::new(optional);
        self.states = all.into_iter().filter(|state| best.takes(*state)).collect();
    }
}

/// States that no other is better than. Of two that differ only in what need not have happened, the one in which less
/// has happened can do all that the other can.
struct Best {
    optional: u128,
    kept: HashMap<State, Vec<u128>>,
}

impl Best {
    fn new(optional: u128) -> Self {
        let kept = HashMap::new();
        Self { optional, kept }
    }

    /// False when one that is as good has been taken before.
    fn takes(&mut self, state: State) -> bool {
        let happened = state.done & self.optional;
        let done = state.done & !self.optional;
        let kept = self.kept.entry(State { done, ..state }).or_default();
        let is_new = kept.iter().all(|less| less & happened != *less);
        if is_new {
            kept.push(happened);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::history::{
        Call, Tag,
        tests::{ByHand, put},
    };
    use super::{super::registers::Registers, *};

    const DELETE: Call = Call::DeleteTag { tag: Tag(1) };

    fn found(history: &ByHand) -> Found {
        let registers = Registers::of(&history.0);
        let (_, events) = registers.iter().next().unwrap();
        search(events)
    }

    fn breaks(history: &ByHand) -> bool {
        matches!(found(history), Found::NoOrder { .. })
    }

    #[test]
    fn reads_that_overlap_a_push_may_see_either() {
        let history = ByHand::default()
            .put((1, 2), 1, 5)
            .put((10, 20), 1, 6)
            .read((11, 19), 1, Some(5))
            .read((12, 19), 1, Some(6))
            .read((30, 31), 1, Some(6));

        assert_eq!(found(&history), Found::Order);
    }

    #[test]
    fn a_push_that_is_forgotten_is_found() {
        let history = ByHand::default()
            .put((1, 2), 1, 5)
            .put((3, 4), 1, 6)
            .read((5, 6), 1, Some(5));

        assert!(breaks(&history));
    }

    #[test]
    fn a_tag_that_vanishes_is_found() {
        let history = ByHand::default().put((1, 2), 1, 5).read((5, 6), 1, None);

        assert!(breaks(&history));
    }

    #[test]
    fn a_tag_that_comes_back_after_its_deletion_is_found() {
        let history = ByHand::default()
            .put((1, 2), 1, 5)
            .done((3, 4), DELETE)
            .read((5, 6), 1, Some(5));

        assert!(breaks(&history));
    }

    #[test]
    fn reads_that_go_back_in_time_are_found() {
        let history = ByHand::default()
            .put((1, 2), 1, 5)
            .put((10, 100), 1, 6)
            .read((20, 30), 1, Some(6))
            .read((40, 50), 1, Some(5));

        assert!(breaks(&history));
    }

    #[test]
    fn a_tag_survives_the_deletion_of_another_manifest_only() {
        let delete = |manifest| Call::DeleteManifest {
            manifest: ManifestId(manifest),
        };
        let start = || ByHand::default().put((1, 2), 1, 5);

        assert!(breaks(&start().done((3, 4), delete(5)).read((5, 6), 1, Some(5))));
        assert!(breaks(&start().done((3, 4), delete(6)).read((5, 6), 1, None)));
        assert!(breaks(&start().refused((3, 4), delete(5), 404)));
        assert_eq!(
            found(&start().done((3, 4), delete(5)).read((5, 6), 1, None)),
            Found::Order
        );
    }

    #[test]
    fn what_was_not_answered_happens_late_once_or_never() {
        let start = || ByHand::default().put((1, 2), 1, 5).unknown((3, 4), put(1, 6));

        let late = start().read((10, 11), 1, Some(5)).read((20, 21), 1, Some(6));
        let never = start().read((10, 11), 1, Some(5)).read((20, 21), 1, Some(5));
        let twice = late.0.records.clone();
        assert_eq!(found(&late), Found::Order);
        assert_eq!(found(&never), Found::Order);
        let mut twice = ByHand(super::super::super::history::History {
            records: twice,
            ..Default::default()
        });
        twice = twice.put((30, 31), 1, 7).read((40, 41), 1, Some(6));
        assert!(breaks(&twice));
    }

    #[test]
    fn what_was_not_answered_cannot_happen_after_its_replica_is_dead() {
        let mut history = ByHand::default()
            .put((1, 2), 1, 5)
            .unknown((3, 4), put(1, 6))
            .read((10, 11), 1, Some(5))
            .read((20, 21), 1, Some(6));
        history.0.deaths.insert((0, 0), 9);

        assert!(breaks(&history));
    }

    #[test]
    fn what_was_not_answered_may_have_happened_before_its_replica_died() {
        let mut history = ByHand::default()
            .put((1, 2), 1, 5)
            .unknown((3, 4), put(1, 6))
            .read((20, 21), 1, Some(6));
        history.0.deaths.insert((0, 0), 9);

        assert_eq!(found(&history), Found::Order);
    }

    #[test]
    fn many_open_requests_are_searched_within_bounds() {
        let mut history = ByHand::default();
        for number in 0..20 {
            history = history.unknown((number, number + 1), put(1, usize::try_from(number).unwrap() % 4));
        }
        for number in 0..50 {
            let at = 100 + number * 10;
            history = history.put((at, at + 4), 1, 9).read((at + 5, at + 6), 1, Some(9));
        }

        assert_eq!(found(&history), Found::Order);
        assert!(breaks(&history.read((9000, 9001), 1, Some(8))));
    }
}
