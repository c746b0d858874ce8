//! Sending clients to the store for the bytes of a blob.
//!
//! Only GET of a blob: what is signed for GET fails for HEAD, and a manifest is read by clients that compare headers.
//! The store's answer lacks `Docker-Content-Digest`, so the redirect carries it.

use super::answer::{Answer, DOCKER_CONTENT_DIGEST, empty, with};
use super::client::ClientAddress;
use crate::distribution::Distribution;
use crate::metadata::blobs::Blob;
use http::request::Parts;
use http::{StatusCode, header};
use ipnet::IpNet;
use oci::Digest;
use std::time::Duration;

/// Which clients are sent to the store, and for how long what they get is good.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Which.
    pub clients: Redirected,
    /// How long a client may begin to fetch from the URL.
    pub lifetime: Duration,
}

/// Which clients are sent to the store.
#[derive(Debug, Clone)]
pub enum Redirected {
    /// None.
    None,
    /// Every one.
    All,
    /// Those that are in both lists; an empty list is not looked at.
    Matching {
        /// Beginnings of `User-Agent`, in any case.
        user_agents: Vec<String>,
        /// Networks of clients. One whose address is not known is in none.
        networks: Vec<IpNet>,
    },
}

impl Redirect {
    /// Itself, when this request is to be redirected.
    pub(super) fn wanted(&self, request: &Parts) -> Option<&Self> {
        let wanted = match &self.clients {
            Redirected::None => false,
            Redirected::All => true,
            Redirected::Matching { user_agents, networks } => {
                let by_agent = user_agents.is_empty() || agent_is_in(user_agents, request);
                by_agent && (networks.is_empty() || address_is_in(networks, request))
            }
        };
        wanted.then_some(self)
    }

    /// The answer to a GET of a blob; `None` when we must serve it: from local files, or when nothing can be signed now.
    pub(super) async fn answer(&self, distribution: &Distribution, blob: &Blob, digest: &Digest) -> Option<Answer> {
        let url = match distribution.blob_url(blob, self.lifetime).await {
            Ok(url) => url?,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a blob is served in place of a redirect: its URL was not signed");
                return None;
            }
        };
        let answer = with(empty(StatusCode::TEMPORARY_REDIRECT), header::LOCATION, url);
        let answer = with(answer, DOCKER_CONTENT_DIGEST, digest.to_string());
        Some(with(answer, header::CACHE_CONTROL, "no-store"))
    }
}

fn agent_is_in(beginnings: &[String], request: &Parts) -> bool {
    let agent = request.headers.get(header::USER_AGENT);
    let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) else {
        return false;
    };
    let begins_with = |beginning: &String| {
        agent
            .get(..beginning.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    beginnings.iter().any(begins_with)
}

fn address_is_in(networks: &[IpNet], request: &Parts) -> bool {
    let Some(ClientAddress(address)) = request.extensions.get() else {
        return false;
    };
    // A client of IPv4 may arrive at a listener of IPv6.
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(agent: Option<&str>, address: Option<&str>) -> Parts {
        let mut request = http::Request::new(());
        if let Some(agent) = agent {
            request.headers_mut().insert(header::USER_AGENT, agent.parse().unwrap());
        }
        if let Some(address) = address {
            request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
        }
        request.into_parts().0
    }

    fn matching(user_agents: &[&str], networks: &[&str]) -> Redirect {
        Redirect {
            clients: Redirected::Matching {
                user_agents: user_agents.iter().map(|&agent| agent.to_owned()).collect(),
                networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            },
            lifetime: Duration::from_mins(20),
        }
    }

    #[test]
    fn a_client_is_redirected_by_the_beginning_of_its_name() {
        let redirect = matching(&["containerd/", "Docker/"], &[]);

        for (agent, redirected) in [
            (Some("containerd/2.0"), true),
            (Some("docker/27.1 go/go1.22"), true),
            (Some("Go-http-client/1.1 containerd/2.0"), false),
            (Some("contain"), false),
            (None, false),
        ] {
            assert_eq!(
                redirect.wanted(&request(agent, None)).is_some(),
                redirected,
                "{agent:?}"
            );
        }
    }

    #[test]
    fn a_client_is_redirected_by_its_network() {
        let redirect = matching(&[], &["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);

        for (address, redirected) in [
            (Some("10.1.2.3"), true),
            (Some("::ffff:10.1.2.3"), true),
            (Some("fd00::1"), true),
            (Some("192.0.2.7"), true),
            (Some("192.0.2.8"), false),
            (Some("2001:db8::1"), false),
            (None, false),
        ] {
            assert_eq!(
                redirect.wanted(&request(None, address)).is_some(),
                redirected,
                "{address:?}"
            );
        }
    }

    #[test]
    fn a_client_must_be_in_both_lists() {
        let redirect = matching(&["containerd/"], &["10.0.0.0/8"]);
        let asks = |agent, address| redirect.wanted(&request(Some(agent), Some(address))).is_some();

        assert!(asks("containerd/2", "10.0.0.1"));
        assert!(!asks("containerd/2", "11.0.0.1"));
        assert!(!asks("docker/2", "10.0.0.1"));
    }
}
