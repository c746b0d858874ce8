//! Headers: repeated, folded, enormous, contradicting one another, and full of bytes that steer.

mod heads;

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{EMPTY_INDEX, IMAGE, INDEX, bytes, open_session, push_blob, put_manifest, sha256, sha512};
use crate::wire::Request;

const NAME: &str = "corpus/headers";

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    push_blob(client, NAME, &bytes(100))?;
    client
        .ask(&put_manifest(NAME, "t", INDEX, EMPTY_INDEX), &Expect::status(201))
        .map(drop)
}

fn manifest() -> Request {
    Request::new("GET", format!("/v2/{NAME}/manifests/t"))
}

fn blob() -> Request {
    Request::new("GET", format!("/v2/{NAME}/blobs/{}", sha256(&bytes(100))))
}

/// Reads that must not be moved by a header.
fn passed_over() -> Vec<Case> {
    let long = |length: usize| "v".repeat(length);
    let mut rows: Vec<(String, String)> = Vec::new();
    let accepts = [
        "",
        "*/*",
        "text/html",
        IMAGE,
        "application/json;q=0",
        "*/*;q=0",
        ";",
        ",",
        ",,,",
        "a",
        "a/b/c",
        "application/*",
        "\"",
        "q=1",
        "*/*;q=2",
        "*/*;q=NaN",
        "application/vnd.oci.image.index.v1+json;q=0",
        "é",
        "\u{fffd}",
    ];
    rows.extend(accepts.map(|accept| ("Accept".to_owned(), accept.to_owned())));
    rows.push(("Accept".into(), vec![IMAGE; 1000].join(", ")));
    rows.push((
        "Accept".into(),
        (0..1000)
            .map(|n| format!("a/b{n};q=0.{n}"))
            .collect::<Vec<_>>()
            .join(","),
    ));
    let encodings = [
        "gzip",
        "zstd, gzip, deflate, br",
        "identity;q=0",
        "*;q=0",
        "gzip;q=1.0, *;q=0",
        "",
        "\\",
        "GZIP",
    ];
    rows.extend(encodings.map(|coding| ("Accept-Encoding".to_owned(), coding.to_owned())));
    let forwarded = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Host", "a, b, c"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-For", "::1, 127.0.0.1, unknown, _x"),
        ("X-Forwarded-For", ",,,,"),
        ("X-Forwarded-Port", "99999"),
        ("X-Forwarded-Port", "-1"),
        ("X-Forwarded-Prefix", "/../.."),
        ("Forwarded", "for=1.2.3.4;host=evil.example;proto=https"),
        ("Forwarded", "for=\"[::1]:80\""),
        ("Forwarded", ";;;,,,==\""),
        ("Forwarded", "for=\"unclosed"),
        ("X-Real-IP", "not an address"),
        ("X-Original-URL", "/v2/_catalog"),
        ("X-Rewrite-URL", "/v2/other/manifests/t"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "PUT"),
        ("X-Request-Id", "a\u{e9}"),
        ("X-Request-Id", "${jndi:ldap://x}"),
        ("Via", "1.1 a, 1.1 b"),
        ("traceparent", "00-00000000000000000000000000000000-0000000000000000-00"),
        ("traceparent", "garbage"),
        ("tracestate", "=,=,="),
        ("Authorization", "Basic"),
        ("Authorization", "Basic !!!"),
        ("Authorization", "Basic Og=="),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer a.b.c"),
        ("Authorization", "Digest x"),
        ("Authorization", ""),
        ("Cookie", "a=b; c"),
        ("User-Agent", ""),
        ("User-Agent", "docker/27.0 go/1.22"),
        ("User-Agent", "\u{202e}evil"),
        ("Origin", "null"),
        ("Referer", "x"),
        ("Content-Type", "text/html"),
        ("Content-Encoding", "gzip"),
        ("TE", "trailers"),
        ("Trailer", "Content-Length"),
        ("Date", "never"),
        ("Upgrade", "websocket"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Max-Forwards", "0"),
        ("From", "\""),
        ("Connection", "keep-alive, x"),
        ("Keep-Alive", "timeout=-1"),
        ("Proxy-Connection", "close"),
        ("Proxy-Authorization", "x"),
        ("Content-Range", "0-5"),
        ("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("If-Unmodified-Since", "garbage"),
        ("Cache-Control", "no-cache"),
        ("Pragma", "no-cache"),
        ("Docker-Content-Digest", "sha256:0"),
        ("OCI-Subject", "x"),
    ];
    rows.extend(forwarded.map(|(name, value)| (name.to_owned(), value.to_owned())));
    rows.extend([1000, 4000, 8000, 16_000].map(|length| ("X-Long".to_owned(), long(length))));
    rows.push((format!("X-{}", long(1000)), "v".into()));
    let case = |(name, value): (String, String)| {
        let what = format!("{name}: {}", value.chars().take(60).collect::<String>());
        let requests = [manifest(), blob()].map(|request| request.header(&name, &value));
        Case::play(what, move |client| {
            let bodies = [EMPTY_INDEX.as_bytes().to_vec(), bytes(100)];
            for (request, body) in requests.iter().zip(bodies) {
                let answer = client.ask(request, &Expect::status(200))?;
                (answer.body == body).then_some(()).ok_or("another body")?;
            }
            Ok(())
        })
    };
    rows.into_iter().map(case).collect()
}

