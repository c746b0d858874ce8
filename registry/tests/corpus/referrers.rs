//! Referrers: whoever names a subject is listed under it, in its own repository, whether the subject is there or not.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{
    DOCKER_LIST, EMPTY, EMPTY_INDEX, IMAGE, INDEX, descriptor, push_blob, put_manifest, sha256, sha512,
};
use crate::grammar::encoded;
use crate::wire::Request;
use serde_json::{Value, json};

const MANY: usize = 1000;
const CHAIN: usize = 100;
const TYPES: [&str; 5] = ["application/vnd.a", "application/a+json", "a", "é", "x/y; z=1"];

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    for name in ["corpus/ref", "corpus/ref/other", "corpus/many"] {
        push_blob(client, name, b"{}")?;
    }
    Ok(())
}

/// An index that names a subject.
fn index(subject: &str, artifact_type: Option<&str>, mark: &str) -> Value {
    let subject = json!({"mediaType": INDEX, "digest": subject, "size": 1});
    let mut body = json!({"schemaVersion": 2, "manifests": [], "subject": subject, "annotations": {"mark": mark}});
    if let Some(artifact_type) = artifact_type {
        body["artifactType"] = json!(artifact_type);
    }
    body
}

fn push(client: &mut Client, name: &str, media_type: &str, body: &Value) -> Result<String, Surprise> {
    let body = body.to_string();
    let digest = sha256(body.as_bytes());
    client.ask(&put_manifest(name, &digest, media_type, body), &Expect::status(201))?;
    Ok(digest)
}

/// All pages of a subject's list.
fn list(client: &mut Client, name: &str, subject: &str, query: &str) -> Result<Vec<Value>, Surprise> {
    let mut target = format!("/v2/{name}/referrers/{}{query}", encoded(subject.as_bytes()));
    let mut entries = Vec::new();
    loop {
        let answer = client.ask(&Request::new("GET", &target), &Expect::status(200))?;
        let body = answer.json().unwrap_or_default();
        let is_index =
            answer.header("content-type") == Some(INDEX) && body["mediaType"] == INDEX && body["schemaVersion"] == 2;
        let page = body["manifests"]
            .as_array()
            .filter(|_| is_index)
            .ok_or("not an index")?;
        entries.extend(page.iter().cloned());
        let has_filter = query
            .split(['?', '&'])
            .any(|pair| pair.len() > "artifactType=".len() && pair.starts_with("artifactType="));
        let applied = answer.header("oci-filters-applied");
        must(
            applied == has_filter.then_some("artifactType"),
            format!("{applied:?} was applied"),
        )?;
        match answer
            .header("link")
            .and_then(|link| link.strip_prefix('<')?.strip_suffix(">; rel=\"next\""))
        {
            Some(next) if entries.len() <= 2 * MANY => next.clone_into(&mut target),
            Some(_) => return Err("the pages do not end".to_owned()),
            None => return Ok(entries),
        }
    }
}

fn digests(entries: &[Value]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry["digest"].as_str()).collect()
}

fn must(holds: bool, what: impl Into<String>) -> Result<(), Surprise> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A subject that never comes, each way to name it.
fn subjects() -> Vec<Case> {
    let good = [
        sha256(b"never"),
        sha512(b"never"),
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564".to_owned(),
        "x:y".to_owned(),
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8".to_owned(),
        format!("blake3:{}", "0".repeat(64)),
        "a.b_c-d+e:A=_-".to_owned(),
    ];
    let bad = [
        "",
        "x",
        ":",
        "x:",
        ":y",
        "sha256:",
        "sha256:00",
        "SHA256:00",
        "sha512:abc",
        "x:y:z",
        "x y:z",
        "x:\u{0}",
        "x:\r\n",
        "x..y:z",
        "latest",
        "é:é",
        "x:\u{202e}",
    ];
    let good = good.into_iter().map(|subject| {
        Case::play(format!("subject {subject}"), move |client| {
            let body = index(&subject, Some("a"), "missing").to_string();
            let stored = client.ask(
                &put_manifest("corpus/ref", "r", INDEX, body.clone()),
                &Expect::status(201),
            )?;
            must(
                stored.header("oci-subject") == Some(&subject),
                format!("{:?}", stored.header("oci-subject")),
            )?;
            if crate::grammar::is_digest(&subject) {
                let listed = list(client, "corpus/ref", &subject, "")?;
                must(digests(&listed).contains(&&*sha256(body.as_bytes())), "not listed")?;
                must(
                    list(client, "corpus/ref/other", &subject, "")?.is_empty(),
                    "listed in another repository",
                )?;
            }
            Ok(())
        })
    });
    let bad = bad.into_iter().map(|subject| {
        let body = index(subject, None, "bad").to_string();
        Case::one(
            format!("subject {subject:?}"),
            put_manifest("corpus/ref", "r", INDEX, body),
            Expect::error(400, "MANIFEST_INVALID"),
        )
    });
    good.chain(bad).collect()
}

