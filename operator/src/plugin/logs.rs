//! `kubectl berth logs`: what the pods of a Registry print, as one stream.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::LogParams;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::api::Session;
use super::args::{JobKind, Logs, Output, Stage};
use super::near;
use super::screen::{self, Line, Tone};
use super::show::{Printer, write};
use crate::labels;

/// How often pods that came later are looked for, while lines are followed.
const LOOK: Duration = Duration::from_secs(2);
/// How many lines may wait to be printed.
const WAITING: usize = 1024;

/// One line of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Printed {
    at: Option<Timestamp>,
    pod: String,
    text: String,
}

impl Printed {
    /// A line that begins with the time, as the API server gives it.
    fn read(pod: &str, line: &str) -> Self {
        let (at, text) = match line.split_once(' ') {
            Some((at, text)) => (at.parse().ok(), text),
            None => (line.parse().ok(), ""),
        };
        let text = if at.is_some() { text } else { line };
        Self {
            at,
            pod: pod.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Prints lines until there are no more, or the reader is gone.
///
/// # Errors
/// When there are no such pods, or what the API server says.
pub async fn run(session: &Session, printer: &Printer, asked: &Logs) -> anyhow::Result<bool> {
    session.registry(&asked.name).await?;
    let namespace = session.namespace()?;
    let pods = chosen(session, asked).await?;
    let out = Out::new(printer, asked, &pods);
    if asked.follow {
        return follow(session, out, asked, &pods).await;
    }
    let mut found = Vec::new();
    for pod in &pods {
        let mut lines = session.log(namespace, pod, &parameters(asked, false)).await?;
        while let Some(line) = lines.next().await {
            found.push(Printed::read(pod, &line.context("read a line of the log")?));
        }
    }
    for line in merged(found) {
        if !out.print(&line)? {
            break;
        }
    }
    Ok(true)
}

/// The lines of several pods in the order of their times; those of one pod stay in theirs.
fn merged(mut printed: Vec<Printed>) -> Vec<Printed> {
    printed.sort_by_key(|line| line.at);
    printed
}

fn parameters(asked: &Logs, is_new: bool) -> LogParams {
    LogParams {
        follow: asked.follow,
        previous: asked.previous,
        timestamps: true,
        tail_lines: (asked.tail >= 0 && !is_new).then_some(asked.tail),
        since_seconds: asked
            .since
            .filter(|_| !is_new)
            .and_then(|since| i64::try_from(since.as_secs().max(1)).ok()),
        ..LogParams::default()
    }
}

/// Names of the pods whose lines are wanted.
async fn chosen(session: &Session, asked: &Logs) -> anyhow::Result<Vec<String>> {
    let namespace = session.namespace()?;
    let selector = labels::selector_text(&labels::every_pod(&asked.name));
    let pods: Vec<Pod> = session.list(namespace, &selector).await?;
    let names: Vec<String> = match asked.job {
        Some(kind) => of_job(session, asked, kind, &pods).await?,
        None => serving(&pods, asked.stage),
    };
    if let Some(wanted) = &asked.pod {
        let all: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        if !all.contains(wanted) {
            bail!(near::unknown("pod", wanted, namespace, &all));
        }
        return Ok(vec![wanted.clone()]);
    }
    if names.is_empty() {
        let what = match asked.stage {
            Some(Stage::Canary) => "there is no canary now: its pods are there while a roll-out measures them",
            _ => "no pod has a container that ran yet: `kubectl berth doctor` says why",
        };
        bail!("{what}");
    }
    Ok(names)
}

fn serving(pods: &[Pod], stage: Option<Stage>) -> Vec<String> {
    let wanted = |pod: &&Pod| {
        let component = pod.labels().get(labels::COMPONENT).map(String::as_str);
        let is_canary = component == Some("canary");
        match stage {
            None => component == Some("registry") || is_canary,
            Some(Stage::Main) => component == Some("registry"),
            Some(Stage::Canary) => is_canary,
        }
    };
    let began = |pod: &&Pod| {
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref());
        containers.unwrap_or_default().iter().any(|container| {
            let now = container.state.as_ref();
            let waits = now.is_some_and(|now| now.waiting.is_some());
            !waits
                || container
                    .last_state
                    .as_ref()
                    .is_some_and(|last| last.terminated.is_some())
        })
    };
    pods.iter()
        .filter(wanted)
        .filter(began)
        .map(ResourceExt::name_any)
        .collect()
}

/// The pods of the newest Job of that kind.
async fn of_job(session: &Session, asked: &Logs, kind: JobKind, pods: &[Pod]) -> anyhow::Result<Vec<String>> {
    let jobs: Vec<Job> = session
        .list(session.namespace()?, &labels::of_instance(&asked.name))
        .await?;
    let infix = match kind {
        JobKind::Pre => "mig-pre",
        JobKind::Post => "mig-post",
        JobKind::Preflight => "preflight",
    };
    let prefix = format!("{}-{infix}-", asked.name);
    let newest = jobs
        .iter()
        .filter(|job| job.name_any().starts_with(&prefix))
        .max_by_key(|job| job.creation_timestamp().map(|at| at.0));
    let job = newest.with_context(|| {
        format!("there is no Job {prefix}…: one is made when a roll-out comes to it, and a finished one is removed after a while")
    })?;
    let name = job.name_any();
    let of_it = |pod: &&Pod| pod.labels().get("batch.kubernetes.io/job-name") == Some(&name);
    let names: Vec<String> = pods.iter().filter(of_it).map(ResourceExt::name_any).collect();
    if names.is_empty() {
        bail!(
            "the pods of Job {name} are gone; `kubectl berth rollout history` and the record of the roll-out tell how it ended"
        );
    }
    Ok(names)
}

/// Follows the lines of `pods`, and of those that come later.
async fn follow(session: &Session, mut out: Out<'_>, asked: &Logs, pods: &[String]) -> anyhow::Result<bool> {
    let (sender, mut lines) = mpsc::channel::<Printed>(WAITING);
    let (tasks, mut known) = (TaskTracker::new(), BTreeSet::new());
    for pod in pods {
        known.insert(pod.clone());
        tail(session, asked, pod, &sender, &tasks, false).await?;
    }
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            Some(line) = lines.recv() => if !out.print(&line)? {
                return Ok(true);
            },
            _ = look.tick() => {
                for pod in come_later(session, asked, &known).await {
                    // One whose container has not begun is tried again.
                    if tail(session, asked, &pod, &sender, &tasks, true).await.is_ok() {
                        out.know(&pod);
                        known.insert(pod);
                    }
                }
                if tasks.is_empty() && lines.is_empty() && is_over(asked) {
                    return Ok(true);
                }
            }
        }
    }
}

