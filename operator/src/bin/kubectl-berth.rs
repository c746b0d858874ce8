//! The plugin of kubectl.

use std::process::ExitCode;

use berth_operator::plugin::Plugin;
use clap::Parser;

fn main() -> ExitCode {
    let plugin = Plugin::parse();
    match berth_operator::cli::block_on(plugin.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed belongs on standard error"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("kubectl berth: {error:#}");
}
