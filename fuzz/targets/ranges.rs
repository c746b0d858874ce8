//! `Range` and `Content-Range`, against arithmetic in 128 bits; and the `Range` of an upload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{ByteRange, ContentRange, RangeRequest, upload_range};

/// Whether a byte of a blob is asked for by one part of a set, by RFC 9110 read naively.
fn asks_for(spec: &str, byte: u128, size: u128) -> bool {
    let number = |digits: &str| digits.parse::<u128>().unwrap_or(u128::MAX);
    match spec.trim().split_once('-') {
        Some(("", last)) => byte + number(last).min(size) >= size,
        Some((first, "")) => byte >= number(first),
        Some((first, last)) => byte >= number(first) && byte <= number(last),
        None => false,
    }
}

fn pull(header: &str, size: u64) {
    let check = |range: &ByteRange| {
        assert!(
            range.start <= range.end && range.end < size,
            "{header}: {range:?} of {size}"
        )
    };
    let set = header.split_once('=').map_or("", |(_, set)| set);
    let is_right = |ranges: &[ByteRange]| {
        for byte in 0..size.min(64) {
            let given = ranges.iter().any(|range| (range.start..=range.end).contains(&byte));
            let asked = set.split(',').any(|spec| asks_for(spec, byte.into(), size.into()));
            assert_eq!(given, asked, "byte {byte} of {size}: {header}");
        }
    };
    match ByteRange::requested(Some(header), size) {
        RangeRequest::Whole => {}
        RangeRequest::Unsatisfiable => assert!(size > 0),
        RangeRequest::One(range) => {
            check(&range);
            is_right(&[range]);
        }
        RangeRequest::Several(ranges) => {
            assert!(!ranges.is_empty() && ranges.len() <= oci::range::MAX_RANGES);
            ranges.iter().for_each(check);
            is_right(&ranges);
            let mut sorted = ranges;
            sorted.sort_by_key(|range| range.start);
            assert!(
                sorted.windows(2).all(|pair| pair[0].end < pair[1].start),
                "{header}: they overlap"
            );
        }
    }
}

fuzz_target!(|text: &str| {
    for size in [0, 1, 2, 64, 3000, u64::MAX] {
        pull(text, size);
        pull(&format!("bytes={text}"), size);
        assert_eq!(
            upload_range(size),
            format!("0-{}", if size == 0 { 0 } else { size - 1 })
        );
    }
    for header in [text.to_owned(), format!("bytes {text}")] {
        if let Some(range) = ContentRange::parse(&header) {
            assert!(range.start <= range.end && range.size() == range.end - range.start + 1);
            let shown = format!("{}-{}", range.start, range.end);
            assert_eq!(ContentRange::parse(&shown), Some(range));
        }
    }
});