fn conditional() -> Vec<Case> {
    let tag = sha256(EMPTY_INDEX.as_bytes());
    let other = sha256(b"another");
    let (same, changed) = (304, 200);
    let rows: Vec<(String, u16)> = vec![
        (format!("\"{tag}\""), same),
        (tag.clone(), same),
        (format!("W/\"{tag}\""), same),
        ("*".into(), same),
        (format!("\"{other}\", \"{tag}\""), same),
        (format!("\"{other}\",\"{tag}\""), same),
        (format!("\"{other}\""), changed),
        (String::new(), changed),
        ("\"\"".into(), changed),
        ("\"".into(), changed),
        (tag[..20].to_owned(), changed),
        (format!("\"{}\"", tag.to_uppercase()), changed),
        (format!("\"{tag}x\""), changed),
        (format!("\"{tag}-gzip\""), changed),
        ("W/".into(), changed),
        (",,,,".into(), changed),
        ("é".into(), changed),
        (vec![format!("\"{other}\""); 100].join(", "), changed),
    ];
    let digest = sha256(&bytes(100));
    let by_match = rows.into_iter().map(|(value, status)| {
        let what = format!("If-None-Match: {}", value.chars().take(90).collect::<String>());
        Case::one(what, manifest().header("If-None-Match", value), Expect::status(status))
    });
    let if_range = [
        (format!("\"{digest}\""), 206),
        (format!("\"{other}\""), 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), 200),
        ("garbage".to_owned(), 200),
        (String::new(), 200),
        ("é".to_owned(), 200),
    ];
    let if_range = if_range.map(|(value, status)| {
        let request = blob().header("Range", "bytes=0-9").header("If-Range", &value);
        Case::one(format!("If-Range: {value}"), request, Expect::status(status))
    });
    by_match.chain(if_range).collect()
}

/// Pushes of the empty index with a `Content-Type`, and whether it is one of an index.
fn content_types() -> Vec<Case> {
    let good = [
        INDEX.to_owned(),
        format!("{INDEX}; charset=utf-8"),
        format!("{INDEX};charset=utf-8"),
        format!("{INDEX} ; a=b; c=\"d;e\""),
        format!(" {INDEX} "),
        format!("{INDEX};"),
        String::new(),
    ];
    let bad = [
        "text/plain",
        "application/json",
        "application/octet-stream",
        "*/*",
        "application/*",
        "/",
        "a",
        "a/b/c",
        "é",
        "\"",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.oci.image.index.v2+json",
        "application/vnd.oci.image.index.v1+json2",
        "application/vnd.oci.image.index.v1",
        "application/vnd.oci.artifact.manifest.v1+json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "charset=utf-8",
        "null",
    ];
    let put = |media_type: &str| put_manifest(NAME, "typed", media_type, EMPTY_INDEX);
    let good = good.map(|media_type| (put(&media_type), Expect::status(201), media_type));
    let bad = bad.map(|media_type| {
        (
            put(media_type),
            Expect::error(400, "MANIFEST_INVALID"),
            media_type.to_owned(),
        )
    });
    let list = format!("{INDEX}, {IMAGE}");
    let odd = [";".to_owned(), list, INDEX.to_uppercase(), "a".repeat(8000)].map(|media_type| {
        (
            put(&media_type),
            Expect::any(&[201, 400]).code("MANIFEST_INVALID"),
            media_type,
        )
    });
    let twice = put(INDEX).header("Content-Type", IMAGE);
    let twice = (
        twice,
        Expect::any(&[201, 400]).code("MANIFEST_INVALID"),
        "twice".to_owned(),
    );
    let rows = good.into_iter().chain(bad).chain(odd).chain([twice]);
    rows.map(|(request, expect, what)| {
        Case::one(
            format!("Content-Type: {}", &what[..what.len().min(60)]),
            request,
            expect,
        )
    })
    .collect()
}

