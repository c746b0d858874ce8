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

const CHECKSUM_LENGTH: usize = 4;

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

    /// The state as bytes: a format tag, the algorithm, the hash crate's own serialisation, a checksum over them.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![FORMAT, self.algorithm().prefix()];
        match &self.0 {
            State::Sha256(hasher) => saved.extend_from_slice(&hasher.serialize()),
            State::Sha512(hasher) => saved.extend_from_slice(&hasher.serialize()),
        }
        let checksum = checksum(&saved);
        saved.extend_from_slice(&checksum);
        saved
    }

    /// The digester that [`Digester::save`] wrote down.
    ///
    /// # Errors
    /// `Format` for a state of another version, `Damaged` for one that is not whole.
    pub fn restore(saved: &[u8]) -> Result<Self, DigesterError> {
        let &format = saved.first().ok_or(DigesterError::Damaged)?;
        if format != FORMAT {
            return Err(DigesterError::Format { format });
        }
        let (saved, stored_checksum) = saved.split_last_chunk().ok_or(DigesterError::Damaged)?;
        if checksum(saved) != *stored_checksum {
            return Err(DigesterError::Damaged);
        }
        let [_format, prefix, state @ ..] = saved else {
            return Err(DigesterError::Damaged);
        };
        match Algorithm::from_prefix(*prefix).ok_or(DigesterError::Damaged)? {
            Algorithm::Sha256 => deserialize(state).map(|hasher| Self(State::Sha256(hasher))),
            Algorithm::Sha512 => deserialize(state).map(|hasher| Self(State::Sha512(hasher))),
        }
    }
}

/// The hash crate believes any counter it is given; a damaged one must not get that far.
fn checksum(saved: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let hash: [u8; 32] = Sha256::digest(saved).into();
    std::array::from_fn(|index| hash[index])
}

fn deserialize<H: SerializableState>(state: &[u8]) -> Result<H, DigesterError> {
    let state: &SerializedState<H> = state.try_into().map_err(|_wrong_length| DigesterError::Damaged)?;
    H::deserialize(state).map_err(|_inconsistent| DigesterError::Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Digester, DigesterError};
    use crate::{Algorithm, Digest};

    fn algorithms() -> impl Strategy<Value = Algorithm> {
        proptest::sample::select(Algorithm::ALL.to_vec())
    }

    /// The published digests of "abc" (FIPS 180-4), which no code of ours computed.
    #[test]
    fn published_digests_are_reproduced() {
        let abc = |algorithm| Digest::of(algorithm, b"abc").hex();

        assert_eq!(
            abc(Algorithm::Sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            abc(Algorithm::Sha512),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn a_state_of_another_format_is_told_apart_from_a_damaged_one() {
        let mut saved = Digester::new(Algorithm::Sha256).save();
        saved[0] = 0x7f;

        assert_eq!(
            Digester::restore(&saved).unwrap_err(),
            DigesterError::Format { format: 0x7f }
        );
    }

    #[test]
    fn a_state_that_is_cut_off_is_damaged() {
        let saved = Digester::new(Algorithm::Sha512).save();
        for length in (0..saved.len()).filter(|&length| length != 0) {
            assert_eq!(
                Digester::restore(&saved[..length]).unwrap_err(),
                DigesterError::Damaged,
                "{length}"
            );
        }
        assert_eq!(Digester::restore(&[]).unwrap_err(), DigesterError::Damaged);
    }

    #[test]
    fn a_state_says_nothing_but_what_was_hashed() {
        let mut one = Digester::new(Algorithm::Sha256);
        one.update(b"ab");
        one.update(b"c");
        let mut other = Digester::new(Algorithm::Sha256);
        other.update(b"abc");

        assert_eq!(one.save(), other.save());
    }

    proptest! {
        #[test]
        fn saving_and_restoring_between_pieces_changes_nothing(
            algorithm in algorithms(),
            pieces in vec(vec(any::<u8>(), 0..300), 0..8),
        ) {
            let mut digester = Digester::new(algorithm);
            for piece in &pieces {
                digester.update(piece);
                digester = Digester::restore(&digester.save()).unwrap();
            }

            prop_assert_eq!(digester.algorithm(), algorithm);
            prop_assert_eq!(digester.finish(), Digest::of(algorithm, &pieces.concat()));
        }

        #[test]
        fn a_state_with_any_byte_changed_is_refused(
            algorithm in algorithms(),
            content in vec(any::<u8>(), 0..300),
            place: proptest::sample::Index,
            change in 1..=u8::MAX,
        ) {
            let mut digester = Digester::new(algorithm);
            digester.update(&content);
            let mut saved = digester.save();
            let place = place.index(saved.len());
            saved[place] ^= change;

            prop_assert!(Digester::restore(&saved).is_err());
        }
    }
}
