//! Repetitions are put together: a row for each workload, with a cell for each target.

use super::{figures::Spread, is_limit, lines::Measure};

/// The rows, and the order of the targets.
#[derive(Debug)]
pub(super) struct Summary {
    /// Ours first, then registries, then limits; otherwise as they came.
    pub(super) targets: Vec<String>,
    /// In the order in which they came.
    pub(super) rows: Vec<Row>,
}

/// One workload with one number of connections.
#[derive(Debug)]
pub(super) struct Row {
    /// The workload's name.
    pub(super) workload: String,
    /// Connections.
    pub(super) connections: u64,
    /// One for each target of the summary; None where it was not measured.
    pub(super) cells: Vec<Option<Cell>>,
}

/// All repetitions of a row on one target.
#[derive(Debug)]
pub(super) struct Cell {
    rounds: Vec<((usize, usize, u64), f64)>,
    /// Operations in a second.
    pub(super) ops: Spread,
    /// Payload in a second, 10^6 bytes.
    pub(super) megabytes: Spread,
    /// The median of the repetitions' 99th percentiles, milliseconds.
    pub(super) p99_ms: f64,
    /// The median of the processor time for an operation.
    pub(super) cpu_us: Option<f64>,
    /// All that failed.
    pub(super) errors: u64,
}

impl Summary {
    /// Of measures, in the order in which they came.
    pub(super) fn of(measures: &[Measure]) -> Self {
        let mut targets: Vec<String> = Vec::new();
        let mut keys: Vec<(&str, u64)> = Vec::new();
        for measure in measures {
            if !targets.contains(&measure.target) {
                targets.push(measure.target.clone());
            }
            let key = (measure.workload.as_str(), measure.connections);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        targets.sort_by_key(|target| match target.as_str() {
            "berth" => 0,
            "dist3" => 1,
            limit if is_limit(limit) => 3,
            _ => 2,
        });
        let rows = keys
            .into_iter()
            .map(|(workload, connections)| {
                let mine = |measure: &&Measure| measure.workload == workload && measure.connections == connections;
                let measures: Vec<&Measure> = measures.iter().filter(mine).collect();
                Row {
                    workload: workload.to_owned(),
                    connections,
                    cells: targets.iter().map(|target| Cell::of(&measures, target)).collect(),
                }
            })
            .collect();
        Self { targets, rows }
    }
}

impl Row {
    /// How many times faster `one` was than `other`: the median of the rounds in which both did something, and its range.
    pub(super) fn ratio(&self, one: usize, other: usize) -> Option<Spread> {
        let (one, other) = (self.cells[one].as_ref()?, self.cells[other].as_ref()?);
        let ratios: Vec<f64> = one
            .rounds
            .iter()
            .filter_map(|(round, ops)| {
                let (_, against) = other.rounds.iter().find(|(known, _)| known == round)?;
                (*ops > 0.0 && *against > 0.0).then(|| ops / against)
            })
            .collect();
        Spread::of(&ratios)
    }

    /// True when payload, and not the number of operations, is what counts.
    pub(super) fn counts_payload(&self) -> bool {
        let name = &self.workload;
        name.ends_with("_1m")
            || name.ends_with("_100m")
            || name.ends_with("_1g")
            || ["image_pull", "image_push", "mixed_75_25"].contains(&name.as_str())
    }
}

impl Cell {
    fn of(measures: &[&Measure], target: &str) -> Option<Self> {
        let mine: Vec<&&Measure> = measures.iter().filter(|measure| measure.target == target).collect();
        let all = |value: fn(&Measure) -> f64| -> Vec<f64> { mine.iter().map(|measure| value(measure)).collect() };
        let cpu: Vec<f64> = mine.iter().filter_map(|measure| measure.cpu_us).collect();
        Some(Self {
            rounds: mine
                .iter()
                .map(|measure| (measure.round, measure.ops_per_second))
                .collect(),
            ops: Spread::of(&all(|measure| measure.ops_per_second))?,
            megabytes: Spread::of(&all(|measure| measure.megabytes_per_second))?,
            p99_ms: Spread::of(&all(|measure| measure.p99_ms))?.median,
            cpu_us: Spread::of(&cpu).map(|spread| spread.median),
            errors: mine.iter().map(|measure| measure.errors).sum(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn measure(target: &str, rep: u64, ops: f64) -> Measure {
        Measure {
            target: target.to_owned(),
            workload: "blob_head".to_owned(),
            connections: 8,
            round: (0, 0, rep),
            ops_per_second: ops,
            megabytes_per_second: 0.0,
            p99_ms: 1.5,
            cpu_us: Some(30.0),
            errors: 0,
        }
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let measures = [
            ("berth", 1, 10.0),
            ("dist3", 1, 1.0),
            ("berth", 2, 100.0),
            ("dist3", 2, 50.0),
            ("berth", 3, 30.0),
            ("dist3", 3, 10.0),
        ];

        let summary = Summary::of(&measures.map(|(target, rep, ops)| measure(target, rep, ops)));

        let expected = Spread {
            median: 3.0,
            min: 2.0,
            max: 10.0,
        };
        assert_eq!(summary.rows[0].ratio(0, 1), Some(expected));
    }

    #[test]
    fn a_round_in_which_one_did_nothing_has_no_ratio() {
        let summary = Summary::of(&[measure("berth", 1, 10.0), measure("dist3", 1, 0.0)]);

        assert_eq!((summary.rows[0].ratio(0, 1), summary.rows[0].ratio(1, 0)), (None, None));
    }

    #[test]
    fn what_was_never_measured_side_by_side_has_no_ratio() {
        let summary = Summary::of(&[measure("berth", 1, 10.0), measure("dist3", 2, 1.0)]);

        assert_eq!(summary.rows[0].ratio(0, 1), None);
    }

    #[test]
    fn we_come_first_and_limits_last() {
        let names = ["nginx", "docker-registry", "berth", "dist3"];

        let summary = Summary::of(&names.map(|name| measure(name, 1, 1.0)));

        assert_eq!(summary.targets, ["berth", "dist3", "docker-registry", "nginx"]);
    }

    #[test]
    fn an_error_in_any_repetition_counts() {
        let mut failed = measure("berth", 2, 1.0);
        failed.errors = 3;

        let summary = Summary::of(&[measure("berth", 1, 1.0), failed]);

        assert_eq!(summary.rows[0].cells[0].as_ref().map(|cell| cell.errors), Some(3));
    }
}
