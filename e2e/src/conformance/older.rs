//! The older official suite, the snapshot of May 2023 with 68 specs.
//!
//! No single run can pass all of them: four are alternatives. Two are for content that was there before, and two for
//! registries that do not mount what they are asked to. So it runs four times: as it is, on content that was pushed before,
//! and behind a proxy that takes the mounts away. A spec passed when it passed in one run and failed in none.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Options, Profile, Suite, mistake::Mistake, proxy::Proxy, tally::Counts};
use crate::{shell, shell::Log};

const LIMIT: Duration = Duration::from_mins(5);
/// The end of its output, which sums up.
const SHOWN: usize = 20;
const REPORT: &str = "junit.xml";
/// How many specs the suite has.
pub const SPECS: usize = 68;

/// What one spec came to, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Skipped,
    Passed,
    Failed,
}

/// The suite's program and the registry that it is run against.
#[derive(Debug)]
pub struct Older<'s> {
    /// The program.
    pub program: PathBuf,
    /// Where the registry listens.
    pub host: String,
    /// Gets its output.
    pub log: &'s Log,
}

impl Older<'_> {
    /// Runs it in all four ways; gives what came of the specs.
    ///
    /// # Errors
    /// When it cannot be run or does not report.
    pub fn run(&self) -> Result<Counts> {
        let content = Content::push(&self.host)?;
        let (refuses_all, refuses_anonymous) = (
            Proxy::start(&self.host, Mistake::NoMount)?,
            Proxy::start(&self.host, Mistake::NoAnonymousMount)?,
        );
        let everything = ["PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT"].as_slice();
        let runs = [
            (
                self.host.clone(),
                everything,
                vec![("OCI_AUTOMATIC_CROSSMOUNT", "1".to_owned())],
            ),
            (self.host.clone(), &["PULL", "CONTENT_DISCOVERY"], content.variables()),
            (
                refuses_all.host(),
                &["PUSH"],
                vec![("OCI_AUTOMATIC_CROSSMOUNT", "0".to_owned())],
            ),
            (
                refuses_anonymous.host(),
                &["PUSH"],
                vec![("OCI_AUTOMATIC_CROSSMOUNT", "0".to_owned())],
            ),
        ];
        let mut outcomes = BTreeMap::new();
        for (number, (host, workflows, variables)) in runs.into_iter().enumerate() {
            let report = self.once(number, &host, workflows, &variables)?;
            for (spec, outcome) in read(&report) {
                let known = outcomes.entry(spec).or_insert(outcome);
                *known = outcome.max(*known);
            }
        }
        counted(&outcomes, self.log)
    }

    fn once(&self, number: usize, host: &str, workflows: &[&str], variables: &[(&str, String)]) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&self.program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("OCI_") {
                command.env_remove(variable);
            }
        }
        command
            .current_dir(folder.path())
            .env("OCI_ROOT_URL", format!("http://{host}"))
            .env("OCI_NAMESPACE", format!("older/run{number}"))
            .env("OCI_CROSSMOUNT_NAMESPACE", format!("older/run{number}-other"))
            .env("OCI_REPORT_DIR", folder.path())
            .envs(workflows.iter().map(|name| (format!("OCI_TEST_{name}"), "1")))
            .envs(variables.iter().map(|(name, value)| (name, value)));
        // Its exit code is 1 when a spec failed; what counts is the report.
        let outcome = shell::outcome(&mut command, LIMIT)?;
        self.log.note(&shell::last_lines(&outcome.stdout, SHOWN))?;
        let report = folder.path().join(REPORT);
        fs::read_to_string(&report).with_context(|| format!("run {number} left no report: {}", outcome.stderr))
    }
}

/// An image with tags that is there before the suite runs.
struct Content {
    manifest: String,
    blob: String,
    tags: Vec<String>,
}

impl Content {
    fn push(host: &str) -> Result<Self> {
        let options = Options {
            repository: "older/run1".to_owned(),
            ..Options::new(Profile::Stable, false)
        };
        let mut suite = Suite::new(host, options);
        let data = suite.push_for_others(&["first", "second", "third", "fourth"]);
        let faults = suite.tally.faults();
        ensure!(
            faults.is_empty(),
            "push content for the older suite: {}",
            faults.join("; ")
        );
        let blob = data.blobs.into_iter().next().context("an image without a blob")?;
        let manifest = data
            .manifests
            .into_iter()
            .next()
            .context("an image without a manifest")?;
        Ok(Self {
            manifest: manifest.digest,
            blob: blob.0,
            tags: data.tags.into_iter().map(|(tag, _)| tag).collect(),
        })
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OCI_TAG_NAME", self.tags.first().cloned().unwrap_or_default()),
            ("OCI_MANIFEST_DIGEST", self.manifest.clone()),
            ("OCI_BLOB_DIGEST", self.blob.clone()),
            ("OCI_TAG_LIST", self.tags.join(",")),
        ]
    }
}

/// The specs of a report, by name.
fn read(report: &str) -> Vec<(String, Outcome)> {
    let specs = report.split("<testcase ").skip(1);
    let outcome = |spec: &str| {
        if spec.contains("<failure") {
            Outcome::Failed
        } else if spec.contains("<skipped") {
            Outcome::Skipped
        } else {
            Outcome::Passed
        }
    };
    specs
        .filter_map(|spec| {
            let name = spec.strip_prefix("name=\"")?.split('"').next()?;
            Some((name.to_owned(), outcome(spec)))
        })
        .collect()
}

fn counted(outcomes: &BTreeMap<String, Outcome>, log: &Log) -> Result<Counts> {
    let mut counts = Counts::default();
    for (spec, outcome) in outcomes {
        match outcome {
            Outcome::Passed => counts.passed += 1,
            Outcome::Failed => counts.failed += 1,
            Outcome::Skipped => counts.skipped += 1,
        }
        if *outcome != Outcome::Passed {
            log.note(&format!("older suite: {spec}: {outcome:?}"))?;
        }
    }
    Ok(counts)
}

/// True when every spec of the suite passed.
pub fn is_complete(counts: &Counts) -> bool {
    counts.is_clean() && counts.passed == SPECS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_was_skipped_and_what_failed() {
        let report = r#"<testsuite tests="2" failures="1">
            <testcase name="Pull a" time="0.1"></testcase>
            <testcase name="Pull b" time="0.1"><failure type="Failure">why</failure></testcase>
            <testcase name="Pull c" time="0.1"><skipped>why</skipped></testcase></testsuite>"#;

        let outcomes: Vec<Outcome> = read(report).into_iter().map(|(_, outcome)| outcome).collect();

        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed, Outcome::Skipped]);
    }

    #[test]
    fn fewer_specs_than_the_suite_has_are_not_complete() {
        let counts = Counts {
            passed: SPECS - 1,
            ..Counts::default()
        };

        assert!(!is_complete(&counts));
    }
}
