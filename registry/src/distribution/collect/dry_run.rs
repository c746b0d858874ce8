//! What a collection would delete now, and what would follow, by reading alone.
//!
//! The same verdicts as those of a collection, with one difference: what refers to an item counts only unless it would
//! go, too. So what hangs together goes together, as it does when delays are over.

use super::Distribution;
use super::events::{Candidate, Event, Totals};
use super::roots::{self, Trace};
use super::rounds::judging;
use super::verdict::{self, Verdict};
use crate::distribution::error::Error;
use crate::metadata::collect::{Item, Items, blobs, foresee as rows, links, manifests};
use crate::metadata::reviews::{self, Reason, Review, Subject};
use crate::metadata::{Micros, Reader};
use std::collections::{HashMap, HashSet};
use tokio::sync::mpsc::Sender;

const PAGE: u32 = 500;

/// An item to be looked at, and why.
#[derive(Debug, Clone)]
struct Question {
    item: Item,
    reason: String,
    due_at: Option<Micros>,
}

struct Foresight<'a> {
    with: &'a Distribution,
    reader: Reader,
    events: &'a Sender<Event>,
    totals: Totals,
    gone: HashMap<Subject, HashSet<Item>>,
    paths: HashMap<(i64, i64), Option<String>>,
}

pub(super) async fn foresee(with: &Distribution, events: &Sender<Event>) -> Result<Totals, Error> {
    let mut foresight = Foresight {
        with,
        reader: with.metadata.read().await?,
        events,
        totals: Totals::default(),
        gone: HashMap::new(),
        paths: HashMap::new(),
    };
    let mut follows = Vec::new();
    for subject in Subject::ALL {
        follows = foresight.all_of(subject, follows).await?;
    }
    Ok(foresight.totals)
}

