//! Query strings: paging, mounts, digests, filters; repeated, broken, enormous.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{EMPTY_INDEX, INDEX, bytes, push_blob, put_manifest, sha256, sha512};
use crate::random::Random;
use crate::wire::Request;

const NAME: &str = "corpus/queries";
const TAGS: [&str; 6] = ["1.0", "1.0.1", "A", "_", "a", "b"];

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    push_blob(client, NAME, &bytes(100))?;
    for tag in TAGS {
        client.ask(&put_manifest(NAME, tag, INDEX, EMPTY_INDEX), &Expect::status(201))?;
    }
    Ok(())
}

fn tags(query: &str, expect: Expect, names: Option<&'static [&'static str]>) -> Case {
    let get = Request::new("GET", format!("/v2/{NAME}/tags/list{query}"));
    Case::play(format!("tags{}", &query[..query.len().min(80)]), move |client| {
        let answer = client.ask(&get, &expect)?;
        let Some(names) = names else { return Ok(()) };
        let list = answer.json().unwrap_or_default()["tags"].clone();
        let right = list == serde_json::json!(names);
        right
            .then_some(())
            .ok_or_else(|| format!("{list} instead of {names:?}"))
    })
}

fn paging() -> Vec<Case> {
    let listed: &[(&str, &'static [&'static str])] = &[
        ("", &TAGS),
        ("?", &TAGS),
        ("?n=6", &TAGS),
        ("?n=5", &["1.0", "1.0.1", "A", "_", "a"]),
        ("?n=1", &["1.0"]),
        ("?n=0", &[]),
        ("?n=7", &TAGS),
        ("?n=10000", &TAGS),
        ("?n=1000000000", &TAGS),
        ("?n=9223372036854775807", &TAGS),
        ("?n=9223372036854775808", &TAGS),
        ("?n=18446744073709551615", &TAGS),
        ("?n=18446744073709551616", &TAGS),
        ("?n=99999999999999999999999999999999999999", &TAGS),
        ("?n=007", &TAGS),
        ("?n=%31", &["1.0"]),
        ("?%6e=1", &["1.0"]),
        ("?last=", &TAGS),
        ("?last=a", &["b"]),
        ("?last=b", &[]),
        ("?last=zzz", &[]),
        ("?last=0", &TAGS),
        ("?last=Z", &["_", "a", "b"]),
        ("?last=1.0", &["1.0.1", "A", "_", "a", "b"]),
        ("?last=1.0.", &["1.0.1", "A", "_", "a", "b"]),
        ("?last=1.0.1", &["A", "_", "a", "b"]),
        ("?last=A&n=1", &["_"]),
        ("?n=1&last=A", &["_"]),
        ("?n=0&last=A", &[]),
        ("?last=%41", &["_", "a", "b"]),
        ("?last=%", &TAGS),
        ("?last=%2", &TAGS),
        ("?last=%zz", &TAGS),
        ("?last=%00", &TAGS),
        ("?last=a%00b", &["b"]),
        ("?last=%0d%0a", &TAGS),
        ("?last=+", &TAGS),
        ("?last='", &TAGS),
        ("?last=%ff", &[]),
        ("?last=%c3%a4", &[]),
        ("?last=%f0%9f%98%80", &[]),
        ("?last=a%20", &["b"]),
        ("?last=a'%20OR%201=1--", &["b"]),
        ("?last=A%25", &["_", "a", "b"]),
        ("?last=%5f", &["a", "b"]),
        ("?ns=docker.io", &TAGS),
        ("?origin=x&ns=y&n=1", &["1.0"]),
        ("?N=1", &TAGS),
        ("?n[]=1", &TAGS),
        ("?&&&&", &TAGS),
        ("?=", &TAGS),
        ("?n=1&", &["1.0"]),
        ("?x", &TAGS),
        ("?;", &TAGS),
        ("?n=1#n=2", &["1.0"]),
        ("??n=1", &TAGS),
        ("?last=sha256:00", &[]),
    ];
    let wrong = [
        "-1",
        "-0",
        "abc",
        "1e3",
        "1.0",
        "NaN",
        "+1",
        "%201",
        "1%20",
        "0x10",
        "1%00",
        "%D9%A1",
        "1,2",
        "true",
        "-9223372036854775808",
        "∞",
        "1_000",
        "%FF",
        "%",
    ];
    let listed = listed
        .iter()
        .map(|(query, names)| tags(query, Expect::status(200), Some(*names)));
    let wrong = wrong.iter().map(|n| {
        tags(
            &format!("?n={n}"),
            Expect::error(400, "PAGINATION_NUMBER_INVALID").or_below(),
            None,
        )
    });
    let empty =
        ["?n=", "?n"].map(|query| tags(query, Expect::any(&[200, 400]).code("PAGINATION_NUMBER_INVALID"), None));
    let catalog = [
        "",
        "?n=1",
        "?n=0",
        "?last=zzz",
        "?n=-1",
        "?n=99999999999999999999",
        "?last=%00",
        "?n=1&n=x",
        "?last=%ff",
    ]
    .map(|query| {
        let expect = if query == "?n=-1" {
            Expect::error(400, "PAGINATION_NUMBER_INVALID")
        } else {
            Expect::status(200)
        };
        Case::one(
            format!("catalog{query}"),
            Request::new("GET", format!("/v2/_catalog{query}")),
            expect,
        )
    });
    listed.chain(wrong).chain(empty).chain(catalog).collect()
}

