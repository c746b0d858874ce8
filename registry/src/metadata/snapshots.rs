//! Whether anything was committed on PostgreSQL, wherever it was: what the embedded engine counts by itself.
//!
//! Two equal snapshots of one server see the same rows: the transactions that one of them sees are those that had ended when
//! it was taken, and of these there are only ever more. So an answer that was read after one snapshot, and before an
//! equal one, is what the server would answer now. Asking for a snapshot costs a fraction of asking for rows, and all who
//! wait share one question.

use super::error::Error;
use super::postgres::Pool;
use super::session::Reader;
use super::statement::{Statement, statements};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Beyond it those who wait ask for the rows themselves, with the patience of every statement.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer stands for longer. The rows are read on other connections than this one: should one of them lead to a server that has been
/// replaced, what it said is not repeated for long.
const LONGEST: Duration = Duration::from_mins(1);
/// Where everything changes all the time, so many are told at once that nothing stands, before the server is asked again.
const MOST_SPARED: u32 = 64;

statements! {
    // The process tells one connection from another, its start one server from another; the numbers of transactions may
    // come again after a crash. A server that follows another does not list the transactions that it has not seen the end of.
    NOW = Statement::each(
        "snapshots.now",
        "SELECT CAST(NULL AS text)",
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN
             concat_ws(' ', pg_current_snapshot(), pg_backend_pid(), pg_postmaster_start_time())
         END",
    );
}

/// Who wants to know, and waits.
type Waiting = oneshot::Sender<Option<u64>>;

/// One who asks for all.
#[derive(Debug)]
pub(super) struct Snapshots {
    questions: UnboundedSender<Waiting>,
    /// Ends with the value.
    _asking: JoinSet<()>,
}

impl Snapshots {
    /// Asks through the connection of `pool`, as long as the value lives.
    pub(super) fn of(pool: Arc<Pool>) -> Self {
        Self::asking(move || {
            let pool = Arc::clone(&pool);
            async move { timeout(PATIENCE, ask(&pool)).await.ok()?.ok()? }
        })
    }

    fn asking<A>(ask: impl FnMut() -> A + Send + 'static) -> Self
    where
        A: Future<Output = Option<String>> + Send + 'static,
    {
        let (questions, receiver) = unbounded_channel();
        let mut asking = JoinSet::new();
        asking.spawn(answer(ask, receiver));
        Self {
            questions,
            _asking: asking,
        }
    }

    /// A number that grows whenever something was committed. `None`: nobody knows at the moment.
    ///
    /// The server is asked after the call.
    pub(super) async fn now(&self) -> Option<u64> {
        let (sender, receiver) = oneshot::channel();
        self.questions.send(sender).ok()?;
        receiver.await.ok().flatten()
    }
}

/// While the server answers, the next ones gather.
async fn answer<A>(mut ask: impl FnMut() -> A, mut questions: UnboundedReceiver<Waiting>)
where
    A: Future<Output = Option<String>>,
{
    let (mut seen, mut spared) = (Seen::new(Instant::now()), Spared::default());
    while let Some(first) = questions.recv().await {
        if spared.next() {
            // Whoever does not wait any more does not want to know.
            first.send(None).ok();
            continue;
        }
        // Those who are about to ask get their turn.
        tokio::task::yield_now().await;
        let mut waiting = vec![first];
        while let Ok(next) = questions.try_recv() {
            waiting.push(next);
        }
        let told = ask().await;
        let now = seen.number(told, Instant::now());
        spared.learn(now.is_some_and(|now| now.unchanged));
        for one in waiting {
            one.send(now.map(|now| now.number)).ok();
        }
    }
}

async fn ask(pool: &Arc<Pool>) -> Result<Option<String>, Error> {
    let mut reader = Reader::postgres(pool).await?;
    let told = reader.one(&NOW, &[], |row| row.optional_text(0)).await?;
    Ok(told.flatten())
}

/// The snapshot that was told last, and its number.
#[derive(Debug)]
struct Seen {
    snapshot: Option<String>,
    number: u64,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Now {
    number: u64,
    unchanged: bool,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            snapshot: None,
            number: 0,
            since: now,
        }
    }

    /// The number of a snapshot; without one, nothing of before stands.
    fn number(&mut self, told: Option<String>, now: Instant) -> Option<Now> {
        let unchanged = told.is_some() && told == self.snapshot;
        if !unchanged || now.duration_since(self.since) >= LONGEST {
            self.number += 1;
            self.since = now;
        }
        self.snapshot = told;
        let number = self.number;
        self.snapshot.as_ref().map(|_| Now { number, unchanged })
    }
}

