//! Answers that still stand: nothing has been committed since they were read.
//!
//! Every commit to the file of the embedded engine goes through this process, which counts them. With PostgreSQL another
//! replica may commit at any time, so there the server is asked ([`Snapshots`]).

use super::Micros;
use super::blobs::Granted;
use super::manifests::StoredManifest;
use super::referrers::{Found, Wanted};
use super::snapshots::Snapshots;
use oci::{Digest, Reference, RepositoryName};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of manifests that are remembered.
const MANIFESTS: usize = 8 * 1024 * 1024;
/// Bytes of what is known of blobs, the content of those that are in their rows included.
const BLOBS: usize = 8 * 1024 * 1024;
/// Bytes of pages of names: tags and repositories.
const NAMES: usize = 8 * 1024 * 1024;
/// Bytes of pages of referrers.
const REFERRERS: usize = 4 * 1024 * 1024;
/// What a name in a list costs besides its letters, and a referrer besides its texts, about.
const IN_A_LIST: usize = 40;
const REFERRER: usize = 256;
/// What an answer costs besides its content, about.
const ENTRY: usize = 256;
/// A remembered answer may take at most this part of the memory.
const SHARE: usize = 16;

/// The number of commits: odd while one is under way, when old and new answers may both be had.
#[derive(Debug, Default)]
pub(super) struct Commits(AtomicU64);

/// A commit under way.
pub(super) struct UnderWay<'a>(&'a Commits);

impl Commits {
    /// Until the guard is dropped no answer stands. One commit at a time.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        UnderWay(self)
    }

    /// The number, unless a commit is under way.
    fn now(&self) -> Option<u64> {
        let number = self.0.load(Ordering::SeqCst);
        number.is_multiple_of(2).then_some(number)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What knows of every commit.
#[derive(Debug)]
pub(super) enum Clock {
    /// Those of this process.
    Counted(Arc<Commits>),
    /// Those of a server.
    Asked(Snapshots),
}

impl Clock {
    /// A number that no commit leaves as it is, as of a moment after the call.
    async fn now(&self) -> Option<u64> {
        match self {
            Self::Counted(commits) => commits.now(),
            Self::Asked(snapshots) => snapshots.now().await,
        }
    }
}

/// The manifest that a tag or digest of a repository names.
type ManifestKey = (RepositoryName, Reference);
/// A repository's blob.
type BlobKey = (RepositoryName, Digest);

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamesPage {
    /// Whose tags; absent: the repositories.
    pub of: Option<RepositoryName>,
    /// Those behind this name.
    pub last: String,
    /// At most so many.
    pub limit: u32,
}

/// A page of a subject's referrers, as [`Wanted`] says it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ReferrersKey {
    repository: RepositoryName,
    subject: Digest,
    artifact_types: Vec<String>,
    after: Option<(Micros, Digest)>,
    limit: u32,
    bytes: u64,
}

/// The answers to the questions that are asked most: those of pulls, and of who looks again and again for something new.
#[derive(Debug)]
pub(super) struct Standing {
    commits: Clock,
    manifests: Memory<ManifestKey, Arc<StoredManifest>>,
    blobs: Memory<BlobKey, Granted>,
    names: Memory<NamesPage, Arc<Vec<String>>>,
    referrers: Memory<ReferrersKey, Arc<Found>>,
}

impl Standing {
    pub(super) fn new(commits: Clock) -> Self {
        Self {
            commits,
            manifests: Memory::new(MANIFESTS),
            blobs: Memory::new(BLOBS),
            names: Memory::new(NAMES),
            referrers: Memory::new(REFERRERS),
        }
    }

    pub(super) async fn manifest<E>(
        &self,
        key: ManifestKey,
        ask: impl Future<Output = Result<Arc<StoredManifest>, E>> + Send,
    ) -> Result<Arc<StoredManifest>, E> {
        let now = self.commits.now().await;
        self.manifests
            .recall_or(now, key, ask, |found| found.payload.len())
            .await
    }

    pub(super) async fn linked<E>(
        &self,
        key: BlobKey,
        ask: impl Future<Output = Result<Granted, E>> + Send,
    ) -> Result<Granted, E> {
        let now = self.commits.now().await;
        self.blobs
            .recall_or(now, key, ask, |found| found.blob.place.weight())
            .await
    }

    pub(super) async fn names<E>(
        &self,
        page: NamesPage,
        ask: impl Future<Output = Result<Arc<Vec<String>>, E>> + Send,
    ) -> Result<Arc<Vec<String>>, E> {
        let (now, asked) = (self.commits.now().await, page.last.len());
        self.names
            .recall_or(now, page, ask, move |names| asked + weight_of_names(names))
            .await
    }

    pub(super) async fn referrers<E>(
        &self,
        repository: &RepositoryName,
        wanted: Wanted<'_>,
        ask: impl Future<Output = Result<Arc<Found>, E>> + Send,
    ) -> Result<Arc<Found>, E> {
        let now = self.commits.now().await;
        let asked = wanted
            .artifact_types
            .iter()
            .map(|one| one.len() + IN_A_LIST)
            .sum::<usize>();
        let key = ReferrersKey {
            repository: repository.clone(),
            subject: *wanted.subject,
            artifact_types: wanted.artifact_types.iter().copied().map(str::to_owned).collect(),
            after: wanted.after,
            limit: wanted.limit,
            bytes: wanted.bytes,
        };
        self.referrers
            .recall_or(now, key, ask, move |found| asked + weight_of_referrers(found))
            .await
    }
}

