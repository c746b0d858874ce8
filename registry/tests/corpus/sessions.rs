//! Upload sessions in the hands of clients that repeat, reorder, borrow and guess.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{bytes, open_session, sha256, sha512};
use crate::random::Random;
use crate::wire::Request;

const NAME: &str = "corpus/sessions";
const OTHER: &str = "corpus/sessions/other";
const SCRIPTS: usize = 130;

fn unknown() -> Expect {
    Expect::error(404, "BLOB_UPLOAD_UNKNOWN")
}

/// What a session must be, kept beside it.
struct Model {
    at: String,
    stored: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    /// Closed with this digest.
    Stored(String),
    /// Cancelled, or closed with a digest that did not fit.
    Lost,
}

impl Model {
    fn opened(client: &mut Client) -> Result<Self, Surprise> {
        Ok(Self {
            at: open_session(client, NAME)?,
            stored: Vec::new(),
            state: State::Open,
        })
    }

    fn range(&self) -> String {
        format!("0-{}", self.stored.len().saturating_sub(1))
    }

    /// What is told of the session is what the model holds.
    fn check(&self, client: &mut Client) -> Result<(), Surprise> {
        let status = Request::new("GET", &self.at);
        if self.state != State::Open {
            return client.ask(&status, &unknown()).map(drop);
        }
        let answer = client.ask(&status, &Expect::status(204))?;
        let told = (answer.header("range"), answer.header("location"));
        let right = told == (Some(&*self.range()), Some(&*self.at));
        right
            .then_some(())
            .ok_or_else(|| format!("{told:?} instead of {}", self.range()))
    }

    /// A chunk that says where it belongs, `off` bytes beside its place.
    fn chunk(&mut self, client: &mut Client, piece: &[u8], off: i64) -> Result<(), Surprise> {
        let start = (i64::try_from(self.stored.len()).unwrap() + off).max(0);
        let is_at_end = start == i64::try_from(self.stored.len()).unwrap();
        let end = start + i64::try_from(piece.len()).unwrap() - 1;
        let patch = Request::new("PATCH", &self.at)
            .header("Content-Range", format!("{start}-{end}"))
            .body(piece);
        if self.state != State::Open {
            return client.ask(&patch, &unknown()).map(drop);
        }
        if !is_at_end {
            let refused = client.ask(&patch, &Expect::error(416, "BLOB_UPLOAD_INVALID"))?;
            let told = refused.header("range").map(str::to_owned);
            return (told == Some(self.range()))
                .then_some(())
                .ok_or_else(|| format!("{told:?} is told"));
        }
        client.ask(&patch, &Expect::status(202))?;
        self.stored.extend_from_slice(piece);
        Ok(())
    }

    fn stream(&mut self, client: &mut Client, piece: &[u8]) -> Result<(), Surprise> {
        let patch = Request::new("PATCH", &self.at).body(piece);
        if self.state != State::Open {
            return client.ask(&patch, &unknown()).map(drop);
        }
        client.ask(&patch, &Expect::status(202))?;
        self.stored.extend_from_slice(piece);
        Ok(())
    }

    /// More or fewer bytes than the range says: none are kept.
    fn lie(&mut self, client: &mut Client, piece: &[u8]) -> Result<(), Surprise> {
        let (start, end) = (self.stored.len(), self.stored.len() + piece.len());
        let patch = Request::new("PATCH", &self.at)
            .header("Content-Range", format!("{start}-{end}"))
            .body(piece);
        let expect = if self.state == State::Open {
            Expect::error(400, "SIZE_INVALID")
        } else {
            unknown()
        };
        client.ask(&patch, &expect).map(drop)
    }

