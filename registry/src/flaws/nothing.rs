//! Without the feature there is no flaw.

use super::{Flaw, FlawedMigration, PastRelease};

/// What goes wrong at the start, or begins to.
///
/// # Errors
/// None.
#[inline]
pub const fn begin() -> Result<(), String> {
    Ok(())
}

/// Whether this release has the flaw.
#[inline]
pub const fn has(_flaw: Flaw) -> bool {
    false
}

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
