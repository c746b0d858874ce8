//! What a case is, what holds for every answer, and how a category is run.

use crate::log;
use crate::server::{Format, Server};
use crate::wire::{Answer, Request, Wire};
use std::time::{Duration, Instant};

/// Memory that may be gained by playing every case once more.
const GROWTH_BYTES: u64 = 10 * 1024 * 1024;
/// No single answer takes longer, even from a debug build on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const TIMES: usize = 4;
const SHOWN: usize = 30;
/// Endpoints times statuses times buckets: whatever clients send, there are no more kinds of things to count.
const MOST_SERIES: usize = 2000;

const CODES: [&str; 18] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "PAGINATION_NUMBER_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNKNOWN",
    "UNSUPPORTED",
];

/// Why an answer is not the one that should have come.
pub(crate) type Surprise = String;

/// The answers that are right.
#[derive(Debug, Clone)]
pub(crate) struct Expect {
    statuses: Vec<u16>,
    codes: Vec<&'static str>,
    /// The request may be refused below the API: no code, no headers of ours, or a closed connection.
    below: bool,
}

impl Expect {
    pub(crate) fn status(status: u16) -> Self {
        Self::any(&[status])
    }

    pub(crate) fn any(statuses: &[u16]) -> Self {
        Self {
            statuses: statuses.to_vec(),
            codes: Vec::new(),
            below: false,
        }
    }

    pub(crate) fn error(status: u16, code: &'static str) -> Self {
        Self::status(status).code(code)
    }

    /// One more code that is right.
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.codes.push(code);
        self
    }

    /// One more status that is right.
    pub(crate) fn or_status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    /// Bytes that are no request of HTTP.
    pub(crate) fn no_request() -> Self {
        Self::any(&[400, 414, 417, 431, 501, 505]).or_below()
    }

    pub(crate) fn or_below(mut self) -> Self {
        self.below = true;
        self
    }

    pub(crate) fn met_by(&self, answer: Option<&Answer>) -> Result<(), Surprise> {
        let Some(answer) = answer else {
            return if self.below {
                Ok(())
            } else {
                Err("no answer".to_owned())
            };
        };
        let ours = answer.header("docker-distribution-api-version").is_some();
        if !ours {
            let refused = [400, 414, 417, 431, 501, 505].contains(&answer.status);
            return if self.below && refused {
                Ok(())
            } else {
                Err(format!("{} from below the API", answer.status))
            };
        }
        invariants(answer)?;
        if !self.statuses.contains(&answer.status) {
            let told = String::from_utf8_lossy(&answer.body)
                .chars()
                .take(200)
                .collect::<String>();
            return Err(format!("{} instead of {:?}: {told}", answer.status, self.statuses));
        }
        match code(answer) {
            Some(code) if !self.codes.is_empty() && !self.codes.contains(&code.as_str()) => {
                Err(format!("code {code} instead of {:?}", self.codes))
            }
            _ => Ok(()),
        }
    }
}

/// The code of the first error in a body.
pub(crate) fn code(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    Some(body["errors"][0]["code"].as_str()?.to_owned())
}

/// What holds for every answer of the API.
fn invariants(answer: &Answer) -> Result<(), Surprise> {
    let status = answer.status;
    if status >= 500 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body)));
    }
    let must = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{status}: {what}"))
        }
    };
    must(
        answer.header("docker-distribution-api-version") == Some("registry/2.0"),
        "not a registry of version 2",
    )?;
    must(answer.header("content-encoding").is_none(), "it is compressed")?;
    let needs_no_length = matches!(status, 204 | 304);
    must(
        needs_no_length || answer.header("content-length").is_some(),
        "no length",
    )?;
    must(
        status != 204 || answer.header("content-length").is_none(),
        "204 with a length",
    )?;
    must(
        answer.all("content-length").len() <= 1 && answer.all("content-type").len() <= 1,
        "a header twice",
    )?;
    must(status != 405 || answer.header("allow").is_some(), "405 without Allow")?;
    for location in answer.all("location") {
        let plain = location.starts_with("/v2/") && !location.contains(['%', '?', '#', ' ']);
        must(plain, &format!("location {location}"))?;
    }
    // A range that a blob does not have is told in a header, without a body.
    let told_in_header = status == 416 && answer.header("content-range").is_some();
    if status >= 400 && !answer.to_head && !told_in_header {
        must(
            answer.header("content-type") == Some("application/json"),
            "an error that is not JSON",
        )?;
        error_body(answer).map_err(|what| format!("{status}: {what}"))?;
    }
    Ok(())
}

fn error_body(answer: &Answer) -> Result<(), Surprise> {
    let told = || {
        String::from_utf8_lossy(&answer.body)
            .chars()
            .take(300)
            .collect::<String>()
    };
    let body = answer.json().ok_or_else(|| format!("not JSON: {}", told()))?;
    let errors = body["errors"].as_array().filter(|errors| !errors.is_empty());
    for error in errors.ok_or_else(|| format!("no errors: {}", told()))? {
        let known = error["code"].as_str().is_some_and(|code| CODES.contains(&code));
        let message = error["message"].as_str().unwrap_or_default();
        if !known || message.is_empty() {
            return Err(format!("not a code with a message: {error}"));
        }
        if message.len() > 1000 || message.chars().any(char::is_control) {
            return Err(format!(
                "a message of {} bytes, or with control characters",
                message.len()
            ));
        }
    }
    Ok(())
}

