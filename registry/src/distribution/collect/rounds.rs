//! One batch of reviews: taken, locked, looked at, decided, carried out, in one transaction.

use super::audit::{self, Removed};
use super::backoff::backoff;
use super::budget::Purse;
use super::roots::{self, Judging, Trace};
use super::verdict::{self, Verdict};
use super::{Distribution, Reviewed};
use crate::blobs::Dead;
use crate::clock::micros_of;
use crate::distribution::error::Error;
use crate::metadata::collect::{Item, Items, blobs, links, manifests};
use crate::metadata::reviews::{self, Due, Reason, Review, Subject};
use crate::metadata::{Micros, Tx, collector};
use crate::staging;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Times are rounded up to this, so that items which wait for about the same time are put off together.
const ROUNDING: Micros = 1_000_000;

/// Which reviews to take.
#[derive(Debug, Clone, Copy)]
enum Which<'a> {
    Due(u32),
    These(&'a Items),
}

pub(super) async fn review(with: &Distribution, subject: Subject, limit: u32) -> Result<Reviewed, Error> {
    let mut tried = 1;
    loop {
        match attempt(with, subject, Which::Due(limit)).await {
            Err(met) if met.is_conflict() && tried < 2 => tried += 1,
            Err(failed) if is_about_an_item(&failed) => {
                tracing::warn!(
                    kind = subject.as_str(),
                    error = &failed as &dyn std::error::Error,
                    "a batch of reviews failed; its items are reviewed one by one"
                );
                return one_by_one(with, subject, limit).await;
            }
            done => return done,
        }
    }
}

/// Whatever is wrong when the database works must be wrong with an item.
fn is_about_an_item(failed: &Error) -> bool {
    !matches!(failed, Error::Database(database) if database.is_unavailable())
}

/// Reviews the same items each in a transaction of its own, so that one which cannot be reviewed stops no other.
async fn one_by_one(with: &Distribution, subject: Subject, limit: u32) -> Result<Reviewed, Error> {
    let mut reader = with.metadata.read().await?;
    let due = reviews::page(&mut reader, subject, with.now(), None, limit).await?;
    drop(reader);
    let mut total = Reviewed::default();
    for review in due {
        let alone: Items = [review.item.clone()].into_iter().collect();
        match attempt(with, subject, Which::These(&alone)).await {
            Ok(done) => total.add(&done),
            Err(failed) if is_about_an_item(&failed) => {
                put_off(with, subject, &review, &failed).await?;
                total.reviewed += 1;
                total.failed += 1;
            }
            Err(unavailable) => return Err(unavailable),
        }
    }
    Ok(total)
}

async fn put_off(with: &Distribution, subject: Subject, review: &Review, failed: &Error) -> Result<(), Error> {
    let failures = review.attempts.saturating_add(1);
    let wait = backoff(failures, rand::random());
    tracing::error!(
        kind = subject.as_str(),
        digest = review.item.shown(),
        failures,
        parked = failures >= reviews::PARKED_AFTER,
        again_in = ?wait,
        error = failed as &dyn std::error::Error,
        "an item cannot be reviewed"
    );
    let alone: Items = [review.item.clone()].into_iter().collect();
    let mut tx = with.metadata.begin().await?;
    reviews::postpone(&mut tx, subject, &alone, with.after(wait), true).await?;
    Ok(tx.commit().await?)
}

/// What was decided of each item of a batch.
#[derive(Debug, Default)]
struct Decided {
    garbage: Vec<Removed>,
    live: u64,
    /// Items whose reviews are over, garbage or not.
    over: Vec<Item>,
    later: BTreeMap<Micros, Vec<Item>>,
    in_use: Vec<Item>,
    /// Manifests that keep an item and are kept by nothing else: they are to be looked at.
    rings: Vec<Item>,
}

async fn attempt(with: &Distribution, subject: Subject, which: Which<'_>) -> Result<Reviewed, Error> {
    let mut tx = with.metadata.begin().await?;
    match batch(with, &mut tx, subject, which).await {
        Ok(None) => Ok(Reviewed::default()),
        Ok(Some((reviewed, removed))) => {
            tx.commit().await?;
            staging::point("collector.committed").await;
            audit::removed(subject, &removed, with.now());
            Ok(reviewed)
        }
        Err(failed) => {
            // Its locks must be gone before the same items are tried again.
            tx.roll_back().await;
            Err(failed)
        }
    }
}

