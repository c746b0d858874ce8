//! The soak: clients, a nemesis, and a checker that reads the history afterwards.
//!
//! Some eight clients push, pull, mount, tag, delete and list over HTTP, with content that everyone shares, while servers
//! and the database are killed and stopped, the disk fills and the store gets into trouble. Every request is written down
//! with its end. When the time is over everything is made whole, everything is read once more, and the checker
//! says what must not have been.
//!
//! - `library`: everything that is ever pushed, known beforehand.
//! - `player`: a client. `history`: what it writes down.
//! - `nemesis`, `proxy`, `disk`: what goes wrong. `replica`, `stores`: what it goes wrong with.
//! - `checker`: the oracles; each of them is shown histories that it must refuse.
//! - `meter`, `figures`: what it comes to.
//!
//! The seed repeats the plan of the nemesis, the content and what each client draws; not what the machine makes of it.

mod checker;
mod disk;
mod figures;
mod history;
mod library;
mod meter;
mod nemesis;
mod options;
mod player;
mod proxy;
mod random;
mod replica;
mod stores;

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{cache::Cache, shell::Log, wait};
use checker::{Checker, Promises, Violation};
use figures::{Collected, Figures};
use history::Recorder;
use library::Library;
use meter::Meter;
use nemesis::{Nemesis, Plan, Tally};
pub use options::Options;
use player::{Ground, Player};
use replica::{Replica, held};
use stores::Stores;

const REPOSITORIES: usize = 4;
const SHARED_TAGS: usize = 5;
const REST_LIMIT: Duration = Duration::from_mins(3);
/// More violations than this are not shown with the history around them.
const SHOWN: usize = 10;

/// Which stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// SQLite and files, one server.
    Small,
    /// PostgreSQL and S3, two servers.
    Large,
}

impl Pair {
    /// A word for names of files.
    fn word(self) -> &'static str {
        match self {
            Self::Small => "sqlite-files",
            Self::Large => "postgres-s3",
        }
    }
}

/// What a soak needs from outside.
#[derive(Debug)]
pub struct Soak<'a> {
    /// The server.
    pub program: &'a Path,
    /// What the command line says.
    pub options: &'a Options,
    /// Where histories and figures are kept.
    pub cache: &'a Cache,
    /// Where programs write.
    pub log: &'a Log,
}

