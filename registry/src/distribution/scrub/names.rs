//! Which of some listed keys something names.

use super::ScrubError;
use crate::blobs::{Listed, keys};
use crate::metadata::{Metadata, scrub};
use std::collections::HashMap;
use uuid::Uuid;

const PAGE: u32 = 2000;

/// Listed objects by their key.
pub(super) type Batch = HashMap<String, Object>;

/// What the listing says of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) ours: bool,
}

impl Object {
    pub(super) fn of(listed: &Listed) -> Self {
        Self {
            size: listed.size,
            modified: listed.modified,
            ours: listed.ours,
        }
    }
}

/// Leaves in `listed` what nothing names. The listing must be over: see the front page for why.
///
/// Costs one reading of all names, whatever the number of keys: there is no index over the keys of blobs, which every
/// push would pay for.
pub(super) async fn strike_out(metadata: &Metadata, listed: &mut Batch) -> Result<(), ScrubError> {
    sessions(metadata, listed).await?;
    blobs(metadata, listed).await?;
    tombstones(metadata, listed).await
}

/// A session names its object, its tail, and everything that its claims may write beside its object.
async fn sessions(metadata: &Metadata, listed: &mut Batch) -> Result<(), ScrubError> {
    let mut by_origin: HashMap<String, Vec<String>> = HashMap::new();
    for key in listed.keys() {
        for origin in keys::made_from(key).skip(1) {
            by_origin.entry(origin.to_owned()).or_default().push(key.clone());
        }
    }
    let mut after = Uuid::nil();
    loop {
        let page = scrub::sessions(&mut metadata.read().await?, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.id;
        for session in page {
            let beside = by_origin.remove(&session.object_key).unwrap_or_default();
            for key in beside.iter().chain([&session.object_key]).chain(&session.tail_key) {
                listed.remove(key);
            }
        }
    }
}

async fn blobs(metadata: &Metadata, listed: &mut Batch) -> Result<(), ScrubError> {
    let mut after = None;
    loop {
        let page = scrub::keys(&mut metadata.read().await?, after.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(*last);
        for key in page.into_iter().filter_map(|(_, key)| key) {
            listed.remove(&key);
        }
    }
}

async fn tombstones(metadata: &Metadata, listed: &mut Batch) -> Result<(), ScrubError> {
    let mut after = String::new();
    loop {
        let page = scrub::tombstones(&mut metadata.read().await?, &after, PAGE).await?;
        for key in &page {
            listed.remove(key);
        }
        match page.into_iter().next_back() {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}
