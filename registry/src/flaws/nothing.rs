//! Without the feature there is no flaw.

use super::{FlawedMigration, PastRelease};

/// The version that the image says it is.
#[inline]
pub const fn version() -> Option<&'static str> {
    None
}

/// The releases that the image says came after the last real one.
#[inline]
pub const fn releases() -> Option<Vec<PastRelease>> {
    None
}

/// The migrations that the image brings.
#[inline]
pub const fn migrations() -> Vec<FlawedMigration> {
    Vec::new()
}
