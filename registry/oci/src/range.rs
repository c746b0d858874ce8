//! Byte ranges as distribution-spec and RFC 9110 write them.
//!
//! Three headers, three grammars: `Range` of a blob pull (end-2), `Content-Range` of an upload chunk (end-5, end-6),
//! and the `Range` an upload is answered with, which has no unit.

use std::fmt;

/// Most ranges answered in one response; a request for more gets the whole blob.
pub const MAX_RANGES: usize = 100;

/// Bytes `start` to `end` of a blob, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset of the last byte; at least `start` and less than the blob's size.
    pub end: u64,
}

/// What a `Range` header asks of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// No range that counts: 200 with everything.
    Whole,
    /// One part: 206.
    One(ByteRange),
    /// Several parts, none overlapping another: 206 `multipart/byteranges`, even when only one part is left.
    ///
    /// containers/image counts the parts, so a single-part 206 must not answer a list.
    Several(Vec<ByteRange>),
    /// Nothing of the blob: 416.
    Unsatisfiable,
}

impl ByteRange {
    /// What `header`, the value of `Range`, asks of a blob of `size` bytes.
    ///
    /// An impossible or unreadable range of bytes is `Unsatisfiable`, never silently the whole blob. A blob of no bytes
    /// is always `Whole`.
    pub fn requested(header: Option<&str>, size: u64) -> RangeRequest {
        let Some(header) = header.map(str::trim) else {
            return RangeRequest::Whole;
        };
        let (unit, set) = header.split_once('=').unwrap_or((header, ""));
        if size == 0 || !is_bytes_unit(unit) {
            return RangeRequest::Whole;
        }
        let specs: Vec<&str> = set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
        let Ok(found) = specs
            .iter()
            .map(|spec| read_spec(spec, size))
            .collect::<Result<Vec<_>, _>>()
        else {
            return RangeRequest::Unsatisfiable;
        };
        let satisfiable: Vec<Self> = found.into_iter().flatten().collect();
        match (specs.len(), satisfiable.as_slice()) {
            (_, []) => RangeRequest::Unsatisfiable,
            (1, [range]) => RangeRequest::One(*range),
            _ => several(satisfiable),
        }
    }

    /// How many bytes it has.
    pub const fn size(self) -> u64 {
        self.end - self.start + 1
    }

    /// The value of `Content-Range` for this part of a blob of `total` bytes.
    pub fn content_range(self, total: u64) -> String {
        format!("bytes {}-{}/{total}", self.start, self.end)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// The value of `Content-Range` that goes with a 416 for a blob of `total` bytes.
pub fn unsatisfied_range(total: u64) -> String {
    format!("bytes */{total}")
}

fn is_bytes_unit(unit: &str) -> bool {
    unit.split_ascii_whitespace()
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("bytes"))
}

/// A range that is none of `a-b`, `a-`, `-n`, or whose end is before its start.
struct Unreadable;

/// Reads one range; `None` if the blob has no such bytes.
fn read_spec(spec: &str, size: u64) -> Result<Option<ByteRange>, Unreadable> {
    let (first, last) = spec.split_once('-').ok_or(Unreadable)?;
    if first.is_empty() {
        let suffix = saturating_number(last).ok_or(Unreadable)?;
        let range = ByteRange {
            start: size.saturating_sub(suffix),
            end: size - 1,
        };
        return Ok((suffix > 0).then_some(range));
    }
    let start = saturating_number(first).ok_or(Unreadable)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        saturating_number(last).ok_or(Unreadable)?
    };
    if end < start {
        return Err(Unreadable);
    }
    Ok((start < size).then(|| ByteRange {
        start,
        end: end.min(size - 1),
    }))
}

/// Digits only; a number too large for 64 bits lies behind the end of every blob, as its largest does.
fn saturating_number(digits: &str) -> Option<u64> {
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    numeric.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Merges ranges that overlap; adjacent ones stay apart and, without overlap, so does the order asked for.
fn several(asked: Vec<ByteRange>) -> RangeRequest {
    let mut sorted = asked.clone();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<ByteRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(before) if range.start <= before.end => before.end = before.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let parts = if merged.len() == asked.len() { asked } else { merged };
    if parts.len() > MAX_RANGES {
        RangeRequest::Whole
    } else {
        RangeRequest::Several(parts)
    }
}

/// Where a chunk belongs in its upload: bytes `start` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset of the last byte; at least `start`.
    pub end: u64,
}

