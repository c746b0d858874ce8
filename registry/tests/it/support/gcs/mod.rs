//! A Google Cloud Storage of our own, in this process: as much of its XML API as the product's client speaks.
//!
//! Ours because there is no other: the emulators that can be had as packages serve the JSON API only. It is as strict as
//! the real one where that matters to us: tokens and signed URLs are verified with the service account's key, parts below
//! 5 MiB and parts with a wrong entity tag are refused, a finished upload is gone, preconditions and ranges hold.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

mod objects;
mod signatures;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use objects::{Objects, Refusal};
use signatures::Account;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

/// The bucket that is there.
pub(crate) const BUCKET: &str = "berth";
const LARGEST_BODY: usize = 256 * 1024 * 1024;

/// A running server, as its users need to know it.
#[derive(Debug)]
pub(crate) struct Gcs {
    pub(crate) endpoint: String,
    /// The key file that its clients sign with.
    pub(crate) service_account_file: PathBuf,
    _folder: tempfile::TempDir,
}

struct Server {
    account: Account,
    objects: Mutex<Objects>,
}

/// A request, taken apart.
struct Asked<'r> {
    method: &'r Method,
    /// The object's key; empty for the bucket itself.
    key: String,
    query: HashMap<String, String>,
    headers: &'r HeaderMap,
    body: Bytes,
}

/// The server of this process, started by whoever asks first; it lives as long as the process.
pub(crate) fn server() -> &'static Gcs {
    static SERVER: OnceLock<Gcs> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Gcs {
    let account = Account::new();
    let folder = tempfile::tempdir().unwrap();
    let service_account_file = folder.path().join("account.json");
    std::fs::write(&service_account_file, account.key_file()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Server {
        account,
        objects: Mutex::default(),
    });
    // Each test has a runtime of its own, which ends with it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let router = Router::new().fallback(serve).with_state(server);
            axum::serve(listener, router).await
        })
    });
    Gcs {
        endpoint,
        service_account_file,
        _folder: folder,
    }
}

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), LARGEST_BODY).await else {
        return refused(&Refusal::new(StatusCode::BAD_REQUEST, "IncompleteBody"));
    };
    let query = oci::query::pairs(head.uri.query().unwrap_or_default())
        .into_iter()
        .collect();
    let allowed = server.account.allows(&head, &query);
    let path = oci::query::percent_decode(head.uri.path()).unwrap();
    let (bucket, key) = path[1..].split_once('/').unwrap_or_else(|| (&path[1..], ""));
    if let Err(refusal) = allowed {
        return refused(&refusal);
    }
    if bucket != BUCKET {
        return refused(&Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket"));
    }
    let asked = Asked {
        method: &head.method,
        key: key.to_owned(),
        query,
        headers: &head.headers,
        body,
    };
    let answer = server.objects.lock().unwrap().answer(&asked);
    answer.unwrap_or_else(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Response {
    let body = format!("<Error><Code>{}</Code></Error>", refusal.code);
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = refusal.status;
    answer
}
