//! Upload sessions: what they tell, what they refuse and what they survive.

use std::time::Duration;

use super::{Check, refused};
use crate::{
    conformance::{
        Suite,
        blobs::{Blob, blob, uploads},
        client::{ANSWER, Answer, Body, Client, Request, connect},
        content::{Algorithm, sha256},
        criteria,
        tally::{Checked, Fault},
        wire::Connection,
    },
    wait,
};

const RECOVERY: Duration = Duration::from_secs(30);

pub(super) const CHECKS: &[Check] = &[
    ("a new session has nothing", new_session),
    ("the answer to a chunk tells what is stored", chunk_answer),
    ("a chunk again", chunk_again),
    ("a Content-Range that is none", |suite| {
        range_is_refused(suite, "zero-nine")
    }),
    ("a Content-Range that ends before it begins", |suite| {
        range_is_refused(suite, "9-0")
    }),
    ("Content-Range as in RFC 9110", rfc_range),
    ("a chunk shorter than its range", short_chunk),
    ("disconnected within a chunk, again from the start", disconnected),
    ("two chunks at once", two_at_once),
    ("closed again after the answer was lost", closed_again),
    ("a session under another name", other_name),
    ("a session that never was", no_session),
    ("a cancelled session", cancelled),
    ("a stream of nothing", empty_stream),
    ("closed without a digest", no_digest),
    ("closed with an unknown algorithm", |suite| {
        closing_is_refused(suite, "md5:d41d8cd98f00b204e9800998ecf8427e", 204)
    }),
    ("closed with another digest", |suite| {
        closing_is_refused(suite, &sha256(b"other"), 404)
    }),
    ("an algorithm as a hint", hint),
    ("an unknown algorithm as a hint", unknown_hint),
    ("a mount from a malformed name", |suite| {
        mount_is_202(suite, "Not/A/Name")
    }),
    ("a mount from nowhere", |suite| {
        mount_is_202(suite, "beyond/nobody-was-here")
    }),
    ("a mount from the same repository", mount_same),
    ("a mount of a malformed digest", mount_malformed),
    ("a POST without the slash at the end", no_slash),
];

/// Opens a session and stores `first` there; gives where to go on.
fn session(suite: &mut Suite, first: &[u8]) -> Checked<String> {
    let target = suite.open_upload(&suite.repository())?;
    if first.is_empty() {
        return Ok(target);
    }
    let answer = suite.send(&chunk(&target, (0, first.len()), first))?;
    criteria::status(&answer, &[202])?;
    criteria::location(&answer)
}

fn chunk<'a>(target: &str, (first, end): (usize, usize), bytes: &'a [u8]) -> Request<'a> {
    Request::new("PATCH", target)
        .header("content-range", format!("{first}-{}", end - 1))
        .body(Body::Sized(bytes))
}

fn close(suite: &mut Suite, target: &str, digest: &str) -> Checked<Answer> {
    suite.send(&Request::new("PUT", target).parameter("digest", digest))
}

/// The session is there and has this many bytes.
fn has(suite: &mut Suite, target: &str, stored: usize) -> Checked {
    let answer = suite.get(target)?;
    criteria::status(&answer, &[204])?;
    is_at(&answer, stored)
}

fn is_at(answer: &Answer, stored: usize) -> Checked {
    criteria::header(answer, "range", &format!("0-{}", stored.max(1) - 1))?;
    criteria::location(answer)?;
    let id = answer.header("docker-upload-uuid");
    criteria::that(
        answer.header("location").ends_with(id) && !id.is_empty(),
        "the session's id wanted",
        answer,
    )
}

fn new_session(suite: &mut Suite) -> Checked {
    let answer = suite.send(&Request::new("POST", uploads(&suite.repository())))?;
    criteria::status(&answer, &[202])?;
    criteria::length(&answer, 0)?;
    is_at(&answer, 0)?;
    let location = criteria::location(&answer)?;
    let plain = location == answer.header("location") && !location.contains(['?', '%']);
    criteria::that(plain, "a Location with a plain path wanted", &answer)?;
    has(suite, &location, 0)
}

fn chunk_answer(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(1500);
    let target = session(suite, &bytes[..512])?;
    let answer = suite.send(&chunk(&target, (512, 1500), &bytes[512..]))?;
    criteria::status(&answer, &[202])?;
    is_at(&answer, 1500)?;
    has(suite, &target, 1500)
}