impl ContentRange {
    /// Reads `0-1023` (distribution-spec), `bytes 0-1023/*` or `bytes 0-1023/2048` (RFC 9110).
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let Some((unit, rest)) = header.split_once(' ') else {
            return Self::from_bounds(header);
        };
        let (bounds, total) = rest.split_once('/')?;
        let range = Self::from_bounds(bounds)?;
        let possible = total == "*" || exact_number(total)? > range.end;
        (unit.eq_ignore_ascii_case("bytes") && possible).then_some(range)
    }

    /// How many bytes the chunk has.
    pub const fn size(self) -> u64 {
        self.end - self.start + 1
    }

    fn from_bounds(bounds: &str) -> Option<Self> {
        let (start, end) = bounds.split_once('-')?;
        let (start, end) = (exact_number(start)?, exact_number(end)?);
        // The largest number is refused so that `size` cannot overflow.
        (start <= end && end < u64::MAX).then_some(Self { start, end })
    }
}

fn exact_number(digits: &str) -> Option<u64> {
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if numeric { digits.parse().ok() } else { None }
}

/// The value of `Range` in answers about an upload of which `stored` bytes are kept.
///
/// Nothing stored is `0-0`, the same as one byte: clients compute a size from it and fail on a negative end.
pub fn upload_range(stored: u64) -> String {
    format!("0-{}", stored.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 3000;

    fn requested(header: &str) -> RangeRequest {
        ByteRange::requested(Some(header), SIZE)
    }

    const fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    fn several(ranges: &[(u64, u64)]) -> RangeRequest {
        RangeRequest::Several(ranges.iter().map(|&(start, end)| range(start, end)).collect())
    }

    #[test]
    fn one_satisfiable_range_is_clipped_to_the_blob() {
        for (header, start, end) in [
            ("bytes=500-1499", 500, 1499),
            ("bytes=500-", 500, 2999),
            ("bytes=-500", 2500, 2999),
            ("bytes=2000-5000", 2000, 2999),
            ("bytes=0-0", 0, 0),
            ("bytes=2999-2999", 2999, 2999),
            ("bytes=-5000", 0, 2999),
            ("bytes=0-18446744073709551615", 0, 2999),
            ("bytes=0-99999999999999999999999", 0, 2999),
            ("bytes=-99999999999999999999999", 0, 2999),
            ("Bytes=1-2", 1, 2),
            (" bytes= 1-2 ", 1, 2),
            ("bytes=1-2,", 1, 2),
        ] {
            assert_eq!(requested(header), RangeRequest::One(range(start, end)), "{header}");
        }
    }

    #[test]
    fn an_impossible_or_unreadable_range_is_unsatisfiable() {
        for header in [
            "bytes=500-0",
            "bytes=5000-10000",
            "bytes=3000-",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes=",
            "bytes",
            "bytes 0-1",
            "bytes=,",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=1 -2",
            "bytes=1-2;3-4",
            "bytes=0-1,x",
            "bytes=0-1,5-2",
            "bytes=4000-,5000-",
        ] {
            assert_eq!(requested(header), RangeRequest::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn no_header_or_another_unit_asks_for_everything() {
        assert_eq!(ByteRange::requested(None, SIZE), RangeRequest::Whole);
        for header in ["", "items=0-1", "bytesx=0-1", "=0-1", "none", "chapters=1-2,9-8"] {
            assert_eq!(requested(header), RangeRequest::Whole, "{header}");
        }
    }

    #[test]
    fn an_empty_blob_is_always_whole() {
        for header in [
            "bytes=0-0",
            "bytes=0-",
            "bytes=-1",
            "bytes=-0",
            "bytes=5-1",
            "bytes=x",
            "bytes=0-1,2-3",
        ] {
            assert_eq!(ByteRange::requested(Some(header), 0), RangeRequest::Whole, "{header}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order_and_adjacent_ones_stay_apart() {
        assert_eq!(
            requested("bytes=100-199, 0-99,-10"),
            several(&[(100, 199), (0, 99), (2990, 2999)])
        );
    }

    #[test]
    fn overlapping_ranges_are_merged() {
        assert_eq!(requested("bytes=50-149,0-99,200-"), several(&[(0, 149), (200, 2999)]));
        assert_eq!(requested("bytes=0-,100-200,-1"), several(&[(0, 2999)]));
    }

    #[test]
    fn a_list_of_which_one_part_is_left_is_still_a_list() {
        assert_eq!(requested("bytes=0-9,5000-6000"), several(&[(0, 9)]));
        assert_eq!(requested("bytes=0-9,0-9"), several(&[(0, 9)]));
    }

    #[test]
    fn more_ranges_than_the_limit_ask_for_everything() {
        let list = |count: u64| {
            let specs: Vec<String> = (0..count).map(|index| format!("{}-{}", index * 2, index * 2)).collect();
            requested(&format!("bytes={}", specs.join(",")))
        };

        assert!(matches!(list(100), RangeRequest::Several(parts) if parts.len() == 100));
        assert_eq!(list(101), RangeRequest::Whole);
    }

    #[test]
    fn answers_name_the_part_and_the_total() {
        assert_eq!(range(0, 9).content_range(10), "bytes 0-9/10");
        assert_eq!(range(0, 9).size(), 10);
        assert_eq!(unsatisfied_range(10), "bytes */10");
    }

    #[test]
    fn all_three_spellings_of_a_chunk_range_are_read() {
        for header in [
            "0-1023",
            "bytes 0-1023/*",
            "bytes 0-1023/2048",
            "bytes 0-1023/1024",
            " 0-1023 ",
            "Bytes 0-1023/*",
        ] {
            assert_eq!(
                ContentRange::parse(header),
                Some(ContentRange { start: 0, end: 1023 }),
                "{header}"
            );
        }
        assert_eq!(ContentRange::parse("1024-1024").map(ContentRange::size), Some(1));
    }

    #[test]
    fn a_chunk_range_of_any_other_form_is_not_read() {
        for header in [
            "",
            "-",
            "0-",
            "-1023",
            "1023-0",
            "0--1",
            "+0-1",
            "0-1023/2048",
            "bytes=0-1023",
            "bytes 0-1023",
            "bytes 0-1023/1023",
            "bytes 0-1023/",
            "bytes 0-1023/x",
            "bytes */2048",
            "items 0-1023/*",
            "bytes  0-1023/*",
            "0 - 1023",
            "0-18446744073709551615",
            "18446744073709551616-18446744073709551617",
            "0x0-0x1",
            "a-b",
            "٠-١",
        ] {
            assert_eq!(ContentRange::parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn an_upload_names_its_last_stored_byte() {
        for (stored, range) in [
            (0, "0-0"),
            (1, "0-0"),
            (2, "0-1"),
            (1024, "0-1023"),
            (u64::MAX, "0-18446744073709551614"),
        ] {
            assert_eq!(upload_range(stored), range);
        }
    }

    /// The bytes asked for, one by one, as the words of RFC 9110 define each spec.
    fn bytes_asked_for(specs: &[(u64, Option<u64>)], size: u64) -> Vec<u64> {
        (0..size)
            .filter(|byte| {
                specs
                    .iter()
                    .any(|&(start, end)| *byte >= start && end.is_none_or(|end| *byte <= end))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn exactly_the_bytes_asked_for_are_answered_once(
            asked in proptest::collection::vec((0_u64..60, proptest::option::of(0_u64..60)), 1..6),
            size in 1_u64..50,
        ) {
            let specs: Vec<_> = asked.into_iter().map(|(start, length)| (start, length.map(|length| start + length))).collect();
            let text: Vec<String> =
                specs.iter().map(|(start, end)| format!("{start}-{}", end.map_or_else(String::new, |end| end.to_string()))).collect();

            let parts = match ByteRange::requested(Some(&format!("bytes={}", text.join(","))), size) {
                RangeRequest::One(part) => vec![part],
                RangeRequest::Several(parts) => parts,
                RangeRequest::Unsatisfiable => vec![],
                RangeRequest::Whole => return Err(TestCaseError::fail("no such request is for the whole blob")),
            };

            let mut answered: Vec<u64> = parts.iter().flat_map(|part| part.start..=part.end).collect();
            answered.sort_unstable();
            prop_assert_eq!(answered, bytes_asked_for(&specs, size));
        }

        #[test]
        fn no_header_makes_a_range_outside_the_blob(header in "(bytes=)?[0-9,\\- a]{0,30}", size: u64) {
            let parts = match ByteRange::requested(Some(&header), size) {
                RangeRequest::One(part) => vec![part],
                RangeRequest::Several(parts) => parts,
                RangeRequest::Whole | RangeRequest::Unsatisfiable => vec![],
            };
            prop_assert!(parts.iter().all(|part| part.start <= part.end && part.end < size));
        }

        #[test]
        fn a_chunk_range_is_read_back(start in 0..u64::MAX - 1, length in 0_u64..1 << 40) {
            let end = start.saturating_add(length).min(u64::MAX - 1);
            prop_assert_eq!(ContentRange::parse(&format!("{start}-{end}")), Some(ContentRange { start, end }));
        }
    }
}
