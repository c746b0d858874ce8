//! The command line.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use super::{
    growth,
    lines::Lines,
    memory,
    summary::Summary,
    table,
    tags::Tags,
    throughput::{self, View},
    watch::Watch,
};
use crate::progress::line;

/// Draws the pictures and the table of docs/performance.md from measurements, and makes some of them.
#[derive(Debug, Parser)]
#[command(name = "performance", max_term_width = 110, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    measure: Option<Measure>,
    #[command(flatten)]
    report: Report,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Resident memory of a server, twice a second, as JSON lines
    Watch(Watch),
    /// A page of 100 tags from repositories of several sizes, as JSON lines
    Tags(Tags),
}

#[derive(Debug, Args)]
struct Report {
    /// JSON lines of the benchmark driver, of `watch` and of `tags`, mixed as you like
    #[arg(value_name = "LINES.jsonl")]
    files: Vec<PathBuf>,
    /// Where throughput.svg, tags.svg and memory.svg go: those that there are lines for
    #[arg(long, default_value = "docs/performance")]
    out: PathBuf,
    /// The number of connections in throughput.svg
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Machine, versions, date: the line at the foot of each picture
    #[arg(long, default_value = "docs/performance.md says how it was measured")]
    source: String,
    /// Replace the table in this page, between its comments, in place of printing it
    #[arg(long, value_name = "PAGE.md")]
    table: Option<PathBuf>,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.measure {
        Some(Measure::Watch(watch)) => watch.run(),
        Some(Measure::Tags(tags)) => tags.run(),
        None => arguments.report.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "performance: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

impl Report {
    fn run(&self) -> Result<()> {
        ensure!(
            !self.files.is_empty(),
            "name at least one file of JSON lines (--help shows more)"
        );
        let mut lines = Lines::default();
        for (index, path) in self.files.iter().enumerate() {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            lines.read(index, &text).with_context(|| path.display().to_string())?;
        }
        let summary = Summary::of(&lines.measures);
        let view = View {
            summary: &summary,
            connections: self.connections,
            source: &self.source,
        };
        fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let pictures = [
            ("throughput.svg", throughput::draw(view)),
            ("tags.svg", growth::draw(&lines.pages, &self.source)),
            ("memory.svg", memory::draw(&lines.samples, &self.source)),
        ];
        for (name, picture) in pictures {
            let path = self.out.join(name);
            if let Some(picture) = picture {
                fs::write(&path, picture).with_context(|| path.display().to_string())?;
            }
        }
        if lines.measures.is_empty() {
            return Ok(());
        }
        self.tabulate(&table::markdown(&summary))
    }

    fn tabulate(&self, table: &str) -> Result<()> {
        let Some(path) = &self.table else {
            line(table);
            return Ok(());
        };
        let page = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let page = table::replaced(&page, table).with_context(|| path.display().to_string())?;
        fs::write(path, page).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
