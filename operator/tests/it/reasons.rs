//! Every reason has a section that says what to do.

use std::collections::BTreeSet;

use crate::read;

/// The words that `as_str` of `Reason` gives.
fn reasons() -> BTreeSet<String> {
    let source = read("operator/src/api/conditions.rs");
    let (_, of_reason) = source.split_once("impl Reason {").expect("the reasons");
    let (body, _) = of_reason.split_once("\n}\n").expect("the end of the reasons");
    let words = body
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    words.map(str::to_owned).collect()
}

/// The headings of the page with the text under each.
fn sections() -> Vec<(String, String)> {
    let page = read("docs/operator.md");
    let sections = page.split("\n## ").skip(1);
    sections
        .filter_map(|section| section.split_once('\n'))
        .map(|(heading, text)| (heading.trim().to_owned(), text.trim().to_owned()))
        .collect()
}

#[test]
fn every_reason_has_a_section_that_says_what_to_do() {
    let reasons = reasons();
    assert!(reasons.len() >= 20, "{reasons:?}");
    let told: BTreeSet<String> = sections()
        .into_iter()
        .filter(|(_, text)| text.len() >= 14)
        .map(|(heading, _)| heading)
        .collect();

    let untold: Vec<_> = reasons.difference(&told).collect();

    assert!(untold.is_empty(), "docs/operator.md has no section for {untold:?}");
}

#[test]
fn no_section_is_about_a_reason_that_is_no_more() {
    let page = read("docs/operator.md");
    let (_, reasons_part) = page.split_once("\n# Reasons\n").expect("the part about reasons");
    let reasons = reasons();
    let stale: Vec<&str> = reasons_part
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| !reasons.contains(*heading))
        .collect();

    assert!(stale.is_empty(), "{stale:?}");
}
