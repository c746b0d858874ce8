//! Connections that read, lent to one caller at a time.

use super::open_to_read;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// At most so many connections; each is opened when it is first needed.
pub(in crate::metadata) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(in crate::metadata) fn new(path: &Path, most: usize) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_path_buf(),
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(most)),
        })
    }

    pub(in crate::metadata) async fn lend(self: &Arc<Self>, patience: Duration) -> Result<Lent, sqlx::Error> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(sqlx::Error::PoolClosed),
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                let waiting = Arc::clone(&self.places).acquire_owned();
                let place = timeout(patience, waiting)
                    .await
                    .map_err(|_elapsed| sqlx::Error::PoolTimedOut)?;
                place.map_err(|_closed| sqlx::Error::PoolClosed)?
            }
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_to_read(&self.path)?,
        };
        Ok(Lent {
            connection: Some(connection),
            readers: Arc::clone(self),
            _place: place,
        })
    }

    /// Closes what is idle, and lends no more.
    pub(in crate::metadata) fn close(&self) {
        self.places.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection that goes back when it is dropped.
pub(in crate::metadata) struct Lent {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _place: OwnedSemaphorePermit,
}

impl Lent {
    pub(in crate::metadata) fn connection(&self) -> Result<&Connection, sqlx::Error> {
        self.connection.as_ref().ok_or(sqlx::Error::PoolClosed)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.readers.places.is_closed() {
            let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.extend(self.connection.take());
        }
    }
}
