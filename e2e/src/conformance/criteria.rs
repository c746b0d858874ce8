//! What an answer must be. Each criterion is a function of the answer alone.

use super::{
    client::Answer,
    tally::{Checked, Fault},
};

/// A failure: what was wanted, and the whole answer.
pub(super) fn failed(wanted: impl std::fmt::Display, answer: &Answer) -> Fault {
    Fault::Failed(format!("{wanted}: {answer}"))
}

/// The status is one of these.
pub(super) fn status(answer: &Answer, wanted: &[u16]) -> Checked {
    if wanted.contains(&answer.status) {
        return Ok(());
    }
    Err(failed(format!("status {wanted:?} wanted"), answer))
}

/// The header is there, once, with exactly this value.
pub(super) fn header(answer: &Answer, name: &str, value: &str) -> Checked {
    if answer.headers.all(name).eq([value]) {
        return Ok(());
    }
    Err(failed(format!("{name}: {value} wanted"), answer))
}

/// The header is not there.
pub(super) fn no_header(answer: &Answer, name: &str) -> Checked {
    match answer.headers.get(name) {
        None => Ok(()),
        Some(_) => Err(failed(format!("no {name} wanted"), answer)),
    }
}

/// The body is these bytes.
pub(super) fn body(answer: &Answer, wanted: &[u8]) -> Checked {
    if answer.body == wanted {
        return Ok(());
    }
    let (got, wanted) = (answer.body.len(), wanted.len());
    Err(failed(
        format!("another body wanted ({wanted} bytes, got {got})"),
        answer,
    ))
}

/// The length is told, and is this.
pub(super) fn length(answer: &Answer, wanted: usize) -> Checked {
    header(answer, "content-length", &wanted.to_string())
}

/// The digest header, if it is there, is right; it may be demanded.
pub(super) fn digest(answer: &Answer, wanted: &str, demanded: bool) -> Checked {
    match answer.headers.get("docker-content-digest") {
        None if !demanded => Ok(()),
        None => Err(failed("Docker-Content-Digest wanted", answer)),
        Some(_) => header(answer, "docker-content-digest", wanted),
    }
}

/// The first error has this code, in a JSON body.
pub(super) fn code(answer: &Answer, wanted: &str) -> Checked {
    if answer.code() == wanted {
        return header(answer, "content-type", "application/json");
    }
    Err(failed(format!("error code {wanted} wanted"), answer))
}

/// `condition` holds.
pub(super) fn that(condition: bool, wanted: impl std::fmt::Display, answer: &Answer) -> Checked {
    if condition {
        return Ok(());
    }
    Err(failed(wanted, answer))
}

/// The path that `Location` leads to: a path, or an address whose path it is.
pub(super) fn location(answer: &Answer) -> Checked<String> {
    let location = answer.header("location");
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|slash| &rest[slash..]),
        None => Some(location).filter(|path| path.starts_with('/')),
    };
    path.map(str::to_owned)
        .ok_or_else(|| failed("a Location with a path wanted", answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::wire::Headers;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.add(name, *value);
        }
        Answer {
            request: "GET /".to_owned(),
            status: 200,
            headers: all,
            body: b"body".to_vec(),
            redirected: false,
        }
    }

    #[test]
    fn a_charset_is_another_content_type() {
        let with_charset = answer(&[("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8")]);

        assert!(header(&with_charset, "content-type", "application/vnd.oci.image.index.v1+json").is_err());
    }

    #[test]
    fn a_wrong_digest_header_fails_even_where_none_is_demanded() {
        let wrong = answer(&[("docker-content-digest", "sha256:00")]);

        assert!(digest(&wrong, "sha256:11", false).is_err());
        assert!(digest(&answer(&[]), "sha256:11", false).is_ok());
        assert!(digest(&answer(&[]), "sha256:11", true).is_err());
    }

    #[test]
    fn a_header_that_comes_twice_is_wrong() {
        let twice = answer(&[("content-length", "4"), ("content-length", "4")]);

        assert!(length(&twice, 4).is_err());
    }

    #[test]
    fn a_location_is_read_from_a_path_or_an_address() {
        let found = |value: &str| location(&answer(&[("location", value)])).ok();

        assert_eq!(
            found("/v2/a/blobs/uploads/1?x=y").as_deref(),
            Some("/v2/a/blobs/uploads/1?x=y")
        );
        assert_eq!(found("https://registry:5000/v2/a").as_deref(), Some("/v2/a"));
        assert_eq!(found("uploads/1"), None);
        assert_eq!(found(""), None);
    }
}