/// Sends requests and looks at every answer.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            wire: Wire::to(&server.address),
        }
    }

    /// Another client of the same server.
    pub(crate) fn beside(&self) -> Self {
        Self {
            wire: self.wire.another(),
        }
    }

    /// The answer, if it is one of those expected.
    pub(crate) fn ask(&mut self, request: &Request, expect: &Expect) -> Result<Answer, Surprise> {
        self.try_ask(request, expect)?.ok_or_else(|| "no answer".to_owned())
    }

    /// As `ask`, for requests that may get no answer.
    pub(crate) fn try_ask(&mut self, request: &Request, expect: &Expect) -> Result<Option<Answer>, Surprise> {
        let begun = Instant::now();
        let in_context = |surprise: Surprise| format!("{}: {surprise}", request.shown());
        let answer = self.wire.exchange(request).map_err(in_context)?;
        expect.met_by(answer.as_ref()).map_err(in_context)?;
        if begun.elapsed() > ANSWER_LIMIT {
            return Err(in_context(format!("took {:?}", begun.elapsed())));
        }
        Ok(answer)
    }
}

type Play = Box<dyn Fn(&mut Client) -> Result<(), Surprise>>;

/// One line of the corpus.
pub(crate) struct Case {
    what: String,
    play: Play,
}

impl Case {
    /// Several requests, in the hands of a function.
    pub(crate) fn play(what: impl Into<String>, play: impl Fn(&mut Client) -> Result<(), Surprise> + 'static) -> Self {
        Self {
            what: what.into(),
            play: Box::new(play),
        }
    }

    /// One request and its answer.
    pub(crate) fn one(what: impl Into<String>, request: Request, expect: Expect) -> Self {
        Self::play(what, move |client| client.try_ask(&request, &expect).map(drop))
    }
}

/// Plays every case and gives the surprises.
pub(crate) fn play_all(client: &mut Client, cases: &[Case]) -> Vec<Surprise> {
    let outcome = |case: &Case| {
        let played = (case.play)(client);
        played.err().map(|surprise| format!("{}: {surprise}", case.what))
    };
    cases.iter().filter_map(outcome).collect()
}

/// Cases that are played on one server, in order; what they need there is made first.
pub(crate) struct Category {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn(&mut Client) -> Result<(), Surprise>,
    pub(crate) cases: Vec<Case>,
    /// How the logs are written: one server for each.
    pub(crate) formats: &'static [Format],
}

impl Category {
    pub(crate) fn new(name: &'static str, cases: Vec<Case>) -> Self {
        Self {
            name,
            prepare: |_| Ok(()),
            cases,
            formats: &[Format::Text, Format::Json],
        }
    }

    /// Runs it with a log for people and again with one for programs, and fails the test if anything surprises.
    pub(crate) fn hold(&self) {
        let mut surprises: Vec<Surprise> = self.formats.iter().flat_map(|format| self.surprises(*format)).collect();
        let (name, count, unexpected) = (self.name, self.cases.len(), surprises.len());
        println!("corpus: {name:<20} {count:>6} cases {unexpected:>6} unexpected");
        surprises.truncate(SHOWN);
        assert!(
            surprises.is_empty(),
            "{name}: {unexpected} unexpected:\n{}",
            surprises.join("\n")
        );
    }

    /// Everything that is not as it should be: answers, log, memory, metrics, the end.
    pub(crate) fn surprises(&self, format: Format) -> Vec<Surprise> {
        let server = Server::start(format);
        let mut client = Client::of(&server);
        if let Err(surprise) = (self.prepare)(&mut client) {
            return vec![format!("to begin with: {surprise}")];
        }
        let mut surprises = play_all(&mut client, &self.cases);
        if format == Format::Json {
            surprises.extend(self.growth(&server, &mut client));
        }
        let series = server.series();
        if series > MOST_SERIES {
            surprises.push(format!("{series} series of metrics"));
        }
        let (written, unclean) = server.stop();
        surprises.extend(unclean);
        surprises.extend(log::surprises(&written, format));
        surprises
    }
}

impl Category {
    /// Plays everything again until that costs no memory; what still costs it after several times is kept for ever.
    ///
    /// What the first times fill (caches, pools, the arenas of each thread) is no growth.
    fn growth(&self, server: &Server, client: &mut Client) -> Vec<Surprise> {
        let mut surprises = Vec::new();
        let mut grown = None;
        for _ in 0..TIMES {
            let before = server.resident_bytes();
            surprises = play_all(client, &self.cases);
            grown = growth(before, server.resident_bytes());
            if grown.is_none() || !surprises.is_empty() {
                break;
            }
        }
        surprises.extend(grown);
        surprises
    }
}

pub(crate) fn growth(before: u64, after: u64) -> Option<Surprise> {
    let grown = after.saturating_sub(before);
    (grown >= GROWTH_BYTES).then(|| format!("memory grew by {grown} bytes, from {before}"))
}
