//! `Warning` headers: what is odd about a push that succeeded (distribution-spec "Warnings").

use super::answer::{Answer, with_another};
use crate::distribution::WrongSize;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use oci::RepositoryName;

/// All warnings of one answer together are to be no longer than this.
const MOST_BYTES: usize = 4096;
/// Many clients count the registry's host as a part of the name.
const LONGEST_NAME: usize = 255;

/// Warns of what clients will stumble over.
pub(super) fn of_push(answer: Answer, head: &Parts, repository: &RepositoryName, sizes: &[WrongSize]) -> Answer {
    let long_name = host(head)
        .map(|host| host.len() + 1 + repository.as_str().len())
        .filter(|length| *length > LONGEST_NAME)
        .map(|length| {
            format!("registry and repository name have {length} characters; many clients take {LONGEST_NAME}")
        });
    let wrong_sizes = sizes.iter().map(|wrong| {
        let WrongSize { digest, said, stored } = wrong;
        format!("{digest} has {stored} bytes, not {said} as the manifest says")
    });
    let mut left = MOST_BYTES;
    let fitting = long_name
        .into_iter()
        .chain(wrong_sizes)
        .map(|text| value(&text))
        .take_while(|value| {
            left = left.saturating_sub(value.len());
            left > 0
        });
    fitting.fold(answer, |answer, value| with_another(answer, header::WARNING, value))
}

/// Code 299, no agent, no date.
fn value(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("299 - \"{escaped}\"")
}

fn host(head: &Parts) -> Option<&str> {
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| head.uri.authority().map(Authority::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::answer::empty;
    use http::{Request, StatusCode};
    use oci::{Algorithm, Digest};

    fn warned(host: &str, sizes: &[WrongSize]) -> Vec<String> {
        let (head, ()) = Request::put("/").header("host", host).body(()).unwrap().into_parts();
        let answer = of_push(empty(StatusCode::CREATED), &head, &"team/app".parse().unwrap(), sizes);
        let values = answer.headers().get_all(header::WARNING).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    fn wrong(count: usize) -> Vec<WrongSize> {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let (said, stored) = (1, 2);
        vec![WrongSize { digest, said, stored }; count]
    }

    #[test]
    fn an_ordinary_push_has_no_warning() {
        assert_eq!(warned("registry.example:5000", &[]), [""; 0]);
    }

    #[test]
    fn a_name_that_is_too_long_with_its_host_is_told() {
        assert_eq!(warned(&"h".repeat(246), &[]), [""; 0]);
        let told = warned(&"h".repeat(247), &[]);
        assert_eq!(
            told,
            [r#"299 - "registry and repository name have 256 characters; many clients take 255""#]
        );
    }

    #[test]
    fn all_warnings_together_are_bounded() {
        let told = warned("h", &wrong(1000));

        assert!(told.len() > 10);
        assert!(told.iter().map(String::len).sum::<usize>() <= MOST_BYTES);
        assert!(
            told[0].ends_with("has 2 bytes, not 1 as the manifest says\""),
            "{}",
            told[0]
        );
    }
}
