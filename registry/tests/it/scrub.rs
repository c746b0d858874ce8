//! The comparison of the store with the rows: what is found, what is changed, and what never is.

use crate::support::content::{bytes, sha256};
use crate::support::objects::{Objects, append_to};
use crate::support::stores;
use berth_registry::blobs::keys;
use berth_registry::clock::Clock;
use berth_registry::config::Storage;
use berth_registry::distribution::scrub::{DeleteUnknown, Event, Report, Scrub, ScrubError, Unknown, Verify};
use berth_registry::distribution::{Chunk, Distribution, Limits, MountSource, Rules};
use berth_registry::metadata::blobs::Place;
use berth_registry::metadata::corrupt;
use berth_registry::metadata::scrub::{self as rows, Progress};
use bytes::Bytes;
use futures::stream;
use oci::{Digest, RepositoryName};
use std::time::Duration;
use tokio::sync::mpsc::channel;
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);

/// Workflows over stores of their own, with a clock thirty days ahead of the store's: every object is old.
struct Bench {
    objects: Objects,
    distribution: Distribution,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::at(30 * DAY).await
    }

    async fn at(ahead: Duration) -> Self {
        Self::with(ahead, Limits::default()).await
    }

    /// Whose small blobs are in their rows.
    async fn in_rows() -> Self {
        let limits = Limits {
            in_row: 1024,
            ..Limits::default()
        };
        Self::with(30 * DAY, limits).await
    }

    async fn with(ahead: Duration, limits: Limits) -> Self {
        let (config, folder) = stores::fresh().await;
        let objects = Objects::open(&config).await;
        let clock = Clock::standing_at(Clock::default().now());
        clock.advance(ahead);
        let (metadata, store) = (objects.metadata.clone(), objects.store.clone());
        Self {
            distribution: Distribution::new(metadata, store, clock.clone(), limits, Rules::default()),
            clock,
            objects,
            _folder: folder,
        }
    }

    async fn push(&self, content: &[u8]) -> Digest {
        let upload = self.distribution.start_upload(&repository()).await.unwrap();
        let digest = sha256(content);
        self.distribution
            .finish_upload(&repository(), upload.id, digest, chunk(content))
            .await
            .unwrap();
        digest
    }

    /// A little later: what has just come is not judged.
    async fn scrub(&self, scrub: &Scrub) -> (Report, Vec<Event>) {
        self.clock.advance(Duration::from_mins(2));
        let (sender, mut receiver) = channel(1);
        let scrubbing = async {
            let done = self.distribution.scrub(scrub, &sender).await;
            drop(sender);
            done
        };
        let gathering = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        };
        let (report, events) = tokio::join!(scrubbing, gathering);
        (report.unwrap(), events)
    }

    async fn count(&self, sql: &'static str) -> i64 {
        stores::count(&self.objects.config, sql).await
    }
}

fn repository() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn chunk(
    content: &[u8],
) -> Chunk<impl futures::Stream<Item = Result<Bytes, berth_registry::distribution::BodyError>> + Unpin> {
    Chunk {
        range: None,
        length: None,
        body: stream::iter([Ok(Bytes::copy_from_slice(content))]),
    }
}

fn verify() -> Scrub {
    Scrub {
        verify: Some(Verify::default()),
        ..Scrub::default()
    }
}

fn delete(objects: u64, bytes: u64) -> Scrub {
    Scrub {
        delete: Some(DeleteUnknown {
            older_than: 7 * DAY,
            objects,
            bytes,
        }),
        force: true,
        ..Scrub::default()
    }
}

const CORRUPT: &str = "SELECT count(*) FROM blobs WHERE corrupt_at IS NOT NULL";

