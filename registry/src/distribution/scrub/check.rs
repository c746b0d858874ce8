//! From the rows to the store: is the object of each blob there, and right?

use super::pace::Pace;
use super::report::{Event, Wrong};
use super::round::Round;
use super::{Run, ScrubError};
use crate::blobs;
use crate::distribution::Distribution;
use crate::metadata::blobs::{Blob, Place};
use crate::metadata::{corrupt, scrub};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use oci::{Digest, Digester};
use std::error::Error as _;

/// Blobs of a page, whose bytes come with it where they are in their rows.
const PAGE: u32 = 200;
/// Objects that are looked at, or read, at one time.
const AT_ONCE: usize = 8;
/// Unreadable objects in a row, after which it is the store that is wrong.
const PATIENCE: u64 = 20;
/// Images that are told of a blob.
const IMAGES: u32 = 20;

/// What became of the look at one object.
enum Verdict {
    Sound,
    /// The digest has another object now, or none: it was healed or deleted. Or it came just now.
    Superseded,
    Missing,
    Corrupt(String),
    Unreadable(blobs::Error),
}

/// A look, and the bytes that were hashed for it.
struct Looked {
    verdict: Verdict,
    hashed: Option<u64>,
}

/// Blobs whose mark is due.
pub(super) type Marks = Vec<(Digest, Place)>;

/// Looks at every blob; with `verify` at those behind the place where the scrub before has ended.
pub(super) async fn rows(run: &mut Run<'_>) -> Result<(), ScrubError> {
    let mut round = Round::begin(run).await?;
    let (distribution, scrub) = (run.distribution, run.scrub);
    let pace = Pace::new(scrub.verify.as_ref().and_then(|verify| verify.bytes_per_second));
    let look = Look {
        distribution,
        pace: &pace,
        verify: scrub.verify.is_some(),
    };
    let mut unreadable_in_a_row = 0;
    loop {
        let mut reader = distribution.metadata.read().await?;
        let blobs = scrub::blobs(&mut reader, round.position(), PAGE).await?;
        drop(reader);
        if blobs.is_empty() {
            return round.end(run).await;
        }
        let looks = stream::iter(blobs).map(|blob| async {
            let looked = look.at(&blob).await;
            (blob, looked)
        });
        let mut looks = looks.buffered(AT_ONCE);
        while let Some((blob, looked)) = looks.next().await {
            let Looked { verdict, hashed } = looked?;
            unreadable_in_a_row = match verdict {
                Verdict::Unreadable(failed) if unreadable_in_a_row >= PATIENCE => return Err(failed.into()),
                Verdict::Unreadable(_) => unreadable_in_a_row + 1,
                Verdict::Sound | Verdict::Superseded | Verdict::Missing | Verdict::Corrupt(_) => 0,
            };
            settle(run, &blob, verdict, &mut round.marks).await?;
            round.passed(run, &blob, hashed).await?;
        }
        set(run, &mut round.marks).await?;
    }
}

/// How objects are looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    distribution: &'a Distribution,
    pace: &'a Pace,
    verify: bool,
}

impl Look<'_> {
    /// What is wrong is looked at twice: a bit may have flipped on its way to us.
    async fn at(self, blob: &Blob) -> Result<Looked, ScrubError> {
        let mut looked = self.compare(blob).await;
        if matches!(looked.verdict, Verdict::Sound) {
            return Ok(looked);
        }
        looked = self.compare(blob).await;
        // Afterwards: a row that still names the object named it all the while.
        if !self.distribution.is_settled(blob).await? {
            looked.verdict = Verdict::Superseded;
        }
        Ok(looked)
    }

    async fn compare(self, blob: &Blob) -> Looked {
        let key = match &blob.place {
            Place::Object(key) => key,
            Place::Row(content) => return self.look_at_row(blob, content).await,
        };
        let verdict = match self.distribution.blobs.size(key).await {
            Ok(None) => Verdict::Missing,
            Ok(Some(size)) if size != blob.size => Verdict::Corrupt(format!("it has {size} bytes")),
            Ok(Some(_)) if self.verify || blob.corrupt => return self.hash(blob, key).await,
            Ok(Some(_)) => Verdict::Sound,
            Err(failed) => Verdict::Unreadable(failed),
        };
        Looked { verdict, hashed: None }
    }

    /// Bytes in a row are there when the row is.
    async fn look_at_row(self, blob: &Blob, content: &Bytes) -> Looked {
        if !self.verify && !blob.corrupt {
            let (verdict, hashed) = (Verdict::Sound, None);
            return Looked { verdict, hashed };
        }
        self.pace.pay(blob.size).await;
        let actual = Digest::of(blob.digest.algorithm(), content);
        Looked {
            verdict: compared(actual, blob.digest),
            hashed: Some(blob.size),
        }
    }

    async fn hash(self, blob: &Blob, key: &str) -> Looked {
        let verdict = match self.read(blob, key).await {
            Ok(actual) => compared(actual, blob.digest),
            Err(blobs::Error::NotFound { .. }) => Verdict::Missing,
            Err(blobs::Error::Short { end, .. }) => Verdict::Corrupt(format!("it ends at byte {end}")),
            Err(failed) => Verdict::Unreadable(failed),
        };
        Looked {
            verdict,
            hashed: Some(blob.size),
        }
    }

    async fn read(self, blob: &Blob, key: &str) -> Result<Digest, blobs::Error> {
        let mut digester = Digester::new(blob.digest.algorithm());
        let mut body = self.distribution.blobs.read(key, 0..blob.size).await?;
        while let Some(piece) = body.try_next().await? {
            self.pace.pay(piece.len() as u64).await;
            digester.update(&piece);
        }
        Ok(digester.finish())
    }
}