impl Foresight<'_> {
    /// Looks at everything of a kind that is due or follows, and gives what follows of the next kind.
    async fn all_of(&mut self, subject: Subject, follows: Vec<Question>) -> Result<Vec<Question>, Error> {
        let mut next = self.look(subject, follows).await?;
        let mut last: Option<Review> = None;
        loop {
            let now = self.with.now();
            let page = reviews::page(&mut self.reader, subject, now, last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else {
                return Ok(next);
            };
            last = Some(end.clone());
            let due = page.into_iter().map(|review| Question {
                item: review.item,
                reason: review.reason,
                due_at: Some(review.due_at),
            });
            next.extend(self.look(subject, due.collect()).await?);
        }
    }

    /// Looks at items, and at the manifests that would follow them.
    async fn look(&mut self, subject: Subject, mut questions: Vec<Question>) -> Result<Vec<Question>, Error> {
        let mut next = Vec::new();
        while !questions.is_empty() {
            let asked = std::mem::take(&mut questions);
            for some in asked.chunks(PAGE as usize) {
                let garbage = self.garbage(subject, some).await?;
                match subject {
                    Subject::Manifest => {
                        let leads = rows::leads(&mut self.reader, &garbage).await?;
                        questions.extend(following(leads.manifests, Reason::ManifestListDelete));
                        next.extend(following(leads.links, Reason::ManifestDelete));
                    }
                    Subject::BlobLink => {
                        let blobs = garbage.without_repositories().into_items();
                        next.extend(following(blobs, Reason::BlobUnlink));
                    }
                    Subject::Blob => {}
                }
            }
        }
        Ok(next)
    }

    /// Those of some items that are garbage and were not told before.
    async fn garbage(&mut self, subject: Subject, asked: &[Question]) -> Result<Items, Error> {
        let items: Items = asked.iter().map(|question| question.item.clone()).collect();
        let mut why: HashMap<&Item, &Question> = HashMap::new();
        for question in asked {
            why.entry(&question.item).or_insert(question);
        }
        let mut garbage = Vec::new();
        for (item, size, verdict) in self.verdicts(subject, &items).await? {
            let told = self.gone.entry(subject).or_default();
            if verdict != Verdict::Garbage || told.contains(&item) {
                self.totals.kept += u64::from(matches!(verdict, Verdict::Live(_) | Verdict::Held(_)));
                self.totals.postponed += u64::from(matches!(verdict, Verdict::Later(..)));
                continue;
            }
            told.insert(item.clone());
            if let Some(question) = why.get(&item) {
                self.tell(subject, question, size).await?;
            }
            garbage.push(item);
        }
        Ok(garbage.into_iter().collect())
    }

    async fn tell(&mut self, subject: Subject, question: &Question, size: u64) -> Result<(), Error> {
        let key = question.item.key;
        let place = (key.namespace, key.repository);
        if !self.paths.contains_key(&place) {
            let path = rows::path(&mut self.reader, &question.item).await?;
            self.paths.insert(place, path);
        }
        *self.totals.of_kind(subject) += 1;
        if subject == Subject::Blob {
            self.totals.blob_bytes += size;
        }
        let candidate = Candidate {
            kind: subject.as_str().to_owned(),
            digest: question.item.shown(),
            repository: self.paths.get(&place).cloned().flatten(),
            size,
            reason: question.reason.clone(),
            due_at: question.due_at,
        };
        // A listener that has gone away wants no more.
        drop(self.events.send(Event::WouldGo(candidate)).await);
        Ok(())
    }

    async fn verdicts(&mut self, subject: Subject, items: &Items) -> Result<Vec<(Item, u64, Verdict)>, Error> {
        self.totals.reviewed += items.len() as u64;
        match subject {
            Subject::Manifest => self.of_manifests(items).await,
            Subject::BlobLink => self.of_links(items).await,
            Subject::Blob => self.of_blobs(items).await,
        }
    }

    async fn of_manifests(&mut self, items: &Items) -> Result<Vec<(Item, u64, Verdict)>, Error> {
        let judging = judging(self.with);
        let mut verdicts = Vec::new();
        for mut found in manifests::look(&mut self.reader, items).await? {
            let key = found.item.key;
            if found.parent.is_some() {
                let alone: Items = [found.item.clone()].into_iter().collect();
                let parents = manifests::parents(&mut self.reader, &alone).await?;
                found.parent = self.one_that_stays(Subject::Manifest, parents);
            }
            let subject = found.subject.take().map(|digest| Item { key, digest });
            found.subject = self.one_that_stays(Subject::Manifest, subject.into_iter().collect());
            let verdict = match judging.of(&found) {
                Verdict::Held(why) => {
                    let traces = roots::trace(&mut self.reader, std::slice::from_ref(&found), judging).await?;
                    match traces.into_iter().next() {
                        Some(Trace::Ring(_)) => Verdict::Garbage,
                        Some(Trace::Until(until)) => Verdict::Later(until, why),
                        Some(Trace::Rooted) | None => Verdict::Live(why),
                    }
                }
                verdict @ (Verdict::Garbage | Verdict::Live(_) | Verdict::Later(..)) => verdict,
            };
            verdicts.push((found.item, found.size, verdict));
        }
        Ok(verdicts)
    }

    async fn of_links(&mut self, items: &Items) -> Result<Vec<(Item, u64, Verdict)>, Error> {
        let mut verdicts = Vec::new();
        for mut found in links::look(&mut self.reader, items).await? {
            if found.manifest.is_some() {
                let namers = rows::namers(&mut self.reader, &found.item).await?;
                found.manifest = self.one_that_stays(Subject::Manifest, namers);
            }
            let verdict = verdict::of_link(&found, self.with.now());
            verdicts.push((found.item, 0, verdict));
        }
        Ok(verdicts)
    }

    async fn of_blobs(&mut self, items: &Items) -> Result<Vec<(Item, u64, Verdict)>, Error> {
        let mut verdicts = Vec::new();
        for mut found in blobs::look(&mut self.reader, items).await? {
            if found.repository.is_some() {
                let holders = rows::holders(&mut self.reader, &found.item).await?;
                let stays = holders.iter().find(|link| !self.is_gone(Subject::BlobLink, link));
                found.repository = stays.map(|link| link.key.repository);
            }
            let verdict = verdict::of_blob(&found, self.with.now());
            verdicts.push((found.item, found.size, verdict));
        }
        Ok(verdicts)
    }

    fn is_gone(&self, subject: Subject, item: &Item) -> bool {
        self.gone.get(&subject).is_some_and(|gone| gone.contains(item))
    }

    fn one_that_stays(&self, subject: Subject, items: Vec<Item>) -> Option<Vec<u8>> {
        let mut staying = items.into_iter().filter(|item| !self.is_gone(subject, item));
        staying.next().map(|item| item.digest)
    }
}

fn following(items: Vec<Item>, reason: Reason) -> impl Iterator<Item = Question> {
    items.into_iter().map(move |item| Question {
        item,
        reason: reason.as_str().to_owned(),
        due_at: None,
    })
}