    /// The closing PUT, with a last piece; `right` says whether its digest fits.
    fn close(&mut self, client: &mut Client, piece: &[u8], right: bool) -> Result<(), Surprise> {
        let whole = [&self.stored, piece].concat();
        let digest = if right {
            sha512(&whole)
        } else {
            sha256(b"something else")
        };
        let close = Request::new("PUT", format!("{}?digest={digest}", self.at)).body(piece);
        if self.state != State::Open {
            // A repetition of what succeeded may be told of its success.
            let again = if self.state == State::Stored(digest) {
                unknown().or_status(201)
            } else {
                unknown()
            };
            return client.ask(&close, &again).map(drop);
        }
        let expect = if right {
            Expect::status(201)
        } else {
            Expect::error(400, "DIGEST_INVALID")
        };
        client.ask(&close, &expect)?;
        self.state = if right { State::Stored(digest) } else { State::Lost };
        self.stored = whole;
        Ok(())
    }

    fn close_badly(&self, client: &mut Client, query: &str) -> Result<(), Surprise> {
        let close = Request::new("PUT", format!("{}{query}", self.at));
        let expect = Expect::error(400, "DIGEST_INVALID");
        // The query is looked at before the session.
        let expect = if self.state == State::Open {
            expect
        } else {
            expect.or_status(404).code("BLOB_UPLOAD_UNKNOWN")
        };
        client.ask(&close, &expect).map(drop)
    }

    fn cancel(&mut self, client: &mut Client) -> Result<(), Surprise> {
        let cancel = Request::new("DELETE", &self.at);
        if self.state != State::Open {
            return client.ask(&cancel, &unknown()).map(drop);
        }
        client.ask(&cancel, &Expect::status(204))?;
        self.state = State::Lost;
        Ok(())
    }

    /// From another repository it is nobody's.
    fn borrow(&self, client: &mut Client, method: &str) -> Result<(), Surprise> {
        let borrowed = format!("{}?digest={}", self.at.replacen(NAME, OTHER, 1), sha256(b""));
        client
            .ask(&Request::new(method, borrowed).body(""), &unknown())
            .map(drop)
    }
}

/// A random walk through everything that can be asked of one session.
fn script(seed: u64) -> Case {
    Case::play(format!("script {seed}"), move |client| {
        let mut random = Random::seeded(7000 + seed);
        let mut model = Model::opened(client)?;
        for step in 0..12 {
            let length = *random.pick(&[1, 2, 10, 1000]);
            let piece = &bytes(length + usize::try_from(seed).unwrap() % 50);
            let walked = match random.below(16) {
                0..=3 => model.chunk(client, piece, 0),
                4 => model.chunk(client, piece, 1),
                5 => model.chunk(client, piece, -1),
                6 => model.chunk(client, piece, 1 << 40),
                7 | 8 => model.stream(client, piece),
                9 => model.stream(client, b""),
                10 => model.lie(client, piece),
                11 => model.close_badly(
                    client,
                    random.pick::<&str>(&["", "?digest=", "?digest=md5:00", "?digest=sha256:00", "?x=y"]),
                ),
                12 => model.borrow(client, random.pick::<&str>(&["GET", "PATCH", "PUT", "DELETE"])),
                13 if step > 3 => model.close(client, piece, random.once_in(2)),
                14 if step > 3 => model.cancel(client),
                _ => model
                    .close(client, b"", true)
                    .and_then(|()| model.close(client, b"", true)),
            };
            walked
                .and_then(|()| model.check(client))
                .map_err(|what| format!("step {step}: {what}"))?;
        }
        match &model.state {
            State::Stored(digest) => {
                let pulled = client.ask(
                    &Request::new("GET", format!("/v2/{NAME}/blobs/{digest}")),
                    &Expect::status(200),
                )?;
                (pulled.body == model.stored)
                    .then_some(())
                    .ok_or_else(|| "other bytes".to_owned())
            }
            State::Open | State::Lost => Ok(()),
        }
    })
}

