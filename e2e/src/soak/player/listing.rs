//! Lists: tags and referrers, page after page.

use serde_json::Value;

use super::{
    super::{
        history::{Call, Outcome, Record, RepositoryId, Seen},
        library::{ARTIFACT_TYPES, ManifestId},
    },
    Player,
    ask::failure,
};
use crate::conformance::client::{Answer, Request};

/// No list of the soak has so many pages.
const PAGES: usize = 200;

impl Player<'_> {
    pub(super) fn list_tags(&mut self, repository: RepositoryId) {
        let mut first = Request::new("GET", format!("/v2/{repository}/tags/list"));
        if self.random.chance(60) {
            let number = self.random.between(1, 12);
            first = first.parameter("n", &number.to_string());
        }
        let names = |answer: &Answer| texts(&answer.json()["tags"], Value::as_str);
        self.list(repository, Call::ListTags, first, names);
    }

    pub(super) fn list_referrers(&mut self, repository: RepositoryId) {
        let referrer = self.random.pick(&self.ground.library.referrers());
        let subject = referrer.and_then(|id| self.ground.library.manifest(id).subject);
        if let Some(subject) = subject {
            self.list_referrers_of(repository, subject);
        }
    }

    pub(super) fn list_referrers_of(&mut self, repository: RepositoryId, subject: ManifestId) {
        let digest = &self.ground.library.manifest(subject).digest;
        let kind = self.random.pick(&ARTIFACT_TYPES).filter(|_| self.random.chance(40));
        let mut first = Request::new("GET", format!("/v2/{repository}/referrers/{digest}"));
        if let Some(kind) = kind {
            first = first.parameter("artifactType", kind);
        }
        if self.random.chance(30) {
            first = first.parameter("n", "1");
        }
        let call = Call::ListReferrers { subject, kind };
        let digests = |answer: &Answer| texts(&answer.json()["manifests"], |entry| entry["digest"].as_str());
        self.list(repository, call, first, digests);
    }

    /// Follows the links, each at any replica. A list that breaks off half-way tells nothing.
    fn list(
        &mut self,
        repository: RepositoryId,
        call: Call,
        first: Request<'_>,
        entries: impl Fn(&Answer) -> Vec<String>,
    ) {
        let invoked = self.ground.recorder.now();
        let (mut names, mut next, mut replica) = (Vec::new(), Some(first.target), 0);
        let mut outcome = Outcome::Unknown("more pages than can be".to_owned());
        for _ in 0..PAGES {
            let Some(target) = next.take() else {
                outcome = Outcome::Done(Seen::Names(std::mem::take(&mut names)));
                break;
            };
            replica = self.random.below(self.clients.len());
            match self.clients[replica].send(&Request::new("GET", target)) {
                Ok(answer) if answer.status == 200 => {
                    names.extend(entries(&answer));
                    next = linked(answer.header("link"));
                }
                Ok(answer) => {
                    outcome = failure(&answer);
                    break;
                }
                Err(error) => {
                    outcome = Outcome::Unknown(format!("{error:#}"));
                    break;
                }
            }
        }
        self.ground.recorder.add(Record {
            client: self.number,
            replica,
            life: self.life(replica),
            repository,
            call,
            invoked,
            completed: self.ground.recorder.now(),
            outcome,
            wrong: None,
        });
    }
}

/// The text in each entry of a JSON list.
fn texts(list: &Value, text: impl Fn(&Value) -> Option<&str>) -> Vec<String> {
    let entries = list.as_array().map_or(&[][..], Vec::as_slice);
    entries
        .iter()
        .filter_map(|entry| text(entry).map(str::to_owned))
        .collect()
}

/// Path and query of `<…>; rel="next"`.
fn linked(header: &str) -> Option<String> {
    let (target, _) = header.strip_prefix('<')?.split_once('>')?;
    Some(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_to_its_target() {
        let header = "</v2/soak/r1/tags/list?n=2&last=t002>; rel=\"next\"";

        assert_eq!(linked(header).as_deref(), Some("/v2/soak/r1/tags/list?n=2&last=t002"));
        assert_eq!(linked(""), None);
    }
}