/// Starts of uploads, in a repository with one blob of 100 bytes.
fn uploads() -> Vec<Case> {
    let (here, away) = (sha256(&bytes(100)), sha256(b"away"));
    let empty = sha256(b"");
    let (ok, session) = (Expect::status(201), Expect::status(202));
    let bad = Expect::error(400, "DIGEST_INVALID");
    let rows: Vec<(String, &str, Expect)> = vec![
        (String::new(), "", session.clone()),
        ("?".into(), "", session.clone()),
        ("?mount".into(), "", bad.clone()),
        ("?mount=".into(), "", bad.clone()),
        ("?mount=x".into(), "", bad.clone()),
        ("?mount=%00".into(), "", bad.clone()),
        (format!("?mount={here}"), "", ok.clone()),
        (format!("?mount={here}&from={NAME}"), "", ok.clone()),
        (format!("?mount={away}"), "", session.clone()),
        (format!("?mount={away}&from={NAME}"), "", session.clone()),
        (format!("?mount={away}&from=nothing/here"), "", session.clone()),
        (format!("?mount={away}&from="), "", session.clone()),
        (format!("?mount={away}&from=UPPER"), "", session.clone()),
        (format!("?mount={away}&from=../../etc"), "", session.clone()),
        (format!("?mount={away}&from=%00"), "", session.clone()),
        (format!("?mount={away}&from=%ff"), "", session.clone()),
        (format!("?mount={away}&from={}", "a".repeat(4000)), "", session.clone()),
        (format!("?mount={away}&from=a&from=b&from=c"), "", session.clone()),
        (format!("?from={NAME}"), "", session.clone()),
        (format!("?mount={}", here.to_uppercase()), "", bad.clone()),
        (format!("?MOUNT={here}"), "", session.clone()),
        (format!("?mount={}", sha512(b"away")), "", session.clone()),
        ("?digest".into(), "x", bad.clone()),
        ("?digest=".into(), "x", bad.clone()),
        ("?digest=%".into(), "x", bad.clone()),
        ("?digest=sha256".into(), "x", bad.clone()),
        ("?digest=sha256:".into(), "x", bad.clone()),
        (format!("?digest={}", sha256(b"x")), "x", ok.clone()),
        (format!("?digest={}", sha256(b"x").replace(':', "%3A")), "x", ok.clone()),
        (format!("?%64igest={}", sha256(b"x")), "x", ok.clone()),
        (
            format!("?digest={}&ns=x&digest-algorithm=sha256", sha256(b"x")),
            "x",
            ok.clone(),
        ),
        (format!("?digest={}", sha512(b"x")), "x", ok.clone()),
        (format!("?digest={away}"), "x", bad.clone()),
        (format!("?digest={}+", sha256(b"x")), "x", bad.clone()),
        (format!("?digest=+{}", sha256(b"x")), "x", bad.clone()),
        (format!("?digest={}%0a", sha256(b"x")), "x", bad.clone()),
        (
            format!("?digest={}&digest={away}", sha256(b"x")),
            "x",
            ok.clone().or_status(400).code("DIGEST_INVALID"),
        ),
        (
            format!("?digest={away}&digest={}", sha256(b"x")),
            "x",
            ok.clone().or_status(400).code("DIGEST_INVALID"),
        ),
        (format!("?digest={empty}"), "", ok.clone().or_status(202)),
        (
            format!("?digest={away}"),
            "",
            session.clone().or_status(400).code("DIGEST_INVALID"),
        ),
        (format!("?digest={}&mount={here}", sha256(b"x")), "x", ok.clone()),
        (
            format!("?digest={}&mount={away}&from=nothing", sha256(b"x")),
            "x",
            ok.clone(),
        ),
        (format!("?digest=x&mount={here}"), "x", bad.clone().or_status(201)),
        (format!("?digest={}&mount=x", sha256(b"x")), "x", bad.clone()),
        ("?digest-algorithm=sha256".into(), "", session.clone()),
        ("?digest-algorithm=sha512".into(), "", session.clone()),
        ("?digest-algorithm=SHA256".into(), "", bad.clone()),
        ("?digest-algorithm=".into(), "", bad.clone()),
        ("?digest-algorithm=md5".into(), "", bad.clone()),
        ("?digest-algorithm=sha256%00".into(), "", bad.clone()),
        ("?digest-algorithm=../x".into(), "", bad),
        ("?origin=docker.io&ns=x&_state=abc".into(), "", session),
    ];
    let case = |(query, body, expect): (String, &str, Expect)| {
        let what = format!("upload{}", query.chars().take(100).collect::<String>());
        Case::one(
            what,
            Request::new("POST", format!("/v2/{NAME}/blobs/uploads/{query}")).body(body),
            expect,
        )
    };
    rows.into_iter().map(case).collect()
}

