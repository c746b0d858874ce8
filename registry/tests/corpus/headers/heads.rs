//! Heads written by hand: what HTTP/1.1 lets through, what it refuses, and what it was never meant to see.

use super::NAME;
use crate::case::{Case, Expect};
use crate::content::{EMPTY_INDEX, INDEX};
use crate::wire::Request;

/// Heads by hand, each on a connection of its own.
pub(super) fn cases() -> Vec<Case> {
    let host = "Host: h\r\n";
    let get = |headers: &str| format!("GET /v2/ HTTP/1.1\r\n{headers}\r\n");
    let put = |headers: &str, body: &str| {
        format!("PUT /v2/{NAME}/manifests/h HTTP/1.1\r\nHost: h\r\nContent-Type: {INDEX}\r\n{headers}\r\n{body}")
    };
    let (ok, stored, no) = (Expect::status(200), Expect::status(201), Expect::no_request());
    let either = |status: u16| Expect::any(&[status, 400, 431]).or_below();
    let index = EMPTY_INDEX;
    let length = index.len();
    let rows: Vec<(&str, String, Expect)> = vec![
        ("plain", get(host), ok.clone()),
        ("no host", get(""), either(200)),
        ("two hosts", get("Host: a\r\nHost: b\r\n"), either(200)),
        ("empty host", get("Host:\r\n"), ok.clone()),
        ("odd host", get("Host: a b:99999/../\r\n"), either(200)),
        ("host with credentials", get("Host: user:pass@h\r\n"), either(200)),
        (
            "host that is an address",
            get("Host: [::1%25eth0]:5000\r\n"),
            either(200),
        ),
        (
            "host of 64 KB",
            get(&format!("Host: {}\r\n", "h".repeat(65_536))),
            either(200),
        ),
        (
            "absolute target",
            format!("GET http://other.example/v2/ HTTP/1.1\r\n{host}\r\n"),
            ok.clone(),
        ),
        (
            "absolute target elsewhere",
            format!("GET http://other.example/x HTTP/1.1\r\n{host}\r\n"),
            Expect::status(404),
        ),
        (
            "asterisk",
            format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
            Expect::any(&[400, 404, 405]).or_below(),
        ),
        (
            "connect",
            format!("CONNECT h:443 HTTP/1.1\r\n{host}\r\n"),
            Expect::any(&[400, 404, 405]).or_below(),
        ),
        ("HTTP/1.0", "GET /v2/ HTTP/1.0\r\n\r\n".into(), ok.clone()),
        ("HTTP/0.9", "GET /v2/\r\n\r\n".into(), no.clone()),
        ("HTTP/1.2", format!("GET /v2/ HTTP/1.2\r\n{host}\r\n"), either(200)),
        ("HTTP/2.0", format!("GET /v2/ HTTP/2.0\r\n{host}\r\n"), no.clone()),
        ("HTTP/9.9", format!("GET /v2/ HTTP/9.9\r\n{host}\r\n"), no.clone()),
        (
            "lower case protocol",
            format!("GET /v2/ http/1.1\r\n{host}\r\n"),
            no.clone(),
        ),
        ("no protocol", format!("GET /v2/ \r\n{host}\r\n"), no.clone()),
        ("no target", format!("GET HTTP/1.1\r\n{host}\r\n"), no.clone()),
        (
            "target without a slash",
            format!("GET v2 HTTP/1.1\r\n{host}\r\n"),
            Expect::any(&[400, 404]).or_below(),
        ),
        ("empty method", format!(" /v2/ HTTP/1.1\r\n{host}\r\n"), no.clone()),
        (
            "method with a control character",
            format!("G\u{1}T /v2/ HTTP/1.1\r\n{host}\r\n"),
            no.clone(),
        ),
        (
            "method of 10 KB",
            format!("{} /v2/ HTTP/1.1\r\n{host}\r\n", "M".repeat(10_000)),
            Expect::status(405).or_below(),
        ),
        ("bare line ends", "GET /v2/ HTTP/1.1\nHost: h\n\n".into(), either(200)),
        (
            "bare carriage returns",
            "GET /v2/ HTTP/1.1\rHost: h\r\r".into(),
            no.clone(),
        ),
        ("blank lines first", format!("\r\n\r\n{}", get(host)), either(200)),
        ("folded header", get("Host: h\r\nX-A: b\r\n c\r\n"), either(200)),
        ("fold first", get(" Host: h\r\n"), no.clone()),
        ("blank before the colon", get("Host : h\r\n"), no.clone()),
        ("blank in a name", get("Host: h\r\nX A: b\r\n"), no.clone()),
        ("no colon", get("Host: h\r\nX-A\r\n"), no.clone()),
        ("no name", get("Host: h\r\n: b\r\n"), no.clone()),
        ("name not ASCII", get("Host: h\r\nX-é: b\r\n"), no.clone()),
        ("NUL in a value", get("Host: h\r\nX-A: a\0b\r\n"), no.clone()),
        (
            "TLS hello",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\r\n\r\n".into(),
            no.clone(),
        ),
        ("SSH hello", "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(), no.clone()),
        ("SOCKS hello", "\u{5}\u{1}\0\r\n\r\n".into(), no.clone()),
        ("JSON", "{\"a\":1}\r\n\r\n".into(), no.clone()),
        (
            "half an HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".into(),
            no.clone(),
        ),
        (
            "64 KB header",
            get(&format!("{host}X-A: {}\r\n", "v".repeat(65_536))),
            either(200),
        ),
        (
            "1 MB header",
            get(&format!("{host}X-A: {}\r\n", "v".repeat(1_048_576))),
            no.clone(),
        ),
        (
            "90 headers",
            get(&format!("{host}{}", "X-A: b\r\n".repeat(89))),
            ok.clone(),
        ),
        (
            "1000 headers",
            get(&format!("{host}{}", "X-A: b\r\n".repeat(1000))),
            no.clone(),
        ),
        (
            "10000 headers",
            get(&format!("{host}{}", "X-A: b\r\n".repeat(10_000))),
            no.clone(),
        ),
        (
            "64 KB name",
            get(&format!("{host}{}: b\r\n", "X".repeat(65_536))),
            either(200),
        ),
        (
            "length",
            put(&format!("Content-Length: {length}\r\n"), index),
            stored.clone(),
        ),
        (
            "length twice, the same",
            put(
                &format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"),
                index,
            ),
            either(201),
        ),
        (
            "length twice, different",
            put(&format!("Content-Length: {length}\r\nContent-Length: 3\r\n"), index),
            no.clone(),
        ),
        (
            "length in a list",
            put(&format!("Content-Length: {length}, {length}\r\n"), index),
            either(201),
        ),
        (
            "length with a sign",
            put(&format!("Content-Length: +{length}\r\n"), index),
            no.clone(),
        ),
        ("negative length", put("Content-Length: -1\r\n", index), no.clone()),
        (
            "length in hexadecimal",
            put("Content-Length: 0x22\r\n", index),
            no.clone(),
        ),
        (
            "length of 2^64",
            put("Content-Length: 18446744073709551616\r\n", index),
            no.clone(),
        ),
        ("length no number", put("Content-Length: abc\r\n", index), no.clone()),
        ("empty length", put("Content-Length:\r\n", index), no.clone()),
        (
            "length of nothing",
            put("Content-Length: 0\r\n", ""),
            Expect::error(400, "MANIFEST_INVALID"),
        ),
        (
            "chunked",
            put(
                "Transfer-Encoding: chunked\r\n",
                &format!("{length:x}\r\n{index}\r\n0\r\n\r\n"),
            ),
            stored.clone(),
        ),
        (
            "chunked by letters",
            put("Transfer-Encoding: chunked\r\n", &letters(index)),
            stored.clone(),
        ),
        (
            "chunked with extensions",
            put(
                "Transfer-Encoding: chunked\r\n",
                &format!("{length:x};a=b\r\n{index}\r\n0;c\r\n\r\n"),
            ),
            stored.clone(),
        ),
        (
            "chunked with trailers",
            put(
                "Transfer-Encoding: chunked\r\n",
                &format!("{length:x}\r\n{index}\r\n0\r\nX-T: y\r\n\r\n"),
            ),
            stored.clone(),
        ),
        (
            "Chunked",
            put(
                "Transfer-Encoding: Chunked\r\n",
                &format!("{length:X}\r\n{index}\r\n0\r\n\r\n"),
            ),
            stored,
        ),
        (
            "chunked and a length",
            put(
                &format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
                &format!("{length:x}\r\n{index}\r\n0\r\n\r\n"),
            ),
            either(201),
        ),
        (
            "a length and chunked",
            put(
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                &format!("{length:x}\r\n{index}\r\n0\r\n\r\n"),
            ),
            either(201),
        ),
        (
            "chunked twice",
            put("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            Expect::status(400).or_below(),
        ),
        (
            "gzip, chunked",
            put("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            Expect::status(400).or_below(),
        ),
        (
            "identity",
            put("Transfer-Encoding: identity\r\n", index),
            Expect::status(400).or_below(),
        ),
        (
            "unknown coding",
            put("Transfer-Encoding: xchunked\r\n", index),
            Expect::status(400).or_below(),
        ),
        (
            "chunk size no number",
            put("Transfer-Encoding: chunked\r\n", "zz\r\n\r\n"),
            Expect::error(400, "SIZE_INVALID").or_below(),
        ),
        (
            "negative chunk size",
            put("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"),
            Expect::error(400, "SIZE_INVALID").or_below(),
        ),
        (
            "chunk size of 2^64",
            put("Transfer-Encoding: chunked\r\n", "10000000000000000\r\nx"),
            Expect::error(400, "SIZE_INVALID").or_below(),
        ),
        (
            "chunk longer than it says",
            put("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
            Expect::error(400, "SIZE_INVALID").or_below(),
        ),
        (
            "expects",
            put(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), index),
            Expect::status(201),
        ),
        (
            "expects twice",
            put(
                &format!("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n"),
                index,
            ),
            either(201),
        ),
        (
            "expects something else",
            put(&format!("Expect: 200-maybe\r\nContent-Length: {length}\r\n"), index),
            Expect::any(&[201, 417]).or_below(),
        ),
        (
            "expects nothing",
            put(&format!("Expect:\r\nContent-Length: {length}\r\n"), index),
            either(201),
        ),
        (
            "a body on a read",
            format!("GET /v2/ HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"),
            ok.clone(),
        ),
        (
            "a chunked body on HEAD",
            format!("HEAD /v2/ HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            ok,
        ),
    ];
    rows.into_iter()
        .map(|(what, bytes, expect)| Case::one(what, Request::raw(bytes), expect))
        .collect()
}

fn letters(text: &str) -> String {
    let chunks: Vec<String> = text.chars().map(|letter| format!("1\r\n{letter}\r\n")).collect();
    chunks.concat() + "0\r\n\r\n"
}