/// What a subject may be besides a digest, and what it means on Docker's types.
fn shapes() -> Vec<Case> {
    let digest = sha256(b"shapes");
    let rows = [
        (json!({"digest": digest}), true),
        (json!({"digest": digest, "size": -1, "mediaType": ""}), true),
        (json!({"digest": digest, "x": [1, {"y": null}]}), true),
        (json!({"digest": digest, "data": "!!"}), true),
        (json!({}), false),
        (json!([]), false),
        (json!("x"), false),
        (json!(digest), false),
        (json!(1), false),
        (json!(true), false),
        (json!({"digest": null}), false),
        (json!({"digest": 1}), false),
        (json!({"digest": [digest]}), false),
        (json!({"Digest": digest}), false),
    ];
    let mut cases: Vec<Case> = rows
        .into_iter()
        .map(|(subject, fits)| {
            let body = json!({"schemaVersion": 2, "manifests": [], "subject": subject}).to_string();
            // Nothing but the digest of a subject is looked at; whether more is, is left open.
            let expect = if fits {
                Expect::any(&[201, 400]).code("MANIFEST_INVALID")
            } else {
                Expect::error(400, "MANIFEST_INVALID")
            };
            Case::one(
                format!("subject {subject}"),
                put_manifest("corpus/ref", "r", INDEX, body),
                expect,
            )
        })
        .collect();
    cases.push(Case::play("a subject on a Docker list means nothing", |client| {
        let subject = sha256(b"docker's");
        let mut body = index(&subject, None, "docker");
        body["mediaType"] = json!(DOCKER_LIST);
        let stored = client.ask(
            &put_manifest("corpus/ref", "d", DOCKER_LIST, body.to_string()),
            &Expect::status(201),
        )?;
        must(stored.header("oci-subject").is_none(), "OCI-Subject")?;
        must(list(client, "corpus/ref", &subject, "")?.is_empty(), "listed")
    }));
    cases.push(Case::play("an image without a type is listed under that of its config", |client| {
        let subject = sha256(b"typeless");
        let body = json!({"schemaVersion": 2, "config": descriptor(EMPTY, b"{}"), "layers": [], "subject": descriptor(INDEX, b"typeless")});
        push(client, "corpus/ref", IMAGE, &body)?;
        must(list(client, "corpus/ref", &subject, "")?[0]["artifactType"] == EMPTY, "another type")
    }));
    cases.push(Case::play("an index without a type is listed without one", |client| {
        let subject = sha256(b"typeless index");
        push(client, "corpus/ref", INDEX, &index(&subject, None, "x"))?;
        must(
            list(client, "corpus/ref", &subject, "")?[0]
                .get("artifactType")
                .is_none(),
            "a type",
        )
    }));
    cases
}

/// Each type, alone and among others, as a filter.
fn filters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, filter) in [
        "",
        "a",
        "application/vnd.a",
        "application/a+json",
        "é",
        "x/y; z=1",
        "none",
        "A",
        "*",
        "a%",
    ]
    .into_iter()
    .enumerate()
    {
        for form in [
            "encoded",
            "bare plus",
            "twice",
            "with another",
            "empty beside",
            "with n=1",
        ] {
            let subject = sha256(format!("filtered {number} {form}").as_bytes());
            let value = if form == "bare plus" {
                encoded(filter.as_bytes()).replace("%2B", "+")
            } else {
                encoded(filter.as_bytes())
            };
            let query = match form {
                "twice" => format!("?artifactType={value}&artifactType={value}"),
                "with another" => format!("?artifactType={value}&artifactType=a"),
                "empty beside" => format!("?artifactType=&artifactType={value}"),
                "with n=1" => format!("?artifactType={value}&n=1"),
                _ => format!("?artifactType={value}"),
            };
            cases.push(Case::play(format!("filter {query}"), move |client| {
                for artifact_type in TYPES {
                    push(client, "corpus/ref", INDEX, &index(&subject, Some(artifact_type), "f"))?;
                }
                let wanted: Vec<&str> = [filter, if form == "with another" { "a" } else { "" }]
                    .into_iter()
                    .filter(|wanted| !wanted.is_empty())
                    .collect();
                // A blank is a plus that nobody escaped.
                let wanted: Vec<String> = wanted.into_iter().map(|wanted| wanted.replace(' ', "+")).collect();
                let fits =
                    |artifact_type: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == artifact_type);
                let right = TYPES.iter().filter(|artifact_type| fits(artifact_type)).count();
                let listed = list(client, "corpus/ref", &subject, &query)?;
                must(listed.len() == right, format!("{} instead of {right}", listed.len()))
            }));
        }
    }
    cases
}

