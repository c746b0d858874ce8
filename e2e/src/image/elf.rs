//! Whether a program needs a loader, which an image from scratch does not have. Such a program fails there with
//! "no such file or directory", which misleads.

use anyhow::{Context, Result, bail, ensure};

const INTERPRETER: u32 = 3;

/// Checks that `program` is a static 64-bit ELF program.
///
/// # Errors
/// When it is not.
pub(super) fn ensure_static(program: &[u8]) -> Result<()> {
    ensure!(
        program.starts_with(b"\x7fELF\x02\x01"),
        "not a 64-bit little-endian ELF program"
    );
    let table = usize::try_from(u64::from_le_bytes(field(program, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(program, 54)?));
    let count = usize::from(u16::from_le_bytes(field(program, 56)?));
    for header in 0..count {
        let kind = u32::from_le_bytes(field(program, table + header * size)?);
        if kind == INTERPRETER {
            bail!("it is linked dynamically, and an image from scratch has no loader");
        }
    }
    Ok(())
}

fn field<const N: usize>(program: &[u8], at: usize) -> Result<[u8; N]> {
    program
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .context("the ELF program is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();

        let refused = ensure_static(&own).unwrap_err();

        assert!(refused.to_string().contains("dynamically"), "{refused}");
    }

    #[test]
    fn a_script_is_refused() {
        assert!(ensure_static(b"#!/bin/sh\n").is_err());
    }
}
