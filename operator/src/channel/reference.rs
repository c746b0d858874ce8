//! Where a repository is; pure.

use std::net::IpAddr;

/// A repository and the registry that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, with a port where one is named.
    pub host: String,
    /// Name in the registry.
    pub name: String,
}

impl Repository {
    /// `text` as registry and name. Without TLS only where that is asked for, or nobody can listen in between.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn parse(text: &str, plain_http: bool) -> Result<Self, String> {
        let (host, name) = text
            .split_once('/')
            .ok_or_else(|| format!("{text} names no registry: write registry.example.com/{text}"))?;
        let names_a_registry = host.contains('.') || host.contains(':') || host == "localhost";
        if !names_a_registry {
            return Err(format!("{host} is no registry: write registry.example.com/{text}"));
        }
        if name.is_empty() || name.contains("//") || name.ends_with('/') || name.contains([':', '@']) {
            return Err(format!(
                "{name} is no repository: leave tag and digest out, they follow from the channel"
            ));
        }
        // The name that people write for Docker Hub is not the one that answers.
        let host = if host == "docker.io" {
            "registry-1.docker.io"
        } else {
            host
        };
        let scheme = if plain_http || is_near(host) { "http" } else { "https" };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Where the API of the registry begins.
    pub fn base(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

/// Whether `host` is in the cluster or on this machine.
fn is_near(host: &str) -> bool {
    let name = bare(host);
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    // A port of 443 is one of TLS, wherever it is.
    let has_tls = host.ends_with(":443");
    !has_tls && (is_loopback || name == "localhost" || [".svc", ".cluster.local"].iter().any(|end| name.ends_with(end)))
}

/// `host` without its port and without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cluster_and_the_machine_itself_are_asked_without_tls() {
        let scheme = |text: &str| Repository::parse(text, false).unwrap().scheme;

        assert_eq!(scheme("registry.example.com/a/b"), "https");
        assert_eq!(scheme("10.0.0.5:5000/a"), "https");
        assert_eq!(scheme("localhost.example.com/a"), "https");
        assert_eq!(scheme("main.team.svc:5000/a"), "http");
        assert_eq!(scheme("main.team.svc.cluster.local:5000/a"), "http");
        assert_eq!(scheme("127.0.0.1:5000/a"), "http");
        assert_eq!(scheme("[::1]:5000/a"), "http");
        assert_eq!(scheme("main.team.svc:443/a"), "https");
        assert_eq!(Repository::parse("10.0.0.5:5000/a", true).unwrap().scheme, "http");
    }

    #[test]
    fn what_is_no_repository_of_a_registry_is_refused_with_what_to_write() {
        for text in [
            "alpine",
            "library/alpine",
            "r.example.com/a:1",
            "r.example.com/a@sha256:0",
            "r.example.com/",
        ] {
            assert!(Repository::parse(text, false).is_err(), "{text}");
        }
    }
}
