//! Where a test can stop the code, what it can see of its order, and faults that it can plant.
//!
//! A race is staged, never hoped for: the code names its points, and a test makes whoever comes there next wait. Tests in one
//! process do not meet, because each has a runtime of its own: a point knows the runtime that it is in, whatever task or
//! blocking thread runs it.
//!
//! Without the feature `staging` there is nothing of this: points are over at once, nothing is noted, and [`mutated`] is `false`
//! where the compiler sees it.

#[cfg(not(feature = "staging"))]
mod nothing {
    /// A place where a test can make the code wait.
    #[inline]
    pub fn point(_name: &'static str) -> std::future::Ready<()> {
        std::future::ready(())
    }

    /// Something that a test may want to know the order of.
    #[inline]
    pub const fn note(_name: &'static str) {}

    /// Whether this fault is planted.
    #[inline]
    pub const fn mutated(_name: &str) -> bool {
        false
    }

    /// Whether this fault is planted in this one of several places, which makes `name.part` of it.
    #[inline]
    pub const fn mutated_in(_name: &str, _part: &str) -> bool {
        false
    }
}

#[cfg(not(feature = "staging"))]
pub use nothing::{mutated, mutated_in, note, point};

#[cfg(feature = "staging")]
pub use stage::{Hold, NobodyCame, hold, mutated, mutated_in, note, noted, point};

#[cfg(feature = "staging")]
mod stage {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;
    use tokio::runtime::{Handle, Id};
    use tokio_util::sync::CancellationToken;

    /// How long somebody is waited for.
    const LIMIT: Duration = Duration::from_secs(30);
    /// The variable that names the one fault to plant.
    const MUTATION: &str = "BERTH_MUTATION";

    static STAGES: LazyLock<Mutex<HashMap<Id, Stage>>> = LazyLock::new(Mutex::default);
    static PLANTED: LazyLock<Option<String>> = LazyLock::new(planted);

    /// What the test of one runtime wants.
    #[derive(Debug, Default)]
    struct Stage {
        gates: Vec<Gate>,
        notes: Vec<&'static str>,
    }

    /// A point at which the next to come is to wait.
    #[derive(Debug, Clone)]
    struct Gate {
        point: &'static str,
        arrived: CancellationToken,
        released: CancellationToken,
    }

    /// Nobody came to a point in time.
    #[derive(Debug, thiserror::Error)]
    #[error("nobody came to the point `{point}` within {LIMIT:?}")]
    pub struct NobodyCame {
        /// The point.
        pub point: &'static str,
    }

    /// Holds one who comes to a point, until it is released or dropped.
    #[derive(Debug)]
    #[must_use = "dropping it releases who is held"]
    pub struct Hold(Gate);

    /// Makes the next one of this runtime who comes to a point wait there. Several holds of one point catch one each, in their
    /// order.
    pub fn hold(point: &'static str) -> Hold {
        let gate = Gate {
            point,
            arrived: CancellationToken::new(),
            released: CancellationToken::new(),
        };
        if let Ok(here) = Handle::try_current() {
            stages().entry(here.id()).or_default().gates.push(gate.clone());
        }
        Hold(gate)
    }

    impl Hold {
        /// Waits until somebody waits at the point.
        ///
        /// # Errors
        /// `NobodyCame` after half a minute.
        pub async fn arrived(&self) -> Result<(), NobodyCame> {
            let point = self.0.point;
            let arrival = tokio::time::timeout(LIMIT, self.0.arrived.cancelled()).await;
            arrival.map_err(|_elapsed| NobodyCame { point })
        }

        /// Lets whoever is held go on. Who has not come yet will not be held.
        pub fn release(self) {
            drop(self);
        }
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            self.0.released.cancel();
        }
    }

    /// A place where a test can make the code wait.
    pub async fn point(name: &'static str) {
        note(name);
        if let Some(gate) = next_gate(name) {
            gate.arrived.cancel();
            gate.released.cancelled().await;
        }
    }

    /// Something that a test may want to know the order of.
    pub fn note(name: &'static str) {
        if let Ok(here) = Handle::try_current() {
            stages().entry(here.id()).or_default().notes.push(name);
        }
    }

    /// Every point and note that this runtime has come by since it was last asked.
    pub fn noted() -> Vec<&'static str> {
        let here = Handle::try_current().ok();
        let mut stages = stages();
        let stage = here.and_then(|here| stages.get_mut(&here.id()));
        stage.map(|stage| std::mem::take(&mut stage.notes)).unwrap_or_default()
    }

    /// Whether this fault is planted.
    pub fn mutated(name: &str) -> bool {
        PLANTED.as_deref() == Some(name)
    }

    /// Whether this fault is planted in this one of several places, which makes `name.part` of it.
    pub fn mutated_in(name: &str, part: &str) -> bool {
        let planted = PLANTED.as_deref().and_then(|planted| planted.split_once('.'));
        planted == Some((name, part))
    }

    fn next_gate(point: &'static str) -> Option<Gate> {
        let here = Handle::try_current().ok()?;
        let mut stages = stages();
        let stage = stages.get_mut(&here.id())?;
        stage.gates.retain(|gate| !gate.released.is_cancelled());
        let at = stage.gates.iter().position(|gate| gate.point == point)?;
        Some(stage.gates.remove(at))
    }

    fn stages() -> MutexGuard<'static, HashMap<Id, Stage>> {
        STAGES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "a planted fault is no setting of the product")]
    fn planted() -> Option<String> {
        std::env::var(MUTATION).ok().filter(|name| !name.is_empty())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn who_comes_to_a_held_point_waits_until_it_is_released() {
            let held = hold("here");
            let mut passing = tokio::task::JoinSet::new();
            passing.spawn(point("here"));

            held.arrived().await.unwrap();

            assert!(passing.try_join_next().is_none());
            held.release();
            passing.join_next().await.unwrap().unwrap();
            assert_eq!(noted(), ["here"]);
        }

        #[tokio::test]
        async fn a_hold_catches_one_and_other_points_are_passed() {
            let held = hold("here");
            let mut first = tokio::task::JoinSet::new();
            first.spawn(point("here"));
            held.arrived().await.unwrap();

            point("here").await;
            point("elsewhere").await;

            assert!(first.try_join_next().is_none());
            held.release();
            first.join_next().await.unwrap().unwrap();
        }

        #[tokio::test]
        async fn a_hold_that_is_dropped_holds_nobody() {
            drop(hold("here"));

            point("here").await;

            assert!(next_gate("here").is_none());
        }

        #[test]
        fn runtimes_do_not_meet() {
            let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (one, other) = (runtime(), runtime());
            let held = one.block_on(async { hold("here") });

            other.block_on(point("here"));

            assert!(!held.0.arrived.is_cancelled());
            assert!(one.block_on(async { noted() }).is_empty());
        }
    }
}
