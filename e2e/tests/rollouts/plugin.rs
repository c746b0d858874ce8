//! `kubectl berth`, the program itself, beside two roll-outs: what it shows is what is there, and what it asks is done.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    cache::Cache,
    releases as r,
    shell::{self, Outcome},
    wait,
};
use serde_json::{Value, json};

use crate::{
    client::{Clients, Load},
    lane::Lane,
};

const COMMAND_LIMIT: Duration = Duration::from_secs(30);
const PHASE_LIMIT: Duration = Duration::from_mins(2);
const NAME: &str = "plugin";
const LOAD: Load = Load {
    clients: 4,
    rest: Duration::from_millis(100),
};

/// The program, in the namespace of a lane.
struct Plugin<'l> {
    lane: &'l Lane,
    program: PathBuf,
    /// Of somebody else than the administrator.
    kubeconfig: Option<PathBuf>,
}

impl<'l> Plugin<'l> {
    fn new(lane: &'l Lane) -> Result<Self> {
        let program = env::var_os(r::PLUGIN).context("BERTH_ROLLOUTS_PLUGIN names kubectl-berth")?;
        Ok(Self {
            lane,
            program: program.into(),
            kubeconfig: None,
        })
    }

    fn attempt(&self, words: &[&str]) -> Result<Outcome> {
        let mut command = self.lane.inside(&self.program);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        shell::outcome(command.args(["--namespace", NAME]).args(words), COMMAND_LIMIT)
    }

    /// What it prints as JSON; it must end well.
    fn json(&self, words: &[&str]) -> Result<Value> {
        let outcome = self.attempt(&[words, &["--output", "json"]].concat())?;
        ensure!(outcome.status.success(), "{words:?}: {}", outcome.stderr);
        serde_json::from_str(&outcome.stdout).with_context(|| format!("{words:?}: {}", outcome.stdout))
    }

    /// The objects that it prints, one a line.
    fn json_lines(&self, words: &[&str]) -> Result<Vec<Value>> {
        let outcome = self.attempt(&[words, &["--output", "json"]].concat())?;
        ensure!(outcome.status.success(), "{words:?}: {}", outcome.stderr);
        read_lines(&outcome.stdout)
    }

    /// What it says when it fails, which it must.
    fn refused(&self, words: &[&str]) -> Result<String> {
        let outcome = self.attempt(words)?;
        ensure!(!outcome.status.success(), "{words:?} must fail: {}", outcome.stdout);
        Ok(outcome.stderr)
    }

