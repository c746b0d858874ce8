//! What proxies say of the client: RFC 7239 `Forwarded`, and `X-Forwarded-…`. Pure.
//!
//! Each proxy appends what it saw, so the lists are read from the right, and only as far as those who wrote are
//! trusted: the client is the first address from the right that is no trusted proxy. Whatever stands left of it, the
//! client wrote itself. A proxy that knows one of the two forms passes the other on as the client sent it: where both
//! are there, what both say is believed, and of the client nothing when they contradict each other.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// What is believed of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) client: IpAddr,
    /// `http` or `https`.
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<String>,
    /// What the proxy took off the front of the path: empty, or with a slash at its front and none at its end.
    pub(super) prefix: String,
}

/// One proxy's word.
#[derive(Debug, Clone, Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<String>,
    host: Option<String>,
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Reads the headers of a request that came from a trusted proxy.
pub(super) fn forwarded(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> Forwarded {
    let standard = standard(headers).map(|hops| client_hop(&hops, peer, trusted));
    let customary = customary(headers).map(|hops| client_hop(&hops, peer, trusted));
    let (client, hop) = match (standard, customary) {
        (Some(one), Some(other)) if one.0 != other.0 => (peer, Hop::default()),
        (Some((client, one)), Some((_, other))) => (client, agreed(one, other)),
        (Some(told), None) | (None, Some(told)) => told,
        (None, None) => (peer, Hop::default()),
    };
    Forwarded {
        client,
        scheme: hop.scheme.as_deref().and_then(scheme),
        host: hop.host.filter(|host| is_host(host)),
        prefix: last(headers, "x-forwarded-prefix")
            .and_then(|text| prefix(&text))
            .unwrap_or_default(),
    }
}

fn agreed(one: Hop, other: Hop) -> Hop {
    let both = |one: Option<String>, other: Option<String>| match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(&other).then_some(one),
        // What only one of them says, the client may have written.
        _ => None,
    };
    Hop {
        address: one.address,
        scheme: both(one.scheme, other.scheme),
        host: both(one.host, other.host),
    }
}

/// The client, and what the outermost trusted proxy saw of its request.
fn client_hop(hops: &[Hop], peer: IpAddr, trusted: &[IpNet]) -> (IpAddr, Hop) {
    let (mut client, mut seen) = (peer, Hop::default());
    for hop in hops.iter().rev() {
        if !is_trusted(client, trusted) {
            break;
        }
        let Some(address) = hop.address else {
            // A hidden address: whoever passed it on is the last that is known.
            return (client, hop.clone());
        };
        (client, seen) = (address, hop.clone());
    }
    (client, seen)
}

/// `Forwarded: for=192.0.2.60;proto=http;host=h, for="[2001:db8::1]:4711"`
fn standard(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let lines: Vec<String> = lines(headers, "forwarded");
    (!lines.is_empty()).then(|| {
        let elements = lines.iter().flat_map(|line| split_unquoted(line, ','));
        elements.map(standard_hop).collect()
    })
}

fn standard_hop(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split_unquoted(element, ';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = address(&value),
            "proto" => hop.scheme = Some(value),
            "host" => hop.host = Some(value),
            _ => {}
        }
    }
    hop
}

/// `X-Forwarded-For`, with `-Proto` and `-Host` by the same count of proxies from the right.
fn customary(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let clients = list(headers, "x-forwarded-for");
    let (schemes, hosts) = (list(headers, "x-forwarded-proto"), list(headers, "x-forwarded-host"));
    let hops = clients.len().max(schemes.len().min(1)).max(hosts.len().min(1));
    // A list that is shorter was written by proxies that replace: its first value counts for all further ones.
    let from_the_right = |values: &[String], back: usize| {
        let back = back.min(values.len().checked_sub(1)?);
        values.get(values.len() - 1 - back).cloned()
    };
    let hop = |back: usize| Hop {
        address: clients.len().checked_sub(back + 1).and_then(|at| address(&clients[at])),
        scheme: from_the_right(&schemes, back),
        host: from_the_right(&hosts, back),
    };
    (hops > 0).then(|| (0..hops).rev().map(hop).collect())
}

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.get_all(name).iter().map(text).collect()
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = lines(headers, name);
    let values = lines.iter().flat_map(|line| line.split(','));
    values.map(|value| value.trim().to_owned()).collect()
}

fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    list(headers, name).pop()
}

fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        let splits = character == separator && !quoted;
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && character == '\\' && !escaped;
        splits
    })
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    inner.replace('\\', "")
}