/// Ids that are almost ours.
fn guesses() -> Vec<Case> {
    let flipped = |at: usize| {
        Case::play(format!("digit {at} of the id is another"), move |client| {
            let path = open_session(client, NAME)?;
            let (before, id) = path.rsplit_once('/').ok_or("no id")?;
            let mut letters: Vec<char> = id.chars().collect();
            letters[at] = match letters[at] {
                '0' => '1',
                _ => '0',
            };
            let guess = format!("{before}/{}", letters.into_iter().collect::<String>());
            for method in ["GET", "PATCH", "DELETE"] {
                client.ask(&Request::new(method, &guess), &unknown())?;
            }
            client.ask(&Request::new("GET", &path), &Expect::status(204)).map(drop)
        })
    };
    let written = [
        "x",
        "0",
        "..",
        ".",
        "%2e%2e",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "null",
        "-1",
        "'",
        "%00",
        "%0d%0a",
        "a%20b",
        "%e2%80%ae",
        "*",
        "{id}",
        "latest",
        "sha256:00",
        "0000000000000000000000000000000g",
    ];
    let written = written.map(|id| {
        let expect = if id.contains('{') {
            unknown().or_below()
        } else {
            unknown()
        };
        Case::one(
            format!("session {id}"),
            Request::new("PATCH", format!("/v2/{NAME}/blobs/uploads/{id}")).body("x"),
            expect,
        )
    });
    (0..36).map(flipped).chain(written).collect()
}

/// Two at once: whichever is first, no byte is invented, and a success is whole.
fn races() -> Vec<Case> {
    let race = |number: usize| {
        Case::play(format!("close beside a chunk {number}"), move |client| {
            let at = open_session(client, NAME)?;
            let first = bytes(2000 + number);
            client.ask(&Request::new("PATCH", &at).body(first.clone()), &Expect::status(202))?;
            let digest = sha256(&first);
            let close = Request::new("PUT", format!("{at}?digest={digest}"));
            let patch = Request::new("PATCH", &at)
                .header("Content-Range", format!("{}-{}", first.len(), first.len() + 999))
                .body(bytes(1000));
            let mut beside = client.beside();
            let chunk = std::thread::spawn(move || {
                beside
                    .ask(&patch, &Expect::any(&[202, 404, 416]))
                    .map(|answer| answer.status)
            });
            let closed = client.ask(&close, &Expect::any(&[201, 400, 404, 416]))?.status;
            let appended = chunk.join().map_err(|_panic| "the other client died")??;
            if (closed == 201) == (appended == 202) {
                return Err(format!("the close got {closed}, the chunk {appended}"));
            }
            let found = if closed == 201 {
                Expect::status(200)
            } else {
                Expect::any(&[404, 200])
            };
            client
                .ask(&Request::new("HEAD", format!("/v2/{NAME}/blobs/{digest}")), &found)
                .map(drop)
        })
    };
    let twice = |number: usize| {
        Case::play(format!("close beside a close {number}"), move |client| {
            let at = open_session(client, NAME)?;
            let content = bytes(3000 + number);
            client.ask(&Request::new("PATCH", &at).body(content.clone()), &Expect::status(202))?;
            let close = Request::new("PUT", format!("{at}?digest={}", sha256(&content)));
            let (mut beside, again) = (client.beside(), close.clone());
            let other = std::thread::spawn(move || {
                beside
                    .ask(&again, &Expect::any(&[201, 404, 416]))
                    .map(|answer| answer.status)
            });
            let one = client.ask(&close, &Expect::any(&[201, 404, 416]))?.status;
            let other = other.join().map_err(|_panic| "the other client died")??;
            [one, other]
                .contains(&201)
                .then_some(())
                .ok_or_else(|| format!("{one} and {other}"))
        })
    };
    (0..15).map(race).chain((0..10).map(twice)).collect()
}

#[test]
fn a_session_keeps_what_it_acknowledged_and_nothing_else() {
    let cases: Vec<Case> = (0..SCRIPTS as u64)
        .map(script)
        .chain(guesses())
        .chain(races())
        .collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    Category::new("upload state", cases).hold();
}
