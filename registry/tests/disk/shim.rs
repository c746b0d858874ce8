//! The shim before the C library of a server, built here: see `shim.c`.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Builds it; it lives as long as the folder.
pub(crate) fn build() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/shim.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(folder.path().join("shim.so"))
        .args([source, "-ldl"])
        .status();
    assert!(built.unwrap().success(), "the shim needs a C compiler");
    folder
}

/// A built shim, and the folder below which it looks.
pub(crate) struct Shim<'a> {
    pub(crate) library: &'a Path,
    pub(crate) root: &'a Path,
}

impl Shim<'_> {
    fn before(&self, mut program: Command) -> Command {
        program.env("LD_PRELOAD", self.library).env("SHIM_ROOT", self.root);
        program
    }

    /// Writes down what the program changes.
    pub(crate) fn writing_to(&self, journal: &Path, program: Command) -> Command {
        let mut program = self.before(program);
        program.env("SHIM_JOURNAL", journal);
        program
    }

    /// Half of each write gets to the file.
    pub(crate) fn writing_halves(&self, program: Command) -> Command {
        let mut program = self.before(program);
        program.env("SHIM_HALVES", "1");
        program
    }

    /// Kills the program at its n-th call that makes something durable, or gives, moves or takes a name.
    pub(crate) fn killing_at(&self, call: u32, program: Command) -> Command {
        let mut program = self.before(program);
        program.env("SHIM_KILL_AT", call.to_string());
        program
    }
}
