//! Every client with every operation, and the table of what came of it.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Result, anyhow};

use super::{
    CLIENTS, Client, Start,
    site::{After, Site, Target},
};
use crate::{shell::Log, tools::clients::Programs};

/// What came of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// It was done and checked; the word says how, where there is more than one way.
    Done(&'static str),
    /// The client has no such operation; the sentence says what it has.
    Cannot(&'static str),
}

impl From<After> for Cell {
    fn from(after: After) -> Self {
        Self::Done(match after {
            After::Range => "range",
            After::Retry => "retry",
            After::Rerun => "rerun",
        })
    }
}

/// Done, in the only way there is.
pub(super) const DONE: Result<Cell> = Ok(Cell::Done("ok"));

type Carry = fn(&dyn Client, &Site<'_>) -> Result<Cell>;

/// In this order: what comes later uses what was pushed before; what deletes is last.
const OPERATIONS: [(&str, Carry); 9] = [
    ("push", |client, site| client.push(site)),
    ("pull", |client, site| client.pull(site)),
    ("list", |client, site| client.list(site)),
    ("copy", |client, site| client.copy(site)),
    ("index", |client, site| client.index(site)),
    ("cut push", |client, site| client.cut_push(site)),
    ("cut pull", |client, site| client.cut_pull(site)),
    ("habits", |client, site| client.habits(site)),
    ("delete", |client, site| client.delete(site)),
];

/// One client's row.
#[derive(Debug)]
struct Row {
    client: &'static str,
    version: String,
    cells: Vec<Result<Cell>>,
}

/// Runs every client, or those named in `only`; the table of what came of it, and whether nothing failed.
///
/// # Errors
/// When there is no folder to work in.
pub(crate) fn run(programs: &Programs, target: &Target, only: &[String], log: &Log) -> Result<(String, bool)> {
    let folder = tempfile::Builder::new().prefix("berth-clients-").tempdir()?;
    let chosen = CLIENTS
        .iter()
        .filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name));
    let (queue, rows) = (Mutex::new(chosen.enumerate()), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((place, (name, start))) = next() {
            let row = one(name, *start, (programs, target), folder.path(), log);
            rows.lock().unwrap_or_else(PoisonError::into_inner).push((place, row));
        }
    };
    // Two at a time: they wait for their own programs to start more than for the registry.
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(place, _)| *place);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let green = rows.iter().all(|row| row.cells.iter().all(Result::is_ok));
    Ok((table(&rows), green))
}

fn one(name: &'static str, start: Start, (programs, target): (&Programs, &Target), folder: &Path, log: &Log) -> Row {
    let log = Log::create(log.path().with_file_name(format!("verify-clients-{name}.log")));
    let site = log.and_then(|log| Site::new(name, target, folder, log));
    let begun = site.and_then(|site| Ok((start(programs, &site)?, site)));
    match begun {
        Ok((client, site)) => Row {
            client: name,
            version: client.version(&site).unwrap_or_else(|error| format!("{error:#}")),
            cells: OPERATIONS
                .iter()
                .map(|(_, carry)| carry(client.as_ref(), &site))
                .collect(),
        },
        Err(error) => Row {
            client: name,
            version: "-".to_owned(),
            cells: OPERATIONS.iter().map(|_| Err(anyhow!("{error:#}"))).collect(),
        },
    }
}

/// The table, the reasons below it, and the count at the end.
fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<12}{:<12}", "client", "version");
    for (operation, _) in OPERATIONS {
        write!(text, "{operation:<10}").ok();
    }
    let (mut passed, mut failed, mut notes) = (0, 0, String::new());
    for row in rows {
        write!(text, "\n{:<12}{:<12}", row.client, row.version).ok();
        for ((operation, _), cell) in OPERATIONS.iter().zip(&row.cells) {
            let word = match cell {
                Ok(Cell::Done(word)) => word,
                Ok(Cell::Cannot(_)) => "cannot",
                Err(_) => "FAILED",
            };
            write!(text, "{word:<10}").ok();
            match cell {
                Ok(Cell::Done(_)) => passed += 1,
                Ok(Cell::Cannot(why)) => {
                    writeln!(notes, "  {} cannot {operation}: {why}", row.client).ok();
                }
                Err(error) => {
                    failed += 1;
                    writeln!(notes, "  {} FAILED to {operation}: {error:#}", row.client).ok();
                }
            }
        }
    }
    format!("{text}\n\n{notes}{passed} passed, {failed} failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_cannot_do_is_counted_as_neither_and_has_its_reason() {
        let mut cells: Vec<Result<Cell>> = OPERATIONS.iter().map(|_| DONE).collect();
        cells[2] = Ok(Cell::Cannot("it has no listing"));
        cells[3] = Err(anyhow!("404"));

        let shown = table(&[Row {
            client: "any",
            version: "1".to_owned(),
            cells,
        }]);

        assert!(shown.contains("any cannot list: it has no listing\n"), "{shown}");
        assert!(shown.contains("any FAILED to copy: 404\n"), "{shown}");
        assert!(shown.ends_with("7 passed, 1 failed"), "{shown}");
    }
}
