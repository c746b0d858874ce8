//! Asking a running server, through its admin listener, for what only it can do: it has the SQLite file to itself.

use crate::clock::Clock;
use crate::http::Management;
use anyhow::{Context, bail};
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole answer that says why it is none.
const REFUSAL: usize = 4096;

/// An answer of one text a line.
pub(super) struct Lines {
    body: Incoming,
    pending: Vec<u8>,
    _connection: JoinSet<()>,
}

/// Sends a request that the operator could have sent.
pub(super) async fn post(admin: SocketAddr, secret: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Lines> {
    let address = reachable(admin);
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connecting
        .map_err(anyhow::Error::from)
        .and_then(|connected| connected.map_err(Into::into))
        .with_context(|| format!("connect to its admin listener at {address} (admin.listen)"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        // What goes wrong with it, the answer's reader sees.
        drop(connection.await);
    });
    let token = Management::token(secret, &Clock::default()).context("sign a token with http.secret")?;
    let request = Request::post(path)
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut lines = Lines {
        body: answer.into_body(),
        pending: Vec::new(),
        _connection: serving,
    };
    match status {
        StatusCode::OK => Ok(lines),
        StatusCode::UNAUTHORIZED => bail!("it refused the token: its http.secret is another one"),
        StatusCode::NOT_FOUND => bail!("it has no management API: give it the same http.secret"),
        _ => {
            let said = lines.next().await?.unwrap_or_default();
            bail!(
                "it answered {status}: {}",
                said.chars().take(REFUSAL).collect::<String>()
            )
        }
    }
}

/// An address that listens everywhere is reached on this machine.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let address = match listening.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        named @ (IpAddr::V4(_) | IpAddr::V6(_)) => named,
    };
    SocketAddr::new(address, listening.port())
}

impl Lines {
    /// The next line; what comes behind the last one counts as one, too.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(end + 1);
                let line = std::mem::replace(&mut self.pending, rest);
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => self.pending.extend(frame.data_ref().into_iter().flatten()),
                None if self.pending.is_empty() => return Ok(None),
                None => self.pending.push(b'\n'),
            }
        }
    }
}
