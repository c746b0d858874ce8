//! Which release this is, and those before it: what a change of version has to know before anything moves.
//!
//! A release adds one line to [`RELEASES`]. From it and from the migrations of the tree follows everything that a release promises about
//! upgrades and rollbacks (`metadata::migrations::Contract`); nothing of that is written down a second time.

use crate::flaws;
use std::borrow::Cow;
use std::sync::LazyLock;

/// One release, as later ones remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Cow<'static, str>,
    /// The newest migration, of either phase, that it knows.
    pub knows: i64,
    /// Nobody may jump over it: later ones need what its migrations did, the post-deploy ones, too.
    pub required_stop: bool,
    /// What it writes cannot be read by those before it.
    pub one_way: bool,
}

/// Every release, the oldest first; the last is this one. A required stop brings a migration of its own: by that it is known whether a database
/// has been there.
pub const RELEASES: &[Release] = &[Release {
    version: Cow::Borrowed("0.1.0"),
    knows: 20_261_122_000_001,
    required_stop: false,
    one_way: false,
}];

/// The version of this program.
pub fn version() -> &'static str {
    flaws::version().unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// Every release that this program knows of, the oldest first, itself last.
pub fn releases() -> &'static [Release] {
    static KNOWN: LazyLock<Vec<Release>> = LazyLock::new(|| {
        let past = flaws::releases().unwrap_or_default().into_iter();
        let past = past.map(|(version, knows, required_stop, one_way)| Release {
            version: Cow::Owned(version),
            knows,
            required_stop,
            one_way,
        });
        RELEASES.iter().cloned().chain(past).collect()
    });
    &KNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_is_this_one() {
        assert_eq!(RELEASES.last().unwrap().version, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_required_stop_brings_a_migration_by_which_it_is_known() {
        for (before, after) in RELEASES.iter().zip(RELEASES.iter().skip(1)) {
            assert!(before.knows <= after.knows, "{}", after.version);
            assert!(!after.required_stop || before.knows < after.knows, "{}", after.version);
        }
    }
}
