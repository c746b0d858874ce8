//! Releases that are bad on purpose, for the tests of roll-outs.
//!
//! With the feature `flawed` one binary plays every release of a test: its image names, in variables, which version it says it is, which
//! migrations it brings, and what is wrong with it. Without the feature there is nothing of this: [`has`] is `false` where the compiler sees
//! it, and the program does not know the variables.

#[cfg(not(feature = "flawed"))]
mod nothing;
#[cfg(feature = "flawed")]
mod planted;

#[cfg(not(feature = "flawed"))]
pub use nothing::{begin, has, migrations, releases, version};
#[cfg(feature = "flawed")]
pub use planted::{Wanted, begin, delay, has, migrations, releases, sick_class, version, wanted};

/// What can be wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It ends as soon as it has started.
    Crash,
    /// It says that it is ready, and answers every request with 500.
    Lies,
    /// Pulls take long.
    SlowReads,
    /// Pushes take long.
    SlowWrites,
    /// The requests of one class are answered with 500.
    Errors,
    /// So are those for uploads that another process began.
    ForeignUploads,
    /// Blobs have a wrong byte.
    Corrupt,
    /// Nothing is told to who measures.
    NoMetrics,
    /// It takes more and more memory.
    Leak,
}

/// A migration that an image brings by its variables.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "flawed", derive(serde::Deserialize))]
pub struct FlawedMigration {
    /// As of any migration.
    pub version: i64,
    /// It runs after the release has proved itself.
    #[cfg_attr(feature = "flawed", serde(default))]
    pub post: bool,
    /// The statements.
    pub sql: String,
    /// Those that must have run before it.
    #[cfg_attr(feature = "flawed", serde(default))]
    pub requires: Vec<i64>,
    /// What a server must know to live with it.
    #[cfg_attr(feature = "flawed", serde(default))]
    pub floor: Option<i64>,
}

/// Of a release: version, the newest migration that it knows, whether nobody may jump over it, whether there is no way back.
pub type PastRelease = (String, i64, bool, bool);
