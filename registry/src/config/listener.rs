//! The settings of the listener for clients.

use super::problem::Problem;
use super::values::Values;
use ipnet::IpNet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The listener for clients.
#[derive(Clone)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// How long requests may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Open connections; more wait until one ends.
    pub max_connections: u32,
    /// Requests under way; more are turned away.
    pub max_requests: u32,
    /// Those of them that push; more are turned away.
    pub max_uploads: u32,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request.
    pub idle_timeout: Duration,
    /// How long a client may neither send nor take anything in the middle of a body.
    pub stall_timeout: Duration,
    /// Absent: plain HTTP.
    pub tls: Option<Tls>,
    /// How clients find the registry.
    pub addressing: Addressing,
    /// Signs what the operator asks of the management API; without it that API is off.
    pub secret: Option<String>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("listen", &self.listen)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

/// The certificate, and who must show one.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file: the certificate, then its intermediates.
    pub certificate_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// One that they show must be of these authorities.
    Optional(PathBuf),
    /// They must show one of these authorities.
    Required(PathBuf),
}

/// How clients find the registry.
#[derive(Debug, Clone, Default)]
pub struct Addressing {
    /// What Locations begin with.
    pub external_url: Option<Url>,
    /// Locations have neither scheme nor host.
    pub relative_locations: bool,
    /// Whose word on the client, the host and the path is taken.
    pub trusted_proxies: Vec<IpNet>,
}

pub(super) fn http(values: &Values) -> Http {
    let external_url = values.url("http.external_url");
    Http {
        listen: values.address("http.listen"),
        drain_timeout: values.duration("http.drain_timeout"),
        max_connections: values.number("http.max_connections"),
        max_requests: values.number("http.max_requests"),
        max_uploads: values.number("http.max_uploads"),
        header_timeout: values.duration("http.header_timeout"),
        idle_timeout: values.duration("http.idle_timeout"),
        stall_timeout: values.duration("http.stall_timeout"),
        tls: tls(values),
        addressing: Addressing {
            relative_locations: match values.text("http.relative_locations") {
                Some(word) => word == "true",
                None => external_url.is_none(),
            },
            external_url,
            trusted_proxies: values.networks("http.trusted_proxies"),
        },
        secret: values.text("http.secret"),
    }
}

fn tls(values: &Values) -> Option<Tls> {
    let client_ca = values.path("http.tls.client_ca_file").unwrap_or_default();
    Some(Tls {
        certificate_file: values.path("http.tls.certificate_file")?,
        key_file: values.path("http.tls.key_file")?,
        client_auth: match values.text("http.tls.client_auth").as_deref() {
            Some("optional") => ClientAuth::Optional(client_ca),
            Some("required") => ClientAuth::Required(client_ca),
            _ => ClientAuth::None,
        },
    })
}

/// What is given without what it needs.
pub(super) fn contradictions(values: &Values) -> Vec<Problem> {
    let given = |path: &str| values.place(path).is_some();
    let mut found = Vec::new();
    let mut say = |cause: &str, path: &str, message: String| {
        found.push(Problem {
            place: values.place(cause).unwrap_or_default().to_owned(),
            path: path.to_owned(),
            message,
        });
    };
    let (certificate, key) = ("http.tls.certificate_file", "http.tls.key_file");
    for (one, other) in [(certificate, key), (key, certificate)] {
        if given(one) && !given(other) {
            say(one, other, format!("is missing; {one} is of no use without it"));
        }
    }
    let (ca, auth) = ("http.tls.client_ca_file", "http.tls.client_auth");
    let asks = values.text(auth).is_some_and(|word| word != "none");
    if asks && !given(ca) {
        let message = "is missing; name the authorities whose certificates are accepted".to_owned();
        say(auth, ca, message);
    }
    if given(ca) && !asks {
        let message = "asks no client for a certificate; set it to optional or required, or leave client_ca_file out";
        say(ca, auth, message.to_owned());
    }
    if (asks || given(ca)) && !given(certificate) && !given(key) {
        let message = "is missing; clients can show a certificate only where the registry has one";
        say(if asks { auth } else { ca }, certificate, message.to_owned());
    }
    let external = values.url("http.external_url");
    if external.is_some_and(|url| url.query().is_some() || url.fragment().is_some() || url.username() != "") {
        let message = "must be scheme, host and perhaps a path only; leave out user, `?` and `#`".to_owned();
        say("http.external_url", "http.external_url", message);
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    fn told(text: &str) -> String {
        load(&file(text)).unwrap_err().to_string()
    }

    fn file(text: &str) -> Sources {
        Sources {
            file: Some(("berth.yaml".into(), text.to_owned())),
            ..Sources::default()
        }
    }

    #[test]
    fn half_a_pair_is_told_with_the_missing_half() {
        let certificate = told("http: {tls: {certificate_file: /c}}\n");
        let key = told("http: {tls: {key_file: /k}}\n");

        assert!(
            certificate.contains("http.tls.key_file: is missing; http.tls.certificate_file is of no use"),
            "{certificate}"
        );
        assert!(key.contains("http.tls.certificate_file: is missing"), "{key}");
    }

    #[test]
    fn client_certificates_need_authorities_and_authorities_a_reason() {
        let pair = "certificate_file: /c, key_file: /k";
        let no_authority = told(&format!("http: {{tls: {{{pair}, client_auth: required}}}}\n"));
        let no_reason = told(&format!("http: {{tls: {{{pair}, client_ca_file: /a}}}}\n"));
        let no_tls = told("http: {tls: {client_ca_file: /a, client_auth: optional}}\n");

        assert!(no_authority.contains("client_ca_file: is missing"), "{no_authority}");
        assert!(no_reason.contains("optional or required"), "{no_reason}");
        assert!(no_tls.contains("certificate_file: is missing"), "{no_tls}");
    }

    #[test]
    fn locations_are_relative_until_an_external_url_is_given() {
        let relative = |text: &str| load(&file(text)).unwrap().config.http.addressing.relative_locations;

        assert!(relative(""));
        assert!(!relative("http: {external_url: 'https://h/p'}\n"));
        assert!(relative(
            "http: {external_url: 'https://h/p', relative_locations: true}\n"
        ));
        assert!(!relative("http: {relative_locations: false}\n"));
    }

    #[test]
    fn an_external_url_has_no_query_and_no_user() {
        for url in ["https://h/?a=b", "https://h/#a", "https://u@h/"] {
            let told = told(&format!("http: {{external_url: '{url}'}}\n"));

            assert!(told.contains("scheme, host and perhaps a path only"), "{told}");
        }
    }

    #[test]
    fn proxies_are_addresses_and_ranges() {
        let config = load(&file("http: {trusted_proxies: '10.0.0.0/8, fd00::/8,192.0.2.7'}\n"))
            .unwrap()
            .config;

        let shown: Vec<String> = config
            .http
            .addressing
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);
        assert!(told("http: {trusted_proxies: 'proxy.example.com'}\n").contains("addresses and ranges such as"));
    }
}
