//! The checks of the OCI conformance program at the HTTP level, and more of our own.
//!
//! The program itself cannot be installed from a package registry. These are its checks, written anew: the same
//! requests with the same habits, the same criteria, and the same way of counting, so that its totals can be expected here:
//! 860 in the profile `stable`, 1,032 in the profile `dev` with sparse content ([`Options::official_total`]). It is a
//! copy of its judgement, not the program: a difference between the two is a fault of this copy.
//!
//! - `wire`, `client`: HTTP with the habits of Go's client.
//! - `criteria`: what an answer must be.
//! - `blobs`, `manifests`: one operation each, as checks.
//! - `blob_group`, `dataset`, `dataset_group`, `once`: the groups of the official program.
//! - [`older`]: the official suite of 2023, which can be installed.
//! - [`proxy`]: a registry with one mistake. A checker that does not find it is worth nothing.
//! - `beyond`: what the official program does not look at, and clients do.

mod beyond;
mod blob_group;
mod blobs;
pub(crate) mod client;
mod command;
mod content;
mod criteria;
mod dataset;
mod dataset_group;
mod manifests;
pub mod mistake;
pub mod older;
mod once;
pub mod proxy;
mod tally;
pub(crate) mod wire;

use anyhow::{Result, bail};

pub use beyond::beyond;
use blobs::{Blob, Way};
use client::{Client, Request};
pub use command::{lines, main};
use content::{Algorithm, Random};
use mistake::{EFFECTS, Effect};
use proxy::Proxy;
pub use tally::{Counts, Tally};

/// Which level of the specification is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What is released.
    Stable,
    /// What is in the main branch: upload cancel, digest headers everywhere, tags as parameters.
    Dev,
}

impl Profile {
    fn cancels_uploads(self) -> bool {
        self == Self::Dev
    }

    fn tags_by_parameter(self) -> bool {
        self == Self::Dev
    }
}

/// What is asked of a registry.
#[derive(Debug, Clone)]
pub struct Options {
    /// The level.
    pub profile: Profile,
    /// Manifests whose layers and children are not there must be accepted.
    pub sparse: bool,
    /// A repository that need not be there yet.
    pub repository: String,
    /// Where blobs are mounted from.
    pub other_repository: String,
}

impl Options {
    /// In repositories of their own.
    pub fn new(profile: Profile, sparse: bool) -> Self {
        Self {
            profile,
            sparse,
            repository: "conformance/repo1".to_owned(),
            other_repository: "conformance/repo2".to_owned(),
        }
    }

    /// The same, in other repositories.
    #[must_use]
    pub fn below(self, namespace: &str) -> Self {
        Self {
            repository: format!("{namespace}/repo1"),
            other_repository: format!("{namespace}/repo2"),
            ..self
        }
    }

    /// How many checks the official program makes with these options.
    pub fn official_total(&self) -> usize {
        let profile = match self.profile {
            Profile::Stable => 860,
            Profile::Dev => 986,
        };
        profile + if self.sparse { 46 } else { 0 }
    }

    fn demands_digests(&self) -> bool {
        self.profile == Profile::Dev
    }
}

/// A run against one registry.
#[derive(Debug)]
struct Suite {
    client: Client,
    tally: Tally,
    options: Options,
    random: Random,
    /// What the registry wants chunks to have at least.
    shortest_chunk: usize,
}

impl Suite {
    fn new(host: &str, options: Options) -> Self {
        Self {
            client: Client::new(host),
            tally: Tally::default(),
            options,
            random: Random::new(),
            shortest_chunk: blobs::CHUNK,
        }
    }

    fn repository(&self) -> String {
        self.options.repository.clone()
    }
}

/// Makes every check of the official program against the registry at `host` (`address:port`).
pub fn run(host: &str, options: Options) -> Tally {
    let mut suite = Suite::new(host, options);
    suite.before_anything();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        suite.blob_group(algorithm);
    }
    for set in dataset::SETS {
        if set.is_in(&suite.options) {
            suite.dataset_group(set);
        }
    }
    suite.manifest_errors();
    suite.tally
}

/// The status with which a GET of a blob is answered that is pushed for the purpose; a redirect is not followed.
///
/// # Errors
/// When the blob cannot be pushed, or there is no answer.
pub fn blob_status(host: &str) -> Result<u16> {
    let mut suite = Suite::new(host, Options::new(Profile::Stable, false).below("probe"));
    let bytes = suite.random.bytes(1000);
    let digest = content::sha256(&bytes);
    let blob = Blob {
        digest: &digest,
        bytes: &bytes,
        corrupt: false,
    };
    let repository = suite.repository();
    if let Err(fault) = suite.push_blob(&repository, blob, Way::PostPut) {
        bail!("push a blob: {fault}");
    }
    let get = Request::new("GET", blobs::blob(&repository, &digest));
    Ok(Client::new(host).without_redirects().send(&get)?.status)
}

/// Makes every check against the registry at `host` behind a proxy with one mistake, and each mistake of the table in
/// turn. The registry must accept sparse content.
///
/// # Errors
/// When a proxy cannot be started.
pub fn with_mistakes(host: &str) -> Result<Vec<(Effect, Counts)>> {
    let mut found = Vec::new();
    for (number, effect) in EFFECTS.iter().enumerate() {
        let proxy = Proxy::start(host, effect.mistake)?;
        let options = Options::new(Profile::Dev, true).below(&format!("mistake{number}"));
        found.push((*effect, run(&proxy.host(), options).total()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use wire::{Connection, Head, Headers};

    /// Answers every request with 200 and nothing.
    fn yes_sayer() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || say_yes(Connection::new(stream)).ok());
            }
        });
        host
    }

    fn say_yes(mut connection: Connection) -> Result<()> {
        while let Some(request) = connection.read_head()? {
            connection.read_body(&request.headers, false)?;
            let mut headers = Headers::default();
            headers.add("content-length", "0");
            let first = "HTTP/1.1 200 OK".to_owned();
            connection.write_head(&Head { first, headers })?;
        }
        Ok(())
    }

    #[test]
    fn a_server_that_says_yes_to_everything_passes_the_ping_alone() {
        let tally = run(&yes_sayer(), Options::new(Profile::Dev, true));

        assert_eq!(tally.total().passed, 1, "{:?}", tally.groups());
    }

    #[test]
    fn a_server_that_is_not_there_passes_nothing() {
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();

        let tally = run(&gone, Options::new(Profile::Stable, false));

        assert_eq!(tally.total().passed, 0, "{:?}", tally.groups());
    }
}
