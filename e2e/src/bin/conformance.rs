//! Checks a registry that is up: `e2e::conformance`.

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::conformance::main()
}
