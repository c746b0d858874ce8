//! The groups `sha256 blobs` and `sha512 blobs`.

use super::{
    Suite,
    blobs::{self, Blob, CHUNK, Way},
    client::{Answer, Request},
    content::Algorithm,
    criteria::{self, failed},
    tally::{Checked, Fault},
};

/// What is done with one blob of the group.
#[derive(Clone, Copy)]
enum Push {
    By(Way),
    Mount,
    MountAnonymous,
    MountMissing,
    Cancel,
}

const fn chunked(put_last: bool, out_of_order: bool) -> Push {
    Push::By(Way::Chunked { put_last, out_of_order })
}

/// Blobs of 512 bytes.
const SMALL: &[(&str, Push)] = &[
    ("post only", Push::By(Way::PostOnly)),
    ("post+put", Push::By(Way::PostPut)),
    ("chunked single", Push::By(Way::CHUNKED)),
    ("stream", Push::By(Way::Stream)),
    ("mount", Push::Mount),
    ("mount anonymous", Push::MountAnonymous),
    ("mount missing", Push::MountMissing),
    ("post cancel", Push::Cancel),
];

/// Blobs of three chunks.
const LARGE: &[(&str, Push)] = &[
    ("chunked multi", chunked(false, false)),
    ("chunked multi and put chunk", chunked(true, false)),
    ("chunked out-of-order", chunked(false, true)),
    ("chunked out-of-order and put chunk", chunked(true, true)),
];

/// What the closing request must refuse. The official program, too, closes the fourth with an empty PUT.
const CORRUPT: &[(&str, Way)] = &[
    ("bad digest post only", Way::PostOnly),
    ("bad digest post+put", Way::PostPut),
    ("bad digest chunked", Way::CHUNKED),
    ("bad digest chunked and put chunk", Way::CHUNKED),
    ("bad digest stream", Way::Stream),
];

/// A `Range`, and the part of the 2048 bytes that answers it; none for what cannot be satisfied.
const RANGES: &[(&str, Option<(usize, usize)>)] = &[
    ("500-1499", Some((500, 1499))),
    ("500-", Some((500, 2047))),
    ("-500", Some((1548, 2047))),
    ("2000-5000", Some((2000, 2047))),
    ("500-0", None),
    ("5000-10000", None),
];

impl Suite {
    pub(super) fn blob_group(&mut self, algorithm: Algorithm) {
        self.tally.begin(&format!("{} blobs", algorithm.name()));
        let absent = algorithm.digest(&self.random.bytes(512));
        let missing = self.answers("GET", blobs::blob(&self.repository(), &absent), &[404]);
        self.tally.record("get-missing", missing);
        for (name, push) in SMALL {
            self.one_blob(name, *push, algorithm, 512);
        }
        for (name, push) in LARGE {
            self.one_blob(name, *push, algorithm, self.shortest_chunk * 3 - 5);
        }
        self.ranges(algorithm);
        for (name, bytes) in [("empty", b"".as_slice()), ("emptyJSON", b"{}")] {
            self.known_blob(name, algorithm, bytes);
        }
        for (name, way) in CORRUPT {
            self.corrupt_blob(name, *way, algorithm);
        }
    }

    /// Sends a request that needs nothing, and wants one of these statuses.
    pub(super) fn answers(&mut self, method: &str, target: String, wanted: &[u16]) -> Checked {
        criteria::status(&self.client.send(&Request::new(method, target))?, wanted)
    }

