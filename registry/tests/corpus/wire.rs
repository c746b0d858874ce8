//! An HTTP/1.1 client that sends any bytes at all, and sees exactly what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes to send.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    line: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
    /// Sent as it is, on a connection of its own, and nothing after it.
    raw: Option<Vec<u8>>,
    is_head: bool,
}

impl Request {
    pub(crate) fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        let line = [method.as_bytes(), b" ", target.as_ref(), b" HTTP/1.1\r\n"].concat();
        Self {
            line,
            headers: Vec::new(),
            body: None,
            raw: None,
            is_head: method == "HEAD",
        }
    }

    /// Whatever these bytes are.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut request = Self::new("", "");
        let bytes = bytes.into();
        request.is_head = bytes.starts_with(b"HEAD ");
        request.raw = Some(bytes);
        request
    }

    pub(crate) fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut bytes = self.line.clone();
        bytes.extend_from_slice(b"Host: berth\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// The beginning, for people.
    pub(crate) fn shown(&self) -> String {
        let bytes = self.bytes();
        let shown: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        format!("{shown:?}")
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) to_head: bool,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// One connection at a time, kept while the server keeps it.
#[derive(Debug)]
pub(crate) struct Wire {
    address: String,
    stream: Option<TcpStream>,
}

impl Wire {
    pub(crate) fn to(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
        }
    }

    /// To the same place.
    pub(crate) fn another(&self) -> Self {
        Self::to(&self.address)
    }

    /// The answer; `None` when the connection was closed without one.
    pub(crate) fn exchange(&mut self, request: &Request) -> Result<Option<Answer>, String> {
        let kept = self.stream.take().filter(|_| request.raw.is_none());
        let was_kept = kept.is_some();
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.connect()?,
        };
        // A server may close a connection in the middle of what it refuses to read.
        drop(stream.write_all(&request.bytes()));
        let answer = read(&mut stream, request.is_head)?;
        match answer {
            None if was_kept => self.exchange(request),
            None => Ok(None),
            Some((answer, keep)) => {
                self.stream = Some(stream).filter(|_| keep && request.raw.is_none());
                Ok(Some(answer))
            }
        }
    }

    fn connect(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(&self.address).map_err(|error| format!("no connection: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(stream)
    }
}

/// Reads until `enough` says how many of the bytes belong together; `None` at the end of the stream.
fn read_until(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> Option<usize>,
) -> Result<Option<usize>, String> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        if let Some(length) = enough(bytes) {
            return Ok(Some(length));
        }
        match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok(None);
            }
            Err(error) => return Err(format!("no answer in time: {error}")),
        }
    }
}

fn read(stream: &mut TcpStream, to_head: bool) -> Result<Option<(Answer, bool)>, String> {
    let mut bytes = Vec::new();
    let head = |bytes: &[u8]| {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(end + 4)
    };
    let mut answer = loop {
        let Some(end) = read_until(stream, &mut bytes, head)? else {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(format!("half an answer: {:?}", String::from_utf8_lossy(&bytes)))
            };
        };
        let answer = parsed(&bytes[..end], to_head)?;
        bytes.drain(..end);
        if answer.status >= 200 {
            break answer;
        }
    };
    let mut keep = answer.header("connection") != Some("close");
    if answer.header("transfer-encoding").is_some() {
        return Err("the answer is chunked: its length is not told".to_owned());
    }
    let bodyless = to_head || matches!(answer.status, 204 | 304);
    let length: usize = match answer.header("content-length").filter(|_| !bodyless) {
        Some(length) => length
            .parse()
            .map_err(|_no_number| format!("content-length {length:?}"))?,
        None => 0,
    };
    let whole = |bytes: &[u8]| (bytes.len() >= length).then_some(length);
    read_until(stream, &mut bytes, whole)?.ok_or("the body was cut short")?;
    keep &= bytes.len() == length;
    if bytes.len() > length && keep {
        return Err("bytes follow the body".to_owned());
    }
    answer.body = bytes[..length].to_vec();
    Ok(Some((answer, keep)))
}

fn parsed(head: &[u8], to_head: bool) -> Result<Answer, String> {
    let text = std::str::from_utf8(head).map_err(|_not_text| "a head that is not UTF-8".to_owned())?;
    let odd = |what: &str| format!("{what}: {text:?}");
    if text.replace("\r\n", "").chars().any(char::is_control) {
        return Err(odd("control characters in the head"));
    }
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.map(|line| line.split_once(": ").or_else(|| line.split_once(':')));
    Ok(Answer {
        status: status
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| odd("no status"))?,
        headers: headers
            .map(|pair| pair.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| odd("a header without a name"))?,
        body: Vec::new(),
        to_head,
    })
}
