//! System calls that fail, that are interrupted, that are slow.

use crate::content::bytes;
use crate::serve::program;
use crate::server::Disk;
use crate::shim::{self, Shim};
use reqwest::StatusCode;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::timeout;

const BLOB: usize = 400_000;
const SYNCS: &str = "fsync,fdatasync";
const LIMIT: Duration = Duration::from_secs(30);

/// No 201 while the calls fail, what was acknowledged is there, and the same push succeeds afterwards.
async fn refuses_while(calls: &str, how: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
    let tampering = disk.tamper(calls, how);

    let refused = timeout(LIMIT, disk.push(2, BLOB)).await.unwrap();

    drop(tampering);
    assert!(refused.is_server_error(), "{refused}: {calls} {how}");
    disk.serves_what_it_acknowledged().await;
    assert_eq!(disk.push(2, BLOB).await, StatusCode::CREATED, "{calls} {how}");
    assert_eq!(disk.push(3, BLOB).await, StatusCode::CREATED, "{calls} {how}");
    let next = &mut program(folder.path(), &["serve"]);
    disk.serve.signal("TERM");
    let disk = disk.followed_by(next);
    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn bytes_that_cannot_be_synced_are_not_acknowledged() {
    for error in ["error=ENOSPC", "error=EINTR"] {
        refuses_while(SYNCS, error).await;
    }
}

#[tokio::test]
async fn a_file_system_that_has_lost_its_server_is_an_error_until_it_is_back() {
    refuses_while("openat,openat2,fsync,fdatasync", "error=ESTALE").await;
}

#[tokio::test]
async fn calls_that_are_interrupted_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    let tampering = disk.tamper("openat,pwrite64,pread64,ftruncate", "error=EINTR:when=1+2");

    for seed in 0..5 {
        let pushed = timeout(LIMIT, disk.push(seed, BLOB)).await.unwrap();
        assert_eq!(pushed, StatusCode::CREATED);
    }
    drop(tampering);

    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn writes_that_take_less_than_they_are_given_are_gone_on_with() {
    let (folder, library) = (tempfile::tempdir().unwrap(), shim::build());
    let data = folder.path().join("data");
    let shim = Shim {
        library: &library.path().join("shim.so"),
        root: folder.path(),
    };
    // It makes the database and its journals in halves, too.
    let mut disk = Disk::start(&data, &mut shim.writing_halves(program(&data, &["serve"])));

    for seed in 0..5 {
        assert_eq!(disk.push(seed, BLOB).await, StatusCode::CREATED);
    }
    assert!(disk.push_image(5, BLOB).await.is_some());

    disk.serves_what_it_acknowledged().await;
    disk.serve.signal("TERM");
    let disk = disk.followed_by(&mut program(&data, &["serve"]));
    disk.serves_what_it_acknowledged().await;
    let images = disk.promised();
    disk.serves(&images).await;
}

#[tokio::test]
async fn pulls_do_not_wait_for_the_slow_syncs_of_a_push() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
    let tampering = disk.tamper(SYNCS, "delay_enter=1000000");
    let (pushed, pulls) = (AtomicBool::new(false), AtomicU32::new(0));
    let content = bytes(2, BLOB);

    let pushing = async {
        let answer = disk.try_push(&content).await.unwrap();
        pushed.store(true, Ordering::SeqCst);
        answer.status()
    };
    let pulling = async {
        while !pushed.load(Ordering::SeqCst) {
            let answer = disk.get(&disk.acknowledged()[0]).await;
            assert_eq!(answer.status(), StatusCode::OK);
            drop(answer.bytes().await.unwrap());
            pulls.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (status, ()) = timeout(LIMIT, async { tokio::join!(pushing, pulling) }).await.unwrap();

    drop(tampering);
    assert_eq!(status, StatusCode::CREATED);
    // A push syncs bytes, names and rows, a second each: one pull that waited would be the only one.
    assert!(pulls.into_inner() > 3);
}
