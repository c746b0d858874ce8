//! Requests to one stage, and what is wrong with their answers.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::{Base, Trust};

/// The largest body that is read, in bytes.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// A client of one stage.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The request, for messages.
    pub(super) asked: String,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
}

impl Client {
    pub(super) fn new(base: &Base, deadline: Duration) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &base.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            let mut value =
                value.map_err(|_invalid| "the token has characters that cannot be in a header".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder()
            .timeout(deadline)
            .no_proxy()
            // Each request anew: a connection that is kept would keep the pod too, behind a Service.
            .pool_max_idle_per_host(0)
            .default_headers(headers)
            .user_agent("berth-probe");
        let builder = match &base.trust {
            Trust::Public => builder,
            Trust::Anyone => builder.tls_danger_accept_invalid_certs(true),
            Trust::Authority(pem) => {
                let authorities = reqwest::Certificate::from_pem_bundle(pem);
                builder.tls_certs_only(authorities.map_err(|error| format!("the certificate authority: {error}"))?)
            }
        };
        Ok(Self {
            http: builder.build().map_err(|error| format!("no client: {error}"))?,
            base: base.url.trim_end_matches('/').to_owned(),
        })
    }

    /// Sends a request; no answer, or a body that breaks off, is an error.
    pub(super) async fn send(&self, ask: Ask) -> Result<Answer, String> {
        let url = format!("{}{}", self.base, ask.path);
        let asked = format!("{} {url}", ask.method);
        let failed = |error: reqwest::Error| {
            let why = causes(&error.without_url());
            format!("{asked}: no whole answer: {why}")
        };
        let is_head = ask.method == Method::HEAD;
        let mut request = self.http.request(ask.method, &url);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let mut answer = request.body(ask.body).send().await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > BODY_BYTES {
                return Err(format!("{asked}: more than {BODY_BYTES} bytes came"));
            }
        }
        debug_assert!(!is_head || body.is_empty(), "an answer to HEAD has no body");
        Ok(Answer {
            status,
            headers,
            body,
            asked,
        })
    }

    /// Sends a request that must be answered with this code.
    pub(super) async fn expect(&self, status: StatusCode, ask: Ask) -> Result<Answer, String> {
        let answer = self.send(ask).await?;
        if answer.status == status {
            return Ok(answer);
        }
        let body: String = String::from_utf8_lossy(&answer.body).chars().take(160).collect();
        Err(answer.wrong(&format!(
            "expected {}, came {}: {}",
            status.as_u16(),
            answer.status.as_u16(),
            body.split_whitespace().collect::<Vec<_>>().join(" ")
        )))
    }
}

impl Answer {
    pub(super) fn wrong(&self, what: &str) -> String {
        format!("{}: {what}", self.asked)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The path and query of the Location, without what a proxy in front of the stage may have put there.
    pub(super) fn location(&self) -> Result<String, String> {
        let location = self
            .header("location")
            .ok_or_else(|| self.wrong("there is no Location"))?;
        let path = location.find("/v2/").map(|begin| location[begin..].to_owned());
        path.ok_or_else(|| self.wrong(&format!("the Location `{location}` leads nowhere")))
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}
