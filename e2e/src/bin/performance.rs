//! Measurements become a table and pictures: `e2e::performance`.

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::performance::main()
}
