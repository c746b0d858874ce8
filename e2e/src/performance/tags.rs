//! Fills repositories with tags and measures pages of 100 of them from the middle.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::figures::quantile;
use crate::{
    conformance::wire::{Connection, Head, Headers},
    progress::line,
};

const PAGE: u64 = 100;
/// Pages of each count that are not measured.
const WARM_UP: u64 = 50;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ANSWER: Duration = Duration::from_mins(1);

/// What to measure.
#[derive(Debug, Args)]
pub(super) struct Tags {
    /// The registry, without TLS and authentication: <http://127.0.0.1:5000>
    url: String,
    /// How many tags the repository has when pages are measured
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    counts: Vec<u64>,
    /// Tags in one push, up to Berth's `manifests.max_tags`; 1: a push for each tag, as every registry knows it
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    per_push: u64,
    /// Pages for each count
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(10..))]
    pages: u64,
    /// Give up filling after so long
    #[arg(long, default_value_t = 600)]
    secs: u64,
    /// The repositories were filled before
    #[arg(long)]
    filled: bool,
    /// How the names of the repositories begin, which should not have other tags; the count follows
    #[arg(long, default_value = "performance/tags")]
    repository: String,
    /// The target's name
    #[arg(long, default_value = "berth")]
    target: String,
}

impl Tags {
    /// Writes a line for each count, from the smallest on.
    ///
    /// Every count has a repository of its own, and their pages are asked for in turn: what else the machine does
    /// meanwhile slows all of them.
    ///
    /// # Errors
    /// When the registry does not take the tags in time, or answers with other pages than it must.
    pub(super) fn run(&self) -> Result<()> {
        let mut counts = self.counts.clone();
        counts.sort_unstable();
        if let Some(few) = counts.first().filter(|count| **count < 2 * PAGE) {
            bail!(
                "{few} tags have no page of {PAGE} in their middle: ask for at least {}",
                2 * PAGE
            );
        }
        let mut registry = Registry::connect(&self.url)?;
        let begun = Instant::now();
        for &count in counts.iter().filter(|_| !self.filled) {
            self.fill(&mut registry, count, begun)?;
        }
        let mut times = vec![Vec::new(); counts.len()];
        for turn in 0..WARM_UP + self.pages {
            for (count, times) in counts.iter().zip(&mut times) {
                let took = self.page(&mut registry, *count, turn)?;
                times.extend((turn >= WARM_UP).then_some(took.as_secs_f64() * 1000.0));
            }
        }
        for (count, times) in counts.iter().zip(&mut times) {
            line(&self.measured(*count, times).to_string());
        }
        Ok(())
    }

    fn fill(&self, registry: &mut Registry, count: u64, begun: Instant) -> Result<()> {
        registry.repository = self.repository(count);
        let manifest = registry.push_image()?;
        let mut filled = 0;
        while filled < count {
            ensure!(
                begun.elapsed() < Duration::from_secs(self.secs),
                "{filled} of {count} tags after {} s: allow more with --secs, or ask for fewer with --counts",
                self.secs
            );
            let until = count.min(filled + self.per_push);
            registry.tag(&manifest, filled..until)?;
            filled = until;
        }
        Ok(())
    }

    fn repository(&self, count: u64) -> String {
        format!("{}-{count}", self.repository)
    }

    /// Around the middle, never the same page twice in a row, so that no cache of answers is measured.
    fn page(&self, registry: &mut Registry, count: u64, turn: u64) -> Result<Duration> {
        let first = count / 2 - PAGE / 2 + turn % PAGE.min(count / 4);
        registry.repository = self.repository(count);
        let begun = Instant::now();
        let body = registry.page(first)?;
        let took = begun.elapsed();
        check(&body, first)?;
        Ok(took)
    }

    fn measured(&self, count: u64, times: &mut [f64]) -> Value {
        times.sort_by(f64::total_cmp);
        let at = |share| quantile(times, share).map(|ms| (ms * 1000.0).round() / 1000.0);
        json!({
            "target": self.target, "tags": count, "pages": self.pages,
            "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0),
        })
    }
}

