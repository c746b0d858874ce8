//! Connections to PostgreSQL, lent to one caller at a time.
//!
//! The driver's own pool asks the server for a sign of life each time a connection comes back, which doubles the round
//! trips of a request that reads one row.

use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection, Executor, PgConnection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout};

/// A connection that rested longer is asked for a sign of life before a request gets it: the server may have restarted.
const FRESH: Duration = Duration::from_secs(5);
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer rest, or longer life, and a connection is closed: servers and balancers change behind them.
const REST: Duration = Duration::from_mins(10);
const LIFE: Duration = Duration::from_mins(30);

/// At most so many connections; each is opened when it is first needed.
pub(super) struct Pool {
    options: PgConnectOptions,
    idle: Mutex<Vec<Resting>>,
    places: Arc<Semaphore>,
}

struct Resting {
    connection: PgConnection,
    born: Instant,
    since: Instant,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, most: usize) -> Arc<Self> {
        Arc::new(Self {
            options,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(most)),
        })
    }

    pub(super) async fn lend(self: &Arc<Self>, patience: Duration) -> Result<Lent, sqlx::Error> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::Closed) => return Err(sqlx::Error::PoolClosed),
            Err(TryAcquireError::NoPermits) => {
                let place = timeout(patience, Arc::clone(&self.places).acquire_owned())
                    .await
                    .map_err(|_elapsed| sqlx::Error::PoolTimedOut)?;
                place.map_err(|_closed| sqlx::Error::PoolClosed)?
            }
        };
        if let Some(mut resting) = self.rested() {
            if resting.since.elapsed() <= FRESH || answers(&mut resting.connection).await {
                return Ok(self.lent(resting.connection, resting.born, place));
            }
            self.forget_idle();
        }
        // Boxed: this future has room for a whole connection set-up.
        let connecting = Box::pin(timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&self.options)));
        let connection = connecting.await.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
        Ok(self.lent(connection, Instant::now(), place))
    }

    /// The connection that rested shortest, if any is still good; those that rested too long are closed.
    fn rested(&self) -> Option<Resting> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|resting| resting.since.elapsed() < REST && resting.born.elapsed() < LIFE);
        idle.pop()
    }

    /// Where one connection was lost, those that rested beside it are lost most likely, too.
    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn lent(self: &Arc<Self>, connection: PgConnection, born: Instant, place: OwnedSemaphorePermit) -> Lent {
        Lent {
            connection: Some(connection),
            born,
            state: State::Clean,
            pool: Arc::clone(self),
            place: Some(place),
        }
    }

    fn take_back(&self, connection: PgConnection, born: Instant) {
        if self.places.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Resting {
            connection,
            born,
            since: Instant::now(),
        });
    }

    /// Closes what is idle, and lends no more.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for resting in idle {
            // It has ended either way.
            drop(resting.connection.close().await);
        }
    }
}

async fn answers(connection: &mut PgConnection) -> bool {
    let answer = timeout(SIGN_OF_LIFE_TIMEOUT, connection.ping()).await;
    matches!(answer, Ok(Ok(())))
}

/// What must happen before somebody else gets the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Clean,
    /// A transaction is open.
    Begun,
    /// An answer is due, or the connection is lost: nobody gets it again.
    Busy,
}

/// A connection that goes back when it is dropped, unless an answer is due.
pub(super) struct Lent {
    connection: Option<PgConnection>,
    born: Instant,
    state: State,
    pool: Arc<Pool>,
    place: Option<OwnedSemaphorePermit>,
}

impl Lent {
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The connection, for one statement; [`Lent::settle`] follows when its answer is there.
    pub(super) fn busy(&mut self) -> Result<(&mut PgConnection, State), sqlx::Error> {
        let before = std::mem::replace(&mut self.state, State::Busy);
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok((connection, before))
    }

    /// Says how a statement left the connection.
    pub(super) fn settle<T>(&mut self, now: State, done: &Result<T, sqlx::Error>) {
        match done {
            Err(error) if is_lost(error) || only_reads(error) => self.pool.forget_idle(),
            Err(error) if is_stale(error) => {}
            Ok(_) | Err(_) => self.state = now,
        }
    }
}

/// The server, or the way to it, has ended the connection.
fn is_lost(error: &sqlx::Error) -> bool {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)
    ) || matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

/// The server only reads. Where it did not before, another has become the primary, or it will write again in new sessions only.
fn only_reads(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("25006")
}

/// What the connection has prepared is not what the server has: unknown, known already, or of another result type.
fn is_stale(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("26000" | "42P05" | "0A000"))
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(mut connection), born) = (self.connection.take(), self.born) else {
            return;
        };
        match self.state {
            State::Busy => {}
            State::Clean => self.pool.take_back(connection, born),
            State::Begun => {
                let (pool, place) = (Arc::clone(&self.pool), self.place.take());
                // Without a runtime nobody will want the connection.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                    return;
                };
                runtime.spawn(async move {
                    let rolled_back = timeout(SIGN_OF_LIFE_TIMEOUT, connection.execute("ROLLBACK")).await;
                    if matches!(rolled_back, Ok(Ok(_))) {
                        pool.take_back(connection, born);
                    }
                    drop(place);
                });
            }
        }
    }
}
