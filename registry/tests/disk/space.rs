//! No room: bytes, names, permission to write, descriptors.

use crate::content::bytes;
use crate::server::Disk;
use reqwest::StatusCode;
use std::io::{Read, Write};

const BLOB: usize = 200_000;

/// Pushes until there is no room; then one removes what was in the way.
async fn fills_up_and_goes_on(options: &str, in_the_way: &[(String, usize)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::small(folder.path(), options);
    for (name, size) in in_the_way {
        std::fs::write(disk.path(name), vec![0; *size]).unwrap();
    }
    let mut seed = 0;
    let refused = loop {
        seed += 1;
        assert!(seed < 400, "there was always room ({options})");
        let status = disk.push(seed, BLOB).await;
        if status != StatusCode::CREATED {
            break status;
        }
    };
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE, "{options}");
    for more in 0..5 {
        // Whatever fits into what is left may be taken; nothing else than that may be said.
        let status = disk.push(1000 + more, BLOB).await;
        let expected = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CREATED];
        assert!(expected.contains(&status), "{status} ({options})");
    }
    disk.serves_what_it_acknowledged().await;

    for (name, _) in in_the_way {
        std::fs::remove_file(disk.path(name)).unwrap();
    }

    assert_eq!(disk.push(seed, BLOB).await, StatusCode::CREATED, "{options}");
    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn a_full_disk_is_503_and_room_again_is_enough() {
    // Rows and bytes share the disk: sometimes it is a row that does not fit.
    for kib in [3000, 3100, 3200, 3300, 3400, 4001] {
        let in_the_way = [("in-the-way".to_owned(), 900_000)];
        fills_up_and_goes_on(&format!("size={kib}k"), &in_the_way).await;
    }
}

#[tokio::test]
async fn a_disk_without_names_for_more_files_is_503_and_names_again_are_enough() {
    let in_the_way: Vec<_> = (0..8).map(|number| (format!("in-the-way-{number}"), 1)).collect();
    fills_up_and_goes_on("size=256m,nr_inodes=300", &in_the_way).await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_503_to_pushes_and_serves_pulls() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::small(folder.path(), "size=64m");
    let blobs = folder.path().join("blobs");
    let blobs = blobs.to_str().unwrap();
    // The rows stay where they are: their files are open, and that alone keeps a disk from turning.
    disk.inside(&["mount", "--bind", blobs, blobs]);
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);

    disk.inside(&["mount", "-o", "remount,bind,ro", blobs]);
    let refused = disk.push(2, BLOB).await;
    disk.serves_what_it_acknowledged().await;
    disk.inside(&["mount", "-o", "remount,bind,rw", blobs]);

    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(disk.push(2, BLOB).await, StatusCode::CREATED);
    disk.serves_what_it_acknowledged().await;
}

#[tokio::test]
async fn a_process_out_of_descriptors_serves_again_when_some_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(folder.path());
    assert_eq!(disk.push(1, BLOB).await, StatusCode::CREATED);
    let limit = format!("--pid={}", disk.serve.pid());
    let bounded = std::process::Command::new("prlimit")
        .args([&limit, "--nofile=60"])
        .status();
    assert!(bounded.unwrap().success());

    let mut silent: Vec<_> = (0..100).map(|_| disk.connect()).collect();
    // Requests on connections that were taken need descriptors, too: they are answered, with an error or without.
    let first = &mut silent[0];
    first.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(silent);

    let content = bytes(2, BLOB);
    let pushed = async {
        while !matches!(disk.try_push(&content).await, Ok(answer) if answer.status() == StatusCode::CREATED) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), pushed)
        .await
        .unwrap();
    disk.serves_what_it_acknowledged().await;
}