fn referrers() -> Vec<Case> {
    let subject = sha256(b"a subject");
    let filters = [
        "",
        "?artifactType",
        "?artifactType=",
        "?artifactType=a",
        "?artifactType=a/b",
        "?artifactType=a%2Fb%2Bjson",
        "?artifactType=a/b+json",
        "?artifactType=a&artifactType=b",
        "?artifactType=%00",
        "?artifactType=%ff",
        "?artifactType=%",
        "?artifactType=%0d%0aX:y",
        "?artifactType='--",
        "?artifactType=%25",
        "?artifacttype=a",
        "?n=1",
        "?n=0",
        "?last=x",
        "?artifactType=*",
        "?artifactType=%e2%80%ae",
    ];
    let mut rows: Vec<String> = filters.map(str::to_owned).to_vec();
    rows.push(format!("?artifactType={}", "a".repeat(5000)));
    rows.push(format!("?{}", vec!["artifactType=a"; 500].join("&")));
    let case = |query: String| {
        let what = format!("referrers{}", query.chars().take(60).collect::<String>());
        let get = Request::new("GET", format!("/v2/{NAME}/referrers/{subject}{query}"));
        // Places in this list are nobody's to make up.
        let made_up = Expect::any(&[200, 400]).code("PAGINATION_NUMBER_INVALID");
        let expect = if query.contains("last=") {
            made_up
        } else {
            Expect::status(200)
        };
        Case::play(what, move |client| {
            let answer = client.ask(&get, &expect)?;
            if answer.status != 200 {
                return Ok(());
            }
            let is_index = answer.header("content-type") == Some(INDEX);
            let nothing = answer.json().unwrap_or_default()["manifests"] == serde_json::json!([]);
            (is_index && nothing)
                .then_some(())
                .ok_or_else(|| "not an empty index".to_owned())
        })
    };
    rows.into_iter().map(case).collect()
}

