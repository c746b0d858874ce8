//! A client with the habits of Go's: it keeps its connection, asks for gzip by itself and hides it, follows redirects,
//! sends a body of unknown length in chunks.

use std::{
    fmt,
    io::Read,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::wire::{Connection, Head, Headers};

const CONNECT: Duration = Duration::from_secs(5);
/// How long a server may be silent.
pub(crate) const ANSWER: Duration = Duration::from_mins(1);
const REDIRECTS: usize = 10;

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Nothing; methods that usually have a body say `Content-Length: 0`.
    None,
    /// Bytes whose number is told; an empty body goes out in chunks, as Go does it.
    Sized(&'a [u8]),
    /// Bytes in chunks, without a length.
    Chunked(&'a [u8]),
    /// Something whose length is told in the headers, and that the caller sends by itself.
    Broken,
}

/// A request that is being put together.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// GET, HEAD, …
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: String,
    /// What is sent beyond what every request has.
    pub(crate) headers: Headers,
    /// What it carries.
    pub(crate) body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub(crate) fn new(method: &'a str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Headers::default(),
            body: Body::None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub(crate) fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }

    /// Adds a parameter to the query; the value is escaped.
    #[must_use]
    pub(crate) fn parameter(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target = format!("{}{name}={}", self.target, escaped(value));
        self
    }
}

/// Percent-encodes everything that is not certainly harmless.
pub(crate) fn escaped(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let shown = |byte: u8| {
        if plain(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    value.bytes().map(shown).collect()
}

/// What the server answered, after redirects.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The request's method and target, for the words of a fault.
    pub(crate) request: String,
    /// The status code.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: Headers,
    /// The whole body.
    pub(crate) body: Vec<u8>,
    /// True when it came from where a redirect led.
    pub(crate) redirected: bool,
}

impl Answer {
    /// The first value of a header, by its lower-case name; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }

    /// The body as JSON; null when it is not.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of the first error.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {}", self.request, self.status)?;
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        write!(out, " [{}]", headers.join("; "))?;
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(out, " {}", text.escape_debug())
    }
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    host: String,
    connection: Option<Connection>,
    follows: bool,
    patience: Duration,
}

impl Client {
    /// A client of the server at `host` (`address:port`).
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            connection: None,
            follows: true,
            patience: ANSWER,
        }
    }

    /// Whom it asks: `address:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The same, but a redirect is an answer like any other.
    #[must_use]
    pub(crate) fn without_redirects(mut self) -> Self {
        self.follows = false;
        self
    }

    /// The same, but it waits no longer than this for the next bytes of an answer.
    #[must_use]
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sees to it that there is an open connection, so that a failure from here on may have reached the server.
    ///
    /// # Errors
    /// When nobody answers there: nothing was sent.
    pub(crate) fn reach(&mut self) -> Result<()> {
        let kept = self.connection.take().filter(Connection::is_idle);
        self.connection = Some(match kept {
            Some(connection) => connection,
            None => connect(&self.host, self.patience)?,
        });
        Ok(())
    }

    /// Sends the head of a request and the first `bytes` of its body, and hangs up.
    ///
    /// # Errors
    /// When the server cannot be reached or does not read.
    pub(crate) fn hang_up_after(&mut self, request: &Request<'_>, bytes: usize) -> Result<()> {
        let mut connection = connect(&self.host, self.patience)?;
        let (Body::Sized(body) | Body::Chunked(body)) = request.body else {
            bail!("nothing to break off");
        };
        let announced = request.clone().header("content-length", body.len().to_string());
        write_request(&mut connection, &announced.body(Body::Broken), &self.host)?;
        connection.write(&body[..bytes.min(body.len())])
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the server cannot be reached, ends the connection before it has answered, or answers something else than HTTP.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<Answer> {
        let answer = self
            .exchange(request)
            .with_context(|| format!("{} {}", request.method, request.target))?;
        if !self.follows || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) || !answer.body_is_repeatable(request)
        {
            return Ok(answer);
        }
        follow(request, answer)
    }

    fn exchange(&mut self, request: &Request<'_>) -> Result<Answer> {
        self.reach()?;
        let mut connection = self.connection.take().context("no connection")?;
        write_request(&mut connection, request, &self.host)?;
        let head = loop {
            let head = connection
                .read_head()?
                .context("the server ended the connection without an answer")?;
            if !head.first.contains(" 100") {
                break head;
            }
        };
        let status = status(&head.first)?;
        let bodyless = request.method == "HEAD" || matches!(status, 204 | 304);
        let body = if bodyless {
            Vec::new()
        } else {
            connection.read_body(&head.headers, true)?
        };
        let bounded = bodyless
            || ["content-length", "transfer-encoding"]
                .iter()
                .any(|name| head.headers.get(name).is_some());
        if bounded && !head.headers.has_word("connection", "close") {
            self.connection = Some(connection);
        }
        let mut answer = Answer {
            request: format!("{} {}", request.method, request.target),
            status,
            headers: head.headers,
            body,
            redirected: false,
        };
        if asks_for_gzip(request) {
            hide_gzip(&mut answer)?;
        }
        Ok(answer)
    }
}

