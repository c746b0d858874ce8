//! Killed at a sync or a write: what was acknowledged before is there, and the store is what the rows say.

use crate::serve::program;
use crate::server::Disk;
use reqwest::StatusCode;
use std::path::Path;
use std::process::Command;

const BLOB: usize = 100_000;
/// Pushes, within which every kind of call is made.
const MOST: u32 = 20;

/// The calls of a push at which the process ends, and the one file that they concern, where it is one.
const LAST: [(&str, Option<&str>); 6] = [
    ("fdatasync", None),
    ("fsync", None),
    ("fsync,fdatasync", None),
    ("fsync,fdatasync", Some("berth.sqlite3-wal")),
    ("pwrite64", Some("berth.sqlite3-wal")),
    ("openat", None),
];

/// A server that is killed when a thread of it makes this call for the n-th time.
fn killed_at(data: &Path, (call, number): (&str, u32)) -> Command {
    let inner = program(data, &["serve"]);
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-e", &format!("trace={call}"), "-o", "/dev/null"]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

async fn stopped_sound(mut disk: Disk, data: &Path) {
    disk.serves_what_it_acknowledged().await;
    disk.serve.signal("TERM");
    disk.serve.ends();
    let scrubbed = program(data, &["scrub", "--verify"]).output().unwrap();
    let told = String::from_utf8_lossy(&scrubbed.stdout);
    assert!(scrubbed.status.success(), "{told}");
}

#[tokio::test]
async fn killed_at_a_sync_or_a_write_of_a_push_the_server_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    let mut seed = 0;
    for (calls, file) in LAST.into_iter().chain(LAST) {
        seed += 1;
        assert_eq!(disk.push(seed, BLOB).await, StatusCode::CREATED);
        let file = Vec::from_iter(file.map(|name| folder.path().join(name)));
        let tampering = disk.tamper_at(calls, "signal=KILL", &file);
        let mut died = false;
        for _ in 0..MOST {
            seed += 1;
            died = disk.push_or_die(seed, BLOB).await.is_none();
            if died {
                break;
            }
        }
        assert!(died, "{calls} {file:?}");
        drop(tampering);
        disk = disk.followed_by(&mut program(folder.path(), &["serve"]));
        disk.serves_what_it_acknowledged().await;
    }
    stopped_sound(disk, folder.path()).await;
}

#[tokio::test]
async fn killed_in_its_first_start_the_server_starts_again() {
    let moments = [
        ("fsync", 1),
        ("pwrite64", 1),
        ("pwrite64", 6),
        ("mkdir", 1),
        ("mkdir", 100),
    ];
    let mut killed = 0;
    for moment in moments {
        let folder = tempfile::tempdir().unwrap();
        match Disk::try_start(folder.path(), &mut killed_at(folder.path(), moment)) {
            Ok(mut started) => {
                started.kill_what_it_runs();
                started.serve.ends();
            }
            Err(_) => killed += 1,
        }

        let mut disk = Disk::plain(folder.path());

        assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
        stopped_sound(disk, folder.path()).await;
    }
    // Which thread makes a call for the n-th time is chance.
    assert!(killed > 2, "only {killed} were killed");
}