/// Tags in the query of a push.
fn tag_parameters() -> Vec<Case> {
    let digest = sha256(EMPTY_INDEX.as_bytes());
    let (ok, bad) = (
        Expect::status(201),
        Expect::error(400, "MANIFEST_INVALID").code("TAG_INVALID"),
    );
    let many = |count: usize| {
        (0..count)
            .map(|tag| format!("tag=m{tag}"))
            .collect::<Vec<_>>()
            .join("&")
    };
    let rows: Vec<(String, Expect)> = vec![
        (format!("{digest}?tag=q1"), ok.clone()),
        (format!("{digest}?tag=q1&tag=q2&tag=q1"), ok.clone()),
        (format!("{digest}?t%61g=q3"), ok.clone()),
        (format!("{digest}?TAG=-&ns=x"), ok.clone()),
        (format!("{digest}?{}", many(10)), ok.clone()),
        (format!("{digest}?tag=-"), bad.clone()),
        (format!("{digest}?tag=q4&tag=a+b"), bad.clone()),
        (format!("{digest}?tag=q4&tag=%0d%0aX:y"), bad.clone()),
        (format!("{digest}?tag=%00"), bad.clone()),
        (format!("{digest}?tag=%e2%80%ae"), bad.clone()),
        (format!("{digest}?tag={digest}"), bad.clone()),
        (format!("{digest}?tag={}", "t".repeat(129)), bad.clone()),
        (format!("{digest}?tag="), bad.clone().or_status(201)),
        ("q5?tag=q6".to_owned(), bad.clone()),
        (format!("{digest}?{}", many(2000)), Expect::status(414)),
        (
            format!("{}?tag=q7", sha256(b"other")),
            Expect::error(400, "DIGEST_INVALID"),
        ),
    ];
    let case = |(reference, expect): (String, Expect)| {
        let put = put_manifest("corpus/queries/tags", &reference, INDEX, EMPTY_INDEX);
        Case::one(
            format!("push as {}", reference.chars().take(100).collect::<String>()),
            put,
            expect,
        )
    };
    let mut cases: Vec<Case> = rows.into_iter().map(case).collect();
    // Of a push that is refused, no tag stays.
    let q4 = Request::new("GET", "/v2/corpus/queries/tags/manifests/q4");
    cases.push(Case::one(
        "the good tag beside a bad one",
        q4,
        Expect::error(404, "MANIFEST_UNKNOWN"),
    ));
    cases
}

/// Queries that mean nothing on any route, up to a megabyte of them.
fn noise() -> Vec<Case> {
    let mut random = Random::seeded(6);
    let alphabet: Vec<char> = "abn=&%?+;:/@1-._~[]'()*!$,".chars().collect();
    let blob = format!("/v2/{NAME}/blobs/{}", sha256(&bytes(100)));
    let drawn = (0..40).map(|_| random.text(&alphabet, 1, 60)).collect::<Vec<_>>();
    let mut cases: Vec<Case> = drawn
        .into_iter()
        .map(|noise| {
            Case::one(
                format!("noise {noise}"),
                Request::new("GET", format!("{blob}?{noise}")),
                Expect::status(200),
            )
        })
        .collect();
    for length in [1_000, 8_000, 30_000, 65_000, 66_000, 200_000, 1_000_000] {
        for pair in ["a", "a&", "a=b&", "%00", "n=1&", "&"] {
            let query = pair.repeat(length / pair.len());
            let what = format!("{length} bytes of {pair}");
            // Whoever reads so long a line may also refuse it.
            let limit = if length <= 8_000 {
                Expect::status(200)
            } else {
                Expect::any(&[200, 414]).or_below()
            };
            cases.push(Case::one(
                what,
                Request::raw(Request::new("GET", format!("{blob}?{query}")).bytes()),
                limit,
            ));
        }
    }
    cases
}

#[test]
fn a_query_is_read_as_the_specification_says_or_passed_over() {
    let cases: Vec<Case> = [paging(), uploads(), referrers(), tag_parameters(), noise()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    Category {
        prepare,
        ..Category::new("query strings", cases)
    }
    .hold();
}