fn chunk_again(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(512);
    let target = session(suite, &bytes)?;
    let answer = suite.send(&chunk(&target, (0, 512), &bytes))?;
    refused(&answer, 416, "BLOB_UPLOAD_INVALID")?;
    is_at(&answer, 512)
}

fn range_is_refused(suite: &mut Suite, range: &str) -> Checked {
    let bytes = suite.random.bytes(10);
    let target = session(suite, &[])?;
    let patch = Request::new("PATCH", target.as_str())
        .header("content-range", range)
        .body(Body::Sized(&bytes));
    criteria::status(&suite.send(&patch)?, &[416])?;
    has(suite, &target, 0)
}

fn rfc_range(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(20);
    let target = session(suite, &[])?;
    for (range, part) in [("bytes 0-9/*", &bytes[..10]), ("bytes 10-19/20", &bytes[10..])] {
        let patch = Request::new("PATCH", target.as_str())
            .header("content-range", range)
            .body(Body::Sized(part));
        criteria::status(&suite.send(&patch)?, &[202])?;
    }
    criteria::status(&close(suite, &target, &sha256(&bytes))?, &[201])
}

fn short_chunk(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(100);
    let target = session(suite, &bytes[..50])?;
    refused(
        &suite.send(&chunk(&target, (50, 100), &bytes[50..60]))?,
        400,
        "SIZE_INVALID",
    )?;
    has(suite, &target, 50)?;
    criteria::status(&suite.send(&chunk(&target, (50, 100), &bytes[50..]))?, &[202])?;
    criteria::status(&close(suite, &target, &sha256(&bytes))?, &[201])
}

/// Writes the head of a PATCH, waits until the registry wants the body, and writes half of it; the rest is still owed.
fn half_a_patch(suite: &Suite, target: &str, bytes: &[u8]) -> Checked<Connection> {
    let mut connection = connect(suite.client.host(), ANSWER)?;
    let (host, length) = (suite.client.host(), bytes.len());
    let head =
        format!("PATCH {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n");
    connection.write(head.as_bytes())?;
    let told = connection.read_head()?.map(|head| head.first).unwrap_or_default();
    if !told.contains(" 100") {
        return Err(Fault::Failed(format!(
            "PATCH {target} with Expect: 100-continue -> {told}"
        )));
    }
    connection.write(&bytes[..length / 2])?;
    Ok(connection)
}

/// containerd and others send the same bytes again, without saying where they begin.
fn disconnected(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(200_000);
    let target = session(suite, &[])?;
    drop(half_a_patch(suite, &target, &bytes)?);
    let again = Request::new("PATCH", target.as_str()).body(Body::Sized(&bytes));
    let answer = wait::until("the session is free again", RECOVERY, || {
        let answer = suite.client.send(&again)?;
        Ok((answer.status == 202).then_some(answer))
    })?;
    is_at(&answer, bytes.len())?;
    criteria::status(&close(suite, &target, &sha256(&bytes))?, &[201])
}

/// One writer at a time: the second is told where the session is, and the first goes on.
fn two_at_once(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(200_000);
    let target = session(suite, &[])?;
    let mut first = half_a_patch(suite, &target, &bytes)?;
    let second = suite.send(&chunk(&target, (0, bytes.len()), &bytes))?;
    criteria::status(&second, &[416])?;
    first.write(&bytes[bytes.len() / 2..])?;
    let head = first.read_head()?;
    let accepted = head.is_some_and(|head| head.first.contains(" 202"));
    criteria::that(accepted, "202 for the first wanted; the second got this", &second)?;
    criteria::status(&close(suite, &target, &sha256(&bytes))?, &[201])
}

fn closed_again(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(100);
    let digest = sha256(&bytes);
    let target = session(suite, &bytes)?;
    for _ in 0..2 {
        let answer = close(suite, &target, &digest)?;
        criteria::status(&answer, &[201])?;
        let pushed = Blob {
            digest: &digest,
            bytes: &bytes,
            corrupt: false,
        };
        suite.blob_is_at_location(&answer, pushed)?;
    }
    Ok(())
}

fn other_name(suite: &mut Suite) -> Checked {
    let target = session(suite, &[])?;
    let elsewhere = target.replace("beyond/uploads/", "beyond/elsewhere/");
    refused(&suite.get(elsewhere)?, 404, "BLOB_UPLOAD_UNKNOWN")
}