impl Soak<'_> {
    /// Soaks one pair of stores; tells the figures through `tell`.
    ///
    /// # Errors
    /// When something was lost, leaked or wrong, or a server did not come back.
    pub fn run(&self, pair: Pair, mut tell: impl FnMut(String)) -> Result<()> {
        let seed = self.options.seed();
        tell(format!("seed {seed} (`-- --seed {seed}` repeats the plan)"));
        let folder = self.cache.folder("soak")?;
        let stores = match pair {
            Pair::Small => Stores::small()?,
            Pair::Large => Stores::large(self.cache, seed, self.log)?,
        };
        let replicas = self.replicas(&stores, pair)?;
        let ground = Self::ground(seed, &replicas, &folder.join(format!("history-{}.jsonl", pair.word())))?;
        let nemesis = Nemesis {
            stores: &stores,
            replicas: &replicas,
            ground: &ground,
            tally: Tally::default(),
            blows: Mutex::default(),
            log: self.log,
        };
        let meter = Meter::default();
        // The history is judged even where the end of it was not reached.
        let mut found = self
            .play(seed, &nemesis, &meter)
            .unwrap_or_else(|error| vec![Violation::interrupted(&error)]);
        let troubled = stores.proxy().map_or(0, proxy::Proxy::troubled);
        let (collected, tally) = (collected(&meter), nemesis.tally);
        found.extend(Self::panics(&replicas)?);
        drop(replicas);
        let Ground { library, recorder, .. } = ground;
        let history = recorder.end();
        let checker = Checker::new(&library, &history, PROMISES);
        found.extend(checker.violations());
        let figures = Figures {
            stores: stores.name(),
            seed,
            length: self.options.length(),
            collected,
            ..Figures::of(&history, &found).with(&tally, troubled)
        };
        figures.keep(&folder.join("figures.jsonl"))?;
        tell(figures.to_string());
        self.verdict(&checker, &found)
    }

    /// Starts the servers.
    fn replicas(&self, stores: &Stores, pair: Pair) -> Result<Vec<Mutex<Replica>>> {
        let mut replicas = Vec::new();
        for number in 0..stores.replicas() {
            let path = self
                .cache
                .path("log")
                .join(format!("soak-{}-{number}.log", pair.word()));
            let settings = [stores.settings(), common_settings()].concat();
            let mut replica = Replica::new(self.program.to_owned(), settings, Log::create(path)?)?;
            if number == 0 {
                replica.run(stores.disk(), &["migrate", "up"])?;
            }
            replica.start(stores.disk(), &nemesis::turn(number as u64))?;
            replicas.push(Mutex::new(replica));
        }
        Ok(replicas)
    }

    fn ground(seed: u64, replicas: &[Mutex<Replica>], lines: &Path) -> Result<Ground> {
        Ok(Ground {
            library: Library::new(seed),
            recorder: Recorder::start(lines)?,
            admins: replicas
                .iter()
                .map(|replica| held(replica).admin_url().trim_start_matches("http://").to_owned())
                .collect(),
            secret: SECRET,
            hosts: replicas.iter().map(|replica| held(replica).host()).collect(),
            lives: (0..replicas.len() as u64).map(AtomicU64::new).collect(),
            repositories: REPOSITORIES,
            shared_tags: SHARED_TAGS,
            sessions: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    /// Lets clients and nemesis work, makes everything whole, waits for rest and looks at what is there.
    fn play(&self, seed: u64, nemesis: &Nemesis<'_>, meter: &Meter) -> Result<Vec<Violation>> {
        let (ground, clients) = (nemesis.ground, self.options.clients);
        let admins: Vec<String> = nemesis
            .replicas
            .iter()
            .map(|replica| held(replica).admin_url())
            .collect();
        let until = Instant::now() + self.options.length();
        let asleep = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| meter.watch(&admins, &asleep));
            // All clients have ended when this has.
            let done = thread::scope(|playing| {
                for number in 0..clients {
                    let player = Player::new(number, ground, seed);
                    playing.spawn(move || player.play());
                }
                let done = nemesis.carry_out(Plan::new(seed, nemesis.stores), until);
                ground.over.store(true, Ordering::SeqCst);
                done
            });
            let rest = done.and_then(|()| self.come_to_rest(nemesis, Player::new(clients, ground, seed)));
            meter.look(&admins);
            asleep.store(true, Ordering::SeqCst);
            rest
        })
    }

    fn come_to_rest(&self, nemesis: &Nemesis<'_>, mut auditor: Player<'_>) -> Result<Vec<Violation>> {
        let ground = nemesis.ground;
        for server in 0..nemesis.replicas.len() {
            nemesis.restart(server)?;
        }
        wait::until("nothing of the past can happen any more", REST_LIMIT, || {
            let quiet = nemesis.stores.proxy().is_none_or(proxy::Proxy::is_quiet);
            Ok((quiet && ground.recorder.is_settled()).then_some(()))
        })?;
        self.log.note("the last look: everything is read")?;
        auditor.read_everything(self.options.clients);
        self.log.note("time is moved: everything is due")?;
        settle(nemesis.stores)?;
        let mut rest = nemesis.stores.rest()?;
        rest.multiparts = self.forgotten(nemesis)?;
        auditor.read_everything(self.options.clients);
        Ok(checker::at_rest(&ground.library, &rest))
    }

    /// Multipart uploads that a server should have known of, and that nobody has ended. Where the store's word of one
    /// was lost, or a server or the database died over it, nobody can know of it: the bucket's own rule ends it.
    fn forgotten(&self, nemesis: &Nemesis<'_>) -> Result<u64> {
        let open = nemesis.stores.multiparts()?;
        let told = |upload: &&String| nemesis.stores.proxy().and_then(|proxy| proxy.told_of(upload));
        let forgotten = open
            .iter()
            .filter(|upload| told(upload).is_some_and(|at| nemesis.was_calm(at)));
        let (count, all) = (forgotten.count() as u64, open.len());
        self.log.note(&format!(
            "{all} multipart upload(s) are open; a server should know of {count}"
        ))?;
        Ok(count)
    }

    /// A panic is a fault, whatever came of it.
    fn panics(replicas: &[Mutex<Replica>]) -> Result<Vec<Violation>> {
        let mut found = Vec::new();
        for replica in replicas {
            let text = std::fs::read(held(replica).log().path())?;
            let text = String::from_utf8_lossy(&text);
            let panics = text.lines().filter(|line| line.contains("panicked"));
            found.extend(panics.map(Violation::panic));
        }
        Ok(found)
    }

    /// Shows what is wrong with the history around it.
    fn verdict(&self, checker: &Checker<'_>, found: &[Violation]) -> Result<()> {
        for violation in found.iter().skip(SHOWN) {
            self.log.note(&violation.to_string())?;
        }
        for violation in found.iter().take(SHOWN) {
            self.log.note(&format!("\n{violation}"))?;
            for line in checker.around(violation) {
                self.log.note(&format!("    {line}"))?;
            }
        }
        let words: Vec<String> = found.iter().take(SHOWN).map(ToString::to_string).collect();
        ensure!(found.is_empty(), "{} violation(s):\n{}", found.len(), words.join("\n"));
        Ok(())
    }
}

const SECRET: &str = "the secret of the soak";

/// What every server is told.
fn common_settings() -> Vec<(String, String)> {
    [
        ("BERTH_HTTP_SECRET", SECRET),
        ("BERTH_HTTP_DRAIN_TIMEOUT", "5s"),
        ("BERTH_UPLOADS_SWEEP_INTERVAL", "1s"),
        ("BERTH_GC_INTERVAL", "200ms"),
        ("BERTH_GC_LEASE", "4s"),
        ("BERTH_LOG_LEVEL", "warn"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What those settings promise.
const PROMISES: Promises = Promises {
    lease: 4_000_000,
    by_head: true,
};

fn collected(meter: &Meter) -> Collected {
    Collected {
        reviews: meter.sum("berth_registry_gc_reviewed_total", ""),
        objects: meter.sum("berth_registry_gc_deletes_total", "backend=\"storage\""),
        bytes: meter.sum("berth_registry_gc_storage_deleted_bytes_total", ""),
    }
}

/// Waits until nothing is left that passes by itself.
fn settle(stores: &Stores) -> Result<()> {
    wait::until("sessions, reviews, leases and tombstones are gone", REST_LIMIT, || {
        stores.let_time_pass()?;
        let waiting = stores.waiting()?;
        Ok(waiting.values().all(|count| *count == 0).then_some(()))
    })
}