    /// What it writes on a terminal of that many columns.
    fn on_terminal(&self, columns: u16, words: &str) -> Result<String> {
        let line = format!(
            "stty cols {columns} rows 60; {} --namespace {NAME} {words}",
            self.program.display()
        );
        let mut script = self.lane.inside("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        Ok(shell::outcome(script.stdin(Stdio::null()), COMMAND_LIMIT)?.stdout)
    }

    /// Follows the roll-out as JSON lines into `file`.
    fn watch(&self, file: fs::File) -> Result<Child> {
        let mut command = self.lane.inside(&self.program);
        command.args(["--namespace", NAME, "rollout", "watch", "registry", "--output", "json"]);
        Ok(command.stdout(file).stdin(Stdio::null()).spawn()?)
    }

    /// Follows what all pods print, as JSON lines into `file`, until it is ended.
    fn follow(&self, file: fs::File) -> Result<Child> {
        let mut command = self.lane.inside(&self.program);
        command.args(["--namespace", NAME, "logs", "registry", "--follow", "--output", "json"]);
        Ok(command.stdout(file).stdin(Stdio::null()).spawn()?)
    }

    /// Waits until the plugin itself says that the newest roll-out is in that phase.
    fn until(&self, phase: &str) -> Result<Value> {
        wait::until(&format!("the plugin shows {phase}"), PHASE_LIMIT, || {
            let shown = self.json(&["status", "registry"])?;
            Ok(Some(shown).filter(|shown| shown["status"]["rollout"]["phase"] == phase))
        })
    }

    /// The levels and texts of the doctor's findings, and whether it ended well.
    fn doctor(&self) -> Result<(bool, Vec<(String, String)>)> {
        let outcome = self.attempt(&["doctor", "registry", "--output", "json"])?;
        let told: Value = serde_json::from_str(&outcome.stdout).context(outcome.stderr)?;
        ensure!(
            told["ok"] == outcome.status.success(),
            "the code is what is said: {told:#}"
        );
        let findings = told["findings"].as_array().context("findings")?;
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let read = findings.iter().map(|found| (text(found, "level"), text(found, "what")));
        Ok((outcome.status.success(), read.collect()))
    }
}

/// The pods whose lines have come into `file` so far.
fn heard(file: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(file)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let pods = read_lines(whole)?.into_iter();
    Ok(pods
        .filter_map(|line| line["pod"].as_str().map(str::to_owned))
        .collect())
}

/// Waits until a line of such a pod was followed.
fn hears(file: &Path, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
    wait::until(what, PHASE_LIMIT, || {
        Ok(heard(file)?.iter().any(|pod| wanted(pod)).then_some(()))
    })
}

fn read_lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// A lock that a person holds keeps the roll-out from beginning; released, it begins.
fn look_at_the_lock(plugin: &Plugin<'_>) -> Result<()> {
    let held = plugin.json(&["lock", "hold", NAME, "--reason", "the test looks first", "--id", "7"])?;
    ensure!(held["holder"] == "external/7" && held["state"] == "Held", "{held:#}");
    plugin
        .lane
        .change(&json!({"version": r::QUIET.version}))?
        .map_err(anyhow::Error::msg)?;
    plugin.until("AwaitingLock")?;
    // The phase is written down before the place in the queue is taken.
    let group = wait::until_ok("the roll-out is in the queue", COMMAND_LIMIT, || {
        let locks = plugin.json(&["lock", "status"])?;
        let group = locks.as_array().into_iter().flatten();
        let group = group.into_iter().find(|lock| lock["lease"] == "berth-rollout-plugin");
        let group = group.context("the lock of the group is listed")?;
        ensure!(!group["waiting"].as_array().is_none_or(Vec::is_empty), "{group:#}");
        Ok(group.clone())
    })?;
    ensure!(group["record"][0]["reason"] == "the test looks first", "{group:#}");
    let (well, findings) = plugin.doctor()?;
    let waits = |(level, what): &(String, String)| level == "Warning" && what.contains("waits to begin");
    ensure!(well && findings.iter().any(waits), "{findings:?}");
    let preflight = plugin.json_lines(&["logs", "registry", "--job", "preflight"])?;
    ensure!(!preflight.is_empty(), "the preflight prints what it found");
    let told = plugin.refused(&["lock", "release", NAME, "--reason", "over"])?;
    ensure!(
        told.contains("held by external/7") && told.contains("--force"),
        "{told}"
    );
    let freed = plugin.json(&["lock", "release", NAME, "--reason", "over", "--id", "7"])?;
    ensure!(
        freed["state"] == "Free" && freed["record"][1]["what"] == "released",
        "{freed:#}"
    );
    Ok(())
}

/// A canary that is measured, on screens of several widths; it pauses, goes on, and its pods are heard.
fn look_at_the_canary(plugin: &Plugin<'_>) -> Result<()> {
    plugin.until("CanaryAnalyzing")?;
    let measured = wait::until("several checks with requests", PHASE_LIMIT, || {
        let shown = plugin.json(&["status", "registry"])?;
        let rollout = &shown["status"]["rollout"];
        let checks = rollout["verdict"]["measurements"].as_array();
        let counted = checks
            .into_iter()
            .flatten()
            .filter(|check| check["samples"].as_u64() >= Some(20));
        Ok((rollout["phase"] == "CanaryAnalyzing" && counted.count() >= 3).then_some(shown))
    })?;
    keep_screens(plugin, &measured)?;
    for columns in [60, 80, 120] {
        let screen = plugin.on_terminal(columns, "status registry")?;
        ensure!(screen.contains("\u{1b}[33m"), "no colour on a terminal: {screen}");
        let widest = bare(&screen).lines().map(|line| line.chars().count()).max();
        ensure!(
            widest.is_some_and(|widest| widest <= usize::from(columns)),
            "{columns}: {screen}"
        );
        ensure!(screen.contains("canary") && screen.contains("CHECK"), "{screen}");
    }
    let piped = plugin.attempt(&["status", "registry"])?.stdout;
    ensure!(!piped.contains('\u{1b}'), "colours in a pipe: {piped}");
    let paused = plugin.json(&["rollout", "pause", "registry", "--reason", "to look"])?;
    ensure!(paused["command"] == "pause", "{paused:#}");
    plugin.until("Paused")?;
    let told = plugin.doctor()?.1;
    ensure!(told.iter().any(|(_, what)| what.contains("is paused")), "{told:?}");
    plugin.json(&["rollout", "resume", "registry"])?;
    for (stage, component) in [("canary", "registry-canary-"), ("main", "registry-")] {
        let lines = plugin.json_lines(&["logs", "registry", "--stage", stage, "--tail", "5", "--since", "10m"])?;
        let own = |line: &Value| line["pod"].as_str().is_some_and(|pod| pod.starts_with(component));
        ensure!(!lines.is_empty() && lines.iter().all(own), "{stage}: {lines:?}");
    }
    Ok(())
}

/// Text without colours and without what `script` adds.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for (number, piece) in text.replace('\r', "").split('\u{1b}').enumerate() {
        let rest = piece.split_once('m').filter(|_| number > 0 && piece.starts_with('['));
        bare.push_str(rest.map_or(piece, |(_, rest)| rest));
    }
    bare
}