    fn one_blob(&mut self, name: &str, push: Push, algorithm: Algorithm, size: usize) {
        let bytes = self.random.bytes(size);
        let digest = algorithm.digest(&bytes);
        let blob = Blob {
            digest: &digest,
            bytes: &bytes,
            corrupt: false,
        };
        let (repository, other) = (self.repository(), self.options.other_repository.clone());
        let pushed = match push {
            Push::By(way) => {
                let outcome = self.push_blob(&repository, blob, way);
                self.tally.record(&format!("{name}/{}", way.name()), outcome)
            }
            Push::Mount | Push::MountAnonymous => {
                self.push_in_any_way(name, &other, blob);
                let from = matches!(push, Push::Mount).then_some(other.as_str());
                let outcome = self.mount(&repository, from, blob);
                self.tally.record(&format!("{name}/blob-mount"), outcome)
            }
            Push::MountMissing => {
                let outcome = self.mount_missing(&repository, &other, blob);
                self.tally.record(&format!("{name}/blob-mount"), outcome)
            }
            Push::Cancel => {
                if self.options.profile.cancels_uploads() {
                    let outcome = self.cancel(&repository);
                    self.tally.record(&format!("{name}/blob-post-cancel"), outcome);
                }
                false
            }
        };
        if pushed {
            self.read(name, blob);
        }
        self.delete_blob(&format!("{name}/blob-delete"), &repository, &digest);
        if matches!(push, Push::Mount | Push::MountAnonymous) {
            self.delete_blob(&format!("{name}/blob-delete, source"), &other, &digest);
        }
    }

    fn read(&mut self, name: &str, blob: Blob<'_>) {
        let repository = self.repository();
        let outcome = self.head_blob(&repository, blob.digest, blob.bytes);
        self.tally.record(&format!("{name}/blob-head"), outcome);
        let outcome = self.get_blob(&repository, blob.digest, blob.bytes);
        self.tally.record(&format!("{name}/blob-get"), outcome);
    }

    fn known_blob(&mut self, name: &str, algorithm: Algorithm, bytes: &[u8]) {
        let digest = algorithm.digest(bytes);
        let blob = Blob {
            digest: &digest,
            bytes,
            corrupt: false,
        };
        self.push_in_any_way(name, &self.repository(), blob);
        self.read(name, blob);
        self.delete_blob(&format!("{name}/blob-delete"), &self.repository(), &digest);
    }

    fn corrupt_blob(&mut self, name: &str, way: Way, algorithm: Algorithm) {
        let mut bytes = self.random.bytes(CHUNK * 3 - 5);
        let digest = algorithm.digest(&bytes);
        bytes.extend_from_slice(b"oh no");
        let blob = Blob {
            digest: &digest,
            bytes: &bytes,
            corrupt: true,
        };
        let outcome = self.push_blob(&self.repository(), blob, way);
        self.tally.record(&format!("{name}/{}", way.name()), outcome);
    }

    fn ranges(&mut self, algorithm: Algorithm) {
        let bytes = self.random.bytes(2048);
        let digest = algorithm.digest(&bytes);
        let blob = Blob {
            digest: &digest,
            bytes: &bytes,
            corrupt: false,
        };
        let repository = self.repository();
        if !self.push_in_any_way("range requests", &repository, blob) {
            let nothing = Fault::Failed("there is no blob to read from".to_owned());
            self.tally.record("range requests", Err(nothing));
            return;
        }
        for (range, part) in RANGES {
            let get = Request::new("GET", blobs::blob(&repository, &digest)).header("range", format!("bytes={range}"));
            let outcome = self.client.send(&get).map_err(Fault::from);
            let outcome = outcome.and_then(|answer| is_part(&answer, &bytes, *part));
            self.tally.record(&format!("range requests/range {range}"), outcome);
        }
        self.delete_blob("range requests/blob-delete", &repository, &digest);
    }
}

fn is_part(answer: &Answer, whole: &[u8], part: Option<(usize, usize)>) -> Checked {
    if answer.status == 200 {
        criteria::body(answer, whole)?;
        criteria::length(answer, whole.len())?;
        return Err(Fault::Unsupported(format!("a Range got the whole blob: {answer}")));
    }
    let Some((first, last)) = part else {
        return criteria::status(answer, &[416]);
    };
    criteria::status(answer, &[206])?;
    criteria::body(answer, &whole[first..=last])?;
    criteria::length(answer, last - first + 1)?;
    let range = answer.header("content-range");
    let right = [whole.len().to_string(), "*".to_owned()].map(|total| format!("bytes {first}-{last}/{total}"));
    if right.iter().any(|right| right == range) {
        return Ok(());
    }
    Err(failed(format!("Content-Range: {} wanted", right[0]), answer))
}
