//! Whether something that is kept by other manifests is, in the end, kept by a tag.
//!
//! An index keeps what it lists, and a subject keeps what refers to it. Where an index lists an image and refers to it as
//! its subject, each keeps the other, tagged or not; so can longer rings. Foreign keys and reviews alone would never let
//! them go. So what other manifests keep is traced upwards, to a root: a tag, or one that can be restored, or a manifest
//! that was pushed a short time ago.

use super::Untagged;
use super::verdict::{self, Verdict};
use crate::metadata::collect::{Item, Items, manifests};
use crate::metadata::{Error, Micros, Reader};
use std::collections::HashSet;

/// Larger families are taken for rooted: a review must end.
const MOST: usize = 1000;

/// By what a manifest is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judging {
    pub(super) untagged: Untagged,
    pub(super) grace: Micros,
    pub(super) now: Micros,
}

/// Where the trace ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trace {
    /// At a root, or nowhere because there were too many.
    Rooted,
    /// At manifests that are roots until then only.
    Until(Micros),
    /// Nowhere: these keep each other.
    Ring(Vec<Item>),
}

impl Judging {
    pub(super) fn of(self, found: &manifests::Found) -> Verdict {
        verdict::of_manifest(found, self.untagged, self.grace, self.now)
    }
}

/// Traces manifests that others keep, each to the first root. Most are a step away from theirs: that step is taken for
/// all at once.
pub(super) async fn trace(
    reader: &mut Reader,
    held: &[manifests::Found],
    judging: Judging,
) -> Result<Vec<Trace>, Error> {
    let keepers: Items = held.iter().flat_map(keepers).collect();
    if keepers.is_empty() {
        return Ok(Vec::new());
    }
    let looked = manifests::look(reader, &keepers).await?;
    let rooted: HashSet<&Item> = looked
        .iter()
        .filter(|found| matches!(judging.of(found), Verdict::Live(_)))
        .map(|found| &found.item)
        .collect();
    let mut traces = Vec::new();
    for found in held {
        let near = keepers_of(found).any(|keeper| rooted.contains(&keeper));
        traces.push(if near {
            Trace::Rooted
        } else {
            climb(reader, found, judging).await?
        });
    }
    Ok(traces)
}

fn keepers_of(found: &manifests::Found) -> impl Iterator<Item = Item> {
    let key = found.item.key;
    let digests = found.parent.iter().chain(&found.subject).cloned();
    digests.map(move |digest| Item { key, digest })
}

fn keepers(found: &manifests::Found) -> Vec<Item> {
    keepers_of(found).collect()
}

/// Upwards, level by level, until a root or the end.
async fn climb(reader: &mut Reader, from: &manifests::Found, judging: Judging) -> Result<Trace, Error> {
    let mut seen: HashSet<Item> = HashSet::from([from.item.clone()]);
    let mut level: Vec<Item> = vec![from.item.clone()];
    let mut until: Option<Micros> = None;
    let mut subjects = keepers(from);
    loop {
        let items: Items = level.into_iter().collect();
        let mut next = manifests::parents(reader, &items).await?;
        next.append(&mut subjects);
        next.retain(|item| seen.insert(item.clone()));
        if seen.len() > MOST {
            return Ok(Trace::Rooted);
        }
        if next.is_empty() {
            return Ok(match until {
                Some(until) => Trace::Until(until),
                None => Trace::Ring(seen.into_iter().collect()),
            });
        }
        let items: Items = next.iter().cloned().collect();
        for found in manifests::look(reader, &items).await? {
            match judging.of(&found) {
                Verdict::Live(_) => return Ok(Trace::Rooted),
                Verdict::Later(young, _) => until = Some(until.map_or(young, |until| until.min(young))),
                Verdict::Held(_) if found.pushed_at.saturating_add(judging.grace) > judging.now => {
                    let young = found.pushed_at.saturating_add(judging.grace);
                    until = Some(until.map_or(young, |until| until.min(young)));
                }
                Verdict::Held(_) | Verdict::Garbage => {}
            }
            subjects.extend(keepers_of(&found));
        }
        level = next;
    }
}