/// Everything but the commit. `None`: nothing is due.
async fn batch(
    with: &Distribution,
    tx: &mut Tx,
    subject: Subject,
    which: Which<'_>,
) -> Result<Option<(Reviewed, Vec<Removed>)>, Error> {
    let now = with.now();
    let taken = match which {
        Which::Due(limit) => reviews::take(tx, subject, now, limit).await?,
        Which::These(items) => reviews::take_these(tx, subject, items, now).await?,
    };
    if taken.is_empty() {
        return Ok(None);
    }
    let reviewed = taken.len() as u64;
    staging::point("collector.taken").await;
    let mut decided = decide(with, tx, subject, taken).await?;
    staging::point("collector.rechecked").await;
    let exhausted_until = spend(with, tx, subject, &mut decided).await?;
    carry_out(with, tx, subject, &decided).await?;
    staging::point("collector.deleted").await;
    let bytes = match subject {
        Subject::Blob => decided.garbage.iter().map(|removed| removed.size).sum(),
        Subject::Manifest | Subject::BlobLink => 0,
    };
    let reviewed = Reviewed {
        reviewed,
        kept: decided.live,
        postponed: decided.later.values().map(Vec::len).sum::<usize>() as u64 + decided.in_use.len() as u64,
        failed: 0,
        deleted: decided.garbage.len() as u64,
        bytes,
        exhausted_until,
    };
    Ok(Some((reviewed, decided.garbage)))
}

/// An item that is there, and what is to become of it.
struct Looked {
    item: Item,
    size: u64,
    object_key: Option<String>,
    verdict: Verdict,
}

/// Locks, then looks: the order is what makes it safe.
async fn decide(with: &Distribution, tx: &mut Tx, subject: Subject, taken: Vec<Review>) -> Result<Decided, Error> {
    let items: Items = taken.iter().map(|review| review.item.clone()).collect();
    let mut early = None;
    if staging::mutated("look_before_lock") {
        early = Some(look(with, tx, subject, &items, &mut HashSet::new()).await?);
    }
    staging::point("collector.locks").await;
    let mut locked: HashSet<Item> = if staging::mutated("lock_skipped") {
        taken.iter().map(|review| review.item.clone()).collect()
    } else {
        lock(tx, subject, &items).await?.into_iter().collect()
    };
    staging::point("collector.locked").await;
    let (there, rings) = match early {
        Some(early) => early,
        None => look(with, tx, subject, &items, &mut locked).await?,
    };
    let decided = sorted(taken, &locked, there, with.now());
    Ok(Decided { rings, ..decided })
}

async fn lock(tx: &mut Tx, subject: Subject, items: &Items) -> Result<Vec<Item>, Error> {
    Ok(match subject {
        Subject::Manifest => manifests::lock(tx, items).await?,
        Subject::BlobLink => links::lock(tx, items).await?,
        Subject::Blob => blobs::lock(tx, items).await?,
    })
}

/// What there is, and the manifests of rings that items hang on.
async fn look(
    with: &Distribution,
    tx: &mut Tx,
    subject: Subject,
    items: &Items,
    locked: &mut HashSet<Item>,
) -> Result<(Vec<Looked>, Vec<Item>), Error> {
    let there = match subject {
        Subject::Manifest => return look_at_manifests(with, tx, items, locked).await,
        Subject::BlobLink => look_at_links(with, tx, items).await?,
        Subject::Blob => look_at_blobs(with, tx, items).await?,
    };
    Ok((there, Vec::new()))
}

pub(super) fn judging(with: &Distribution) -> Judging {
    Judging {
        untagged: with.rules.untagged,
        grace: micros_of(with.limits.delays.manifest_upload),
        now: with.now(),
    }
}

/// Also gives the manifests of rings that items hang on.
async fn look_at_manifests(
    with: &Distribution,
    tx: &mut Tx,
    items: &Items,
    locked: &mut HashSet<Item>,
) -> Result<(Vec<Looked>, Vec<Item>), Error> {
    let judging = judging(with);
    let (mut all, mut held, mut rings) = (Vec::new(), Vec::new(), Vec::new());
    for found in manifests::look(tx, items).await? {
        match judging.of(&found) {
            Verdict::Held(_) => held.push(found),
            verdict @ (Verdict::Garbage | Verdict::Live(_) | Verdict::Later(..)) => {
                all.push(of_manifest(&found, verdict));
            }
        }
    }
    let traces = roots::trace(tx, &held, judging).await?;
    for (found, trace) in held.iter().zip(traces) {
        let why = judging.of(found);
        let verdict = match trace {
            Trace::Rooted => why,
            Trace::Until(until) => Verdict::Later(until, "it hangs on manifests that are young".to_owned()),
            // The one that lists it goes first: a foreign key sees to that.
            Trace::Ring(ring) if found.parent.is_some() => {
                rings.extend(ring.into_iter().filter(|item| *item != found.item));
                why
            }
            Trace::Ring(ring) => {
                if !is_still_a_ring(tx, found, ring, judging).await? {
                    locked.remove(&found.item);
                }
                Verdict::Garbage
            }
        };
        all.push(of_manifest(found, verdict));
    }
    Ok((all, rings))
}

