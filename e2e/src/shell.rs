//! Programs: run within a time limit, their output kept where a person can read it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::progress::seconds;

const POLL: Duration = Duration::from_millis(20);

/// A file that gets the output of the programs of one step.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    began: Instant,
}

impl Log {
    /// An empty log at `path`; an old one is replaced.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: PathBuf) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create(&path).with_context(|| format!("make the log {}", path.display()))?;
        Ok(Self {
            path,
            began: Instant::now(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line with the time since the log began, and the command that runs from now on.
    fn begin(&self, command: &Command) -> Result<()> {
        self.note(&format!("[{}] $ {}", seconds(self.began.elapsed()), shown(command)))
    }

    /// Adds one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, line: &str) -> Result<()> {
        Ok(writeln!(self.handle()?, "{line}")?)
    }

    /// The end of it: at most `lines` lines.
    pub fn tail(&self, lines: usize) -> String {
        Self::tail_of(&self.path, lines)
    }

    /// The end of any file, as [`Log::tail`]; nothing when it cannot be read.
    pub fn tail_of(path: &Path, lines: usize) -> String {
        last_lines(&String::from_utf8_lossy(&end_of(path).unwrap_or_default()), lines)
    }

    /// A handle that adds at the end.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn handle(&self) -> Result<File> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.path);
        opened.with_context(|| format!("open the log {}", self.path.display()))
    }
}

/// The last part of a file: more than anyone wants to see of a log.
fn end_of(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs `command` to its end with its output in `log`.
///
/// # Errors
/// When it cannot be started, does not end within `limit` (it is killed then), or ends with another code than 0.
pub fn run(command: &mut Command, log: &Log, limit: Duration) -> Result<()> {
    log.begin(command)?;
    command.stdout(log.handle()?).stderr(log.handle()?);
    let status = bounded(command, limit)?;
    if !status.success() {
        bail!("`{}` failed ({status})", short(command));
    }
    Ok(())
}

/// The standard output of `command`, without the white space at its end.
///
/// # Errors
/// As [`run`]; the error holds the end of what it wrote to its standard error.
pub fn read(command: &mut Command, limit: Duration) -> Result<String> {
    let output = outcome(command, limit)?;
    if !output.status.success() {
        let said = last_lines(&output.stderr, 12);
        bail!("`{}` failed ({}): {said}", short(command), output.status);
    }
    Ok(output.stdout.trim_end().to_owned())
}

/// As [`read`], with its standard error in `log`.
///
/// # Errors
/// As [`run`].
pub fn read_with_log(command: &mut Command, log: &Log, limit: Duration) -> Result<String> {
    log.begin(command)?;
    let mut stdout = tempfile::tempfile()?;
    command.stdout(stdout.try_clone()?).stderr(log.handle()?);
    let status = bounded(command, limit)?;
    if !status.success() {
        bail!("`{}` failed ({status})", short(command));
    }
    from_start(&mut stdout)
}

/// What a program that ended left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `command` to its end, whatever its exit code.
///
/// # Errors
/// When it cannot be started or does not end within `limit` (it is killed then).
pub fn outcome(command: &mut Command, limit: Duration) -> Result<Outcome> {
    // Files, not pipes: a program that it leaves behind would hold a pipe open.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let status = bounded(command, limit)?;
    Ok(Outcome {
        status,
        stdout: from_start(&mut stdout)?,
        stderr: from_start(&mut stderr)?,
    })
}

fn from_start(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn bounded(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start `{}`", shown(command)))?;
    if let Some(status) = ended_within(&mut child, limit)? {
        return Ok(status);
    }
    child.kill()?;
    child.wait()?;
    bail!("`{}` did not end within {} s", short(command), limit.as_secs())
}

/// How `child` ended, or None when it still runs after `limit`.
///
/// # Errors
/// When the system cannot tell.
pub fn ended_within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Asks `child` to end with `signal` (a name as `kill` knows it), and ends it when it has not within `limit`.
///
/// # Errors
/// When the system cannot tell how it ended.
pub fn stop(child: &mut Child, signal: &str, limit: Duration) -> Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    send(signal, child.id())?;
    if ended_within(child, limit)?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Sends a signal to one program; one that is gone already is no error.
///
/// # Errors
/// When `kill` cannot be started.
pub fn send(signal: &str, pid: u32) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    kill.status().context("start `kill`")?;
    Ok(())
}

/// Where `program` is, looked for in PATH and in the folders of the system's own programs.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// True when this program runs as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The last `count` lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The program and its first words: enough to know it by in a sentence.
fn short(command: &Command) -> String {
    let all = shown(command);
    match all.char_indices().nth(120) {
        Some((cut, _)) => format!("{}…", &all[..cut]),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let error = read(Command::new("sh").args(["-c", "echo no such host >&2; exit 3"]), LONG).unwrap_err();

        let text = error.to_string();
        assert!(
            text.contains("no such host") && text.contains("exit status: 3"),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let started = Instant::now();

        let error = read(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();

        assert!(error.to_string().contains("did not end within"), "{error}");
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_log_keeps_the_output_of_both_streams_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path().join("step.log")).unwrap();

        run(
            Command::new("sh").args(["-c", "echo one; echo two >&2; echo three"]),
            &log,
            LONG,
        )
        .unwrap();

        assert_eq!(log.tail(3), "one\ntwo\nthree");
    }
}
