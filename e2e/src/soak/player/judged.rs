//! O1: every body equals what the library has for its digest or range, and the headers agree with it.

use super::{
    super::{
        history::{Ask, Seen},
        library::{Blob, Library, ManifestId},
    },
    ask::Judged,
};
use crate::conformance::client::Answer;

/// A manifest: by its digest header and its body. `wanted` when it was asked for by digest.
pub(super) fn manifest(library: &Library, answer: &Answer, wanted: Option<ManifestId>, ask: Ask) -> Judged {
    let told = answer.header("docker-content-digest");
    let Some(id) = library.manifest_named(told) else {
        return (Seen::Nothing, Some(format!("{told:?} was never pushed as a manifest")));
    };
    let manifest = library.manifest(id);
    let wrong = if wanted.is_some_and(|wanted| wanted != id) {
        Some(format!("{id} in place of what was asked for"))
    } else if answer.header("content-type") != manifest.media_type {
        Some(format!("the type of {id} is {:?}", answer.header("content-type")))
    } else {
        body(answer, &manifest.bytes, (ask, &id.to_string()))
    };
    (Seen::Manifest(id), wrong)
}

/// A blob, or a part of it.
pub(super) fn blob(blob: &Blob, answer: &Answer, ask: Ask) -> Judged {
    let wanted_status = if matches!(ask, Ask::Part(..)) { 206 } else { 200 };
    let wrong = if answer.status == wanted_status {
        let told = answer.header("docker-content-digest");
        let other = !told.is_empty() && told != blob.digest;
        let other = other.then(|| format!("{told} in place of {}", blob.digest));
        other.or_else(|| body(answer, &blob.bytes, (ask, &blob.digest)))
    } else {
        Some(format!("status {} in place of {wanted_status}", answer.status))
    };
    (Seen::Nothing, wrong)
}

fn body(answer: &Answer, bytes: &[u8], (ask, name): (Ask, &str)) -> Option<String> {
    let expected = match ask {
        Ask::Part(first, last) => bytes.get(first..=last)?,
        Ask::Head | Ask::Get => bytes,
    };
    let length = answer.header("content-length");
    if !length.is_empty() && length != expected.len().to_string() {
        return Some(format!("{name}: a length of {length} in place of {}", expected.len()));
    }
    if let Ask::Part(first, last) = ask {
        let range = format!("bytes {first}-{last}/{}", bytes.len());
        let told = answer.header("content-range");
        if told != range {
            return Some(format!("{name}: the range {told:?} in place of {range:?}"));
        }
    }
    let differs = ask != Ask::Head && answer.body != expected;
    differs.then(|| {
        let same = answer.body.iter().zip(expected).take_while(|(one, other)| one == other);
        format!(
            "{name}: {} bytes came in place of {}; the first {} are right",
            answer.body.len(),
            expected.len(),
            same.count()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::library::BlobId, *};
    use crate::conformance::wire::Headers;

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.add(name, *value);
        }
        Answer {
            request: String::new(),
            status,
            headers: all,
            body: body.to_vec(),
            redirected: false,
        }
    }

    fn judge(status: u16, headers: &[(&str, &str)], body: &[u8], ask: Ask) -> Option<String> {
        let mut library = Library::default();
        library.add_blob(b"0123456789".to_vec());
        blob(library.blob(BlobId(0)), &answer(status, headers, body), ask).1
    }

    #[test]
    fn the_right_body_is_right() {
        let part = [("content-range", "bytes 2-4/10")];

        assert_eq!(judge(200, &[("content-length", "10")], b"0123456789", Ask::Get), None);
        assert_eq!(judge(200, &[("content-length", "10")], b"", Ask::Head), None);
        assert_eq!(judge(206, &part, b"234", Ask::Part(2, 4)), None);
    }

    #[test]
    fn a_short_a_long_and_a_changed_body_are_found() {
        for body in [&b"012345678"[..], b"01234567890", b"0123456780", b""] {
            assert!(judge(200, &[], body, Ask::Get).is_some(), "{body:?}");
        }
    }

    #[test]
    fn a_header_that_lies_is_found() {
        let digest = [("docker-content-digest", "sha256:00")];

        assert!(judge(200, &digest, b"0123456789", Ask::Get).is_some());
        assert!(judge(200, &[("content-length", "9")], b"", Ask::Head).is_some());
    }

    #[test]
    fn a_part_of_the_wrong_place_is_found() {
        let wrong = [("content-range", "bytes 2-4/11")];
        let right = [("content-range", "bytes 2-4/10")];

        assert!(judge(206, &wrong, b"234", Ask::Part(2, 4)).is_some());
        assert!(judge(206, &right, b"345", Ask::Part(2, 4)).is_some());
        assert!(judge(200, &right, b"234", Ask::Part(2, 4)).is_some());
    }

    #[test]
    fn another_manifest_than_was_asked_for_is_found() {
        let mut library = Library::default();
        let blob = library.add_blob(vec![1]);
        let first = library.add_image(vec![blob], None);
        let second = library.add_image(vec![blob], None);
        let manifest_of = |id: ManifestId| library.manifest(id);
        let headers = [
            ("docker-content-digest", manifest_of(first).digest.as_str()),
            ("content-type", manifest_of(first).media_type),
        ];
        let came = answer(200, &headers, &manifest_of(first).bytes);
        let mixed = answer(200, &headers, &manifest_of(second).bytes);

        assert_eq!(
            manifest(&library, &came, Some(first), Ask::Get),
            (Seen::Manifest(first), None)
        );
        assert!(manifest(&library, &came, Some(second), Ask::Get).1.is_some());
        assert!(manifest(&library, &mixed, None, Ask::Get).1.is_some());
    }
}
