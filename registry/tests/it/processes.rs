//! Servers as processes: who owns the files, and how they end.

use crate::support::serve::{LIMIT, Serve, address, program};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_server_on_the_same_files_is_refused_until_the_first_has_stopped() {
    let data = tempfile::tempdir().unwrap();
    let mut first = Serve::start(&mut program(data.path(), &["serve"]));
    first.says("serving");

    let second = program(data.path(), &["serve"]).output().unwrap();
    let migration = program(data.path(), &["migrate", "up"]).output().unwrap();

    assert_eq!(second.status.code(), Some(1));
    for words in [
        "another server uses the database",
        "berth.sqlite3.lock is locked",
        "stop that server",
        "PostgreSQL",
    ] {
        assert!(told(&second).contains(words), "{}", told(&second));
    }
    assert_eq!(migration.status.code(), Some(0), "{}", told(&migration));
    first.signal("TERM");
    assert_eq!(first.ends().code(), Some(0), "{}", first.said);
    let mut third = Serve::start(&mut program(data.path(), &["serve"]));
    third.says("serving");
    third.signal("INT");
    assert_eq!(third.ends().code(), Some(0), "{}", third.said);
}

#[test]
fn a_signal_during_the_start_ends_it() {
    let data = tempfile::tempdir().unwrap();
    let silent_database = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "postgres://u@{}/db?sslmode=disable",
        silent_database.local_addr().unwrap()
    );
    let mut server = Serve::start(&mut program(data.path(), &["serve", "--database-url", &url]));
    let _connection = silent_database.accept().unwrap();

    server.signal("TERM");

    let status = server.ends();
    assert_eq!(status.code(), Some(0), "{}", server.said);
    assert!(
        server.said.contains("stopped before the start was complete"),
        "{}",
        server.said
    );
}

#[test]
fn a_second_signal_does_not_wait_for_requests_under_way() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Serve::start(&mut program(data.path(), &["serve", "--drain-timeout", "24h"]));
    let mut client = TcpStream::connect(address(&server.says("serving"))).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\
         expect: 100-continue\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the body is waited for");

    server.signal("TERM");
    server.says("stopping");
    server.signal("TERM");

    let status = server.ends();
    assert_eq!(status.code(), Some(1), "{}", server.said);
    assert!(server.said.contains("a second signal"), "{}", server.said);
}

#[test]
fn every_cause_of_an_error_is_told_once() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("berth.sqlite3")).unwrap();

    for command in [&["serve"][..], &["migrate", "up"], &["migrate", "status"]] {
        let output = program(data.path(), command).output().unwrap();

        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.matches("unable to open database file").count(), 1, "{told}");
    }
}
