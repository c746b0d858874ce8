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
