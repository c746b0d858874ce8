//! From the store to the rows: objects that nothing names.

use super::names::{Batch, Object, strike_out};
use super::report::{Event, Unknown};
use super::{DeleteUnknown, LEAST_AGE, Run, ScrubError};
use crate::clock::micros_of;
use futures::{StreamExt, TryStreamExt, stream};

/// Keys that are in memory at one time; names are read once for each such batch.
const BATCH: usize = 250_000;
/// Objects that are deleted after one more reading of the names.
const DELETIONS: usize = 10_000;
const AT_ONCE: usize = 8;

/// Tells of what nothing names, and deletes of that what is to be deleted.
pub(super) async fn objects(run: &mut Run<'_>) -> Result<(), ScrubError> {
    let deletable = find(run).await?;
    let Some(delete) = &run.scrub.delete else {
        return Ok(());
    };
    if deletable == 0 || run.scrub.dry_run || run.report.refused.is_some() {
        return Ok(());
    }
    if run.is_far_too_much(run.report.unknown, run.report.objects) {
        run.report.refused = Some(format!(
            "nothing names {} of {} objects: do the database and the store belong together? Nothing is deleted; \
             --force goes on",
            run.report.unknown, run.report.objects
        ));
        return Ok(());
    }
    remove(run, delete).await
}

/// Gives the number of objects that may be deleted.
async fn find(run: &mut Run<'_>) -> Result<u64, ScrubError> {
    let mut listing = run.distribution.blobs.list();
    let mut deletable = 0;
    loop {
        let mut batch = Batch::new();
        while batch.len() < BATCH
            && let Some(listed) = listing.try_next().await?
        {
            run.report.objects += 1;
            run.report.object_bytes += listed.size;
            let object = Object::of(&listed);
            batch.insert(listed.key, object);
        }
        let last = batch.len() < BATCH;
        strike_out(&run.distribution.metadata, &mut batch).await?;
        for (key, object) in in_order(batch) {
            run.report.unknown += 1;
            run.report.unknown_bytes += object.size;
            deletable += u64::from(is_deletable(run, &object));
            let unknown = told(run, key, &object);
            run.tell(Event::Unknown(unknown)).await?;
        }
        if last {
            return Ok(deletable);
        }
    }
}

/// Lists once more: what is deleted was listed before its names were read, twice.
async fn remove(run: &mut Run<'_>, delete: &DeleteUnknown) -> Result<(), ScrubError> {
    let mut listing = run.distribution.blobs.list();
    loop {
        let mut batch = Batch::new();
        while batch.len() < BATCH
            && let Some(listed) = listing.try_next().await?
        {
            let object = Object::of(&listed);
            if is_deletable(run, &object) {
                batch.insert(listed.key, object);
            }
        }
        let last = batch.len() < BATCH;
        strike_out(&run.distribution.metadata, &mut batch).await?;
        let unknown = in_order(batch);
        for some in unknown.chunks(DELETIONS) {
            let mut again: Batch = some.iter().cloned().collect();
            strike_out(&run.distribution.metadata, &mut again).await?;
            remove_all(run, delete, in_order(again)).await?;
            if run.report.budget_spent {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

async fn remove_all(
    run: &mut Run<'_>,
    delete: &DeleteUnknown,
    unknown: Vec<(String, Object)>,
) -> Result<(), ScrubError> {
    let within = within_budget(run, delete, unknown);
    let store = &run.distribution.blobs;
    let deletions = stream::iter(within).map(|(key, object)| async move {
        let deleted = store.delete(&key).await;
        (key, object, deleted)
    });
    let mut deletions = deletions.buffered(AT_ONCE);
    while let Some((key, object, deleted)) = deletions.next().await {
        deleted?;
        tracing::info!(key, size = object.size, "object deleted that nothing names");
        run.report.deleted += 1;
        run.report.deleted_bytes += object.size;
        let unknown = told(run, key, &object);
        run.tell(Event::Deleted(unknown)).await?;
    }
    Ok(())
}

/// As many as the budget still allows.
fn within_budget(run: &mut Run<'_>, delete: &DeleteUnknown, unknown: Vec<(String, Object)>) -> Vec<(String, Object)> {
    let (mut objects, mut bytes) = (run.report.deleted, run.report.deleted_bytes);
    let all = unknown.len();
    let within: Vec<_> = unknown
        .into_iter()
        .take_while(|(_, object)| {
            objects += 1;
            bytes += object.size;
            objects <= delete.objects && bytes <= delete.bytes
        })
        .collect();
    run.report.budget_spent = within.len() < all;
    within
}

fn in_order(batch: Batch) -> Vec<(String, Object)> {
    let mut all: Vec<_> = batch.into_iter().collect();
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    all
}

fn age(run: &Run<'_>, object: &Object) -> i64 {
    run.distribution.now().saturating_sub(object.modified)
}

fn is_deletable(run: &Run<'_>, object: &Object) -> bool {
    let Some(delete) = &run.scrub.delete else {
        return false;
    };
    object.ours && age(run, object) >= micros_of(delete.older_than.max(LEAST_AGE))
}

fn told(run: &Run<'_>, key: String, object: &Object) -> Unknown {
    Unknown {
        key,
        size: object.size,
        age: u64::try_from(age(run, object) / 1_000_000).unwrap_or_default(),
        ours: object.ours,
    }
}