#[tokio::test]
async fn what_a_session_a_blob_or_a_tombstone_names_is_left_alone_however_old_it_is() {
    let bench = Bench::new().await;
    let large = bytes(1, 10 * 1024 * 1024);
    bench.push(&large).await;
    bench.push(b"small").await;
    // A tombstone.
    bench.push(b"small").await;
    // A session with a multipart upload and a tail, and one of several claims with a small tail.
    let open = bench.distribution.start_upload(&repository()).await.unwrap();
    bench
        .distribution
        .append(&repository(), open.id, chunk(&large))
        .await
        .unwrap();
    let claimed = bench.distribution.start_upload(&repository()).await.unwrap();
    for piece in [b"a", b"b", b"c"] {
        bench
            .distribution
            .append(&repository(), claimed.id, chunk(piece))
            .await
            .unwrap();
    }

    let mut scrub = delete(100, u64::MAX);
    scrub.verify = Some(Verify::default());
    let (report, events) = bench.scrub(&scrub).await;

    assert!(report.is_clean(), "{report:?} {events:?}");
    assert_eq!((report.blobs, report.verified), (2, 2));
    assert!(report.objects >= 4, "{report:?}");
    assert_eq!(events, []);
    for (id, content) in [(open.id, &large), (claimed.id, &b"abc".to_vec())] {
        let finished = bench
            .distribution
            .finish_upload(&repository(), id, sha256(content), chunk(b""))
            .await;
        finished.unwrap();
    }
}