fn compared(actual: Digest, expected: Digest) -> Verdict {
    if actual == expected {
        return Verdict::Sound;
    }
    Verdict::Corrupt(format!("it hashes to {actual}"))
}

/// Counts and tells what became of a look.
async fn settle(run: &mut Run<'_>, blob: &Blob, verdict: Verdict, marks: &mut Marks) -> Result<(), ScrubError> {
    let report = &mut run.report;
    let event = match verdict {
        Verdict::Superseded => return Ok(()),
        Verdict::Sound if !blob.corrupt => return Ok(()),
        Verdict::Sound => return recovered(run, blob).await,
        Verdict::Missing => {
            report.missing += 1;
            Event::Missing(told(run, blob, "it is not in the store".to_owned()).await?)
        }
        Verdict::Corrupt(found) => {
            report.corrupt += 1;
            Event::Corrupt(told(run, blob, found).await?)
        }
        Verdict::Unreadable(failed) => {
            report.unreadable += 1;
            let cause = failed.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let found = format!("{failed}{cause}");
            Event::Unreadable(told(run, blob, found).await?)
        }
    };
    if !matches!(event, Event::Unreadable(_)) && !blob.corrupt {
        marks.push((blob.digest, blob.place.clone()));
    }
    run.tell(event).await
}

async fn told(run: &Run<'_>, blob: &Blob, found: String) -> Result<Wrong, ScrubError> {
    let mut reader = run.distribution.metadata.read().await?;
    let images = scrub::images(&mut reader, &blob.digest, IMAGES).await?;
    let mut wrong = Wrong::of(blob, found);
    wrong.images = images.into_iter().map(Into::into).collect();
    Ok(wrong)
}

/// Somebody has brought the object back, or the store was wrong for a while.
async fn recovered(run: &mut Run<'_>, blob: &Blob) -> Result<(), ScrubError> {
    run.report.recovered += 1;
    if !run.scrub.dry_run {
        let mut tx = run.distribution.metadata.begin_statement().await?;
        corrupt::clear(&mut tx, &blob.digest, &blob.place).await?;
        tx.commit().await?;
    }
    let found = "it is right again".to_owned();
    run.tell(Event::Recovered(Wrong::of(blob, found))).await
}

/// Sets the marks that are due.
pub(super) async fn set(run: &mut Run<'_>, marks: &mut Marks) -> Result<(), ScrubError> {
    let wrong = run.report.missing + run.report.corrupt;
    if run.report.refused.is_none() && run.is_far_too_much(wrong, run.report.blobs) {
        run.report.refused = Some(format!(
            "{wrong} of {} blobs are missing or corrupt: do the database and the store belong together? Nothing is \
             marked or deleted; --force goes on",
            run.report.blobs
        ));
    }
    let marks = std::mem::take(marks);
    if run.scrub.dry_run || run.report.refused.is_some() {
        return Ok(());
    }
    for (digest, looked_at) in marks {
        if run.distribution.mark_corrupt(&digest, &looked_at, "scrub").await? {
            run.report.marked += 1;
        }
    }
    Ok(())
}
