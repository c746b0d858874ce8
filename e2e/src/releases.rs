//! The releases that the tests of roll-outs roll out: twelve bad ones and the good ones.

use crate::image::{Migration, Release, STABLE};

/// The variable that names the file for the table of results.
pub const TABLE: &str = "BERTH_ROLLOUTS_TABLE";

/// The variable that names the program `kubectl-berth`.
pub const PLUGIN: &str = "BERTH_ROLLOUTS_PLUGIN";

/// The newest migration of a good release, and its floor.
const ADDS: i64 = 20_300_103_000_001;
const TAKES: i64 = 20_300_103_000_002;
/// What a required stop brings.
const STOP: i64 = 20_300_104_000_001;

/// What a release that adds a column and takes it away again brings.
const BOTH_PHASES: &[Migration] = &[
    Migration {
        version: ADDS,
        post: false,
        sql: "ALTER TABLE repositories ADD COLUMN note text",
        floor: 0,
    },
    Migration {
        version: TAKES,
        post: true,
        sql: "ALTER TABLE repositories DROP COLUMN note",
        floor: ADDS,
    },
];

const AFTER_THE_STOP: &[Migration] = &[
    BOTH_PHASES[0],
    BOTH_PHASES[1],
    Migration {
        version: STOP,
        post: false,
        sql: "SELECT 1",
        floor: 0,
    },
    Migration {
        version: STOP + 1_000_000,
        post: false,
        sql: "SELECT 1",
        floor: 0,
    },
];

const FAILS: &[Migration] = &[pre(20_300_102_000_008, "SELECT nothing_of_the_kind")];
const HANGS: &[Migration] = &[pre(20_300_102_000_009, "SELECT pg_sleep(3600)")];
const LOCKS: &[Migration] = &[pre(
    20_300_102_000_010,
    "ALTER TABLE repositories ADD COLUMN locked text",
)];

const fn pre(version: i64, sql: &'static str) -> Migration {
    Migration {
        version,
        post: false,
        sql,
        floor: 0,
    }
}

/// It ends as soon as it has started.
pub const CRASHES: Release = Release::new("1.1.1", "crash");
/// It is ready, and every request fails.
pub const LIES: Release = Release::new("1.1.2", "lies");
/// Pulls take three seconds.
pub const READS_SLOWLY: Release = Release::new("1.1.3", "slow-reads");
/// Pushes take three seconds.
pub const WRITES_SLOWLY: Release = Release::new("1.1.4", "slow-writes");
/// Every push of a manifest fails.
pub const FAILS_MANIFESTS: Release = Release::new("1.1.5", "errors=manifest_write");
/// Uploads that another version began fail.
pub const FAILS_FOREIGN_UPLOADS: Release = Release::new("1.1.6", "foreign-uploads");
/// Blobs have a wrong byte.
pub const CORRUPTS: Release = Release::new("1.1.7", "corrupt");
/// Its migration fails.
pub const MIGRATION_FAILS: Release = Release::new("1.1.8", "").with(FAILS);
/// Its migration never ends.
pub const MIGRATION_HANGS: Release = Release::new("1.1.9", "").with(HANGS);
/// Its migration needs a table for itself.
pub const MIGRATION_LOCKS: Release = Release::new("1.1.10", "").with(LOCKS);
/// It tells nothing to who measures.
pub const WITHOUT_METRICS: Release = Release::new("1.1.11", "no-metrics");
/// It takes more and more memory.
pub const LEAKS: Release = Release::new("1.1.12", "leak");

/// Good, while few clients are there.
pub const QUIET: Release = Release::new("1.2.0", "");
/// Good, while many are there.
pub const BUSY: Release = Release::new("1.2.1", "");
/// Good, with a migration before and one after, which moves the floor.
pub const MIGRATES: Release = Release::new("1.3.0", "").with(BOTH_PHASES);
/// Good, but nobody may jump to it over 1.4.0.
pub const AFTER_STOP: Release = Release {
    stops: &[(STOPPED_AT, STOP)],
    ..Release::new("1.5.0", "").with(AFTER_THE_STOP)
};
/// The release that nobody may jump over. It has no image.
pub const STOPPED_AT: &str = "1.4.0";

/// All that need an image.
pub const ALL: &[Release] = &[
    STABLE,
    CRASHES,
    LIES,
    READS_SLOWLY,
    WRITES_SLOWLY,
    FAILS_MANIFESTS,
    FAILS_FOREIGN_UPLOADS,
    CORRUPTS,
    MIGRATION_FAILS,
    MIGRATION_HANGS,
    MIGRATION_LOCKS,
    WITHOUT_METRICS,
    LEAKS,
    QUIET,
    BUSY,
    MIGRATES,
    AFTER_STOP,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_releases_have_one_version() {
        let versions: std::collections::HashSet<&str> = ALL.iter().map(|release| release.version).collect();

        assert_eq!(versions.len(), ALL.len());
    }
}
