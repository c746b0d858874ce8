//! HTTP/1.1 on a connection that stays open: heads, bodies with a length and bodies in chunks.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail, ensure};

const HEAD_LIMIT: usize = 64 * 1024;

/// Header lines in the order in which they came, their names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header, by its lower-case name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Every value of a header.
    pub(crate) fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Replaces every line of that name by one.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.add(name, value);
    }

    /// Takes every line of that name away.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// All lines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// True when a list header has the word.
    pub(crate) fn has_word(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|found| found.trim().eq_ignore_ascii_case(word))
    }
}

/// A first line and the headers below it.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The request or status line.
    pub(crate) first: String,
    /// The lines below it.
    pub(crate) headers: Headers,
}

/// One connection, buffered for reading.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Over an open stream.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// False when the other side has closed it, or sent what nobody asked for.
    pub(crate) fn is_idle(&self) -> bool {
        let stream = self.reader.get_ref();
        if !self.reader.buffer().is_empty() || stream.set_nonblocking(true).is_err() {
            return false;
        }
        let waits = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && waits
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    /// Writes a head.
    pub(crate) fn write_head(&mut self, head: &Head) -> Result<()> {
        let lines: Vec<String> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.write(format!("{}\r\n{}\r\n", head.first, lines.concat()).as_bytes())
    }

    /// Writes a body in chunks of at most 16 KiB, and the end.
    pub(crate) fn write_chunks(&mut self, body: &[u8]) -> Result<()> {
        for chunk in body.chunks(16 * 1024) {
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
            self.write(&framed)?;
        }
        self.write(b"0\r\n\r\n")
    }

    /// The next head, or None when the other side has ended between two messages.
    pub(crate) fn read_head(&mut self) -> Result<Option<Head>> {
        let Some(first) = self.line()? else {
            return Ok(None);
        };
        let mut headers = Headers::default();
        loop {
            let line = self.line()?.context("the connection ended within a head")?;
            if line.is_empty() {
                return Ok(Some(Head { first, headers }));
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no header: {line}"))?;
            headers.add(name, value.trim());
        }
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        let limit = u64::try_from(HEAD_LIMIT)?;
        (&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        ensure!(line.ends_with(b"\r\n"), "a line of a head does not end");
        line.truncate(line.len() - 2);
        Ok(Some(String::from_utf8(line).context("a head is not text")?))
    }

    /// The body that `headers` announce; what announces none has none, or lasts to the end when `to_end` is set.
    pub(crate) fn read_body(&mut self, headers: &Headers, to_end: bool) -> Result<Vec<u8>> {
        if headers.has_word("transfer-encoding", "chunked") {
            return self.chunks();
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.parse().with_context(|| format!("Content-Length: {length}"))?;
            body.resize(length, 0);
            self.reader.read_exact(&mut body).context("the body was cut short")?;
        } else if to_end {
            self.reader.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?.context("the connection ended within a body")?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                bail!("a chunk of size {size:?}");
            };
            let start = body.len();
            body.resize(start + size, 0);
            self.reader
                .read_exact(&mut body[start..])
                .context("a chunk was cut short")?;
            let end = self.line()?.context("the connection ended within a body")?;
            ensure!(end.is_empty(), "a chunk has no end");
            if size == 0 {
                return Ok(body);
            }
        }
    }
}
