//! Referrers: what an entry says, filters, pages and deletion.

use serde_json::{Value, json};

use super::{Check, index, pages, refused};
use crate::conformance::{
    Suite,
    client::{Answer, Request, escaped},
    content::{INDEX, MANIFEST, sha256},
    criteria,
    manifests::manifest,
    tally::Checked,
};

const TYPES: [&str; 3] = ["application/vnd.a+json", "application/vnd.b", "application/vnd.c"];

pub(super) const CHECKS: &[Check] = &[
    ("an index without a type has no artifactType", untyped_index),
    ("an image without a type has that of its configuration", untyped_image),
    ("oldest first", oldest_first),
    ("several types match any", several_types),
    ("a plus that was not escaped", plain_plus),
    ("an empty type is no filter", empty_type),
    ("pages keep the filter", pages_with_filter),
    ("a deleted manifest leaves the list", deleted_entry),
    ("a deleted subject keeps its list", deleted_subject),
    ("of a sha512 digest", sha512_subject),
    ("of nothing is an empty list", of_nothing),
    ("of a malformed digest", malformed),
];

fn list(suite: &Suite, subject: &str, query: &str) -> String {
    format!("/v2/{}/referrers/{subject}{query}", suite.options.repository)
}

fn digests(answer: &Answer) -> Vec<String> {
    let entries = answer.json()["manifests"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some(entry["digest"].as_str()?.to_owned()))
        .collect()
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap_or_default().to_owned()
}

fn nobody(suite: &mut Suite) -> Value {
    json!({"mediaType": MANIFEST, "digest": sha256(&suite.random.bytes(32)), "size": 7})
}

/// Pushes an artifact of a type (or none) for a subject.
fn refer(suite: &mut Suite, subject: &Value, artifact_type: Option<&str>) -> Checked<String> {
    let mut body = suite.artifact(&[])?;
    body["subject"] = subject.clone();
    body["annotations"] = json!({"org.example.word": suite.random.word()});
    if let Some(artifact_type) = artifact_type {
        body["artifactType"] = artifact_type.into();
    }
    Ok(digest(&suite.put_json(MANIFEST, &body)?))
}

/// A subject with two artifacts of the first type and one of each other, oldest first.
fn several(suite: &mut Suite) -> Checked<(String, Vec<String>)> {
    let subject = nobody(suite);
    let mut entries = Vec::new();
    for artifact_type in [TYPES[0], TYPES[1], TYPES[2], TYPES[0]] {
        entries.push(refer(suite, &subject, Some(artifact_type))?);
    }
    Ok((digest(&subject), entries))
}

fn untyped_index(suite: &mut Suite) -> Checked {
    let subject = nobody(suite);
    let mut index = index(&[]);
    index["subject"] = subject.clone();
    suite.put_json(INDEX, &index)?;
    let answer = suite.get(list(suite, &digest(&subject), ""))?;
    let entry = answer.json()["manifests"][0].clone();
    criteria::that(entry["mediaType"] == INDEX, "the index wanted", &answer)?;
    criteria::that(entry.get("artifactType").is_none(), "no artifactType wanted", &answer)
}

fn untyped_image(suite: &mut Suite) -> Checked {
    let subject = nobody(suite);
    refer(suite, &subject, None)?;
    let answer = suite.get(list(suite, &digest(&subject), ""))?;
    let listed_as = answer.json()["manifests"][0]["artifactType"].clone();
    criteria::that(
        listed_as == crate::conformance::content::EMPTY,
        "the configuration's type wanted",
        &answer,
    )
}

fn oldest_first(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let answer = suite.get(list(suite, &subject, ""))?;
    criteria::that(digests(&answer) == entries, format!("{entries:?} wanted"), &answer)?;
    criteria::no_header(&answer, "oci-filters-applied")
}

fn several_types(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let query = format!("?artifactType={}&artifactType={}", escaped(TYPES[1]), escaped(TYPES[2]));
    let answer = suite.get(list(suite, &subject, &query))?;
    criteria::that(
        digests(&answer) == entries[1..3],
        "the second and the third wanted",
        &answer,
    )?;
    criteria::header(&answer, "oci-filters-applied", "artifactType")
}

fn plain_plus(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let answer = suite.get(list(suite, &subject, &format!("?artifactType={}", TYPES[0])))?;
    criteria::that(
        digests(&answer) == [entries[0].clone(), entries[3].clone()],
        "first and last wanted",
        &answer,
    )
}

fn empty_type(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let answer = suite.get(list(suite, &subject, "?artifactType="))?;
    criteria::that(digests(&answer) == entries, "all entries wanted", &answer)?;
    criteria::no_header(&answer, "oci-filters-applied")
}

fn pages_with_filter(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let first = list(suite, &subject, &format!("?artifactType={}&n=1", escaped(TYPES[0])));
    let pages = pages(suite, &first, digests)?;
    let answer = suite.get(first)?;
    let wanted = [vec![entries[0].clone()], vec![entries[3].clone()]];
    criteria::that(
        pages == wanted,
        format!("two pages {wanted:?} wanted, got {pages:?}"),
        &answer,
    )
}

fn deleted_entry(suite: &mut Suite) -> Checked {
    let (subject, entries) = several(suite)?;
    let deleted = suite.send(&Request::new("DELETE", manifest(&suite.repository(), &entries[1])))?;
    criteria::status(&deleted, &[202])?;
    let answer = suite.get(list(suite, &subject, ""))?;
    let left = [&entries[..1], &entries[2..]].concat();
    criteria::that(digests(&answer) == left, format!("{left:?} wanted"), &answer)
}

fn deleted_subject(suite: &mut Suite) -> Checked {
    let image = suite.some_image(&["subject"])?;
    let pushed = &image.manifests[0];
    let subject = json!({"mediaType": MANIFEST, "digest": pushed.digest, "size": pushed.bytes.len()});
    let entry = refer(suite, &subject, Some(TYPES[1]))?;
    let deleted = suite.send(&Request::new("DELETE", manifest(&suite.repository(), &pushed.digest)))?;
    criteria::status(&deleted, &[202])?;
    let answer = suite.get(list(suite, &pushed.digest, ""))?;
    criteria::that(digests(&answer) == [entry], "the entry wanted", &answer)
}

fn sha512_subject(suite: &mut Suite) -> Checked {
    let missing = crate::conformance::Algorithm::Sha512.digest(&suite.random.bytes(32));
    let subject = json!({"mediaType": MANIFEST, "digest": missing, "size": 7});
    let entry = refer(suite, &subject, Some(TYPES[1]))?;
    let answer = suite.get(list(suite, &missing, ""))?;
    criteria::that(digests(&answer) == [entry], "the entry wanted", &answer)
}

fn of_nothing(suite: &mut Suite) -> Checked {
    let subject = digest(&nobody(suite));
    let answer = suite.get(list(suite, &subject, ""))?;
    criteria::status(&answer, &[200])?;
    criteria::that(answer.json()["manifests"] == json!([]), "an empty list wanted", &answer)
}

fn malformed(suite: &mut Suite) -> Checked {
    refused(&suite.get(list(suite, "sha256:nothing", ""))?, 400, "DIGEST_INVALID")
}
