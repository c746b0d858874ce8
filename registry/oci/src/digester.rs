//! Hashing of content that arrives in pieces, with a state that survives between requests.
//!
//! An upload (distribution-spec end-4 to end-6) may stop after any chunk and go on in another process. [`Digester::save`]
//! writes the state after the last byte hashed; [`Digester::restore`] goes on from there without re-reading anything.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

use crate::{Algorithm, Digest};

/// First byte of a saved state.
///
/// The hash crate keeps its state format only within its 0.11 releases: a new format needs a new tag here, so that an
/// old state is recognised and its upload is hashed again from the stored bytes.
const FORMAT: u8 = 0x01;

/// Why a saved hash state cannot be taken up again.
///
/// Neither is fatal for an upload: its stored bytes can be hashed again from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DigesterError {
    /// Another version wrote it.
    #[error("saved hash state has format {format:#04x}, which this version does not read")]
    Format {
        /// The first byte of the state.
        format: u8,
    },
    /// It is cut off, too long, or names no known algorithm.
    #[error("saved hash state is damaged")]
    Damaged,
}

/// A hash being computed over content that arrives in pieces.
#[derive(Debug, Clone)]
pub struct Digester(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// A digester that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// The algorithm it was made for.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Hashes the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(piece),
            State::Sha512(hasher) => hasher.update(piece),
        }
    }

    /// The digest of everything hashed.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hasher) => Digest::sha256(hasher.finalize().into()),
            State::Sha512(hasher) => Digest::sha512(hasher.finalize().into()),
        }
    }

    /// The state as bytes: a format tag, the algorithm, the hash crate's own serialisation.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![FORMAT, self.algorithm().prefix()];
        match &self.0 {
            State::Sha256(hasher) => saved.extend_from_slice(&hasher.serialize()),
            State::Sha512(hasher) => saved.extend_from_slice(&hasher.serialize()),
        }
        saved
    }

    /// The digester that [`Digester::save`] wrote down.
    ///
    /// # Errors
    /// `Format` for a state of another version, `Damaged` for one that is not whole.
    pub fn restore(saved: &[u8]) -> Result<Self, DigesterError> {
        let (&format, saved) = saved.split_first().ok_or(DigesterError::Damaged)?;
        if format != FORMAT {
            return Err(DigesterError::Format { format });
        }
        let (&prefix, state) = saved.split_first().ok_or(DigesterError::Damaged)?;
        match Algorithm::from_prefix(prefix).ok_or(DigesterError::Damaged)? {
            Algorithm::Sha256 => deserialize(state).map(|hasher| Self(State::Sha256(hasher))),
            Algorithm::Sha512 => deserialize(state).map(|hasher| Self(State::Sha512(hasher))),
        }
    }
}

fn deserialize<H: SerializableState>(state: &[u8]) -> Result<H, DigesterError> {
    let state: &SerializedState<H> = state.try_into().map_err(|_wrong_length| DigesterError::Damaged)?;
    H::deserialize(state).map_err(|_inconsistent| DigesterError::Damaged)
}
