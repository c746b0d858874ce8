//! What the official program does not look at, and clients do.

use serde_json::{Value, json};

use super::{
    Options, Profile, Suite, Tally,
    blobs::{Blob, Way},
    client::{Answer, Body, Request},
    content::{EMPTY, INDEX, MANIFEST, OCTETS, sha256},
    criteria,
    dataset::DataSet,
    manifests::manifest,
    tally::{Checked, Fault},
};

mod early;
mod heads;
mod manifests;
mod names;
mod ranges;
mod referrers;
mod tags;
mod uploads;

/// One check of a group.
type Check = (&'static str, fn(&mut Suite) -> Checked);

/// The groups; each has a repository of its own.
const GROUPS: &[(&str, &[Check])] = &[
    ("tags", tags::CHECKS),
    ("referrers", referrers::CHECKS),
    ("uploads", uploads::CHECKS),
    ("ranges", ranges::CHECKS),
    ("manifests", manifests::CHECKS),
    ("names", names::CHECKS),
    ("heads", heads::CHECKS),
];

/// Makes the checks of our own against the registry at `host`, which must be strict about missing content.
pub fn beyond(host: &str) -> Tally {
    let mut suite = Suite::new(host, Options::new(Profile::Dev, false));
    for (group, checks) in GROUPS {
        suite.tally.begin(group);
        suite.options.repository = format!("beyond/{group}");
        for (name, check) in *checks {
            let outcome = check(&mut suite);
            suite.tally.record(name, outcome);
        }
    }
    suite.early_answers();
    suite.tally
}

impl Suite {
    /// In a repository that no other check uses.
    fn alone(&mut self) -> String {
        let name = format!("beyond/alone-{}", self.random.word());
        self.options.repository.clone_from(&name);
        name
    }

    fn send(&mut self, request: &Request<'_>) -> Checked<Answer> {
        Ok(self.client.send(request)?)
    }

    fn get(&mut self, target: impl Into<String>) -> Checked<Answer> {
        self.send(&Request::new("GET", target))
    }

    /// Pushes a blob of random bytes; gives it and its digest.
    fn some_blob(&mut self, size: usize) -> Checked<(Vec<u8>, String)> {
        let bytes = self.random.bytes(size);
        let digest = sha256(&bytes);
        self.store(&bytes)?;
        Ok((bytes, digest))
    }

    fn store(&mut self, bytes: &[u8]) -> Checked<Value> {
        let digest = sha256(bytes);
        let blob = Blob {
            digest: &digest,
            bytes,
            corrupt: false,
        };
        self.push_blob(&self.repository(), blob, Way::PostPut)?;
        Ok(json!({"mediaType": OCTETS, "digest": digest, "size": bytes.len()}))
    }

    /// Pushes an image with these tags.
    fn some_image(&mut self, tags: &[&str]) -> Checked<DataSet> {
        // What it records is no check of this group.
        let counted = std::mem::take(&mut self.tally);
        let data = self.push_for_others(tags);
        let own = std::mem::replace(&mut self.tally, counted);
        match own.faults().first() {
            None => Ok(data),
            Some(fault) => Err(Fault::Failed(fault.clone())),
        }
    }

    /// An artifact with the empty object as configuration and these layers.
    fn artifact(&mut self, layers: &[Value]) -> Checked<Value> {
        let mut config = self.store(b"{}")?;
        config["mediaType"] = EMPTY.into();
        Ok(json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}))
    }

    fn put(&mut self, reference: &str, media_type: &str, body: &[u8]) -> Checked<Answer> {
        let put = Request::new("PUT", manifest(&self.repository(), reference));
        self.send(&put.header("content-type", media_type).body(Body::Chunked(body)))
    }

    /// Pushes a body by its digest, which must work; gives its descriptor.
    fn put_json(&mut self, media_type: &str, body: &Value) -> Checked<Value> {
        let bytes = body.to_string().into_bytes();
        let digest = sha256(&bytes);
        criteria::status(&self.put(&digest, media_type, &bytes)?, &[201])?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }
}

fn index(children: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
}

fn refused(answer: &Answer, status: u16, code: &str) -> Checked {
    criteria::status(answer, &[status])?;
    criteria::code(answer, code)
}

/// Follows `Link` from page to page; gives what `entries` finds on each of them.
fn pages(suite: &mut Suite, first: &str, entries: fn(&Answer) -> Vec<String>) -> Checked<Vec<Vec<String>>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(target) = next {
        let answer = suite.get(target)?;
        criteria::status(&answer, &[200])?;
        criteria::that(pages.len() < 100, "an end of the pages wanted", &answer)?;
        next = match answer.headers.get("link") {
            None => None,
            Some(link) => {
                let target = link
                    .strip_prefix('<')
                    .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
                let target = target.filter(|target| target.starts_with("/v2/"));
                Some(
                    target
                        .ok_or_else(|| criteria::failed("Link: </v2/…>; rel=\"next\" wanted", &answer))?
                        .to_owned(),
                )
            }
        };
        pages.push(entries(&answer));
    }
    Ok(pages)
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words.filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}