impl Answer {
    fn body_is_repeatable(&self, request: &Request<'_>) -> bool {
        !self.header("location").is_empty() && matches!(request.body, Body::None)
    }
}

/// Opens a connection; reads and writes give up after `patience`.
///
/// # Errors
/// When nobody answers there.
pub(crate) fn connect(host: &str, patience: Duration) -> Result<Connection> {
    let address = host
        .to_socket_addrs()
        .with_context(|| format!("find {host}"))?
        .next()
        .with_context(|| format!("no address for {host}"))?;
    let stream = TcpStream::connect_timeout(&address, CONNECT).with_context(|| format!("connect to {host}"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(Connection::new(stream))
}

/// Writes a request as Go's client would.
///
/// # Errors
/// When the server does not read it.
pub(crate) fn write_request(connection: &mut Connection, request: &Request<'_>, host: &str) -> Result<()> {
    let mut headers = Headers::default();
    headers.add("host", host);
    headers.add("user-agent", "berth-conformance");
    let (length, chunked) = match request.body {
        Body::None if matches!(request.method, "POST" | "PUT" | "PATCH") => (Some(0), None),
        Body::None | Body::Broken => (None, None),
        Body::Sized(body) if !body.is_empty() => (Some(body.len()), None),
        Body::Sized(body) | Body::Chunked(body) => (None, Some(body)),
    };
    if let Some(length) = length {
        headers.add("content-length", length.to_string());
    }
    if chunked.is_some() {
        headers.add("transfer-encoding", "chunked");
    }
    for (name, value) in request.headers.iter() {
        headers.add(name, value);
    }
    if asks_for_gzip(request) {
        headers.add("accept-encoding", "gzip");
    }
    let first = format!("{} {} HTTP/1.1", request.method, request.target);
    connection.write_head(&Head { first, headers })?;
    match (request.body, chunked) {
        (_, Some(body)) => connection.write_chunks(body),
        (Body::Sized(body), None) => connection.write(body),
        (Body::None | Body::Broken | Body::Chunked(_), None) => Ok(()),
    }
}

fn asks_for_gzip(request: &Request<'_>) -> bool {
    let said = |name| request.headers.get(name).is_some();
    request.method != "HEAD" && !said("range") && !said("accept-encoding")
}

fn status(line: &str) -> Result<u16> {
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.with_context(|| format!("no status line: {line}"))
}

/// What was compressed without being asked for by the caller loses its length, as in Go.
fn hide_gzip(answer: &mut Answer) -> Result<()> {
    if answer.header("content-encoding") != "gzip" {
        return Ok(());
    }
    answer.headers.remove("content-encoding");
    answer.headers.remove("content-length");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(answer.body.as_slice())
        .read_to_end(&mut plain)
        .context("the body is not gzip")?;
    answer.body = plain;
    Ok(())
}

fn follow(request: &Request<'_>, mut answer: Answer) -> Result<Answer> {
    for _ in 0..REDIRECTS {
        let location = answer.header("location").to_owned();
        let Some((host, path)) = location.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else {
            bail!("a redirect to {location}, which is no http:// address");
        };
        let next = Request {
            target: format!("/{path}"),
            ..request.clone()
        };
        answer = Client::new(host)
            .without_redirects()
            .send(&next)
            .with_context(|| format!("redirected by {}", request.target))?;
        answer.redirected = true;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
    }
    bail!("more than {REDIRECTS} redirects")
}
