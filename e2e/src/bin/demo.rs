//! The demonstration: `cargo demo -- --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::demo::main()
}
