//! What the servers count about themselves, over all their lives: a counter that starts anew is not a loss.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::http::Request;

const INTERVAL: Duration = Duration::from_millis(500);

/// The sums of all counters, by name; labels are added up.
#[derive(Debug, Default)]
pub(super) struct Meter {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: BTreeMap<(usize, String), f64>,
    sums: BTreeMap<String, f64>,
}

impl Meter {
    /// Asks every server again and again until `over`. What one counts between the last question and its death is not
    /// seen, so the sums are "at least".
    pub(super) fn watch(&self, admins: &[String], over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            self.look(admins);
            thread::sleep(INTERVAL);
        }
    }

    /// Asks every server once.
    pub(super) fn look(&self, admins: &[String]) {
        for (replica, admin) in admins.iter().enumerate() {
            let url = format!("{admin}/metrics");
            if let Ok(answer) = Request::new("GET", &url).send() {
                self.take(replica, &answer.text());
            }
        }
    }

    fn take(&self, replica: usize, text: &str) {
        let mut now: BTreeMap<&str, f64> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            if let Some(value) = value.filter(|_| name.ends_with("_total")) {
                *now.entry(name).or_default() += value;
            }
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in now {
            let before = kept.last.insert((replica, name.to_owned()), value).unwrap_or(0.0);
            let more = if value >= before { value - before } else { value };
            *kept.sums.entry(name.to_owned()).or_default() += more;
        }
    }

    /// What was counted under this name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sums.get(name).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_over_labels_and_lives() {
        let meter = Meter::default();

        meter.take(0, "# TYPE x counter\nx_total{a=\"1\"} 3\nx_total{a=\"2\"} 4\nx 9\n");
        meter.take(0, "x_total{a=\"1\"} 5\nx_total{a=\"2\"} 4\n");
        meter.take(0, "x_total{a=\"1\"} 1\n");
        meter.take(1, "x_total 10\n");

        assert!((meter.sum("x_total") - 20.0).abs() < 0.01, "{}", meter.sum("x_total"));
    }
}
