//! `Range` of a pull and `Content-Range` of a chunk.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{bytes, open_session, push_blob, sha256};
use crate::random::Random;
use crate::wire::{Answer, Request};

const SIZE: usize = 3000;
const PULLS: usize = 130;
const CHUNKS: usize = 120;
const NAME: &str = "corpus/ranges";

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    push_blob(client, NAME, &bytes(SIZE)).map(drop)
}

/// What a `Range` asks of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(usize, usize),
    Several,
    Nothing,
    /// Neither the specification nor clients say: any answer that is consistent.
    Anything,
}

/// As many digits as there are; what does not fit is larger than any blob.
fn number(digits: &str) -> Option<u128> {
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u128::MAX))
}

fn one(spec: &str) -> Asked {
    let size = SIZE as u128;
    let index = |number: u128| usize::try_from(number.min(size - 1)).unwrap();
    match spec.split_once('-') {
        Some(("", last)) => match number(last) {
            None | Some(0) => Asked::Nothing,
            Some(count) => Asked::Part(SIZE - usize::try_from(count.min(size)).unwrap(), SIZE - 1),
        },
        Some((first, last)) => {
            let end = if last.is_empty() { Some(u128::MAX) } else { number(last) };
            match (number(first), end) {
                (Some(first), Some(last)) if first < size && first <= last => Asked::Part(index(first), index(last)),
                _ => Asked::Nothing,
            }
        }
        None => Asked::Nothing,
    }
}

fn asked(header: &str) -> Asked {
    if header.contains([' ', '\t']) || header.ends_with(',') || header.contains("=,") {
        return Asked::Anything;
    }
    match header.split_once('=') {
        Some(("bytes", set)) if !set.contains(',') => one(set),
        Some(("bytes", set)) => {
            let parts: Vec<Asked> = set.split(',').map(one).collect();
            match parts.iter().filter(|part| matches!(part, Asked::Part(..))).count() {
                0 => Asked::Nothing,
                good if good == parts.len() && good <= 16 => Asked::Several,
                // Some of them are unsatisfiable, or they are too many to be meant.
                _ => Asked::Anything,
            }
        }
        Some((unit, _)) if !unit.eq_ignore_ascii_case("bytes") => Asked::Whole,
        _ => Asked::Anything,
    }
}

fn pulls() -> Vec<String> {
    let mut rows: Vec<String> = [
        "0-0",
        "0-1",
        "0-2998",
        "0-2999",
        "0-3000",
        "1-1",
        "1-0",
        "500-1499",
        "500-",
        "500-0",
        "-500",
        "-0",
        "-1",
        "-2999",
        "-3000",
        "-3001",
        "-99999",
        "2000-5000",
        "2998-2999",
        "2999-2999",
        "2999-",
        "2999-3000",
        "3000-",
        "3000-3000",
        "3000-3001",
        "3001-",
        "5000-10000",
        "0-",
        "",
        "-",
        "--",
        "--1",
        "0--1",
        "-1-2",
        "1-2-3",
        "a-b",
        "0-b",
        "a-0",
        "0x0-0x5",
        "+0-5",
        "0-+5",
        "0.0-5.0",
        "1e1-20",
        "0-9223372036854775807",
        "0-9223372036854775808",
        "0-18446744073709551615",
        "0-18446744073709551616",
        "9223372036854775807-",
        "18446744073709551615-",
        "18446744073709551616-",
        "18446744073709551615-18446744073709551615",
        "99999999999999999999999999999999999999999999-",
        "-9223372036854775808",
        "-18446744073709551616",
        "0-99999999999999999999999999999999999999999",
        "00000000000000000000000000000-5",
        "0-0005",
        "*",
        "*/3000",
        "0-*",
        "*-0",
        "0",
        "5",
        "0:5",
        "0_5",
        "0–5",
        "٠-٥",
        "0-5;q=1",
        "0-5/3000",
        "0-,",
        ",0-5",
        ",",
        ",,",
        "0-5,",
        "0-5,10-15",
        "0-5,3-9",
        "0-5,0-5",
        "10-15,0-5",
        "0-0,2999-2999",
        "0-0,-1",
        "-1,0-0",
        "0-5,5000-6000",
        "5000-6000,7000-",
        "0-5,-0",
        "0-5,b-c",
        "0-5,9-7",
        "0-2999,0-2999,0-2999",
        "0-5,6-9",
        "0-5, 10-15",
        " 0-5",
        "0 - 5",
        "0-5 ",
        "0-\t5",
    ]
    .map(|set| format!("bytes={set}"))
    .to_vec();
    let units = [
        "Bytes=0-5",
        "BYTES=0-5",
        "bytes",
        "bytes 0-5",
        "bytes:0-5",
        "=0-5",
        "0-5",
        "items=0-5",
        "seconds=1-2",
        "none",
        "byte=0-5",
    ];
    rows.extend(units.map(str::to_owned));
    for count in [2, 15, 16, 17, 100, 101, 1000] {
        let parts: Vec<String> = (0..count).map(|part| format!("{}-{}", part * 2, part * 2)).collect();
        rows.push(format!("bytes={}", parts.join(",")));
        rows.push(format!("bytes={}", vec!["0-"; count].join(",")));
    }
    let mut random = Random::seeded(4);
    let numbers = ["", "0", "1", "9", "1500", "2999", "3000", "3001", "4294967296"];
    while rows.len() < PULLS {
        rows.push(format!("bytes={}-{}", random.pick(&numbers), random.pick(&numbers)));
    }
    rows
}

