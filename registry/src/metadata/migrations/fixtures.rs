//! Migrations and releases of tests.

use super::{Applied, Migration, Phase};
use crate::release::Release;

pub(super) fn migration(version: i64, phase: Phase, requires: &[i64]) -> Migration {
    Migration {
        version,
        phase,
        description: String::new(),
        sql: sqlx::SqlStr::from_static("SELECT 1"),
        checksum: vec![1],
        requires: requires.to_vec(),
        floor: None,
    }
}

pub(super) fn post_with_floor(version: i64, floor: i64) -> Migration {
    Migration {
        floor: Some(floor),
        ..migration(version, Phase::Post, &[])
    }
}

pub(super) fn ran(version: i64) -> Applied {
    Applied {
        version,
        checksum: vec![1],
        floor: None,
    }
}

pub(super) fn release(version: &'static str, knows: i64) -> Release {
    Release {
        version: version.into(),
        knows,
        required_stop: false,
        one_way: false,
    }
}
