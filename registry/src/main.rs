//! The data plane's program.

use berth_registry::cli::{self, Cli};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Named once, before any client: a dependency that brings a second provider would make rustls panic.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    cli::run(cli).await
}