fn part_of(header: &str) -> Option<(usize, usize)> {
    let (bounds, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    (total == SIZE.to_string()).then_some((first.parse().ok()?, last.parse().ok()?))
}

/// The parts of a `multipart/byteranges` body, each with the bytes that it says it has.
fn parts(answer: &Answer, blob: &[u8]) -> Option<Vec<(usize, usize)>> {
    let boundary = answer
        .header("content-type")?
        .strip_prefix("multipart/byteranges; boundary=")?;
    let text: String = answer.body.iter().copied().map(char::from).collect();
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut pieces: Vec<&str> = text.split(&delimiter).skip(1).collect();
    let end = pieces.pop()?;
    let part = |piece: &&str| {
        let (head, body) = piece.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let (first, last) = part_of(head.lines().find_map(|line| line.strip_prefix("content-range: "))?)?;
        let body: Vec<u8> = body
            .strip_suffix("\r\n")?
            .chars()
            .map(|letter| u8::try_from(letter).unwrap())
            .collect();
        (body == blob[first..=last]).then_some((first, last))
    };
    let found: Option<Vec<_>> = pieces.iter().map(part).collect();
    found.filter(|found| !found.is_empty() && end.starts_with("--"))
}

/// Which bytes of the blob are in some part.
fn covered(parts: impl IntoIterator<Item = (usize, usize)>) -> Vec<bool> {
    let mut bytes = vec![false; SIZE];
    for (first, last) in parts {
        bytes[first..=last].fill(true);
    }
    bytes
}

/// The bytes that a list asks for, of those that there are.
fn wanted(header: &str) -> Vec<bool> {
    let set = header.split_once('=').map_or("", |(_, set)| set);
    let part = |spec: &str| {
        if let Asked::Part(first, last) = one(spec.trim()) {
            Some((first, last))
        } else {
            None
        }
    };
    covered(set.split(',').filter_map(part))
}

/// What an answer to a `Range` turned out to be; an answer that contradicts itself is a surprise.
fn got(header: &str, answer: &Answer, blob: &[u8]) -> Result<Asked, Surprise> {
    let range = answer.header("content-range");
    match (answer.status, range) {
        (200, None) if answer.body == blob => Ok(Asked::Whole),
        (206, Some(range)) => {
            let (first, last) = part_of(range).ok_or_else(|| format!("content-range {range}"))?;
            let right = first <= last && last < SIZE && answer.body == blob[first..=last];
            right
                .then_some(Asked::Part(first, last))
                .ok_or_else(|| format!("not the bytes of {range}"))
        }
        (206, None) => parts(answer, blob)
            .filter(|parts| header.contains(',') && covered(parts.iter().copied()) == wanted(header))
            .map(|_| Asked::Several)
            .ok_or_else(|| "not the parts it says, or not those asked for".to_owned()),
        (416, Some("bytes */3000")) if answer.body.is_empty() => Ok(Asked::Nothing),
        (status, range) => Err(format!("{status} with {range:?} and {} bytes", answer.body.len())),
    }
}

fn pull(header: String) -> Case {
    let blob = bytes(SIZE);
    let path = format!("/v2/{NAME}/blobs/{}", sha256(&blob));
    let get = Request::new("GET", &path).header("Range", &header);
    let head = Request::new("HEAD", &path).header("Range", &header);
    Case::play(format!("Range: {header}"), move |client| {
        let answer = client.ask(&get, &Expect::any(&[200, 206, 416]))?;
        let (asked, got) = (asked(&header), got(&header, &answer, &blob)?);
        // A list may always be answered with everything.
        let fits = asked == got || asked == Asked::Anything || (asked == Asked::Several && got == Asked::Whole);
        fits.then_some(())
            .ok_or_else(|| format!("{asked:?} was asked for, {got:?} came"))?;
        client.ask(&head, &Expect::status(200)).map(drop)
    })
}

/// What is stored before the chunk, and what the chunk has.
const STORED: u128 = 10;
const CHUNK: u128 = 5;

/// Where a `Content-Range` puts a chunk: its bounds, or nothing that can be read.
fn bounds(header: &str) -> Option<(u128, u128)> {
    let (range, total) = match header.strip_prefix("bytes ") {
        Some(rest) => rest.split_once('/')?,
        None => (header, "*"),
    };
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let fits = total == "*" || number(total)? > last;
    (first <= last && fits).then_some((first, last))
}

fn chunk_expected(header: &str) -> Expect {
    let out_of_order = Expect::error(416, "BLOB_UPLOAD_INVALID");
    match bounds(header) {
        // A whole of more than 64 bits may be believed or not.
        Some((STORED, 14)) if header.contains("/18446744073709551616") => out_of_order.or_status(202),
        Some((STORED, last)) if last == STORED + CHUNK - 1 => Expect::status(202),
        Some((STORED, last)) if last < u128::from(u64::MAX) => Expect::error(400, "SIZE_INVALID"),
        Some((STORED, _)) => out_of_order.or_status(400).code("SIZE_INVALID"),
        _ => out_of_order,
    }
}

fn chunks() -> Vec<String> {
    let mut rows: Vec<String> = [
        "10-14",
        "bytes 10-14/*",
        "bytes 10-14/15",
        "bytes 10-14/3000",
        "9-13",
        "9-14",
        "11-15",
        "10-13",
        "10-15",
        "10-10",
        "10-9",
        "14-10",
        "0-4",
        "0-14",
        "0-9",
        "5-9",
        "15-19",
        "20-24",
        "010-014",
        "00000000000000000000000010-14",
        "10-9223372036854775807",
        "10-9223372036854775808",
        "10-18446744073709551614",
        "10-18446744073709551615",
        "10-18446744073709551616",
        "18446744073709551615-18446744073709551615",
        "18446744073709551611-18446744073709551615",
        "18446744073709551626-4",
        "9223372036854775807-9223372036854775811",
        "99999999999999999999999999999999-99999999999999999999999999999999",
        "10-",
        "-14",
        "-",
        "--",
        "10--14",
        "-10-14",
        "10-14-",
        "10-14-15",
        "10",
        "",
        "*",
        "*/15",
        "bytes */15",
        "bytes */*",
        "10-*",
        "*-14",
        "a-b",
        "0xa-0xe",
        "+10-14",
        "10-+14",
        "10.0-14.0",
        "1e1-14",
        "10–14",
        "１０-１４",
        "10,14",
        "10-14,15-19",
        "10-14/15",
        "10-14/*",
        "bytes=10-14",
        "bytes 10-14",
        "bytes10-14/15",
        "bytes 10-14/",
        "bytes 10-14/14",
        "bytes 10-14/10",
        "bytes 10-14/0",
        "bytes 10-14/-1",
        "bytes 10-14/x",
        "bytes 10-14/15/15",
        "bytes 9-13/*",
        "bytes 10-9/*",
        "bytes 10-15/*",
        "bytes 0-4/15",
        "bytes 10-14/18446744073709551616",
        "items 10-14/15",
        "octets 10-14/15",
        "10 - 14",
        "10 -14",
        "10- 14",
        "10\t-14",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut random = Random::seeded(5);
    let numbers = [
        "0",
        "4",
        "5",
        "9",
        "10",
        "11",
        "13",
        "14",
        "15",
        "4294967295",
        "4294967296",
        "18446744073709551615",
    ];
    while rows.len() < CHUNKS {
        let bounds = format!("{}-{}", random.pick(&numbers), random.pick(&numbers));
        rows.push(if random.once_in(3) {
            format!("bytes {bounds}/*")
        } else {
            bounds
        });
    }
    rows
}

/// A good chunk, the one in question, where that left the session, and its end with the bytes that count.
fn chunk(header: String) -> Case {
    Case::play(format!("Content-Range: {header}"), move |client| {
        let at = open_session(client, NAME)?;
        let (first, second) = (bytes(10), bytes(5));
        let good = Request::new("PATCH", &at)
            .header("Content-Range", "0-9")
            .body(first.clone());
        client.ask(&good, &Expect::status(202))?;
        let questioned = Request::new("PATCH", &at)
            .header("Content-Range", &header)
            .body(second.clone());
        let answer = client.ask(&questioned, &chunk_expected(&header))?;
        let stored = if answer.status == 202 {
            [first, second].concat()
        } else {
            first
        };
        let range = format!("0-{}", stored.len() - 1);
        if answer.status != 400 && answer.header("range") != Some(&range) {
            return Err(format!("{:?} is told, {range} is stored", answer.header("range")));
        }
        let status = client.ask(&Request::new("GET", &at), &Expect::status(204))?;
        if status.header("range") != Some(&range) {
            return Err(format!("{:?} is kept, {range} was stored", status.header("range")));
        }
        let close = Request::new("PUT", format!("{at}?digest={}", sha256(&stored)));
        client.ask(&close, &Expect::status(201)).map(drop)
    })
}

#[test]
fn ranges_give_the_right_bytes_or_none_and_chunks_go_to_their_place_or_nowhere() {
    let (pulls, chunks) = (pulls(), chunks());
    assert!(
        pulls.len() + chunks.len() >= 250,
        "{} and {}",
        pulls.len(),
        chunks.len()
    );
    let cases = pulls
        .into_iter()
        .map(pull)
        .chain(chunks.into_iter().map(chunk))
        .collect();
    let ranges = Category {
        prepare,
        ..Category::new("ranges", cases)
    };
    ranges.hold();
}

#[test]
fn the_naive_ranges_are_those_of_the_specification() {
    for (header, right) in [
        ("bytes=500-1499", Asked::Part(500, 1499)),
        ("bytes=2000-5000", Asked::Part(2000, 2999)),
        ("bytes=-500", Asked::Part(2500, 2999)),
        ("bytes=500-0", Asked::Nothing),
        ("bytes=5000-10000", Asked::Nothing),
        ("bytes=0-1,5-6", Asked::Several),
        ("items=0-5", Asked::Whole),
    ] {
        assert_eq!(asked(header), right, "{header}");
    }
}
