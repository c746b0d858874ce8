//! The line between the registry and PostgreSQL, which can be cut, held, slowed, or lose what the database says.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use super::{TestRegistry, stores};
use berth_registry::config::{Config, Database};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What happens to what goes over the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It arrives.
    None,
    /// Nobody is connected, and nobody can connect.
    Refused,
    /// The question of that number, from 0, reaches the database, and the connection breaks. Then the line is sound.
    CutAfter(usize),
    /// The next `COMMIT` is obeyed, and the connection breaks before its answer. Then the line is sound.
    CommitUnanswered,
    /// Every answer takes so long.
    Slow(Duration),
    /// Nothing arrives, and nothing breaks.
    Silent,
}

/// A line; its connections end with the value.
#[derive(Debug)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    /// The database itself, past the line.
    pub(crate) direct: Config,
    _folder: tempfile::TempDir,
    _carrying: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    trouble: Mutex<Trouble>,
    questions: AtomicUsize,
}

/// A registry whose database is behind a line; none where the database is a file.
pub(crate) async fn registry_behind_a_line(settings: &[(&str, &str)]) -> Option<(TestRegistry, Line)> {
    let (direct, folder) = stores::fresh_with(settings).await;
    let Database::Postgres { url, .. } = &direct.database else {
        return None;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut ours = url::Url::parse(url).unwrap();
    let server = (ours.host_str().unwrap().to_owned(), ours.port().unwrap_or(5432));
    ours.set_host(Some("127.0.0.1")).unwrap();
    ours.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let shared = Arc::new(Shared {
        trouble: Mutex::new(Trouble::None),
        questions: AtomicUsize::new(0),
    });
    let mut carrying = JoinSet::new();
    carrying.spawn(accept(listener, server, Arc::clone(&shared)));
    let settings: Vec<_> = settings
        .iter()
        .copied()
        .chain([("BERTH_DATABASE_URL", ours.as_str())])
        .collect();
    let registry = TestRegistry::start_with(&settings).await;
    let line = Line {
        shared,
        direct,
        _folder: folder,
        _carrying: carrying,
    };
    Some((registry, line))
}

impl Line {
    pub(crate) fn set(&self, trouble: Trouble) {
        self.shared.questions.store(0, Ordering::SeqCst);
        *self.shared.trouble.lock().unwrap() = trouble;
    }

    /// True until a trouble that happens once has happened.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.shared.trouble() != Trouble::None
    }
}

impl Shared {
    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap()
    }

    /// Takes note of a question, and says whether the connection breaks once it is passed on, or once it is answered.
    fn is_the_last(&self, question: &[u8]) -> (bool, bool) {
        let number = self.questions.fetch_add(1, Ordering::SeqCst);
        let mut trouble = self.trouble.lock().unwrap();
        let commits = question.windows(6).any(|word| word == b"COMMIT");
        let (cut, unanswered) = match *trouble {
            Trouble::CutAfter(last) => (number == last, false),
            Trouble::CommitUnanswered => (false, commits),
            Trouble::None | Trouble::Refused | Trouble::Slow(_) | Trouble::Silent => (false, false),
        };
        if cut || unanswered {
            *trouble = Trouble::None;
        }
        (cut, unanswered)
    }
}

async fn accept(listener: TcpListener, server: (String, u16), shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if shared.trouble() == Trouble::Refused {
            continue;
        }
        let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
        connections.spawn(carry(client, server, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries both ways until one end goes away or the line breaks. What fails here is seen at its ends.
async fn carry(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (mut question, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut is_unanswered = false;
    loop {
        let (is_question, length) = tokio::select! {
            read = client.read(&mut question) => (true, read.unwrap_or(0)),
            read = server.read(&mut answer) => (false, read.unwrap_or(0)),
            () = refused(&shared) => return,
        };
        while shared.trouble() == Trouble::Silent {
            sleep(Duration::from_millis(20)).await;
        }
        if length == 0 || is_unanswered {
            return;
        }
        if is_question {
            let (cut, unanswered) = shared.is_the_last(&question[..length]);
            is_unanswered = unanswered;
            if server.write_all(&question[..length]).await.is_err() || cut {
                return;
            }
            continue;
        }
        if let Trouble::Slow(time) = shared.trouble() {
            sleep(time).await;
        }
        if client.write_all(&answer[..length]).await.is_err() {
            return;
        }
    }
}

async fn refused(shared: &Shared) {
    while shared.trouble() != Trouble::Refused {
        sleep(Duration::from_millis(5)).await;
    }
}