/// How many need not wait for an answer that is most likely no.
#[derive(Debug, Default)]
struct Spared {
    /// Of those who come next.
    left: u32,
    /// After the next change.
    then: u32,
}

impl Spared {
    fn next(&mut self) -> bool {
        let spare = self.left > 0;
        self.left = self.left.saturating_sub(1);
        spare
    }

    /// One change costs nothing yet: it has been asked for in vain, once. With each that follows twice as many are spared.
    fn learn(&mut self, unchanged: bool) {
        self.left = if unchanged { 0 } else { self.then };
        self.then = if unchanged {
            0
        } else {
            (self.then * 2).clamp(1, MOST_SPARED)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as the server tells it")]
    fn told(snapshot: &str) -> Option<String> {
        Some(snapshot.to_owned())
    }

    /// A server whose answers come when the test gives them: it sends each question on, to be answered.
    fn slow_server() -> (Snapshots, UnboundedReceiver<oneshot::Sender<Option<String>>>) {
        let (asked, server) = unbounded_channel();
        let snapshots = Snapshots::asking(move || {
            let (answer, told) = oneshot::channel();
            asked.send(answer).ok();
            async { told.await.ok().flatten() }
        });
        (snapshots, server)
    }

    fn question(snapshots: &Snapshots) -> oneshot::Receiver<Option<u64>> {
        let (sender, receiver) = oneshot::channel();
        snapshots.questions.send(sender).unwrap();
        receiver
    }

    #[tokio::test]
    async fn who_asks_while_the_server_is_asked_gets_the_next_answer_together_with_others() {
        let (snapshots, mut server) = slow_server();
        let first = question(&snapshots);
        let under_way = server.recv().await.unwrap();
        let (mut second, mut third) = (question(&snapshots), question(&snapshots));

        under_way.send(told("7:7:")).unwrap();
        let before = first.await.unwrap().unwrap();
        let next = server.recv().await.unwrap();
        assert!(
            second.try_recv().is_err() && third.try_recv().is_err(),
            "asked too early for them"
        );
        next.send(told("7:8:")).unwrap();

        let (second, third) = (second.await.unwrap().unwrap(), third.await.unwrap().unwrap());
        assert!(second == third && second > before);
        assert!(server.try_recv().is_err(), "one question for both");
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_and_a_server_that_is_lost_harm_nobody_else() {
        let (snapshots, mut server) = slow_server();
        drop(question(&snapshots));
        let stays = question(&snapshots);
        drop(server.recv().await.unwrap());
        assert_eq!(stays.await.unwrap(), None, "nobody knows");

        let mut later = question(&snapshots);
        let answered = async {
            loop {
                tokio::select! {
                    answer = &mut later => match answer.unwrap() {
                        Some(number) => return number,
                        None => later = question(&snapshots),
                    },
                    asked = server.recv() => asked.unwrap().send(told("7:7:")).unwrap(),
                }
            }
        };

        timeout(Duration::from_secs(10), answered).await.unwrap();
    }

    #[test]
    fn the_number_stays_while_the_snapshot_does_and_never_comes_again() {
        let begun = Instant::now();
        let mut seen = Seen::new(begun);
        let mut number = |snapshot| seen.number(told(snapshot), begun).unwrap().number;

        let first = number("7:7:");

        assert_eq!(number("7:7:"), first);
        let second = number("7:9:8");
        assert_ne!(second, first);
        let again = number("7:7:");
        assert!(again != first && again != second);
    }

    #[test]
    fn after_a_question_without_an_answer_nothing_of_before_stands() {
        let begun = Instant::now();
        let mut seen = Seen::new(begun);
        let first = seen.number(told("7:7:"), begun).unwrap().number;

        assert_eq!(seen.number(None, begun), None);

        let again = seen.number(told("7:7:"), begun).unwrap();
        assert!(again.number != first && !again.unchanged);
    }

    #[test]
    fn no_answer_stands_for_longer_than_a_minute() {
        let begun = Instant::now();
        let mut seen = Seen::new(begun);
        let mut after = |seconds| {
            let now = begun + Duration::from_secs(seconds);
            seen.number(told("7:7:"), now).unwrap().number
        };
        let first = after(0);

        assert_eq!(after(59), first);
        let second = after(60);
        assert_ne!(second, first);
        assert_eq!(after(119), second);
    }

    #[test]
    fn where_everything_changes_few_wait_for_the_server_to_say_so() {
        let mut spared = Spared::default();
        let mut asked = 0;
        for _ in 0..10_000 {
            if !spared.next() {
                asked += 1;
                spared.learn(false);
            }
        }
        assert!((150..180).contains(&asked), "{asked} asked");

        spared.learn(true);

        assert!(!spared.next(), "the first after something stood is not spared");
    }
}
