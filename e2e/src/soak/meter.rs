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

/// The sums of all counters, by name and labels.
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
            let is_counter = line.split(['{', ' ']).next().unwrap_or_default().ends_with("_total");
            let Some((labelled, value)) = line.rsplit_once(' ').filter(|_| is_counter) else {
                continue;
            };
            if let Ok(value) = value.parse::<f64>() {
                now.insert(labelled, value);
            }
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in now {
            let before = kept.last.insert((replica, name.to_owned()), value).unwrap_or(0.0);
            let more = if value >= before { value - before } else { value };
            *kept.sums.entry(name.to_owned()).or_default() += more;
        }
    }

    /// What was counted under this name and labels that have this text among them.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |labelled: &str| {
            let (known, labels) = labelled.split_at(labelled.find('{').unwrap_or(labelled.len()));
            known == name && labels.contains(label)
        };
        let meant = kept.sums.iter().filter(|(labelled, _)| is_meant(labelled));
        meant.map(|(_, sum)| sum).sum()
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

        assert!(
            (meter.sum("x_total", "") - 20.0).abs() < 0.01,
            "{}",
            meter.sum("x_total", "")
        );
        assert!((meter.sum("x_total", "a=\"1\"") - 6.0).abs() < 0.01);
        assert!(meter.sum("x", "").abs() < 0.01);
    }
}
