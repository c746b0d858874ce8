//! `berth-registry scrub`.

use super::{Output, Settings, load, say};
use crate::config::read_bytes;
use crate::server::scrub::{DeleteUnknown, Event, LEAST_AGE, Report, Scrub, Unknown, Verify, Wrong, scrub};
use anyhow::bail;
use clap::Args;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};

/// Events that wait for a slow terminal before the scrub does.
const AHEAD: usize = 100;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ScrubArgs {
    /// Read every object and compare it with its digest; goes on where the scrub before was interrupted.
    #[arg(long)]
    verify: bool,
    /// Bytes a second that --verify reads at most, such as 50MiB [default: as many as it can].
    #[arg(long, value_name = "BYTES", requires = "verify", value_parser = bytes)]
    rate: Option<u64>,
    /// With --verify: begin with the first object.
    #[arg(long, requires = "verify")]
    restart: bool,
    /// Delete objects that nothing names and that are older than --older-than.
    #[arg(long)]
    delete_unknown: bool,
    /// How old, at least 1d.
    #[arg(long, value_name = "DURATION", default_value = "7d", requires = "delete_unknown", value_parser = age)]
    older_than: Duration,
    /// Delete at most so many objects.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, requires = "delete_unknown")]
    max_objects: u64,
    /// Delete at most so many bytes.
    #[arg(long, value_name = "BYTES", default_value = "10GiB", requires = "delete_unknown", value_parser = bytes)]
    max_bytes: u64,
    /// Only look: set no marks, delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Go on although so much is wrong that database and store seem not to belong together.
    #[arg(long)]
    force: bool,
    /// Lines for people, or one JSON object a line, the last of which is the summary.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

fn bytes(text: &str) -> Result<u64, String> {
    read_bytes(text).ok_or_else(|| "wants a number of bytes; units are KiB, MiB and GiB".to_owned())
}

fn age(text: &str) -> Result<Duration, String> {
    let read =
        humantime::parse_duration(text).map_err(|wrong| format!("wants a length of time such as 7d: {wrong}"))?;
    if read < LEAST_AGE {
        return Err("wants at least 1d: a database that was restored does not know what was pushed since".to_owned());
    }
    Ok(read)
}

impl ScrubArgs {
    fn wanted(&self) -> Scrub {
        Scrub {
            verify: self.verify.then_some(Verify {
                bytes_per_second: self.rate,
                restart: self.restart,
            }),
            delete: self.delete_unknown.then_some(DeleteUnknown {
                older_than: self.older_than,
                objects: self.max_objects,
                bytes: self.max_bytes,
            }),
            dry_run: self.dry_run,
            force: self.force,
        }
    }
}

/// Fails when something is wrong, after it has told everything.
pub(super) async fn run(args: ScrubArgs) -> anyhow::Result<()> {
    let (wanted, output) = (args.wanted(), args.output);
    let config = load(args.settings)?.config;
    let (sender, receiver) = channel(AHEAD);
    let scrubbing = async {
        let done = scrub(&config, &wanted, &sender).await;
        drop(sender);
        done
    };
    let (report, ()) = tokio::join!(scrubbing, show_all(receiver, output));
    let report = report?;
    show(&Event::Summary(report.clone()), output);
    if report.is_clean() {
        return Ok(());
    }
    let left = report.unknown.saturating_sub(report.deleted);
    bail!(
        "something is wrong: {} missing, {} corrupt, {} unreadable blobs; {left} objects that nothing names{}",
        report.missing,
        report.corrupt,
        report.unreadable,
        report.refused.map(|refused| format!("; {refused}")).unwrap_or_default()
    )
}

async fn show_all(mut events: Receiver<Event>, output: Output) {
    while let Some(event) = events.recv().await {
        show(&event, output);
    }
}

fn show(event: &Event, output: Output) {
    if output == Output::Json {
        // Events are plain records: they always serialise.
        return say(
            &mut std::io::stdout(),
            &serde_json::to_string(event).unwrap_or_default(),
        );
    }
    if let Event::Progress(report) = event {
        let told = format!("{} blobs, {} bytes read", report.blobs, report.verified_bytes);
        return say(&mut std::io::stderr(), &told);
    }
    say(&mut std::io::stdout(), &line(event));
}

fn line(event: &Event) -> String {
    match event {
        Event::Missing(wrong) => of_blob("missing", wrong),
        Event::Corrupt(wrong) => of_blob("corrupt", wrong),
        Event::Unreadable(wrong) => of_blob("unreadable", wrong),
        Event::Recovered(wrong) => of_blob("recovered", wrong),
        Event::Unknown(unknown) => of_object("unknown", unknown),
        Event::Deleted(unknown) => of_object("deleted", unknown),
        Event::Progress(report) | Event::Summary(report) => summary(report),
        Event::Failed { message } => message.clone(),
    }
}

fn of_blob(what: &str, wrong: &Wrong) -> String {
    let place = wrong.key.as_deref().unwrap_or("a row of the database");
    let mut line = format!(
        "{what:10} {}  {} bytes at {place}: {}",
        wrong.digest, wrong.size, wrong.found
    );
    for image in &wrong.images {
        let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let manifest = image
            .manifest
            .as_ref()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        line = format!("{line}\n{:10} in {}{tag}{manifest}", "", image.repository);
    }
    line
}

fn of_object(what: &str, unknown: &Unknown) -> String {
    let age = humantime::format_duration(Duration::from_secs(unknown.age));
    let theirs = if unknown.ours {
        ""
    } else {
        "  not made by this program: never deleted"
    };
    format!("{what:10} {}  {} bytes, {age} old{theirs}", unknown.key, unknown.size)
}

fn summary(report: &Report) -> String {
    let Report {
        blobs,
        verified,
        verified_bytes,
        missing,
        corrupt,
        unreadable,
        marked,
        recovered,
        objects,
        object_bytes,
        unknown,
        unknown_bytes,
        deleted,
        deleted_bytes,
        ..
    } = report;
    let mut text = format!(
        "\nblobs      {blobs}: {missing} missing, {corrupt} corrupt, {unreadable} unreadable; {marked} marked, \
         {recovered} recovered\nverified   {verified}: {verified_bytes} bytes\nobjects    {objects}: {object_bytes} \
         bytes\nunknown    {unknown}: {unknown_bytes} bytes\ndeleted    {deleted}: {deleted_bytes} bytes"
    );
    if let Some(after) = &report.resumed_after {
        text = format!("{text}\nbegan after {after}, where the scrub before ended");
    }
    if report.budget_spent {
        text.push_str("\nmore was to be deleted than --max-objects and --max-bytes allow: run it again");
    }
    text
}