#[tokio::test]
async fn missing_and_corrupt_blobs_are_told_with_their_images_and_marked() {
    let bench = Bench::new().await;
    let (gone, cut, other) = (
        bench.push(b"gone").await,
        bench.push(b"cut").await,
        bench.push(b"other").await,
    );
    for sound in 0..4_u8 {
        bench.push(&[sound]).await;
    }
    bench.objects.delete(&gone).await;
    bench.objects.overwrite(&cut, b"cu").await;
    bench.objects.overwrite(&other, b"0ther").await;

    let (quick, _) = bench.scrub(&Scrub::default()).await;
    let (thorough, events) = bench.scrub(&verify()).await;

    assert_eq!((quick.missing, quick.corrupt, quick.marked), (1, 1, 2));
    assert_eq!((thorough.missing, thorough.corrupt, thorough.marked), (1, 2, 1));
    assert!(!thorough.is_clean());
    assert_eq!(bench.count(CORRUPT).await, 3);
    let found: Vec<_> = events.iter().filter_map(wrong).collect();
    for (what, digest) in [("missing", gone), ("corrupt", cut), ("corrupt", other)] {
        let expected = (what, digest.to_string(), "team/app".to_owned());
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
}

/// What is wrong with which blob of which repository.
fn wrong(event: &Event) -> Option<(&'static str, String, String)> {
    let (what, wrong) = match event {
        Event::Missing(wrong) => ("missing", wrong),
        Event::Corrupt(wrong) => ("corrupt", wrong),
        Event::Unreadable(wrong) => ("unreadable", wrong),
        Event::Recovered(wrong) => ("recovered", wrong),
        Event::Unknown(_) | Event::Deleted(_) | Event::Progress(_) | Event::Summary(_) | Event::Failed { .. } => {
            return None;
        }
    };
    Some((what, wrong.digest.clone(), wrong.images[0].repository.clone()))
}

#[tokio::test]
async fn a_blob_whose_object_is_right_again_loses_its_mark() {
    let bench = Bench::new().await;
    let digest = bench.push(b"content").await;
    for sound in 0..4_u8 {
        bench.push(&[sound]).await;
    }
    bench.objects.overwrite(&digest, b"c0ntent").await;
    bench.scrub(&verify()).await;
    assert_eq!(bench.count(CORRUPT).await, 1);

    bench.objects.overwrite(&digest, b"content").await;
    let (report, _) = bench.scrub(&Scrub::default()).await;

    assert_eq!((report.recovered, report.corrupt), (1, 0));
    assert_eq!(bench.count(CORRUPT).await, 0);
}

#[tokio::test]
async fn pushes_of_a_marked_digest_heal_it_once_and_bury_the_bad_object() {
    let bench = Bench::new().await;
    let digest = bench.push(b"content").await;
    for sound in 0..4_u8 {
        bench.push(&[sound]).await;
    }
    let bad = bench.objects.key(&digest).await;
    bench.objects.overwrite(&digest, b"c0ntent").await;
    bench.scrub(&verify()).await;

    // The mark is an upload more, not a link more.
    let other: RepositoryName = "team/other".parse().unwrap();
    let mounted = bench.distribution.mount(&other, digest, MountSource::Anywhere).await;
    assert!(!mounted.unwrap());
    futures::future::join_all((0..4).map(|_| bench.push(b"content"))).await;

    assert_eq!(bench.count(CORRUPT).await, 0);
    assert_ne!(bench.objects.key(&digest).await, bad);
    assert_eq!(
        bench
            .count("SELECT count(*) FROM tombstones WHERE reason = 'corrupt'")
            .await,
        1
    );
    let named = "SELECT count(*) FROM blobs b JOIN tombstones t ON t.object_key = b.object_key";
    assert_eq!(bench.count(named).await, 0);
    assert!(bench.scrub(&verify()).await.0.is_clean());
    let mounted = bench.distribution.mount(&other, digest, MountSource::Anywhere).await;
    assert!(mounted.unwrap());
}

#[tokio::test]
async fn a_mark_does_not_fall_on_what_a_push_has_put_in_its_place() {
    let bench = Bench::new().await;
    let digest = bench.push(b"content").await;
    bench.push(b"sound").await;
    let bad = bench.objects.key(&digest).await;
    bench.objects.delete(&digest).await;
    bench.scrub(&Scrub::default()).await;
    bench.push(b"content").await;

    let mut tx = bench.objects.metadata.begin().await.unwrap();
    let late = corrupt::mark(&mut tx, &digest, &Place::Object(bad), 1).await;
    tx.commit().await.unwrap();

    assert!(!late.unwrap());
    assert_eq!(bench.count(CORRUPT).await, 0);
}

#[tokio::test]
async fn a_mark_does_not_fall_on_the_bytes_that_a_push_has_put_in_a_row() {
    let bench = Bench::in_rows().await;
    let digest = bench.push(b"content").await;
    bench.push(b"sound").await;
    let damage = "UPDATE blobs SET content = digest WHERE size = 7";
    stores::execute(&bench.objects.config, damage).await;
    let (found, _) = bench.scrub(&verify()).await;
    assert_eq!((found.corrupt, bench.count(CORRUPT).await), (1, 1));
    bench.push(b"content").await;
    assert_eq!(bench.count(CORRUPT).await, 0, "healed");

    let mut tx = bench.objects.metadata.begin().await.unwrap();
    let bad = Place::Row(digest.to_bytes().into());
    let late = corrupt::mark(&mut tx, &digest, &bad, 1).await.unwrap();
    let good = Place::Row(Bytes::from_static(b"content"));
    let timely = corrupt::mark(&mut tx, &digest, &good, 1).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!((late, timely), (false, true));
}

#[tokio::test]
async fn objects_that_nothing_names_are_deleted_when_asked_within_the_budget() {
    let bench = Bench::new().await;
    bench.push(b"kept").await;
    let unknown: Vec<String> = (1..=5).map(|_| keys::of_upload(Uuid::new_v4())).collect();
    for key in &unknown {
        append_to(&bench.objects.store, key, b"12345").await;
    }

    let (reported, events) = bench.scrub(&Scrub::default()).await;
    assert_eq!((reported.unknown, reported.unknown_bytes, reported.deleted), (5, 25, 0));
    assert!(matches!(&events[0], Event::Unknown(Unknown { ours: true, size: 5, age, .. }) if *age > 29 * 86400));
    assert!(!reported.is_clean());

    for (scrub, deleted, left) in [
        (delete(2, 1000), 2, 3),
        (delete(100, 12), 2, 1),
        (delete(100, 1000), 1, 0),
    ] {
        let (report, _) = bench.scrub(&scrub).await;
        assert_eq!((report.deleted, report.deleted_bytes), (deleted, deleted * 5));
        assert_eq!(report.budget_spent, left > 0);
        assert_eq!(report.is_clean(), left == 0);
    }
    assert_eq!(bench.scrub(&Scrub::default()).await.0.objects, 1);
}

#[tokio::test]
async fn a_blob_that_came_just_now_is_not_missing_when_the_store_does_not_show_it_yet() {
    let bench = Bench::new().await;
    let digest = bench.push(b"content").await;
    bench.push(b"sound").await;
    bench.objects.delete(&digest).await;
    let (sender, _receiver) = channel(10);

    let soon = bench.distribution.scrub(&Scrub::default(), &sender).await.unwrap();
    let (later, _) = bench.scrub(&Scrub::default()).await;

    assert_eq!((soon.missing, soon.marked), (0, 0));
    assert_eq!((later.missing, later.marked), (1, 1));
}

#[tokio::test]
async fn young_objects_and_those_of_others_are_never_deleted() {
    let bench = Bench::at(6 * DAY).await;
    bench.push(b"kept").await;
    append_to(&bench.objects.store, &keys::of_upload(Uuid::new_v4()), b"young").await;
    let (young, _) = bench.scrub(&delete(100, 1000)).await;
    assert_eq!((young.unknown, young.deleted), (1, 0));

    let bench = Bench::new().await;
    bench.push(b"kept").await;
    append_to(&bench.objects.store, "blobs/ab/theirs", b"theirs").await;
    let (theirs, events) = bench.scrub(&delete(100, 1000)).await;

    assert_eq!((theirs.unknown, theirs.deleted), (1, 0));
    assert!(
        matches!(&events[0], Event::Unknown(Unknown { ours: false, .. })),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let bench = Bench::new().await;
    let digest = bench.push(b"content").await;
    bench.push(b"sound").await;
    bench.objects.overwrite(&digest, b"c0ntent").await;
    append_to(&bench.objects.store, &keys::of_upload(Uuid::new_v4()), b"unknown").await;
    let dry = Scrub {
        dry_run: true,
        verify: Some(Verify::default()),
        ..delete(100, 1000)
    };

    let (report, _) = bench.scrub(&dry).await;
    let (again, _) = bench.scrub(&dry).await;

    assert_eq!(
        (report.corrupt, report.unknown, report.marked, report.deleted),
        (1, 1, 0, 0)
    );
    assert_eq!(report, again);
    assert_eq!(bench.count(CORRUPT).await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM scrub_progress").await, 0);
}

#[tokio::test]
async fn a_store_and_a_database_that_do_not_belong_together_are_left_alone() {
    let (ours, theirs) = (Bench::new().await, Bench::new().await);
    for seed in 0..30_u8 {
        ours.push(&[seed]).await;
        theirs.push(&[seed, seed]).await;
    }
    let (metadata, store) = (ours.objects.metadata.clone(), theirs.objects.store.clone());
    let clock = Clock::standing_at(Clock::default().now());
    clock.advance(30 * DAY);
    let mixed = Bench {
        distribution: Distribution::new(metadata, store, clock.clone(), Limits::default(), Rules::default()),
        clock,
        ..ours
    };

    let careful = Scrub {
        force: false,
        ..delete(1000, u64::MAX)
    };
    let (report, _) = mixed.scrub(&careful).await;

    assert_eq!((report.missing, report.marked, report.deleted), (30, 0, 0));
    assert!(report.unknown >= 30);
    let refused = report.refused.unwrap();
    assert!(
        refused.contains("do the database and the store belong together"),
        "{refused}"
    );
    assert!(theirs.scrub(&verify()).await.0.is_clean());
}

#[tokio::test]
async fn reading_goes_on_behind_the_blob_where_the_scrub_before_was_ended() {
    let bench = Bench::new().await;
    let mut digests = Vec::new();
    for seed in 0..10_u8 {
        digests.push(bench.push(&[seed; 1000]).await);
    }
    digests.sort_unstable();
    let progress = Progress {
        position: digests[6],
        objects: 7,
        bytes: 7000,
        started_at: 1,
    };
    let mut tx = bench.objects.metadata.begin().await.unwrap();
    rows::record(&mut tx, &progress, 1).await.unwrap();
    tx.commit().await.unwrap();

    let (rest, _) = bench.scrub(&verify()).await;
    let (next_round, _) = bench.scrub(&verify()).await;

    assert_eq!((rest.verified, rest.verified_bytes), (3, 3000));
    assert_eq!(rest.resumed_after, Some(digests[6].to_string()));
    assert_eq!((next_round.verified, next_round.resumed_after), (10, None));
}

#[tokio::test]
async fn a_scrub_that_is_cut_off_remembers_how_far_it_came() {
    let bench = Bench::new().await;
    for seed in 0..40_u8 {
        bench.push(&[seed; 1000]).await;
    }
    let slow = Scrub {
        verify: Some(Verify {
            bytes_per_second: Some(4000),
            restart: false,
        }),
        ..Scrub::default()
    };
    let (sender, mut receiver) = channel(1);
    let first_sign = async {
        let sign = receiver.recv().await;
        drop(receiver);
        sign
    };
    // The first sign of progress comes when the place is remembered; whoever waits for it goes away then.
    let (ended, sign) = tokio::join!(bench.distribution.scrub(&slow, &sender), first_sign);

    assert!(matches!(ended, Err(ScrubError::Stopped)), "{ended:?}");
    let Some(Event::Progress(so_far)) = sign else {
        panic!("{sign:?}");
    };
    let (rest, _) = bench.scrub(&verify()).await;
    assert!(rest.resumed_after.is_some());
    assert!((1..40).contains(&so_far.verified), "{so_far:?}");
    assert!((1..=40 - so_far.verified).contains(&rest.verified), "{rest:?}");
}

#[tokio::test]
async fn scrubs_that_delete_all_the_while_take_nothing_from_live_pushes() {
    let bench = Bench::new().await;
    let scrub = delete(1_000_000, u64::MAX);
    let pushes = async {
        for round in 0..12_u64 {
            let contents: Vec<Vec<u8>> = (0..6).map(|n| bytes(round * 100 + n % 4, 30_000)).collect();
            futures::future::join_all(contents.iter().map(|content| in_pieces(&bench, content))).await;
        }
    };
    let mut pushing = std::pin::pin!(pushes);
    let mut scrubs = 0;
    loop {
        tokio::select! {
            () = &mut pushing => break,
            (report, events) = bench.scrub(&scrub) => {
                assert_eq!((report.missing, report.deleted), (0, 0), "{events:?}");
                scrubs += 1;
            }
        }
    }

    assert!(scrubs > 0);
    let (report, events) = bench.scrub(&verify()).await;
    assert!(report.is_clean(), "{events:?}");
    assert_eq!(report.verified, 48);
}

/// Pushes with three requests, each of its own claim.
async fn in_pieces(bench: &Bench, content: &[u8]) {
    let upload = bench.distribution.start_upload(&repository()).await.unwrap();
    let (first, rest) = content.split_at(content.len() / 2);
    for piece in [first, rest] {
        bench
            .distribution
            .append(&repository(), upload.id, chunk(piece))
            .await
            .unwrap();
    }
    bench
        .distribution
        .finish_upload(&repository(), upload.id, sha256(content), chunk(b""))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_object_that_cannot_be_read_does_not_end_the_scrub() {
    let bench = Bench::new().await;
    let Storage::Filesystem { root } = &bench.objects.config.storage else {
        // Of a bucket's objects none can be made unreadable alone.
        return;
    };
    let digest = bench.push(b"content").await;
    bench.push(b"sound").await;
    let path = root.join(bench.objects.key(&digest).await);
    std::fs::remove_file(&path).unwrap();
    // A folder's name is that of the file: there is nothing to read.
    std::fs::create_dir(&path).unwrap();

    let (report, events) = bench.scrub(&verify()).await;

    assert_eq!((report.blobs, report.missing), (2, 1), "{events:?}");
    assert_eq!(report.unknown, 0);
}

#[tokio::test]
async fn damaged_bytes_in_a_row_are_found_and_healed_by_a_push() {
    let bench = Bench::in_rows().await;
    for content in ["first", "other"] {
        bench.push(content.as_bytes()).await;
    }
    let damage = "UPDATE blobs SET content = (SELECT content FROM blobs ORDER BY digest LIMIT 1)";
    stores::execute(&bench.objects.config, damage).await;

    let (seen, _) = bench.scrub(&Scrub::default()).await;
    let (verified, events) = bench.scrub(&verify()).await;
    for content in ["first", "other"] {
        bench.push(content.as_bytes()).await;
    }
    let (healed, _) = bench.scrub(&verify()).await;

    assert!(seen.is_clean(), "a row that is there is not missing: {seen:?}");
    assert_eq!((verified.corrupt, verified.marked, verified.verified_bytes), (1, 1, 10));
    let told = |event: &Event| matches!(event, Event::Corrupt(wrong) if wrong.key.is_none());
    assert!(events.iter().any(told), "{events:?}");
    assert!(healed.is_clean(), "{healed:?}");
    assert_eq!(bench.count("SELECT count(*) FROM tombstones").await, 0);
}
