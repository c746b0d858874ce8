//! Tag lists: order, pages, and what is refused.

use super::{Check, pages, refused, words};
use crate::conformance::{
    Suite,
    client::{Answer, Request},
    criteria,
    manifests::manifest,
    tally::Checked,
};

/// In byte order.
const TAGS: &[&str] = &[
    "0", "10", "9", "B", "Z9", "_x", "a", "a-b", "a.b", "a_b", "v1.0", "v1.0-rc",
];

pub(super) const CHECKS: &[Check] = &[
    ("byte order", byte_order),
    ("n=0 is empty and has no Link", |suite| page_is(suite, "?n=0", &[])),
    ("n is the number of tags", |suite| page_is(suite, "?n=12", TAGS)),
    ("n is more than there are", |suite| page_is(suite, "?n=17", TAGS)),
    ("a very large n", |suite| page_is(suite, "?n=1000000000", TAGS)),
    ("pages by Link", |suite| by_pages(suite, 5, 3)),
    ("no empty last page", |suite| by_pages(suite, 4, 3)),
    ("last need not exist", |suite| page_is(suite, "?last=a-c", &TAGS[8..])),
    ("last without n", |suite| page_is(suite, "?last=a.b", &TAGS[9..])),
    ("last is the last", |suite| page_is(suite, "?last=v1.0-rc", &[])),
    ("n and last", n_and_last),
    ("unknown parameters", |suite| {
        page_is(suite, "?ns=example.com&origin=x", TAGS)
    }),
    ("n=-1", |suite| number_is_refused(suite, "-1")),
    ("n=abc", |suite| number_is_refused(suite, "abc")),
    ("n=1.5", |suite| number_is_refused(suite, "1.5")),
    ("unknown repository", unknown),
    ("repository without tags", no_tags),
    ("a deleted tag leaves the list, its manifest stays", deleted_tag),
    ("a deleted manifest takes its tags along", deleted_manifest),
];

fn list(suite: &Suite, query: &str) -> String {
    format!("/v2/{}/tags/list{query}", suite.options.repository)
}

fn tags_of(answer: &Answer) -> Vec<String> {
    words(&answer.json()["tags"])
}

fn byte_order(suite: &mut Suite) -> Checked {
    let mut pushed = TAGS.to_vec();
    pushed.reverse();
    suite.some_image(&pushed)?;
    page_is(suite, "", TAGS)
}

/// These tags, as a list, and no more pages.
fn page_is(suite: &mut Suite, query: &str, tags: &[&str]) -> Checked {
    let answer = suite.get(list(suite, query))?;
    criteria::status(&answer, &[200])?;
    criteria::header(&answer, "content-type", "application/json")?;
    criteria::that(answer.json()["tags"].is_array(), "a list wanted", &answer)?;
    criteria::that(tags_of(&answer) == tags, format!("{tags:?} wanted"), &answer)?;
    criteria::that(
        answer.json()["name"] == suite.options.repository.as_str(),
        "the name wanted",
        &answer,
    )?;
    criteria::no_header(&answer, "link")
}

fn by_pages(suite: &mut Suite, size: usize, wanted: usize) -> Checked {
    let first = list(suite, &format!("?n={size}"));
    let pages = pages(suite, &first, tags_of)?;
    let answer = suite.get(first)?;
    criteria::that(
        pages.concat() == TAGS,
        format!("every tag once wanted, got {pages:?}"),
        &answer,
    )?;
    criteria::that(
        pages.len() == wanted,
        format!("{wanted} pages wanted, got {pages:?}"),
        &answer,
    )
}

fn n_and_last(suite: &mut Suite) -> Checked {
    let answer = suite.get(list(suite, "?n=3&last=9"))?;
    criteria::that(tags_of(&answer) == TAGS[3..6], "three tags behind 9 wanted", &answer)?;
    let link = format!("<{}>; rel=\"next\"", list(suite, "?n=3&last=_x"));
    criteria::header(&answer, "link", &link)
}

fn number_is_refused(suite: &mut Suite, number: &str) -> Checked {
    refused(
        &suite.get(list(suite, &format!("?n={number}")))?,
        400,
        "PAGINATION_NUMBER_INVALID",
    )
}

fn unknown(suite: &mut Suite) -> Checked {
    refused(&suite.get("/v2/beyond/nobody-was-here/tags/list")?, 404, "NAME_UNKNOWN")
}

fn no_tags(suite: &mut Suite) -> Checked {
    suite.alone();
    suite.some_blob(10)?;
    page_is(suite, "", &[])
}

fn deleted_tag(suite: &mut Suite) -> Checked {
    let repository = suite.alone();
    let image = suite.some_image(&["one", "two"])?;
    let deleted = suite.send(&Request::new("DELETE", manifest(&repository, "one")))?;
    criteria::status(&deleted, &[202])?;
    page_is(suite, "", &["two"])?;
    let still = suite.get(manifest(&repository, &image.manifests[0].digest))?;
    criteria::status(&still, &[200])
}

fn deleted_manifest(suite: &mut Suite) -> Checked {
    let repository = suite.alone();
    let image = suite.some_image(&["one", "two"])?;
    let deleted = suite.send(&Request::new(
        "DELETE",
        manifest(&repository, &image.manifests[0].digest),
    ))?;
    criteria::status(&deleted, &[202])?;
    page_is(suite, "", &[])
}
