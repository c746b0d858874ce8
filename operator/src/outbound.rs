//! Requests to addresses that a user names: where they may go, how long they may take, how much of an answer is read.
//!
//! Redirects are never followed. Addresses of a single machine's own network, where clouds keep the credentials of a node,
//! are refused, also when a name turns into one between two requests: the address that was checked is the one that is
//! connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::{Host, Url};

/// Why no request is made, or no answer taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not an address for HTTP.
    #[error("the address must be a URL that begins with https:// or http://")]
    NotHttp,
    /// The address carries a user name or a password.
    #[error("the address must not carry a user name or password")]
    Userinfo,
    /// Nothing on that network is meant to be asked.
    #[error("the address is on a network that belongs to one machine or to no machine")]
    Network,
    /// An answer of more bytes than fit.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer broke off.
    #[error("the answer broke off")]
    BrokeOff,
}

/// A client that gives up on an answer after `limit`.
///
/// # Errors
/// When the client cannot be set up.
pub fn client(limit: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(limit)
        .connect_timeout(limit.min(Duration::from_secs(5)))
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1)
        .user_agent(concat!("berth-operator/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Careful))
        .build()
}

/// `text` as a URL to which a request may be made.
///
/// # Errors
/// [`Refused`].
pub fn address(text: &str) -> Result<Url, Refused> {
    let url = Url::parse(text.trim()).map_err(|_unparsed| Refused::NotHttp)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Refused::NotHttp);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Userinfo);
    }
    let is_allowed = match url.host() {
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(ip)) => may_be_asked(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => may_be_asked(IpAddr::V6(ip)),
        None => return Err(Refused::NotHttp),
    };
    if is_allowed { Ok(url) } else { Err(Refused::Network) }
}

/// At most `limit` bytes of an answer.
///
/// # Errors
/// [`Refused::TooLong`], [`Refused::BrokeOff`].
pub async fn body(mut answer: Response, limit: usize) -> Result<Vec<u8>, Refused> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|_broken| Refused::BrokeOff)? {
        if body.len() + piece.len() > limit {
            return Err(Refused::TooLong(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Whether requests may go to `ip`.
pub fn may_be_asked(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_asked_v4(ip),
        IpAddr::V6(ip) => is_asked_v6(ip),
    }
}

fn is_asked_v4(ip: Ipv4Addr) -> bool {
    !(ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0)
}

fn is_asked_v6(ip: Ipv6Addr) -> bool {
    /// Amazon's metadata service.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() || ip == METADATA {
        return false;
    }
    // Addresses that stand for one of IPv4: mapped, compatible, NAT64, 6to4; site-local ones belong to nobody any more.
    let pieces = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let inner = match pieces {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x64, 0xff9b, _, _, _, _, high, low] | [0x2002, high, low, _, _, _, _, _] => Some(v4(high, low)),
        _ => None,
    };
    (pieces[0] & 0xffc0) != 0xfec0 && inner.is_none_or(is_asked_v4)
}

/// Looks names up and leaves out addresses that may not be asked.
struct Careful;

impl Resolve for Careful {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| may_be_asked(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Refused::Network.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_one_machine_are_refused_in_every_spelling() {
        for text in [
            "http://169.254.169.254/latest",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://169.254.43518/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fe80::1]/",
            "http://[fec0::1]/",
            "http://[fd00:ec2::254]/",
            "http://[ff02::1]/",
            "http://[::]/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
        ] {
            assert_eq!(address(text), Err(Refused::Network), "{text}");
        }
    }

    #[test]
    fn addresses_of_a_cluster_and_of_the_world_are_taken() {
        for text in [
            "https://hooks.example.com/a",
            "http://10.0.0.7:8080/",
            "http://alerts.monitoring.svc/",
            "http://[fd12::7]/",
            "http://127.0.0.1:9/",
        ] {
            assert!(address(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_for_http_or_carries_a_password_is_refused() {
        assert_eq!(address("ftp://example.com"), Err(Refused::NotHttp));
        assert_eq!(address("file:///etc/passwd"), Err(Refused::NotHttp));
        assert_eq!(address("example.com"), Err(Refused::NotHttp));
        assert_eq!(address("https://user:secret@example.com"), Err(Refused::Userinfo));
    }
}