fn name(tag: u64) -> String {
    format!("t{tag:08}")
}

/// The page after the tag before `first` has the 100 tags from `first` on.
fn check(body: &[u8], first: u64) -> Result<()> {
    let page: Value = serde_json::from_slice(body).context("the page is no JSON")?;
    let tags: Vec<&str> = page["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let expected: Vec<String> = (first..first + PAGE).map(name).collect();
    ensure!(
        tags == expected,
        "a page of {} tags from {:?} on, not the {PAGE} from {} on: is the repository new?",
        tags.len(),
        tags.first(),
        expected[0]
    );
    Ok(())
}

/// One connection that stays open.
struct Registry {
    connection: Connection,
    host: String,
    repository: String,
}

struct Answer {
    status: String,
    headers: Headers,
    body: Vec<u8>,
}

impl Registry {
    fn connect(url: &str) -> Result<Self> {
        let host = url
            .strip_prefix("http://")
            .context("only http:// addresses are known")?;
        let host = host.trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host).with_context(|| format!("no registry at {url}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Self {
            connection: Connection::new(stream),
            host,
            repository: String::new(),
        })
    }

    /// Pushes an image without layers; its manifest.
    fn push_image(&mut self) -> Result<Vec<u8>> {
        let config = b"{}";
        let started = self.send("POST", &self.path("blobs/uploads/"), b"")?.expect("202")?;
        let place = started.headers.get("location").context("an upload without Location")?;
        let place = place
            .split_once("://")
            .map_or(place, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let sign = if place.contains('?') { '&' } else { '?' };
        let digest = digest(config);
        self.send("PUT", &format!("{place}{sign}digest={digest}"), config)?
            .expect("201")?;
        let descriptor =
            json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": config.len()});
        Ok(serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.oci.empty.v1+json",
            "config": descriptor, "layers": [descriptor],
        }))?)
    }

    fn tag(&mut self, manifest: &[u8], tags: std::ops::Range<u64>) -> Result<()> {
        let one = tags.end - tags.start == 1;
        let reference = if one {
            name(tags.start)
        } else {
            let tags: Vec<String> = tags.map(|tag| format!("tag={}", name(tag))).collect();
            format!("{}?{}", digest(manifest), tags.join("&"))
        };
        let path = self.path(&format!("manifests/{reference}"));
        let answer = self.send("PUT", &path, manifest)?.expect("201")?;
        ensure!(
            one || answer.headers.get("oci-tag").is_some(),
            "the registry does not take several tags in a push: add --per-push 1"
        );
        Ok(())
    }

    fn page(&mut self, first: u64) -> Result<Vec<u8>> {
        let path = self.path(&format!("tags/list?n={PAGE}&last={}", name(first - 1)));
        Ok(self.send("GET", &path, b"")?.expect("200")?.body)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let kind = if path.contains("/manifests/") {
            MANIFEST
        } else {
            "application/octet-stream"
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.connection.write(&request)?;
        let head = self
            .connection
            .read_head()?
            .context("the registry closed the connection")?;
        let body = self.connection.read_body(&head.headers, false)?;
        let Head { first, headers } = head;
        let status = first.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Answer { status, headers, body })
    }
}

impl Answer {
    fn expect(self, status: &str) -> Result<Self> {
        if self.status != status {
            bail!(
                "status {} in place of {status}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            );
        }
        Ok(self)
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_that_was_asked_for_is_measured() {
        let page = |from: u64| {
            let tags: Vec<String> = (from..from + PAGE).map(name).collect();
            serde_json::to_vec(&json!({"name": "r", "tags": tags})).unwrap()
        };

        assert!(check(&page(450), 450).is_ok());
        assert!(check(&page(0), 450).is_err());
        assert!(check(b"{\"tags\":[]}", 450).is_err());
    }

    #[test]
    fn the_order_of_names_is_the_order_of_numbers() {
        assert!(name(9) < name(10) && name(99_999) < name(1_000_000));
    }
}
