//! Servers that Berth is tested against, and Berth's own. Each is a value: started by `start`, ended when it is dropped.

use std::net::{IpAddr, TcpListener};

use anyhow::{Context, Result};

mod azurite;
mod postgres;
mod registry;
mod seaweedfs;
mod versitygw;

pub use azurite::Azurite;
pub use postgres::{Postgres, Release};
pub use registry::Registry;
pub(crate) use registry::own_settings_only;
pub use seaweedfs::SeaweedFs;
pub use versitygw::VersityGw;

/// A port of `address` that was free a moment ago.
///
/// # Errors
/// When this machine does not have `address`.
pub fn free_port(address: IpAddr) -> Result<u16> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("listen at {address}"))?;
    Ok(listener.local_addr()?.port())
}
