//! What was asked, when, of whom, and what came back: all that the checker knows.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::library::{BlobId, ManifestId};

/// Microseconds since the soak began, on one clock for everyone.
pub(super) type Moment = u64;

/// Later than anything.
pub(super) const NEVER: Moment = Moment::MAX;

/// A repository's place among those of the soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RepositoryId(pub(super) usize);

/// A tag's number: its name in every repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) usize);

impl fmt::Display for RepositoryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "soak/r{}", self.0)
    }
}

/// So many digits that the order of names is that of numbers.
impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "t{:03}", self.0)
    }
}

impl Tag {
    /// The tag of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        name.strip_prefix('t')?.parse().ok().map(Self)
    }
}

impl RepositoryId {
    /// The repository of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        name.strip_prefix("soak/r")?.parse().ok().map(Self)
    }
}

/// How a manifest is named in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Tag(Tag),
    Digest(ManifestId),
}

/// How content is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Head,
    Get,
    /// GET of the bytes from the first to the last, both included.
    Part(usize, usize),
}

/// An upload session, numbered by the soak.
pub(super) type Session = u64;

/// One request, in the checker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    PutManifest {
        tag: Option<Tag>,
        manifest: ManifestId,
    },
    ReadManifest {
        at: At,
        ask: Ask,
    },
    DeleteTag {
        tag: Tag,
    },
    DeleteManifest {
        manifest: ManifestId,
    },
    ReadBlob {
        blob: BlobId,
        ask: Ask,
    },
    DeleteBlob {
        blob: BlobId,
    },
    /// Done: the repository has the blob now, or a session was opened in its place.
    Mount {
        blob: BlobId,
        from: RepositoryId,
    },
    OpenUpload {
        session: Session,
    },
    /// Bytes of a session up to this offset.
    Chunk {
        session: Session,
        to: usize,
    },
    AskUpload {
        session: Session,
    },
    CancelUpload {
        session: Session,
    },
    /// The request whose 201 says that the blob is stored.
    Finish {
        session: Option<Session>,
        blob: BlobId,
    },
    /// Done: the tag points again to what it pointed to when it was last deleted.
    UndeleteTag {
        tag: Tag,
    },
    /// Done: the manifest is there again, with the tags that the answer names.
    UndeleteManifest {
        manifest: ManifestId,
    },
    ListTags,
    ListReferrers {
        subject: ManifestId,
        kind: Option<&'static str>,
    },
}

impl Call {
    /// The one tag that it is about.
    pub(super) fn tag(self) -> Option<Tag> {
        if let Self::PutManifest { tag, .. } = self {
            return tag;
        }
        if let Self::ReadManifest { at: At::Tag(tag), .. } | Self::DeleteTag { tag } | Self::UndeleteTag { tag } = self
        {
            return Some(tag);
        }
        None
    }

    /// The session that it uses, once that is open.
    pub(super) fn session(self) -> Option<Session> {
        if let Self::Finish { session, .. } = self {
            return session;
        }
        if let Self::Chunk { session, .. } | Self::AskUpload { session } | Self::CancelUpload { session } = self {
            return Some(session);
        }
        None
    }
}

/// What an answer without an error said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that matters.
    Nothing,
    /// This manifest.
    Manifest(ManifestId),
    /// This manifest is there again, and these tags point to it.
    Restored { manifest: ManifestId, tags: Vec<Tag> },
    /// How many bytes of a session are stored.
    Offset(usize),
    /// Every entry of a list, page after page.
    Names(Vec<String>),
    /// A session was opened in place of what was asked for.
    Opened(Session),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done(Seen),
    /// The registry said no, and did nothing: a status from 400 to 499.
    Refused {
        status: u16,
        code: String,
        /// The digests that the refusal names.
        missing: Vec<String>,
    },
    /// No answer, half an answer, or a fault of the server: it may have happened, and may still happen.
    Unknown(String),
    /// It never left the client.
    NotSent,
}

/// A request and its end.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) client: usize,
    pub(super) replica: usize,
    /// How often the replica had been started when the answer came, or did not.
    pub(super) life: u64,
    pub(super) repository: RepositoryId,
    pub(super) call: Call,
    pub(super) invoked: Moment,
    pub(super) completed: Moment,
    pub(super) outcome: Outcome,
    /// What came back was not what it should be, at first sight.
    pub(super) wrong: Option<String>,
}

impl Record {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_))
    }

    /// True when it was refused with this status.
    pub(super) fn is_refused(&self, with: u16) -> bool {
        matches!(self.outcome, Outcome::Refused { status, .. } if status == with)
    }

    /// True when it changed something, or may have.
    pub(super) fn may_have_happened(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_) | Outcome::Unknown(_))
    }

    fn to_json(&self) -> Value {
        let outcome = match &self.outcome {
            Outcome::Done(Seen::Nothing) => json!("done"),
            Outcome::Done(seen) => json!({"done": format!("{seen:?}")}),
            Outcome::Refused { status, code, missing } => json!({"refused": status, "code": code, "missing": missing}),
            Outcome::Unknown(why) => json!({"unknown": why}),
            Outcome::NotSent => json!("not sent"),
        };
        json!({
            "client": self.client, "replica": self.replica, "life": self.life,
            "repository": self.repository.to_string(), "call": format!("{:?}", self.call),
            "invoked": self.invoked, "completed": self.completed, "outcome": outcome, "wrong": self.wrong,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |moment: Moment| format!("{}.{:06}", moment / 1_000_000, moment % 1_000_000);
        write!(
            out,
            "{}..{} c{} replica {}.{} {} {:?} -> {:?}",
            seconds(self.invoked),
            seconds(self.completed),
            self.client,
            self.replica,
            self.life,
            self.repository,
            self.call,
            self.outcome
        )?;
        match &self.wrong {
            Some(wrong) => write!(out, " WRONG: {wrong}"),
            None => Ok(()),
        }
    }
}

/// All records of a run, and when each life of a replica was over.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) records: Vec<Record>,
    /// When nothing that this life of a replica had begun could still happen.
    pub(super) deaths: HashMap<(usize, u64), Moment>,
}

