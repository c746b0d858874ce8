//! Where clients find the registry: what the Locations and Links of its answers begin with.
//!
//! Handlers write paths (`/v2/…`). They become what the client can follow here, in one place.

use super::answer::Answer;
use super::forwarded::{Forwarded, forwarded, is_host, is_trusted};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Uri};
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::IpAddr;

/// How clients find the registry.
#[derive(Debug, Clone)]
pub struct Addressing {
    base: Base,
    trusted: Vec<IpNet>,
}

#[derive(Debug, Clone)]
enum Base {
    /// The same for every request.
    Fixed { location: String, link: String },
    /// Paths, behind the prefix that a proxy took off.
    Path,
    /// Scheme and host of the request; the scheme where no proxy tells it.
    Request(&'static str),
}

/// What precedes `/v2/` in the headers of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Front<'a> {
    location: Cow<'a, str>,
    link: Cow<'a, str>,
}

impl Addressing {
    /// Locations are paths; what proxies took off the front of the path is put back.
    pub fn relative(trusted: Vec<IpNet>) -> Self {
        let base = Base::Path;
        Self { base, trusted }
    }

    /// Locations begin with the scheme and the host that the client used.
    pub fn of_the_request(scheme: &'static str, trusted: Vec<IpNet>) -> Self {
        let base = Base::Request(scheme);
        Self { base, trusted }
    }

    /// Locations begin with `origin`, which may be empty, and `prefix`; Links with `prefix` only, since clients
    /// refuse those to another origin than the one they asked.
    pub fn fixed(origin: &str, prefix: &str, trusted: Vec<IpNet>) -> Self {
        let link = prefix.trim_end_matches('/').to_owned();
        let location = format!("{origin}{link}");
        let base = Base::Fixed { location, link };
        Self { base, trusted }
    }

    /// What trusted proxies say of a request that came from `peer`.
    pub(super) fn forwarded(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Forwarded> {
        is_trusted(peer, &self.trusted).then(|| forwarded(headers, peer, &self.trusted))
    }

    /// What the answer to a request begins its Locations and Links with.
    pub(super) fn front(&self, uri: &Uri, headers: &HeaderMap, told: Option<Forwarded>) -> Front<'_> {
        let scheme = match &self.base {
            Base::Fixed { location, link } => {
                return Front {
                    location: Cow::Borrowed(location),
                    link: Cow::Borrowed(link),
                };
            }
            Base::Path => None,
            Base::Request(scheme) => Some(*scheme),
        };
        let Some(scheme) = scheme else {
            let prefix = told.map_or(Cow::Borrowed(""), |told| Cow::Owned(told.prefix));
            return Front {
                location: prefix.clone(),
                link: prefix,
            };
        };
        let asked = uri.authority().map(http::uri::Authority::as_str);
        let asked = asked.or_else(|| headers.get(header::HOST)?.to_str().ok());
        let (told_scheme, told_host, prefix) = told.map_or((None, None, String::new()), |told| {
            (told.scheme, told.host, told.prefix)
        });
        let host = told_host.as_deref().or(asked).filter(|host| is_host(host));
        let location = match host {
            Some(host) => format!("{}://{host}{prefix}", told_scheme.unwrap_or(scheme)),
            // A host that no URL can hold: a path is right all the same.
            None => prefix.clone(),
        };
        Front {
            location: Cow::Owned(location),
            link: Cow::Owned(prefix),
        }
    }
}

impl Front<'_> {
    /// The answer with its own paths made whole; a redirect to elsewhere stays as it is.
    pub(super) fn applied(&self, mut answer: Answer) -> Answer {
        let headers = answer.headers_mut();
        begin_with(headers, &header::LOCATION, "/v2/", "", &self.location);
        begin_with(headers, &header::LINK, "</v2/", "<", &self.link);
        answer
    }
}