/// With all of a ring locked, nobody can give one of them a root; were one given meanwhile, it is seen now.
async fn is_still_a_ring(
    tx: &mut Tx,
    found: &manifests::Found,
    ring: Vec<Item>,
    judging: Judging,
) -> Result<bool, Error> {
    let ring: Items = ring.into_iter().collect();
    if manifests::lock(tx, &ring).await?.len() < ring.len() {
        return Ok(false);
    }
    let traces = roots::trace(tx, std::slice::from_ref(found), judging).await?;
    Ok(matches!(traces.first(), Some(Trace::Ring(again)) if again.len() == ring.len()))
}

fn of_manifest(found: &manifests::Found, verdict: Verdict) -> Looked {
    Looked {
        item: found.item.clone(),
        size: found.size,
        object_key: None,
        verdict,
    }
}

async fn look_at_links(with: &Distribution, tx: &mut Tx, items: &Items) -> Result<Vec<Looked>, Error> {
    let found = links::look(tx, items).await?;
    let each = found.into_iter().map(|found| Looked {
        verdict: verdict::of_link(&found, with.now()),
        size: 0,
        object_key: None,
        item: found.item,
    });
    Ok(each.collect())
}

async fn look_at_blobs(with: &Distribution, tx: &mut Tx, items: &Items) -> Result<Vec<Looked>, Error> {
    let found = blobs::look(tx, items).await?;
    let each = found.into_iter().map(|found| Looked {
        verdict: verdict::of_blob(&found, with.now()),
        size: found.size,
        object_key: found.object_key,
        item: found.item,
    });
    Ok(each.collect())
}

fn sorted(taken: Vec<Review>, locked: &HashSet<Item>, there: Vec<Looked>, now: Micros) -> Decided {
    let mut there: HashMap<Item, Looked> = there.into_iter().map(|found| (found.item.clone(), found)).collect();
    let mut decided = Decided::default();
    for review in taken {
        let item = review.item.clone();
        let Some(found) = there.remove(&item) else {
            // Gone already; whoever brings it again asks for a review of their own.
            decided.over.push(item);
            continue;
        };
        match found.verdict {
            // What somebody holds is about to be referred to, or to go.
            _ if !locked.contains(&item) => decided.in_use.push(item),
            Verdict::Live(_) | Verdict::Held(_) => {
                decided.live += 1;
                decided.over.push(item);
            }
            Verdict::Later(..) if staging::mutated("leased_review_dropped") => decided.over.push(item),
            Verdict::Later(until, _) => decided
                .later
                .entry(rounded_up(until.max(now + 1)))
                .or_default()
                .push(item),
            Verdict::Garbage => {
                decided.over.push(item);
                decided.garbage.push(Removed {
                    review,
                    size: found.size,
                    object_key: found.object_key,
                });
            }
        }
    }
    decided
}

fn rounded_up(time: Micros) -> Micros {
    time.saturating_add(ROUNDING - 1 - (time - 1).rem_euclid(ROUNDING))
}

/// Leaves for the next hour what the budget does not allow. The end of the hour when it is spent.
async fn spend(
    with: &Distribution,
    tx: &mut Tx,
    subject: Subject,
    decided: &mut Decided,
) -> Result<Option<Micros>, Error> {
    let budget = with.limits.budget;
    if staging::mutated("budget_ignored")
        || budget.is_unlimited()
        || subject == Subject::BlobLink
        || decided.garbage.is_empty()
    {
        return Ok(None);
    }
    let state = collector::hold(tx).await?;
    let mut purse = Purse::open(budget, &state, with.now());
    let all = std::mem::take(&mut decided.garbage);
    let (paid, unpaid): (Vec<_>, Vec<_>) = all.into_iter().partition(|removed| purse.pay(removed.size));
    decided.garbage = paid;
    collector::spend(tx, purse.window_start, purse.objects, purse.bytes).await?;
    if unpaid.is_empty() {
        return Ok(None);
    }
    let waiting: HashSet<Item> = unpaid.into_iter().map(|removed| removed.review.item).collect();
    decided.over.retain(|item| !waiting.contains(item));
    decided.later.entry(purse.window_end()).or_default().extend(waiting);
    Ok(Some(purse.window_end()))
}

