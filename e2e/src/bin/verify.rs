//! Every test: `cargo verify --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::verify::main()
}
