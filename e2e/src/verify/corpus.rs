//! The stage of bad input: what `registry/tests/corpus` sends, and how much of it surprised.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use super::{Run, test_binaries::pass};
use crate::{
    servers::{Postgres, Release},
    shell::Log,
};

/// What each category writes when it is through.
const MARK: &str = "corpus: ";

pub(super) fn sqlite(run: &Run, log: &Log) -> Result<()> {
    play(run, &[], log)
}

pub(super) fn postgres(run: &Run, log: &Log) -> Result<()> {
    let server = Postgres::start(&run.cache, Release::Newest, Ipv4Addr::LOCALHOST.into(), log)?;
    play(run, &[("BERTH_TEST_DATABASE_URL", server.url())], log)
}

fn play(run: &Run, settings: &[(&str, String)], log: &Log) -> Result<()> {
    let mut command = run.tests.integration("registry", "corpus", log)?.command();
    // What passes is told, too.
    command.arg("--nocapture");
    command.envs(settings.iter().map(|(variable, value)| (variable, value)));
    let outcome = pass(command, log);
    let written = std::fs::read_to_string(log.path())?;
    let categories: Vec<&str> = written
        .lines()
        .filter_map(|line| line.split_once(MARK))
        .map(|(_, told)| told)
        .collect();
    for category in &categories {
        run.report((*category).to_owned());
    }
    run.report(total(&categories)?);
    outcome?;
    ensure!(!categories.is_empty(), "no category told how many cases it has");
    Ok(())
}

/// The sum of lines such as `tags    200 cases    0 unexpected`.
fn total(categories: &[&str]) -> Result<String> {
    let number_before = |category: &str, word: &str| -> Result<u64> {
        let words: Vec<&str> = category.split_whitespace().collect();
        let at = words.iter().position(|known| *known == word);
        let number = at.and_then(|at| words.get(at.checked_sub(1)?));
        let number = number.with_context(|| format!("no number of {word} in {category}"))?;
        Ok(number.parse()?)
    };
    let sum = |word| {
        categories.iter().try_fold(0, |sum, category| {
            Ok::<_, anyhow::Error>(sum + number_before(category, word)?)
        })
    };
    let (cases, unexpected) = (sum("cases")?, sum("unexpected")?);
    Ok(format!("{cases} cases, {unexpected} unexpected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_added_up() {
        let categories = [
            "tags                    200 cases      0 unexpected",
            "manifests, odd         1000 cases      3 unexpected",
        ];

        assert_eq!(total(&categories).unwrap(), "1200 cases, 3 unexpected");
        assert!(total(&["tags"]).is_err());
    }
}
