//! A proxy before the S3 server that gets into trouble when it is told to.
//!
//! It passes messages on as they are, so that signatures stay right, and knows where one ends and the next begins.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::random::Random;
use crate::conformance::{
    client::connect,
    wire::{Connection, Head, Headers},
};

/// How long the proxy waits for the store, and a request without an answer is held.
const PATIENCE: Duration = Duration::from_mins(1);
const HELD: Duration = Duration::from_secs(12);
/// So late does a write arrive that nobody waits for any more.
const LATE: Duration = Duration::from_secs(4);

/// What is wrong with the store for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// 500 in so many of a hundred cases; nothing was done.
    Errors(u64),
    /// 503 `SlowDown`.
    Throttling(u64),
    /// The request was carried out, and the connection breaks before the answer.
    LostAnswers(u64),
    /// The connection breaks in the middle of the answer.
    CutAnswers(u64),
    /// No answer for a long time; whether the request was carried out is chance.
    TimeOuts(u64),
    /// The connection breaks, and the write is carried out some seconds later.
    LateWrites(u64),
    /// Every answer takes so many milliseconds longer.
    Slow(u64),
    /// Nobody is there.
    Away,
}

/// A running proxy; it ends when the value is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    trouble: Mutex<Trouble>,
    random: Mutex<Random>,
    troubled: AtomicU64,
    /// Writes that will arrive later.
    late: AtomicU64,
    /// Multipart uploads whose beginning was answered without trouble.
    told: Mutex<BTreeMap<String, Instant>>,
    ended: AtomicBool,
}

/// A whole request, or a whole answer.
#[derive(Debug, Clone)]
struct Message {
    head: Head,
    body: Vec<u8>,
}

/// What the client gets.
#[derive(Debug)]
enum Reply {
    Whole(Message),
    /// Half of a body; then the connection breaks.
    Cut(Message),
    /// The connection breaks.
    Nothing,
}