fn begin_with(headers: &mut HeaderMap, name: &HeaderName, ours: &str, opening: &str, front: &str) {
    if front.is_empty() {
        return;
    }
    let Some(value) = headers.get_mut(name) else {
        return;
    };
    let path = value.to_str().ok().filter(|text| text.starts_with(ours));
    let whole = path.map(|text| format!("{opening}{front}{}", &text[opening.len()..]));
    if let Some(Ok(whole)) = whole.map(HeaderValue::try_from) {
        *value = whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap()]
    }

    /// Location and Link of an answer to a request from `peer` with these headers.
    fn answered(addressing: &Addressing, peer: &str, told: &[(&str, &str)]) -> (String, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in told {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let told = addressing.forwarded(&headers, peer.parse().unwrap());
        let front = addressing.front(&Uri::from_static("/v2/a/tags/list"), &headers, told);
        let mut answer = Answer::new(Body::empty());
        let mut header = |name, value| answer.headers_mut().insert(name, HeaderValue::from_static(value));
        header(header::LOCATION, "/v2/a/blobs/uploads/1");
        header(header::LINK, "</v2/a/tags/list?n=1&last=b>; rel=\"next\"");
        let answer = front.applied(answer);
        let text = |name| answer.headers()[name].to_str().unwrap().to_owned();
        (text(header::LOCATION), text(header::LINK))
    }

    const EVERYTHING: &[(&str, &str)] = &[
        ("host", "inner:5000"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "r.test"),
        ("x-forwarded-prefix", "/registry/"),
    ];

    #[test]
    fn by_default_both_are_paths_whatever_a_stranger_says() {
        let (location, link) = answered(&Addressing::relative(Vec::new()), PROXY, EVERYTHING);

        assert_eq!(location, "/v2/a/blobs/uploads/1");
        assert_eq!(link, "</v2/a/tags/list?n=1&last=b>; rel=\"next\"");
        let untrusted = answered(&Addressing::relative(trusted()), "192.0.2.9", EVERYTHING);
        assert_eq!(untrusted, (location, link));
    }

    #[test]
    fn a_prefix_that_a_trusted_proxy_took_off_is_put_back() {
        let (location, link) = answered(&Addressing::relative(trusted()), PROXY, EVERYTHING);

        assert_eq!(location, "/registry/v2/a/blobs/uploads/1");
        assert_eq!(link, "</registry/v2/a/tags/list?n=1&last=b>; rel=\"next\"");
    }

    #[test]
    fn an_external_url_wins_over_what_proxies_say() {
        let addressing = Addressing::fixed("https://r.example.com", "/hub/", trusted());

        let (location, link) = answered(&addressing, PROXY, EVERYTHING);

        assert_eq!(location, "https://r.example.com/hub/v2/a/blobs/uploads/1");
        assert_eq!(link, "</hub/v2/a/tags/list?n=1&last=b>; rel=\"next\"");
    }

    #[test]
    fn absolute_locations_follow_the_request_and_believe_trusted_proxies_only() {
        let addressing = Addressing::of_the_request("http", trusted());

        assert_eq!(
            answered(&addressing, PROXY, EVERYTHING).0,
            "https://r.test/registry/v2/a/blobs/uploads/1"
        );
        assert_eq!(
            answered(&addressing, "192.0.2.9", EVERYTHING).0,
            "http://inner:5000/v2/a/blobs/uploads/1"
        );
        assert_eq!(
            answered(&addressing, "192.0.2.9", &[("host", "ev il/")]).0,
            "/v2/a/blobs/uploads/1"
        );
    }

    #[test]
    fn a_redirect_to_elsewhere_stays_as_it_is() {
        let addressing = Addressing::fixed("https://r.example.com", "/hub", Vec::new());
        let mut answer = Answer::new(Body::empty());
        let elsewhere = HeaderValue::from_static("https://bucket.test/v2/key?sig=1");
        answer.headers_mut().insert(header::LOCATION, elsewhere.clone());

        let answer = addressing
            .front(&Uri::from_static("/"), &HeaderMap::new(), None)
            .applied(answer);

        assert_eq!(answer.headers()[header::LOCATION], elsewhere);
    }
}