/// Chains and crowds.
fn crowds() -> Vec<Case> {
    let chain = Case::play(format!("a chain of {CHAIN}"), |client| {
        let mut links = vec![push(
            client,
            "corpus/ref",
            INDEX,
            &serde_json::from_str(EMPTY_INDEX).unwrap(),
        )?];
        for link in 0..CHAIN {
            let next = push(
                client,
                "corpus/ref",
                INDEX,
                &index(links.last().unwrap(), Some("chain"), &link.to_string()),
            )?;
            links.push(next);
        }
        for pair in links.windows(2) {
            let listed = list(client, "corpus/ref", &pair[0], "?artifactType=chain")?;
            must(
                digests(&listed) == [pair[1].as_str()],
                format!("{} is not followed by {}", pair[0], pair[1]),
            )?;
        }
        Ok(())
    });
    let ring = Case::play("two that name one another's subject", |client| {
        let (first, second) = (sha256(b"ring 1"), sha256(b"ring 2"));
        let left = push(client, "corpus/ref", INDEX, &index(&first, None, &second))?;
        let right = push(client, "corpus/ref", INDEX, &index(&left, None, &first))?;
        must(
            digests(&list(client, "corpus/ref", &left, "")?) == [right.as_str()],
            "the second",
        )?;
        must(list(client, "corpus/ref", &right, "")?.is_empty(), "something")
    });
    let crowd = Case::play(format!("{MANY} referrers"), |client| {
        let subject = sha256(b"a crowd");
        let mut pushed = Vec::new();
        for number in 0..MANY {
            let artifact_type = TYPES[number % TYPES.len()];
            pushed.push(push(
                client,
                "corpus/many",
                INDEX,
                &index(&subject, Some(artifact_type), &number.to_string()),
            )?);
        }
        let listed = list(client, "corpus/many", &subject, "")?;
        let (mut found, mut right) = (digests(&listed), pushed.iter().map(String::as_str).collect::<Vec<_>>());
        found.sort_unstable();
        right.sort_unstable();
        must(found == right, format!("{} are listed", found.len()))?;
        let of_a_type = list(client, "corpus/many", &subject, "?artifactType=a")?;
        must(
            of_a_type.len() == MANY / TYPES.len(),
            format!("{} of a type", of_a_type.len()),
        )
    });
    vec![chain, ring, crowd]
}

/// The routes' own oddities.
fn asking() -> Vec<Case> {
    let mut cases: Vec<Case> = ["corpus/nowhere", "corpus/ref", "a/referrers/b"]
        .into_iter()
        .flat_map(|name| {
            [
                sha256(b"unknown"),
                sha512(b"unknown"),
                format!("sha256:{}", "0".repeat(64)),
            ]
            .map(|subject| (name, subject))
        })
        .map(|(name, subject)| {
            Case::play(format!("{name} {subject}"), move |client| {
                must(list(client, name, &subject, "")?.is_empty(), "something")
            })
        })
        .collect();
    for subject in [
        "latest",
        "sha256-00",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "x:y",
        "sha256:",
        "%00",
        "%20",
        "*",
    ] {
        cases.push(Case::one(
            format!("referrers of {subject}"),
            Request::new("GET", format!("/v2/corpus/ref/referrers/{subject}")),
            Expect::error(400, "DIGEST_INVALID"),
        ));
    }
    for long in [100, 1000, 5000] {
        cases.push(Case::play(format!("annotations of {long} letters"), move |client| {
            let subject = sha256(&[1, 2, 3]);
            let mut body = index(&subject, Some("long"), &"m".repeat(long));
            body["annotations"]["\u{0}\u{202e}\r\n"] = json!("\u{0}\u{1b}[31m\u{9b}\"\\");
            let digest = push(client, "corpus/ref/long", INDEX, &body)?;
            let listed = list(client, "corpus/ref/long", &subject, "")?;
            let entry = listed
                .iter()
                .find(|entry| entry["digest"] == digest.as_str())
                .ok_or("not listed")?;
            must(
                entry["annotations"] == body["annotations"],
                format!("{}", entry["annotations"]),
            )
        }));
    }
    cases
}

#[test]
fn referrers_are_those_that_name_the_subject_and_no_others() {
    let groups = [subjects(), shapes(), filters(), crowds(), asking()];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    assert!(cases.len() >= 120, "{}", cases.len());
    Category {
        prepare,
        ..Category::new("referrers", cases)
    }
    .hold();
}
