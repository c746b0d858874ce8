//! A proxy before a real registry that makes one mistake: what a checker must find.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};

use super::{
    client::{Answer, Body, Client, Request},
    mistake::{Mistake, Passing},
    wire::{Connection, Head, Headers},
};

const HOP_BY_HOP: &[&str] = &[
    "host",
    "user-agent",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
];

/// A running proxy; it ends when the value is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

/// What its connections share.
#[derive(Debug, Clone)]
struct Way {
    upstream: String,
    mistake: Mistake,
    /// Something was pushed through it.
    pushed: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts one before the registry at `upstream` (`address:port`).
    ///
    /// # Errors
    /// When no port of 127.0.0.1 is free.
    pub fn start(upstream: &str, mistake: Mistake) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for a proxy")?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let way = Way {
            upstream: upstream.to_owned(),
            mistake,
            pushed: Arc::default(),
        };
        let over = Arc::clone(&ended);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let way = way.clone();
                // A client that goes away is no fault of the proxy.
                thread::spawn(move || way.serve(stream).ok());
            }
        });
        Ok(Self { address, ended })
    }

    /// Where it listens.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The listener looks at the flag when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

impl Way {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut downstream = Connection::new(stream);
        let mut registry = Client::new(&self.upstream).without_redirects();
        while let Some(head) = downstream.read_head()? {
            let mut request = passing(head, &mut downstream)?;
            let (head, body) = if let Some(status) = self.mistake.on_request(&mut request, &self.pushed) {
                in_place(status)
            } else {
                let (mut head, mut body) = parts(registry.send(&request.as_request())?);
                self.mistake.on_answer(&request, &mut head, &mut body);
                (head, body)
            };
            downstream.write_head(&head)?;
            downstream.write(&body)?;
        }
        Ok(())
    }
}

fn passing(head: Head, downstream: &mut Connection) -> Result<Passing> {
    let body = downstream.read_body(&head.headers, false)?;
    let mut words = head.first.split(' ');
    let mut word = || words.next().map(str::to_owned).context("no request line");
    Ok(Passing {
        method: word()?,
        target: word()?,
        headers: head.headers,
        body,
    })
}

impl Passing {
    fn as_request(&self) -> Request<'_> {
        let mut request = Request::new(&self.method, self.target.as_str());
        for (name, value) in self.headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)) {
            request = request.header(name, value);
        }
        let is_chunked = self.headers.get("transfer-encoding").is_some();
        request.body(match (is_chunked, self.body.is_empty()) {
            (true, _) => Body::Chunked(&self.body),
            (false, false) => Body::Sized(&self.body),
            (false, true) => Body::None,
        })
    }
}

fn parts(answer: Answer) -> (Head, Vec<u8>) {
    let mut headers = answer.headers;
    if headers.get("transfer-encoding").is_some() {
        headers.remove("transfer-encoding");
        headers.set("content-length", answer.body.len().to_string());
    }
    let first = format!("HTTP/1.1 {} Passed", answer.status);
    (Head { first, headers }, answer.body)
}

fn in_place(status: u16) -> (Head, Vec<u8>) {
    let mut headers = Headers::default();
    headers.add("content-length", "0");
    let first = format!("HTTP/1.1 {status} Mistaken");
    (Head { first, headers }, Vec::new())
}
