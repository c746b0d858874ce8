//! Releases that are bad on purpose, for the tests of roll-outs.
//!
//! With the feature `flawed` one binary plays every release of a test: its image names, in variables, which version it says it is, which
//! migrations it brings, and what is wrong with it. Without the feature there is nothing of this, and the compiler sees so.

#[cfg(not(feature = "flawed"))]
mod nothing;
#[cfg(not(feature = "flawed"))]
pub use nothing::{migrations, releases, version};

/// A migration that an image brings by its variables.
#[derive(Debug, Clone)]
pub struct FlawedMigration {
    /// As of any migration.
    pub version: i64,
    /// It runs after the release has proved itself.
    pub post: bool,
    /// The statements.
    pub sql: String,
    /// Those that must have run before it.
    pub requires: Vec<i64>,
    /// What a server must know to live with it.
    pub floor: Option<i64>,
}

/// Of a release: version, the newest migration that it knows, whether nobody may jump over it, whether there is no way back.
pub type PastRelease = (String, i64, bool, bool);