/// Each byte that is not a letter in a value and in a name.
fn single_bytes() -> Vec<Case> {
    let head = |header: &[u8]| Request::raw([b"GET /v2/ HTTP/1.1\r\nHost: h\r\n", header, b"\r\n\r\n"].concat());
    let value = |byte: u8| {
        let expect = match byte {
            b'\t' | 0x80..=0xff => Expect::status(200),
            b'\n' | b'\r' => Expect::any(&[200, 400]).or_below(),
            _ => Expect::no_request(),
        };
        Case::one(
            format!("byte {byte:#04x} in a value"),
            head(&[b"X-A: a", &[byte][..], b"b: c"].concat()),
            expect,
        )
    };
    let name = |byte: u8| {
        Case::one(
            format!("byte {byte:#04x} in a name"),
            head(&[b"X-", &[byte][..], b"A: b"].concat()),
            Expect::no_request(),
        )
    };
    let controls = (0..=0x1f).chain([0x7f]);
    let separators = b"()<>@,;\\\"/[]?={} "
        .iter()
        .copied()
        .chain([0, 1, 8, 0x0b, 0x0c, 0x1b, 0x7f, 0x80, 0xff]);
    controls
        .chain([0x80, 0x9b, 0xa0, 0xff])
        .map(value)
        .chain(separators.map(name))
        .collect()
}

/// Headers about a body that are no excuse to lose or to keep bytes.
fn uploads() -> Vec<Case> {
    let chunked = |ranges: &'static [&'static str], expect: Expect| {
        Case::play(format!("Content-Range: {ranges:?}"), move |client| {
            let at = open_session(client, NAME)?;
            let patch = Request::new("PATCH", &at);
            let patch = ranges
                .iter()
                .fold(patch, |patch, range| patch.header("Content-Range", range));
            client.ask(&patch.body("hello"), &expect).map(drop)
        })
    };
    let typed = |media_type: &'static str| {
        Case::play(format!("a chunk of type {media_type}"), move |client| {
            let at = open_session(client, NAME)?;
            let patch = Request::new("PATCH", &at)
                .header("Content-Type", media_type)
                .body("hello");
            client.ask(&patch, &Expect::status(202))?;
            let close = Request::new("PUT", format!("{at}?digest={}", sha512(b"hello")));
            client.ask(&close, &Expect::status(201)).map(drop)
        })
    };
    let mut cases: Vec<Case> = [
        "",
        "application/octet-stream",
        "text/plain",
        "é",
        "application/json; charset=",
        "*",
    ]
    .map(typed)
    .into_iter()
    .collect();
    cases.push(chunked(&["0-4"], Expect::status(202)));
    cases.push(chunked(&["0-4", "0-4"], Expect::any(&[202, 400, 416])));
    cases.push(chunked(&["0-4", "7-9"], Expect::any(&[202, 400, 416])));
    cases.push(chunked(&["7-9", "0-4"], Expect::error(416, "BLOB_UPLOAD_INVALID")));
    cases.push(chunked(&["é"], Expect::error(416, "BLOB_UPLOAD_INVALID")));
    cases
}

#[test]
fn a_header_is_understood_passed_over_or_refused_and_never_believed_by_half() {
    let groups = [
        passed_over(),
        conditional(),
        content_types(),
        heads::cases(),
        single_bytes(),
        uploads(),
    ];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    assert!(cases.len() >= 300, "{}", cases.len());
    Category {
        prepare,
        ..Category::new("headers", cases)
    }
    .hold();
}
