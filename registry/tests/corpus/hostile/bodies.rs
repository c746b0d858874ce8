//! Bodies that are too deep, too long or too many; that are no JSON at all; and that were cut.

use super::{NAME, invalid, put, with};
use crate::case::{Case, Expect};
use crate::content::{CONFIG, DOCKER_LIST, EMPTY, EMPTY_INDEX, IMAGE, INDEX, LAYER, descriptor, image};
use crate::wire::Request;
use serde_json::json;

const LIMIT: usize = 4 * 1024 * 1024;

/// Too deep, too long, too many; in time and in memory that does not depend on it.
pub(super) fn bombs() -> Vec<Case> {
    let layer = descriptor(LAYER, b"layer");
    let mut cases = Vec::new();
    for depth in [33, 100, 1000, 100_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (opened, closed) = (open.repeat(depth), close.repeat(depth));
            for (what, body) in [
                (
                    "closed",
                    format!(r#"{{"schemaVersion":2,"manifests":[],"x":{opened}1{closed}}}"#),
                ),
                ("open", format!(r#"{{"schemaVersion":2,"manifests":[],"x":{opened}"#)),
                ("alone", format!("{opened}1{closed}")),
            ] {
                let expect = if body.len() > LIMIT {
                    Expect::error(413, "SIZE_INVALID")
                } else {
                    invalid()
                };
                cases.push(put(format!("{depth} levels of {open}, {what}"), INDEX, body, expect));
            }
        }
    }
    for count in [10_000, 10_001, 20_000, 100_000] {
        let layers = vec![layer.to_string(); count].join(",");
        let body = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]}}"#,
            descriptor(CONFIG, b"{}")
        );
        let expect = match (count, body.len()) {
            (_, LIMIT..) => Expect::error(413, "SIZE_INVALID"),
            (10_000, _) => Expect::status(201),
            _ => invalid(),
        };
        cases.push(put(format!("{count} layers"), IMAGE, body, expect));
        let entries = vec!["{}"; count].join(",");
        cases.push(put(
            format!("{count} empty layers"),
            IMAGE,
            format!(r#"{{"schemaVersion":2,"layers":[{entries}]}}"#),
            invalid(),
        ));
    }
    let keys: Vec<String> = (0..200_000).map(|key| format!(r#""k{key}":0"#)).collect();
    let around = |inner: &str| format!(r#"{{"schemaVersion":2,"manifests":[],{inner}}}"#);
    cases.push(put(
        "200,000 members",
        INDEX,
        around(&keys.join(",")),
        Expect::status(201),
    ));
    cases.push(put(
        "one member 300,000 times",
        INDEX,
        around(&vec![r#""k":0"#; 300_000].join(",")),
        Expect::status(201),
    ));
    cases.push(put(
        "a million digits",
        INDEX,
        around(&format!(r#""x":{}"#, "9".repeat(1_000_000))),
        Expect::status(201),
    ));
    cases.push(put(
        "a million digits of schemaVersion",
        INDEX,
        format!(r#"{{"schemaVersion":2{},"manifests":[]}}"#, "0".repeat(1_000_000)),
        invalid(),
    ));
    cases.push(put(
        "a name of 3 MB",
        INDEX,
        around(&format!(r#""{}":0"#, "k".repeat(3_000_000))),
        Expect::status(201),
    ));
    cases.push(put(
        "a mediaType of 1 MB",
        INDEX,
        around(&format!(r#""mediaType":"{}""#, "m".repeat(1_000_000))),
        invalid(),
    ));
    cases.push(put(
        "an artifactType of 1 MB",
        INDEX,
        around(&format!(r#""artifactType":"{}""#, "m".repeat(1_000_000))),
        invalid(),
    ));
    for (length, fits) in [
        (LIMIT - 1, true),
        (LIMIT, true),
        (LIMIT + 1, false),
        (2 * LIMIT, false),
        (6 * LIMIT, false),
    ] {
        let padding = length - around(r#""x":"""#).len();
        let body = around(&format!(r#""x":"{}""#, "p".repeat(padding)));
        assert_eq!(body.len(), length);
        let expect = if fits {
            Expect::status(201)
        } else {
            Expect::error(413, "SIZE_INVALID")
        };
        cases.push(put(format!("{length} bytes"), INDEX, body.clone(), expect.clone()));
        let chunked = [format!("PUT /v2/{NAME}/manifests/t HTTP/1.1\r\nHost: h\r\nContent-Type: {INDEX}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n"), body, "\r\n0\r\n\r\n".to_owned()].concat();
        cases.push(Case::one(
            format!("{length} bytes, chunked"),
            Request::raw(chunked),
            expect,
        ));
    }
    cases
}

/// What is no JSON of an object.
pub(super) fn no_objects() -> Vec<Case> {
    let rows: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"\n".to_vec(),
        b"\0".to_vec(),
        b"null".to_vec(),
        b"true".to_vec(),
        b"2".to_vec(),
        b"\"x\"".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"{".to_vec(),
        b"}".to_vec(),
        b"{}{}".to_vec(),
        b"{},".to_vec(),
        b"{\"a\":1,}".to_vec(),
        b"{a:1}".to_vec(),
        b"{'a':1}".to_vec(),
        b"// x\n{}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        [b"\xef\xbb\xbf", EMPTY_INDEX.as_bytes()].concat(),
        EMPTY_INDEX.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        EMPTY_INDEX.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        [EMPTY_INDEX.as_bytes(), b"\0"].concat(),
        [EMPTY_INDEX.as_bytes(), b"x"].concat(),
        [EMPTY_INDEX.as_bytes(), EMPTY_INDEX.as_bytes()].concat(),
        [b"\x1f\x8b\x08", EMPTY_INDEX.as_bytes()].concat(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\xff\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\xed\xa0\x80\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\xc0\x80\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\n\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\0\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\\x\"}".to_vec(),
        b"{\"schemaVersion\":2,\"manifests\":[],\"x\":01}".to_vec(),
        b"{\"schemaVersion\":1,\"manifests\":[]}".to_vec(),
        b"{\"schemaVersion\":3,\"manifests\":[]}".to_vec(),
        b"{\"schemaVersion\":\"2\",\"manifests\":[]}".to_vec(),
        b"{\"manifests\":[]}".to_vec(),
        b"<html></html>".to_vec(),
        b"%7B%7D".to_vec(),
        b"schemaVersion: 2\nmanifests: []\n".to_vec(),
        b"{\"schemaVersion\":2,\"name\":\"a\",\"tag\":\"b\",\"fsLayers\":[],\"history\":[]}".to_vec(),
    ];
    let case = |body: Vec<u8>| put(String::from_utf8_lossy(&body).into_owned(), INDEX, body, invalid());
    let mut cases: Vec<Case> = rows.into_iter().map(case).collect();
    // Numbers that are two, and half a pair of surrogates: to some readers.
    for lax in [
        r#"{"schemaVersion":2.0,"manifests":[]}"#,
        r#"{"schemaVersion":2e0,"manifests":[]}"#,
        r#"{"schemaVersion":2,"manifests":[],"x":"\ud800"}"#,
        r#"{"schemaVersion":2,"manifests":[],"annotations":{"x":"\udfff"}}"#,
    ] {
        cases.push(put(lax, INDEX, lax, invalid().or_status(201)));
    }
    cases
}

/// Valid manifests, cut at every byte.
pub(super) fn truncated() -> Vec<Case> {
    let mut seeds = vec![
        json!({"schemaVersion": 2, "manifests": []}),
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
    ];
    seeds.push(json!({"schemaVersion": 2, "manifests": [descriptor(INDEX, EMPTY_INDEX.as_bytes())]}));
    seeds.push(image(b"layer"));
    seeds.push(with(image(b"layer"), "layers", json!([])));
    for (member, value) in [
        ("annotations", json!({"a": "é\u{1f433}\u{0}"})),
        ("artifactType", json!("x/y")),
        ("subject", descriptor(INDEX, b"s")),
        ("x", json!([1e10, -0.5, true, null])),
    ] {
        seeds.push(with(
            json!({"schemaVersion": 2, "manifests": []}),
            member,
            value.clone(),
        ));
        seeds.push(with(
            json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}),
            member,
            value.clone(),
        ));
        seeds.push(with(
            json!({"schemaVersion": 2, "config": descriptor(EMPTY, b"{}"), "layers": []}),
            member,
            value,
        ));
    }
    seeds.push(json!({"schemaVersion": 2, "manifests": null}));
    seeds.push(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "\u{e9}": {"\"": "\\"}}));
    seeds.push(json!({"schemaVersion": 2, "manifests": [], "a": {"b": {"c": {"d": [[[[]]]]}}}}));
    let mut cases = Vec::new();
    for seed in &seeds {
        let body = seed.to_string().into_bytes();
        let media_type = if seed["config"].is_object() {
            seed["mediaType"].as_str().unwrap_or(IMAGE)
        } else {
            seed["mediaType"].as_str().unwrap_or(INDEX)
        };
        cases.push(put("whole", media_type, body.clone(), Expect::status(201)));
        cases.extend(
            (0..body.len()).map(|end| put(format!("{seed} cut at {end}"), media_type, &body[..end], invalid())),
        );
    }
    assert_eq!(seeds.len(), 20);
    cases
}