/// Ends the reviews before it removes anything: an index that goes asks for new ones of manifests that were taken with it,
/// and found live because of it.
async fn carry_out(with: &Distribution, tx: &mut Tx, subject: Subject, decided: &Decided) -> Result<(), Error> {
    let over: Items = decided.over.iter().cloned().collect();
    if !staging::mutated("reviews_ended_last") {
        reviews::finish(tx, subject, &over).await?;
    }
    for (until, items) in &decided.later {
        let items: Items = items.iter().cloned().collect();
        reviews::postpone(tx, subject, &items, *until, false).await?;
    }
    let in_use: Items = decided.in_use.iter().cloned().collect();
    let soon = with.after(backoff(1, rand::random()));
    reviews::postpone(tx, subject, &in_use, soon, false).await?;
    let garbage = decided.garbage.iter().map(|removed| removed.review.item.clone());
    remove(with, tx, subject, &garbage.collect()).await?;
    if staging::mutated("reviews_ended_last") {
        reviews::finish(tx, subject, &over).await?;
    }
    if staging::mutated("object_before_row") {
        let keys = decided.garbage.iter().filter_map(|removed| removed.object_key.clone());
        let dead = keys.map(|key| Dead {
            key,
            multipart_id: None,
        });
        drop(with.blobs.delete_all(dead.collect()).await);
    }
    let gone: HashSet<&Item> = decided.over.iter().collect();
    let rings: Items = decided
        .rings
        .iter()
        .filter(|item| !gone.contains(item))
        .cloned()
        .collect();
    let now = with.now();
    let due = Due {
        at: now,
        reason: Reason::ManifestListDelete,
        now,
    };
    Ok(reviews::add_all(tx, Subject::Manifest, &rings, due).await?)
}

/// Removes rows, and asks for a review of what they referred to. That is due at once: the grace was waited for before the
/// first of them went, and leases hold what somebody wants by now.
async fn remove(with: &Distribution, tx: &mut Tx, subject: Subject, garbage: &Items) -> Result<(), Error> {
    if garbage.is_empty() {
        return Ok(());
    }
    let now = with.now();
    let due = |reason| Due { at: now, reason, now };
    match subject {
        Subject::Manifest => {
            let left = manifests::remove(tx, garbage).await?;
            let attached: Items = left.referrers.into_iter().collect();
            reviews::add_all(tx, Subject::Manifest, &attached, due(Reason::ManifestDelete)).await?;
            let children: Items = left.children.into_iter().collect();
            reviews::add_all(tx, Subject::Manifest, &children, due(Reason::ManifestListDelete)).await?;
            let blobs: Items = left.blobs.into_iter().collect();
            reviews::add_all(tx, Subject::BlobLink, &blobs, due(Reason::ManifestDelete)).await?;
        }
        Subject::BlobLink => {
            links::remove(tx, garbage).await?;
            let blobs: Items = garbage.without_repositories();
            reviews::add_all(tx, Subject::Blob, &blobs, due(Reason::BlobUnlink)).await?;
        }
        Subject::Blob => blobs::remove(tx, garbage, with.blob_not_before(), now).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::RepositoryKey;

    fn review(digest: u8) -> Review {
        Review {
            item: Item {
                key: RepositoryKey::NONE,
                digest: vec![digest],
            },
            attempts: 0,
            reason: "tag_delete".to_owned(),
            due_at: 0,
            created_at: 0,
        }
    }

    fn looked(digest: u8, verdict: Verdict) -> Looked {
        Looked {
            item: review(digest).item,
            size: 1,
            object_key: None,
            verdict,
        }
    }

    #[test]
    fn every_review_that_was_taken_is_ended_or_put_off() {
        let taken = [1, 2, 3, 4, 5].map(review).to_vec();
        let held = [1, 2, 3].map(|digest| review(digest).item).into();
        let there = vec![
            looked(1, Verdict::Garbage),
            looked(2, Verdict::Live(String::new())),
            looked(3, Verdict::Later(1, String::new())),
            looked(4, Verdict::Garbage),
        ];

        let decided = sorted(taken, &held, there, 5_000_000);

        let items = |digests: &[u8]| digests.iter().map(|d| review(*d).item).collect::<Vec<_>>();
        assert_eq!(decided.over, items(&[1, 2, 5]), "garbage, live, and gone already");
        assert_eq!(decided.later, [(6_000_000, items(&[3]))].into(), "never in the past");
        assert_eq!(decided.in_use, items(&[4]), "what somebody holds is not touched");
        assert_eq!(decided.garbage.len(), 1);
    }

    #[test]
    fn times_are_rounded_up_and_never_down() {
        assert_eq!(
            [1, 1_000_000, 1_000_001].map(rounded_up),
            [1_000_000, 1_000_000, 2_000_000]
        );
    }
}
