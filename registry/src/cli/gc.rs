//! `berth-registry gc`.

use super::{Output, Settings, StopSignals, load, say};
use crate::server::collect::{Candidate, Event, Totals, Wanted, collect, keep_collecting};
use clap::Args;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

/// Events that wait for a slow terminal before the collection does.
const AHEAD: usize = 100;

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// End when nothing is due; otherwise go on until SIGTERM, as a server does.
    #[arg(long)]
    once: bool,
    /// Change nothing: say what would go now, what would follow it, and why.
    #[arg(long)]
    dry_run: bool,
    /// Lines for people, or one JSON object a line, the last of which is the summary.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: GcArgs) -> anyhow::Result<()> {
    let config = load(args.settings)?.config;
    if !args.once && !args.dry_run {
        let mut signals = StopSignals::listen()?;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let told = async move {
            signals.next().await;
            stopping.cancel();
        };
        let collecting = keep_collecting(&config, stop);
        tokio::pin!(collecting);
        return tokio::select! {
            ended = &mut collecting => ended,
            () = told => collecting.await,
        };
    }
    let wanted = Wanted { dry_run: args.dry_run };
    let (sender, receiver) = channel(AHEAD);
    let collecting = async {
        let done = collect(&config, wanted, &sender).await;
        drop(sender);
        done
    };
    let (totals, ()) = tokio::join!(Box::pin(collecting), show_all(receiver, args.output));
    let totals = totals?;
    if args.output == Output::Json {
        show(&Event::Summary(totals), args.output);
    } else {
        say(&mut std::io::stdout(), &summary(&totals, args.dry_run));
    }
    Ok(())
}

async fn show_all(mut events: Receiver<Event>, output: Output) {
    while let Some(event) = events.recv().await {
        show(&event, output);
    }
}

fn show(event: &Event, output: Output) {
    if output == Output::Json {
        // Events are plain records: they always serialise.
        let line = serde_json::to_string(event).unwrap_or_default();
        return say(&mut std::io::stdout(), &line);
    }
    match event {
        Event::WouldGo(candidate) => say(&mut std::io::stdout(), &line(candidate)),
        Event::Progress(totals) => say(&mut std::io::stderr(), &progress(totals)),
        Event::Summary(totals) => say(&mut std::io::stdout(), &summary(totals, false)),
        Event::Failed { message } => say(&mut std::io::stderr(), message),
    }
}

fn line(candidate: &Candidate) -> String {
    let place = candidate
        .repository
        .as_ref()
        .map_or_else(String::new, |repository| format!(" in {repository}"));
    let why = match candidate.due_at {
        Some(_) => format!("{}, and nothing refers to it", candidate.reason),
        None => format!("{}, when what refers to it has gone", candidate.reason),
    };
    format!(
        "{:9}  {}{place}  {} bytes: {why}",
        candidate.kind, candidate.digest, candidate.size
    )
}

fn progress(totals: &Totals) -> String {
    format!(
        "{} reviewed, {} manifests and {} blobs collected, {} objects deleted",
        totals.reviewed, totals.manifests, totals.blobs, totals.objects
    )
}

fn summary(totals: &Totals, dry_run: bool) -> String {
    let Totals {
        reviewed,
        kept,
        postponed,
        failed,
        manifests,
        blob_links,
        blobs,
        blob_bytes,
        objects,
        object_bytes,
        storage_errors,
        ..
    } = totals;
    let verb = if dry_run { "would go" } else { "collected" };
    let mut text = format!(
        "\nreviewed   {reviewed}: {kept} kept, {postponed} postponed, {failed} failed\n{verb:9}  {manifests} manifests, \
         {blob_links} links of blobs, {blobs} blobs of {blob_bytes} bytes"
    );
    if !dry_run {
        text = format!(
            "{text}\ndeleted    {objects} objects of {object_bytes} bytes; {storage_errors} errors of the store"
        );
    }
    if totals.exhausted_until.is_some() {
        text.push_str("\nthe budget of this hour is spent (gc.budget): run it again in the next");
    }
    text
}