impl Proxy {
    /// Starts one before the server at `upstream` (`http://address:port`).
    ///
    /// # Errors
    /// When no port of 127.0.0.1 is free.
    pub(super) fn start(upstream: &str, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            trouble: Mutex::new(Trouble::None),
            random: Mutex::new(Random::new(seed, u64::MAX - 1)),
            troubled: AtomicU64::new(0),
            late: AtomicU64::new(0),
            told: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if own.ended.load(Ordering::SeqCst) {
                    return;
                }
                let own = Arc::clone(&own);
                // A client that goes away is no fault of the proxy.
                thread::spawn(move || own.serve(stream).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is wrong.
    pub(super) fn get_into(&self, trouble: Trouble) {
        *lock(&self.shared.trouble) = trouble;
    }

    /// How many requests got into trouble.
    pub(super) fn troubled(&self) -> u64 {
        self.shared.troubled.load(Ordering::SeqCst)
    }

    /// When the client was told of this multipart upload; None when it was not.
    pub(super) fn told_of(&self, upload: &str) -> Option<Instant> {
        lock(&self.shared.told).get(upload).copied()
    }

    /// True when every write that was held back has arrived.
    pub(super) fn is_quiet(&self) -> bool {
        self.shared.late.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The listener looks at the flag when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut client = Connection::new(stream);
        while let Some(head) = client.read_head()? {
            let body = client.read_body(&head.headers, false)?;
            let is_last = head.headers.has_word("connection", "close");
            match self.reply(Message { head, body })? {
                Reply::Whole(answer) => {
                    send(&mut client, &answer)?;
                    if let Some(upload) = upload_begun(&answer) {
                        lock(&self.told).insert(upload, Instant::now());
                    }
                }
                Reply::Cut(answer) => return send(&mut client, &answer),
                Reply::Nothing => return Ok(()),
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The trouble that this request gets into.
    fn met(&self) -> Trouble {
        let trouble = *lock(&self.trouble);
        let percent = match trouble {
            Trouble::None => 0,
            Trouble::Slow(_) | Trouble::Away => 100,
            Trouble::Errors(percent)
            | Trouble::Throttling(percent)
            | Trouble::LostAnswers(percent)
            | Trouble::CutAnswers(percent)
            | Trouble::TimeOuts(percent)
            | Trouble::LateWrites(percent) => percent,
        };
        if !lock(&self.random).chance(percent) {
            return Trouble::None;
        }
        self.troubled.fetch_add(1, Ordering::SeqCst);
        trouble
    }

    /// What the client gets.
    fn reply(self: &Arc<Self>, request: Message) -> Result<Reply> {
        match self.met() {
            Trouble::Errors(_) => Ok(Reply::Whole(fault(500, "InternalError"))),
            Trouble::Throttling(_) => Ok(Reply::Whole(fault(503, "SlowDown"))),
            Trouble::Slow(milliseconds) => {
                thread::sleep(Duration::from_millis(milliseconds));
                Ok(Reply::Whole(self.pass(&request)?))
            }
            Trouble::LostAnswers(_) => {
                self.pass(&request)?;
                Ok(Reply::Nothing)
            }
            Trouble::CutAnswers(_) => {
                let mut answer = self.pass(&request)?;
                // The head tells the length that it would have had.
                answer.body.truncate(answer.body.len() / 2);
                Ok(Reply::Cut(answer))
            }
            Trouble::TimeOuts(_) => {
                if lock(&self.random).chance(50) {
                    self.pass(&request)?;
                }
                thread::sleep(HELD);
                Ok(Reply::Nothing)
            }
            Trouble::LateWrites(_) if request.head.first.starts_with("PUT ") => {
                self.pass_later(request);
                Ok(Reply::Nothing)
            }
            Trouble::Away => Ok(Reply::Nothing),
            Trouble::None | Trouble::LateWrites(_) => Ok(Reply::Whole(self.pass(&request)?)),
        }
    }

    fn pass_later(self: &Arc<Self>, request: Message) {
        self.late.fetch_add(1, Ordering::SeqCst);
        let own = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(LATE);
            // Whether it succeeds interests nobody any more.
            own.pass(&request).ok();
            own.late.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// The store's answer.
    fn pass(&self, request: &Message) -> Result<Message> {
        let mut store = connect(&self.upstream, PATIENCE)?;
        let mut head = request.head.clone();
        if head.headers.get("transfer-encoding").is_some() {
            head.headers.remove("transfer-encoding");
            head.headers.set("content-length", request.body.len().to_string());
        }
        store.write_head(&head)?;
        store.write(&request.body)?;
        let mut answer = store.read_head()?.context("the store did not answer")?;
        while answer.first.contains(" 100") {
            answer = store.read_head()?.context("the store did not answer")?;
        }
        let bodyless =
            head.first.starts_with("HEAD ") || answer.first.contains(" 204") || answer.first.contains(" 304");
        let body = if bodyless {
            Vec::new()
        } else {
            store.read_body(&answer.headers, true)?
        };
        if !bodyless {
            answer.headers.remove("transfer-encoding");
            answer.headers.set("content-length", body.len().to_string());
        }
        Ok(Message { head: answer, body })
    }
}

/// The multipart upload that an answer tells of.
fn upload_begun(answer: &Message) -> Option<String> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    let (_, rest) = text.split_once("<InitiateMultipartUploadResult")?;
    let (_, rest) = rest.split_once("<UploadId>")?;
    let (upload, _) = rest.split_once("</UploadId>")?;
    Some(upload.to_owned())
}

fn send(client: &mut Connection, answer: &Message) -> Result<()> {
    client.write_head(&answer.head)?;
    client.write(&answer.body)
}

fn fault(status: u16, code: &str) -> Message {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>in trouble</Message></Error>");
    let mut headers = Headers::default();
    headers.add("content-type", "application/xml");
    headers.add("content-length", body.len().to_string());
    let first = format!("HTTP/1.1 {status} Trouble");
    Message {
        head: Head { first, headers },
        body: body.into_bytes(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::http::Request;

    /// A store that answers every request with ten bytes; gives the first lines that came.
    fn store(requests: usize) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let mut came = Vec::new();
            for mut stream in listener.incoming().take(requests).map(Result::unwrap) {
                let mut connection = Connection::new(stream.try_clone().unwrap());
                let head = connection.read_head().unwrap().unwrap();
                connection.read_body(&head.headers, false).unwrap();
                came.push(head.first);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789")
                    .unwrap();
            }
            came
        });
        (url, serving)
    }

    fn put(proxy: &Proxy) -> Result<crate::http::Response> {
        let url = format!("{}/bucket/key", proxy.endpoint());
        Request::new("PUT", &url).body(b"bytes").send()
    }

    #[test]
    fn without_trouble_everything_passes() {
        let (url, serving) = store(1);
        let proxy = Proxy::start(&url, 1).unwrap();

        assert_eq!(put(&proxy).unwrap().body, b"0123456789");
        assert_eq!(serving.join().unwrap(), ["PUT /bucket/key HTTP/1.1"]);
        assert_eq!(proxy.troubled(), 0);
    }

    #[test]
    fn the_beginning_of_a_multipart_upload_is_noticed() {
        let text =
            "<InitiateMultipartUploadResult><Key>k</Key><UploadId>abc</UploadId></InitiateMultipartUploadResult>";
        let mut answer = fault(200, "");
        answer.body = text.into();

        assert_eq!(upload_begun(&answer).as_deref(), Some("abc"));
        assert_eq!(upload_begun(&fault(500, "InternalError")), None);
    }

    #[test]
    fn each_trouble_is_what_it_says() {
        let (url, serving) = store(3);
        let proxy = Proxy::start(&url, 1).unwrap();
        let met = |trouble| {
            proxy.get_into(trouble);
            put(&proxy)
        };

        assert_eq!(met(Trouble::Errors(100)).unwrap().status, 500);
        assert_eq!(met(Trouble::Throttling(100)).unwrap().status, 503);
        assert!(met(Trouble::Away).is_err());
        assert!(met(Trouble::LostAnswers(100)).is_err());
        assert!(met(Trouble::CutAnswers(100)).is_err());
        assert!(met(Trouble::LateWrites(100)).is_err());
        assert_eq!(serving.join().unwrap().len(), 3, "three of them reached the store");
        crate::wait::until("the late write has arrived", PATIENCE, || {
            Ok(proxy.is_quiet().then_some(()))
        })
        .unwrap();
        assert_eq!(proxy.troubled(), 6);
    }
}