/// An address with or without port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let parsed: Option<IpAddr> = bare.parse().ok();
    parsed
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"]
        .into_iter()
        .find(|known| text.eq_ignore_ascii_case(known))
}

/// True for what may stand between `://` and the path of a URL that we make.
pub(super) fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=261).contains(&text.len()) && text.bytes().all(plain) && text.parse::<http::uri::Authority>().is_ok()
}

fn prefix(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~".contains(&byte);
    let right = text.starts_with('/') && !text.starts_with("//") && text.len() <= 1024 && text.bytes().all(plain);
    right.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn read(told: &[(&str, &str)]) -> Forwarded {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in told {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        forwarded(&headers, PROXY.parse().unwrap(), &trusted)
    }

    fn client(told: &[(&str, &str)]) -> String {
        read(told).client.to_string()
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_not_trusted() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, fd00::7", "6.6.6.6"),
            ("unknown", PROXY),
            ("6.6.6.6, nonsense, 10.9.9.9", "10.9.9.9"),
            ("", PROXY),
        ] {
            assert_eq!(client(&[("x-forwarded-for", value)]), expected, "{value}");
        }
    }

    #[test]
    fn several_lines_of_a_header_are_one_list() {
        let told = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];

        assert_eq!(client(&told), "192.0.2.1");
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=6.6.6.6, for=192.0.2.1;proto=https, for=10.4.4.4", "192.0.2.1"),
            ("for=\"6.6.6.6, for=10.1.1.1\", for=192.0.2.1", "192.0.2.1"),
            ("for=_hidden", PROXY),
            ("proto=https", PROXY),
            (";;=,,\"", PROXY),
        ] {
            assert_eq!(client(&[("forwarded", value)]), expected, "{value}");
        }
    }

    #[test]
    fn scheme_and_host_are_those_that_the_outermost_trusted_proxy_saw() {
        let chain = read(&[(
            "forwarded",
            "for=6.6.6.6;proto=ftp;host=evil, for=192.0.2.1;proto=https;host=\"r.test:8443\", \
             for=10.4.4.4;proto=http;host=inner",
        )]);
        let replaced = read(&[
            ("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.4.4.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil, r.test, inner"),
        ]);
        let alone = read(&[("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "r.test")]);

        assert_eq!(
            (chain.scheme, chain.host.as_deref()),
            (Some("https"), Some("r.test:8443"))
        );
        assert_eq!(
            (replaced.scheme, replaced.host.as_deref()),
            (Some("https"), Some("r.test"))
        );
        assert_eq!((alone.scheme, alone.host.as_deref()), (Some("https"), Some("r.test")));
    }

    #[test]
    fn two_forms_that_contradict_each_other_are_not_believed() {
        let told = [
            ("forwarded", "for=6.6.6.6;host=evil;proto=https"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let agreeing = [
            ("forwarded", "for=192.0.2.1;proto=https;host=r.test"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "r.test"),
        ];

        let (neither, both) = (read(&told), read(&agreeing));

        assert_eq!((neither.client.to_string().as_str(), neither.host), (PROXY, None));
        assert_eq!(both.client.to_string(), "192.0.2.1");
        assert_eq!((both.scheme, both.host.as_deref()), (Some("https"), Some("r.test")));
    }

    #[test]
    fn beside_the_other_form_what_only_one_says_is_not_believed() {
        let (standard, customary) = (("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1"));
        for told in [
            [("forwarded", "for=192.0.2.1;proto=http;host=evil"), customary].as_slice(),
            &[
                standard,
                customary,
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "evil"),
            ],
        ] {
            let read = read(told);

            assert_eq!(read.client.to_string(), "192.0.2.1");
            assert_eq!((read.scheme, read.host), (None, None), "{told:?}");
        }
    }

    #[test]
    fn what_could_not_stand_in_a_url_is_left_out() {
        for host in ["a b", "h/evil", "u@h", "h>; rel", "", "h\"", "[", "h:port:x"] {
            assert_eq!(read(&[("x-forwarded-host", host)]).host, None, "{host}");
        }
        for (value, expected) in [
            ("/registry", "/registry"),
            ("/a/b/", "/a/b"),
            ("/", ""),
            ("registry", ""),
            ("//evil.test", ""),
            ("/a>;b", ""),
            ("/a?b", ""),
        ] {
            assert_eq!(read(&[("x-forwarded-prefix", value)]).prefix, expected, "{value}");
        }
        assert_eq!(read(&[("x-forwarded-proto", "gopher")]).scheme, None);
    }
}