/// What the pictures of the documentation are drawn from (`operator/tests/it/live`): the objects, as the API server gives them, and the
/// time. They are kept in the cache's folder `log/plugin`.
fn keep_screens(plugin: &Plugin<'_>, registry: &Value) -> Result<()> {
    let folder = Cache::open()?.folder("log/plugin")?;
    let id = registry["status"]["rollout"]["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    let record = plugin
        .lane
        .get("apis/berth.dev/v1alpha1", &format!("registryrollouts/{id}"))?;
    let at = shell::read(
        plugin.lane.inside("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        COMMAND_LIMIT,
    )?;
    let mut kept = json!({"at": at, "registry": registry, "record": record});
    for object in ["registry", "record"] {
        if let Some(metadata) = kept[object]["metadata"].as_object_mut() {
            metadata
                .retain(|field, _| ["name", "namespace", "generation", "creationTimestamp"].contains(&field.as_str()));
        }
    }
    fs::write(folder.join("canary.json"), format!("{kept:#}\n"))?;
    for columns in [60, 80, 120] {
        let screen = plugin.on_terminal(columns, "status registry")?;
        fs::write(folder.join(format!("status-{columns}.ansi")), screen)?;
    }
    let findings = plugin.on_terminal(100, "doctor")?;
    fs::write(folder.join("doctor-100.ansi"), findings)?;
    let width = ["--output", "svg", "--width", "100"];
    let watched = plugin.attempt(&[&["rollout", "watch", "registry"], &width[..]].concat())?;
    ensure!(watched.stdout.starts_with("<svg"), "{}", watched.stderr);
    Ok(fs::write(folder.join("watch-100.svg"), watched.stdout)?)
}

/// Somebody without rights is told the role that is missing; with the role for those who look, everything that looks works.
fn look_as_somebody_else(plugin: &Plugin<'_>) -> Result<()> {
    let shown = plugin
        .lane
        .kubectl(&["config", "view", "--raw", "--flatten", "--output", "json"])?;
    let mut config: Value = serde_json::from_str(&shown)?;
    config["users"][0]["user"]["as"] = json!("mary");
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(config.to_string().as_bytes())?;
    let mary = Plugin {
        kubeconfig: Some(file.path().to_owned()),
        ..Plugin::new(plugin.lane)?
    };

    let told = mary.refused(&["status", "registry"])?;
    ensure!(
        told.contains("--clusterrole=registry-view --user=mary --namespace=plugin"),
        "{told}"
    );
    let role = [
        "create",
        "rolebinding",
        "mary",
        "--clusterrole=registry-view",
        "--user=mary",
    ];
    plugin.lane.kubectl(&role)?;
    wait::until_ok("mary may look", COMMAND_LIMIT, || mary.json(&["status", "registry"]))?;
    mary.json(&["rollout", "history"])?;
    mary.json(&["lock", "status"])?;
    mary.json_lines(&["logs", "registry", "--tail", "1"])?;
    let seen = mary.json(&["doctor"])?;
    ensure!(seen["ok"] == true, "what may not be seen is no problem: {seen:#}");
    let told = mary.refused(&["rollout", "retry", "registry"])?;
    ensure!(told.contains("registry-edit"), "{told}");
    let told = mary.refused(&["lock", "hold", NAME, "--reason", "mine"])?;
    ensure!(told.contains("registry-operator-admin"), "{told}");
    Ok(())
}

/// A second roll-out is promoted without a verdict, and taken back by a person.
fn promote_and_abort(plugin: &Plugin<'_>) -> Result<()> {
    let change = plugin.lane.change(&json!({"version": r::BUSY.version}))?;
    change.map_err(anyhow::Error::msg)?;
    plugin.until("CanaryAnalyzing")?;
    plugin.json(&["rollout", "promote", "registry", "--reason", "in a hurry"])?;
    plugin.until("AwaitingApproval")?;
    plugin.json(&["rollout", "abort", "registry", "--reason", "changed my mind"])?;
    plugin.until("RolledBack")?;
    // The record is written after the status.
    let history = wait::until("the record follows", COMMAND_LIMIT, || {
        let history = plugin.json(&["rollout", "history", "registry"])?;
        Ok((history[0]["status"]["phase"] == "RolledBack").then_some(history))
    })?;
    let ends: Vec<&Value> = history
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| &record["status"]["phase"])
        .collect();
    ensure!(ends.iter().any(|end| *end == "Completed"), "{ends:?}");
    let decisions = &history[0]["status"]["decisions"];
    ensure!(decisions.to_string().contains("changed my mind"), "{decisions:#}");
    Ok(())
}

#[test]
fn the_plugin_shows_and_steers_a_live_roll_out() {
    let more = json!({"rollout": {
        "approval": {"before": ["Main"]}, "lock": {"group": NAME}, "canary": {"bake": {"min": "15s"}},
    }});
    let lane = Lane::new(NAME, &more).unwrap();
    let plugin = Plugin::new(&lane).unwrap();
    let told = plugin.refused(&["status", "registri"]).unwrap();
    assert!(told.contains("did you mean registry?"), "{told}");
    let (well, findings) = plugin.doctor().unwrap();
    assert!(well, "{findings:?}");
    look_at_the_lock(&plugin).unwrap();

    let watched = tempfile::NamedTempFile::new().unwrap();
    let mut watch = plugin.watch(watched.reopen().unwrap()).unwrap();
    let clients = Clients::start(&lane.host, LOAD);
    let lines = tempfile::NamedTempFile::new().unwrap();
    let mut followed = plugin.follow(lines.reopen().unwrap()).unwrap();
    let is_main = |pod: &str| !pod.starts_with("registry-canary-");
    hears(lines.path(), "a pod is heard", is_main).unwrap();
    let first = heard(lines.path()).unwrap();
    look_at_the_canary(&plugin).unwrap();
    hears(lines.path(), "the canary, which came later, is heard", |pod| {
        !is_main(pod)
    })
    .unwrap();
    plugin.until("AwaitingApproval").unwrap();
    let approval = plugin
        .json(&["rollout", "approve", "registry", "--reason", "it is fine"])
        .unwrap();
    assert_eq!(approval["spec"]["step"], "Main", "{approval:#}");
    plugin.until("Completed").unwrap();
    let ended = wait::until("the watch ends by itself", COMMAND_LIMIT, || Ok(watch.try_wait()?));
    assert!(
        ended.unwrap().success(),
        "a roll-out that completed is a watch that ends well"
    );
    let seen = read_lines(&fs::read_to_string(watched.path()).unwrap()).unwrap();
    assert_eq!(seen.last().unwrap()["rollout"]["phase"], "Completed");
    assert!(seen.iter().any(|line| line["rollout"]["phase"] == "Paused"), "{seen:?}");

    let is_new = |pod: &str| is_main(pod) && !first.contains(pod);
    hears(lines.path(), "the new pods are heard", is_new).unwrap();
    followed.kill().unwrap();
    followed.wait().unwrap();

    look_as_somebody_else(&plugin).unwrap();
    promote_and_abort(&plugin).unwrap();
    drop(clients);
    let (well, findings) = plugin.doctor().unwrap();
    let told = |level: &str, text: &str| findings.iter().any(|(is, what)| is == level && what.contains(text));
    assert!(!well, "the spec asks for a version that was taken back: {findings:?}");
    assert!(
        told("Problem", "UserAborted") && told("Warning", "ended badly"),
        "{findings:?}"
    );
}
