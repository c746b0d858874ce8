//! The data plane's program.

use berth_registry::cli::{self, Cli};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Named once, before any client: a dependency that brings a second provider would make rustls panic.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(failed) => return cli::no_runtime(&failed),
    };
    let code = runtime.block_on(cli::run(cli));
    // What was to be finished is finished; a thread that hangs in the file system does not hold up the end.
    runtime.shutdown_background();
    code
}
