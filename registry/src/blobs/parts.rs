//! How a large object is divided.
//!
//! Its size is not known before it ends, a store takes 10,000 parts at most, and a part is in memory while it is sent. So
//! parts start small and grow with their number; some stores (Cloudflare R2) want all but the last to be of one size.

use super::error::Error;
use std::fmt;
use std::str::FromStr;

const MIB: u64 = 1024 * 1024;
/// What S3 and GCS take; Azure takes more.
const MOST: usize = 10_000;
/// From which part on which size. The sum is 429 GiB.
const GROWING: &[(usize, u64)] = &[(5_000, 64 * MIB), (2_000, 32 * MIB), (1_000, 16 * MIB), (0, 8 * MIB)];
/// The sum is 312 GiB.
const EQUAL: u64 = 32 * MIB;

/// Which sizes the parts of an object have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Small ones first.
    Growing,
    /// All but the last of one size.
    Equal,
}

impl Plan {
    /// The size of the part with this index, unless the object has as many as it may have.
    pub(super) fn size(self, index: usize) -> Option<u64> {
        if index >= MOST {
            return None;
        }
        match self {
            Self::Equal => Some(EQUAL),
            Self::Growing => GROWING.iter().find(|(from, _)| index >= *from).map(|(_, size)| *size),
        }
    }
}

/// A part that the store has: its size, and what the store calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) id: String,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.id)
    }
}

/// The text is not a part's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAPart;

impl FromStr for Part {
    type Err = NotAPart;

    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let (size, id) = text.split_once(' ').ok_or(NotAPart)?;
        Ok(Self {
            size: size.parse().map_err(|_not_a_number| NotAPart)?,
            id: id.to_owned(),
        })
    }
}

/// The parts that a row names.
pub(super) fn read(key: &str, parts: &[String]) -> Result<Vec<Part>, Error> {
    let read: Result<Vec<Part>, NotAPart> = parts.iter().map(|part| part.parse()).collect();
    read.map_err(|NotAPart| Error::Lost { key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    fn whole(plan: Plan) -> u64 {
        (0..).map_while(|index| plan.size(index)).sum()
    }

    #[test]
    fn a_layer_of_more_than_a_hundred_gibibytes_fits_into_the_parts_that_every_store_takes() {
        assert!(whole(Plan::Growing) > 400 * GIB);
        assert!(whole(Plan::Equal) > 300 * GIB);
        assert_eq!(Plan::Growing.size(9_999), Some(64 * MIB));
        assert_eq!(Plan::Growing.size(10_000), None);
    }

    #[test]
    fn every_part_is_of_a_size_that_every_store_takes() {
        for plan in [Plan::Growing, Plan::Equal] {
            let sizes: Vec<u64> = (0..).map_while(|index| plan.size(index)).collect();

            assert!(sizes.iter().all(|size| (5 * MIB..=64 * MIB).contains(size)), "{plan:?}");
        }
    }

    #[test]
    fn parts_never_shrink() {
        let sizes: Vec<u64> = (0..).map_while(|index| Plan::Growing.size(index)).collect();

        assert!(sizes.is_sorted());
    }

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let part = Part {
            size: 8 * MIB,
            id: "<e tag=\"1 2\"/>".to_owned(),
        };

        assert_eq!(part.to_string().parse(), Ok(part));
        assert_eq!("etag".parse::<Part>(), Err(NotAPart));
        assert_eq!("x etag".parse::<Part>(), Err(NotAPart));
    }
}