/// A pod that was named and a Job end; pods that serve are replaced by others.
fn is_over(asked: &Logs) -> bool {
    asked.pod.is_some() || asked.job.is_some()
}

/// A moment without an answer is no end of the stream: what is there is asked again.
async fn come_later(session: &Session, asked: &Logs, known: &BTreeSet<String>) -> Vec<String> {
    if is_over(asked) {
        return Vec::new();
    }
    let mut pods = chosen(session, asked).await.unwrap_or_default();
    pods.retain(|pod| !known.contains(pod));
    pods
}

async fn tail(
    session: &Session,
    asked: &Logs,
    pod: &str,
    sender: &mpsc::Sender<Printed>,
    tasks: &TaskTracker,
    is_new: bool,
) -> anyhow::Result<()> {
    let lines = session
        .log(session.namespace()?, pod, &parameters(asked, is_new))
        .await?;
    tasks.spawn(forward(lines, pod.to_owned(), sender.clone()));
    Ok(())
}

async fn forward(mut lines: BoxStream<'static, std::io::Result<String>>, pod: String, sender: mpsc::Sender<Printed>) {
    while let Some(Ok(line)) = lines.next().await {
        if sender.send(Printed::read(&pod, &line)).await.is_err() {
            return;
        }
    }
}

/// Where lines go, with the names of pods in their colours.
struct Out<'p> {
    printer: &'p Printer,
    timestamps: bool,
    pods: Vec<String>,
    /// What all names of pods begin with.
    prefix: String,
}

impl<'p> Out<'p> {
    fn new(printer: &'p Printer, asked: &Logs, pods: &[String]) -> Self {
        Self {
            printer,
            timestamps: asked.timestamps,
            pods: pods.to_vec(),
            prefix: format!("{}-", asked.name),
        }
    }

    fn know(&mut self, pod: &str) {
        self.pods.push(pod.to_owned());
    }

    /// False: nobody reads any more.
    fn print(&self, line: &Printed) -> anyhow::Result<bool> {
        if self.printer.output() == Output::Json {
            let at = line.at.map(|at| at.to_string());
            return write(&format!("{}\n", json!({"pod": line.pod, "at": at, "line": line.text})));
        }
        let shown = self.line(line);
        // Lines of a log are whole: the terminal breaks them.
        write(&screen::text(&[shown], usize::MAX, self.printer.is_coloured()))
    }

    fn line(&self, line: &Printed) -> Line {
        let number = self.pods.iter().position(|pod| *pod == line.pod).unwrap_or_default();
        let short = line.pod.strip_prefix(&self.prefix).unwrap_or(&line.pod);
        let mut shown = Line::default();
        if self.pods.len() > 1 {
            shown = shown.and(Tone::Name(number), short).and(Tone::Faint, " │ ");
        }
        if let Some(at) = line.at.filter(|_| self.timestamps) {
            shown = shown.and(Tone::Faint, format!("{at:.3} "));
        }
        shown.and(Tone::Plain, line.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, component: &str, waiting: bool) -> Pod {
        let state = if waiting {
            json!({"waiting": {}})
        } else {
            json!({"running": {}})
        };
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
            "status": {"containerStatuses": [
                {"name": "registry", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn lines_of_several_pods_are_in_the_order_of_their_times() {
        let lines = [
            ("b", "2026-01-01T00:00:02.5Z second"),
            ("a", "2026-01-01T00:00:02.25Z first"),
            ("a", "2026-01-01T00:00:03Z"),
        ];
        let merged = merged(lines.iter().map(|(pod, line)| Printed::read(pod, line)).collect());
        let texts: Vec<&str> = merged.iter().map(|line| line.text.as_str()).collect();

        assert_eq!(texts, ["first", "second", ""]);
        assert_eq!(Printed::read("a", "no time at all").text, "no time at all");
    }

    #[test]
    fn a_stage_is_its_pods_whose_container_ran() {
        let pods = [
            pod("main-1", "registry", false),
            pod("canary-1", "canary", false),
            pod("main-2", "registry", true),
            pod("mig-1", "migration", false),
        ];

        assert_eq!(serving(&pods, None), ["main-1", "canary-1"]);
        assert_eq!(serving(&pods, Some(Stage::Main)), ["main-1"]);
        assert_eq!(serving(&pods, Some(Stage::Canary)), ["canary-1"]);
    }
}