impl History {
    /// When the effect of a request can no longer come.
    pub(super) fn settled(&self, record: &Record) -> Moment {
        match record.outcome {
            Outcome::Done(_) | Outcome::Refused { .. } | Outcome::NotSent => record.completed,
            Outcome::Unknown(_) => {
                let death = self.deaths.get(&(record.replica, record.life));
                death.map_or(NEVER, |death| record.completed.max(*death))
            }
        }
    }

    /// True when the effect of `record` may have come between the two moments, both included.
    pub(super) fn may_fall_into(&self, record: &Record, from: Moment, to: Moment) -> bool {
        record.may_have_happened() && record.invoked <= to && self.settled(record) >= from
    }
}

/// The history while it is being made: everyone adds to it, and each line is on disk at once.
#[derive(Debug)]
pub(super) struct Recorder {
    began: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    history: History,
    lines: BufWriter<File>,
}

impl Recorder {
    /// Begins a history whose lines are kept in `path`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self {
            began: Instant::now(),
            kept: Mutex::new(Kept {
                history: History::default(),
                lines: BufWriter::new(file),
            }),
        })
    }

    /// The time.
    pub(super) fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(NEVER)
    }

    /// Adds a request that has ended.
    pub(super) fn add(&self, record: Record) {
        let mut kept = self.lock();
        // The lines are for whoever looks for a fault; a full disk must not end the soak.
        writeln!(kept.lines, "{}", record.to_json()).ok();
        kept.history.records.push(record);
    }

    /// Adds a line that is no request: what the nemesis did.
    pub(super) fn note(&self, what: &str) {
        let line = json!({"at": self.now(), "nemesis": what});
        writeln!(self.lock().lines, "{line}").ok();
    }

    /// Nothing that this life of the replica has begun can happen after `at`.
    pub(super) fn died(&self, replica: usize, life: u64, at: Moment) {
        self.lock().history.deaths.insert((replica, life), at);
    }

    /// True when nothing that a dead replica has begun can happen any more.
    pub(super) fn is_settled(&self) -> bool {
        let now = self.now();
        self.lock().history.deaths.values().all(|death| *death <= now)
    }

    /// The end of it: the history in the order of invocation.
    pub(super) fn end(self) -> History {
        let mut kept = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        kept.lines.flush().ok();
        let mut history = kept.history;
        history.records.sort_by_key(|record| record.invoked);
        history
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A history made by hand: each call takes from `invoked` to `completed`.
    #[derive(Debug, Default)]
    pub(in crate::soak) struct ByHand(pub(in crate::soak) History);

    impl ByHand {
        /// A request in the first repository.
        pub(in crate::soak) fn call(mut self, times: (Moment, Moment), call: Call, outcome: Outcome) -> Self {
            self.0.records.push(Record {
                client: 0,
                replica: 0,
                life: 0,
                repository: RepositoryId(0),
                call,
                invoked: times.0,
                completed: times.1,
                outcome,
                wrong: None,
            });
            self
        }

        /// One that succeeded.
        pub(in crate::soak) fn done(self, times: (Moment, Moment), call: Call) -> Self {
            self.call(times, call, Outcome::Done(Seen::Nothing))
        }

        /// One that was refused.
        pub(in crate::soak) fn refused(self, times: (Moment, Moment), call: Call, status: u16) -> Self {
            let (code, missing) = (String::new(), Vec::new());
            self.call(times, call, Outcome::Refused { status, code, missing })
        }

        /// One that was not answered.
        pub(in crate::soak) fn unknown(self, times: (Moment, Moment), call: Call) -> Self {
            self.call(times, call, Outcome::Unknown("time-out".to_owned()))
        }

        /// One that read the tag.
        pub(in crate::soak) fn read(self, times: (Moment, Moment), tag: usize, value: Option<usize>) -> Self {
            let call = Call::ReadManifest {
                at: At::Tag(Tag(tag)),
                ask: Ask::Get,
            };
            match value {
                Some(manifest) => self.call(times, call, Outcome::Done(Seen::Manifest(ManifestId(manifest)))),
                None => self.refused(times, call, 404),
            }
        }

        /// One that pushed a manifest to a tag.
        pub(in crate::soak) fn put(self, times: (Moment, Moment), tag: usize, manifest: usize) -> Self {
            self.done(times, put(tag, manifest))
        }
    }

    /// A push of a manifest to a tag.
    pub(in crate::soak) fn put(tag: usize, manifest: usize) -> Call {
        Call::PutManifest {
            tag: Some(Tag(tag)),
            manifest: ManifestId(manifest),
        }
    }

    #[test]
    fn what_was_not_answered_can_happen_until_its_replica_is_dead() {
        let mut history = ByHand::default().unknown((10, 20), put(1, 1)).0;
        let record = history.records[0].clone();

        assert!(history.may_fall_into(&record, 1_000_000, 2_000_000));
        assert!(!history.may_fall_into(&record, 0, 9));

        history.deaths.insert((0, 0), 50);
        assert!(history.may_fall_into(&record, 50, 60));
        assert!(!history.may_fall_into(&record, 51, 60));
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(Tag::named(&Tag(12).to_string()), Some(Tag(12)));
        assert_eq!(RepositoryId::named("soak/r3"), Some(RepositoryId(3)));
        assert_eq!(Tag::named("latest"), None);
    }
}
