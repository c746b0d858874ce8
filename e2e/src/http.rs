//! A small HTTP/1.1 client over plain TCP: one request a connection, everything in memory. For tests and probes of
//! servers beside it; not for the open network.

use std::{
    fmt::{self, Write as _},
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_mins(1);

/// A request that is being put together.
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    url: &'a str,
    headers: Vec<(&'a str, String)>,
    body: &'a [u8],
}

/// What the server answered.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A request for an absolute `http://` address.
    pub fn new(method: &'a str, url: &'a str) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: &[],
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: impl fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// When the server cannot be reached, does not answer in time or answers something else than HTTP.
    pub fn send(&self) -> Result<Response> {
        self.exchange().with_context(|| format!("{} {}", self.method, self.url))
    }

    fn exchange(&self) -> Result<Response> {
        let rest = self
            .url
            .strip_prefix("http://")
            .context("only http:// addresses are known")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut head = format!(
            "{} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
            self.method
        );
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len())?;
        let mut stream = TcpStream::connect_timeout(&resolve(host)?, CONNECT)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Response::parse(&answer, self.method == "HEAD")
    }
}

fn resolve(host: &str) -> Result<SocketAddr> {
    let with_port = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    with_port
        .to_socket_addrs()?
        .next()
        .with_context(|| format!("no address for {host}"))
}

impl Response {
    fn parse(answer: &[u8], bodyless: bool) -> Result<Self> {
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .context("the answer has no end of its head")?;
        let head = std::str::from_utf8(&answer[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .context("the answer has no status")?
            .parse()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Self {
            status,
            headers,
            body: answer[end + 4..].to_vec(),
        };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunked(&response.body)?;
        } else if let Some(length) = response.header("content-length").filter(|_| !bodyless) {
            ensure!(
                response.body.len() == length.parse::<usize>()?,
                "the body was cut short"
            );
        }
        Ok(response)
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// This answer, if it has the status that was expected.
    ///
    /// # Errors
    /// When it has another one; the error holds the body.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("expected status {status}, got {}: {}", self.status, self.text());
        }
        Ok(self)
    }
}

fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|two| two == b"\r\n")
            .context("a chunk has no size")?;
        let size = std::str::from_utf8(&rest[..end])?.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16)?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).context("a chunk was cut short")?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).context("a chunk has no end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n";

        let response = Response::parse(answer, false).unwrap();

        assert_eq!((response.status, response.text().as_str()), (200, "wikipedia"));
    }

    #[test]
    fn a_body_that_was_cut_short_is_an_error() {
        assert!(Response::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", false).is_err());
    }

    #[test]
    fn the_answer_to_head_has_a_length_and_no_body() {
        let response = Response::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", true).unwrap();

        assert_eq!(response.header("content-length"), Some("10"));
    }
}
