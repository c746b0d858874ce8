//! The stages of conformance: the official program's checks, the older official suite and checks of our own, on each pair of
//! stores; and that the checks find what is wrong.

use anyhow::{Result, ensure};

use super::{
    Run,
    stores::{Pair, Stores},
};
use crate::{
    conformance::{
        self, Counts, Options, Profile, Tally,
        older::{self, Older},
    },
    servers::Registry,
    shell::Log,
    tools,
};

const SPARSE: (&str, &str) = ("BERTH_MANIFESTS_SPARSE", "all");
const REDIRECT: (&str, &str) = ("BERTH_STORAGE_REDIRECT_MODE", "always");
/// The checks push a few bytes, which would not be in the store to be redirected to.
const NO_ROWS: (&str, &str) = ("BERTH_STORAGE_INLINE_SIZE", "0B");

pub(super) fn sqlite(run: &Run, log: &Log) -> Result<()> {
    streamed(run, Pair::SqliteAndFiles, log)
}

pub(super) fn postgres_s3(run: &Run, log: &Log) -> Result<()> {
    streamed(run, Pair::PostgresAndS3, log)
}

/// Blobs come from the registry: every check of both profiles.
fn streamed(run: &Run, pair: Pair, log: &Log) -> Result<()> {
    let program = run.tests.program("berth-registry", log)?;
    let stores = Stores::start(run, pair, log)?;
    let plain = stores.registry(program, ("plain", &[]), log)?;
    // Its blobs are a few bytes each: here they are objects, in the other registry rows.
    let sparse = stores.registry(program, ("sparse", &[SPARSE, NO_ROWS]), log)?;
    let mut result = Stage::new(run, pair.name(), log);
    result.official(&plain, Options::new(Profile::Stable, false))?;
    result.official(&sparse, Options::new(Profile::Dev, true))?;
    result.ours(&plain)?;
    result.older(&plain)?;
    result.end()
}

/// Blobs come from the store, by a signed address. Its answers have no digest header, which the profile `dev` demands, so
/// this is the profile `stable`.
pub(super) fn redirect(run: &Run, log: &Log) -> Result<()> {
    let program = run.tests.program("berth-registry", log)?;
    let stores = Stores::start(run, Pair::PostgresAndS3, log)?;
    let registry = stores.registry(program, ("redirecting", &[SPARSE, REDIRECT, NO_ROWS]), log)?;
    let status = conformance::blob_status(&registry.host())?;
    ensure!(
        status == 307,
        "a GET of a blob is not redirected, but answered with {status}"
    );
    let mut result = Stage::new(run, "PostgreSQL, S3, redirect", log);
    result.official(&registry, Options::new(Profile::Stable, true))?;
    result.older(&registry)?;
    result.end()
}

/// A registry with one mistake loses exactly the checks that it loses with the official program.
pub(super) fn mistakes(run: &Run, log: &Log) -> Result<()> {
    let program = run.tests.program("berth-registry", log)?;
    let stores = Stores::start(run, Pair::SqliteAndFiles, log)?;
    let registry = stores.registry(program, ("mistaken", &[SPARSE]), log)?;
    let mut missed = Vec::new();
    for (effect, counts) in conformance::with_mistakes(&registry.host())? {
        run.report(format!("{effect:<24}{counts}"));
        if !effect.is(&counts) {
            missed.push(format!(
                "{effect}: {counts}; {} failed, {} skipped wanted",
                effect.failed, effect.skipped
            ));
        }
    }
    ensure!(
        missed.is_empty(),
        "not what the official program finds:\n{}",
        missed.join("\n")
    );
    Ok(())
}

/// What one stage has found so far.
struct Stage<'s> {
    run: &'s Run,
    stores: &'s str,
    log: &'s Log,
    sums: Vec<(String, Counts)>,
    wrong: Vec<String>,
}

impl<'s> Stage<'s> {
    fn new(run: &'s Run, stores: &'s str, log: &'s Log) -> Self {
        Self {
            run,
            stores,
            log,
            sums: Vec::new(),
            wrong: Vec::new(),
        }
    }

    fn official(&mut self, registry: &Registry, options: Options) -> Result<()> {
        let name = match (options.profile, options.sparse) {
            (Profile::Stable, false) => "stable",
            (Profile::Stable, true) => "stable and sparse",
            (Profile::Dev, false) => "dev",
            (Profile::Dev, true) => "dev and sparse",
        };
        let wanted = options.official_total();
        let tally = conformance::run(&registry.host(), options);
        let passed = tally.total().passed;
        if passed != wanted {
            self.wrong.push(format!(
                "{name}: {passed} checks passed, the official program makes {wanted}"
            ));
        }
        self.take(name, &tally)
    }

    fn ours(&mut self, registry: &Registry) -> Result<()> {
        let tally = conformance::beyond(&registry.host());
        self.take("beyond the official program", &tally)
    }

    fn older(&mut self, registry: &Registry) -> Result<()> {
        let suite = Older {
            program: tools::conformance::suite(&self.run.cache, self.log)?,
            host: registry.host(),
            log: self.log,
        };
        let counts = suite.run()?;
        if !older::is_complete(&counts) {
            self.wrong
                .push(format!("older suite: {counts}, {} passed wanted", older::SPECS));
        }
        self.sums
            .push((format!("older suite, {} specs in four runs", older::SPECS), counts));
        Ok(())
    }

    fn take(&mut self, name: &str, tally: &Tally) -> Result<()> {
        self.run.report(format!("{}, {name}", self.stores));
        for (group, counts) in tally.groups() {
            self.run.report(format!("  {group:<28}{counts}"));
        }
        for fault in tally.faults() {
            self.log.note(&format!("{name}: {fault}"))?;
        }
        self.wrong
            .extend(tally.faults().iter().map(|fault| format!("{name}: {fault}")));
        self.sums.push((name.to_owned(), tally.total()));
        Ok(())
    }

    fn end(self) -> Result<()> {
        for (name, counts) in &self.sums {
            self.run.report(format!("{}: {name}: {counts}", self.stores));
        }
        let all_clean = self.sums.iter().all(|(_, counts)| counts.is_clean());
        ensure!(all_clean && self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        Ok(())
    }
}
