//! A sync that the disk refuses: the next one would succeed and mean nothing, so the server ends.

use crate::content::bytes;
use crate::serve::program;
use crate::server::Disk;
use reqwest::StatusCode;
use std::path::{Path, PathBuf};

const BLOB: usize = 400_000;
/// Only the first call fails, as the system tells of a page that is lost only once.
const ONCE: &str = "error=EIO:when=1";
/// More than what fills a log.
const MOST_PUSHES: u64 = 2000;

/// Where the calls of a push that are to fail are made, and what the server says of them.
struct Fault {
    call: &'static str,
    files: Vec<PathBuf>,
    told: &'static str,
}

fn folders(data: &Path) -> Vec<PathBuf> {
    (0..=u8::MAX)
        .map(|number| data.join(format!("blobs/blobs/{number:02x}")))
        .collect()
}

/// No 201 from the failure on; the server ends by itself, says why, and serves what it acknowledged when it is started
/// again.
async fn ends_the_server(fault: impl FnOnce(&Path) -> Fault) {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
    let Fault { call, files, told } = fault(folder.path());
    let tampering = disk.tamper_at(call, ONCE, &files);

    let refused = disk.push(2, BLOB).await;
    // The first one's loss of trust is not over with it.
    let next = disk.try_push(&bytes(3, BLOB)).await.map(|answer| answer.status());

    assert!(refused.is_server_error(), "{refused}: {call} {told}");
    let ended = disk.serve.ends();
    drop(tampering);
    assert_ne!(next.ok(), Some(StatusCode::CREATED), "{call} {told}");
    assert_eq!(ended.code(), Some(1), "{}", disk.serve.said);
    let last = disk.serve.said.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: could not make ") && last.contains(told),
        "{last}"
    );
    let mut disk = disk.followed_by(&mut program(folder.path(), &["serve"]));
    disk.serves_what_it_acknowledged().await;
    assert_eq!(disk.push(2, BLOB).await, StatusCode::CREATED);
    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn a_blob_that_the_disk_does_not_take_ends_the_server() {
    ends_the_server(|_| Fault {
        call: "fdatasync",
        files: Vec::new(),
        told: "/blobs/",
    })
    .await;
}

#[tokio::test]
async fn a_name_that_the_disk_does_not_take_ends_the_server() {
    ends_the_server(|data| Fault {
        call: "fsync",
        files: folders(data),
        told: "/blobs/",
    })
    .await;
}

#[tokio::test]
async fn rows_that_the_disk_does_not_take_end_the_server() {
    ends_the_server(|data| Fault {
        call: "fsync,fdatasync",
        files: vec![data.join("berth.sqlite3-wal")],
        told: "the database's log",
    })
    .await;
}

#[tokio::test]
async fn a_log_that_the_disk_does_not_take_into_the_database_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    let tampering = disk.tamper_at("fsync,fdatasync", ONCE, &[folder.path().join("berth.sqlite3")]);

    // Nobody waits for a fold: the pushes until then are acknowledged, and are in the log.
    let mut pushed = 0;
    while pushed < MOST_PUSHES && disk.try_push_small(pushed).await == Some(StatusCode::CREATED) {
        pushed += 1;
    }

    assert!((10..MOST_PUSHES).contains(&pushed), "{pushed}");
    let ended = disk.serve.ends();
    drop(tampering);
    assert_eq!(ended.code(), Some(1), "{}", disk.serve.said);
    let last = disk.serve.said.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: could not make the database's file durable"),
        "{last}"
    );
    let disk = disk.followed_by(&mut program(folder.path(), &["serve"]));
    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn rows_for_which_there_is_no_room_are_refused_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
    let log = [folder.path().join("berth.sqlite3-wal")];
    let tampering = disk.tamper_at("fsync,fdatasync", "error=ENOSPC", &log);

    let refused = disk.push(2, BLOB).await;

    drop(tampering);
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(disk.push(2, BLOB).await, StatusCode::CREATED);
    disk.serves_what_it_acknowledged().await;
}