fn no_session(suite: &mut Suite) -> Checked {
    for id in ["5e2c7d0a-93c1-4d6a-8a53-6f3f2a1b4c5d", "nonsense"] {
        let target = format!("{}{id}", uploads(&suite.repository()));
        refused(&suite.get(target.as_str())?, 404, "BLOB_UPLOAD_UNKNOWN")?;
        let patch = Request::new("PATCH", target).body(Body::Chunked(b"bytes"));
        refused(&suite.send(&patch)?, 404, "BLOB_UPLOAD_UNKNOWN")?;
    }
    Ok(())
}

fn cancelled(suite: &mut Suite) -> Checked {
    let target = session(suite, b"some bytes")?;
    let answer = suite.send(&Request::new("DELETE", target.as_str()))?;
    criteria::status(&answer, &[204])?;
    criteria::no_header(&answer, "content-length")?;
    refused(&suite.get(target.as_str())?, 404, "BLOB_UPLOAD_UNKNOWN")?;
    refused(
        &suite.send(&Request::new("DELETE", target))?,
        404,
        "BLOB_UPLOAD_UNKNOWN",
    )
}

fn empty_stream(suite: &mut Suite) -> Checked {
    let target = session(suite, &[])?;
    let patch = Request::new("PATCH", target.as_str()).body(Body::Chunked(b""));
    criteria::status(&suite.send(&patch)?, &[202])?;
    criteria::status(&close(suite, &target, &sha256(b""))?, &[201])
}

fn no_digest(suite: &mut Suite) -> Checked {
    let target = session(suite, b"some bytes")?;
    refused(
        &suite.send(&Request::new("PUT", target.as_str()))?,
        400,
        "DIGEST_INVALID",
    )?;
    has(suite, &target, 10)
}

/// `then` is how the session answers afterwards.
fn closing_is_refused(suite: &mut Suite, digest: &str, then: u16) -> Checked {
    let target = session(suite, b"some bytes")?;
    refused(&close(suite, &target, digest)?, 400, "DIGEST_INVALID")?;
    criteria::status(&suite.get(target)?, &[then])
}

fn hint(suite: &mut Suite) -> Checked {
    let bytes = suite.random.bytes(100);
    let post = Request::new("POST", uploads(&suite.repository())).parameter("digest-algorithm", "sha512");
    let answer = suite.send(&post)?;
    criteria::status(&answer, &[202])?;
    let put = Request::new("PUT", criteria::location(&answer)?)
        .parameter("digest", &Algorithm::Sha512.digest(&bytes))
        .body(Body::Sized(&bytes));
    criteria::status(&suite.send(&put)?, &[201])
}

fn unknown_hint(suite: &mut Suite) -> Checked {
    let post = Request::new("POST", uploads(&suite.repository())).parameter("digest-algorithm", "md5");
    refused(&suite.send(&post)?, 400, "DIGEST_INVALID")
}

fn mount(suite: &mut Suite, digest: &str, from: &str) -> Checked<Answer> {
    let post = Request::new("POST", uploads(&suite.repository()));
    suite.send(&post.parameter("mount", digest).parameter("from", from))
}

fn mount_is_202(suite: &mut Suite, from: &str) -> Checked {
    let digest = sha256(&suite.random.bytes(10));
    criteria::status(&mount(suite, &digest, from)?, &[202])
}

fn mount_same(suite: &mut Suite) -> Checked {
    let (_, digest) = suite.some_blob(100)?;
    let answer = mount(suite, &digest, &suite.repository())?;
    criteria::status(&answer, &[201])?;
    criteria::header(&answer, "location", &blob(&suite.repository(), &digest))
}

fn mount_malformed(suite: &mut Suite) -> Checked {
    refused(
        &mount(suite, "sha256:nothing", "beyond/uploads")?,
        400,
        "DIGEST_INVALID",
    )
}

/// A redirect would make a GET of it in most clients.
fn no_slash(suite: &mut Suite) -> Checked {
    let target = uploads(&suite.repository());
    let mut client = Client::new(suite.client.host()).without_redirects();
    let answer = client
        .send(&Request::new("POST", target.trim_end_matches('/')))
        .map_err(Fault::from)?;
    criteria::status(&answer, &[202])
}