fn weight_of_names(names: &Arc<Vec<String>>) -> usize {
    names.iter().map(|name| name.len() + IN_A_LIST).sum()
}

fn weight_of_referrers(found: &Arc<Found>) -> usize {
    let text = |text: &str| text.len() + IN_A_LIST;
    let each = found.referrers.iter().map(|one| {
        let annotations = one.annotations.iter().map(|(key, value)| text(key) + text(value));
        let artifact_type = one.artifact_type.as_deref().map_or(0, text);
        REFERRER + text(&one.media_type) + artifact_type + annotations.sum::<usize>()
    });
    each.sum()
}

/// Answers to one kind of question, as many as fit.
#[derive(Debug)]
struct Memory<K, V> {
    kept: RwLock<Kept<K, V>>,
    /// In bytes.
    size: usize,
}

#[derive(Debug)]
struct Kept<K, V> {
    answers: HashMap<K, Answer<V>>,
    weight: usize,
}

#[derive(Debug)]
struct Answer<V> {
    value: V,
    /// The number of commits when it was asked for.
    asked_at: u64,
    weight: usize,
}

impl<K: Eq + Hash + Send + Sync, V: Clone + Send + Sync> Memory<K, V> {
    fn new(size: usize) -> Self {
        let kept = Kept {
            answers: HashMap::new(),
            weight: 0,
        };
        Self {
            kept: RwLock::new(kept),
            size,
        }
    }

    /// The answer that stands, or else what `ask` gives; only success is remembered.
    async fn recall_or<E>(
        &self,
        now: Option<u64>,
        key: K,
        ask: impl Future<Output = Result<V, E>> + Send,
        weigh: impl FnOnce(&V) -> usize + Send,
    ) -> Result<V, E> {
        if let Some(value) = now.and_then(|now| self.recall(&key, now)) {
            return Ok(value);
        }
        let value = ask.await?;
        if let Some(asked_at) = now {
            let weight = ENTRY + weigh(&value);
            let answer = Answer {
                value: value.clone(),
                asked_at,
                weight,
            };
            self.keep(key, answer);
        }
        Ok(value)
    }

    fn recall(&self, key: &K, now: u64) -> Option<V> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.answers.get(key)?;
        (answer.asked_at == now).then(|| answer.value.clone())
    }

    /// What does not fit makes all of it begin anew: the next commit would end it all the same.
    fn keep(&self, key: K, answer: Answer<V>) {
        if answer.weight > self.size / SHARE {
            return;
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.weight + answer.weight > self.size {
            kept.answers.clear();
            kept.weight = 0;
        }
        kept.weight += answer.weight;
        let replaced = kept.answers.insert(key, answer);
        kept.weight -= replaced.map_or(0, |replaced| replaced.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn recalled(memory: &Memory<u32, String>, commits: &Commits, key: u32, fresh: &str) -> String {
        let ask = async { Ok::<_, Infallible>(fresh.to_owned()) };
        let Ok(answer) = memory.recall_or(commits.now(), key, ask, String::len).await;
        answer
    }

    #[tokio::test]
    async fn an_answer_stands_until_the_next_commit() {
        let (memory, commits) = (Memory::new(100_000), Commits::default());
        assert_eq!(recalled(&memory, &commits, 1, "first").await, "first");
        assert_eq!(recalled(&memory, &commits, 1, "second").await, "first");

        drop(commits.begin());

        assert_eq!(recalled(&memory, &commits, 1, "third").await, "third");
        assert_eq!(recalled(&memory, &commits, 1, "fourth").await, "third");
    }

    #[tokio::test]
    async fn while_a_commit_is_under_way_nothing_is_recalled_or_kept() {
        let (memory, commits) = (Memory::new(100_000), Commits::default());
        recalled(&memory, &commits, 1, "old").await;

        let under_way = commits.begin();
        assert_eq!(recalled(&memory, &commits, 1, "new").await, "new");
        assert_eq!(recalled(&memory, &commits, 1, "newer").await, "newer");
        drop(under_way);

        assert_eq!(recalled(&memory, &commits, 1, "newest").await, "newest");
    }

    #[tokio::test]
    async fn an_answer_that_a_commit_overtook_does_not_stand() {
        let (memory, commits) = (Memory::new(100_000), Commits::default());
        let ask = async {
            drop(commits.begin());
            Ok::<_, Infallible>("perhaps old".to_owned())
        };
        let Ok(first) = memory.recall_or(commits.now(), 1, ask, String::len).await;
        assert_eq!(first, "perhaps old");

        assert_eq!(recalled(&memory, &commits, 1, "new").await, "new");
    }

    #[tokio::test]
    async fn what_is_kept_stays_within_its_bytes() {
        let (memory, commits) = (Memory::new(SHARE * 4 * ENTRY), Commits::default());
        for key in 0..1000 {
            recalled(&memory, &commits, key % 300, "x").await;
            drop(commits.begin());
            recalled(&memory, &commits, key % 300, "y").await;
        }

        let kept = memory.kept.read().unwrap();
        let weight: usize = kept.answers.values().map(|answer| answer.weight).sum();
        assert_eq!(kept.weight, weight);
        assert!(weight <= memory.size && !kept.answers.is_empty());
    }
}
