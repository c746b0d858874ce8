//! What all replicas' collectors go by: whether to work at all, and how much they have deleted this hour.

use super::Micros;
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements, stored_size};

/// The one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// When somebody paused it; absent: it works.
    pub paused_at: Option<Micros>,
    /// Who, in their own words.
    pub paused_by: Option<String>,
    /// When the hour began that is counted.
    pub window_start: Micros,
    /// Manifests and blobs that were deleted in it.
    pub window_objects: u64,
    /// Their bytes.
    pub window_bytes: u64,
}

statements! {
    STATE = Statement::both(
        "collector.state",
        "SELECT paused_at, paused_by, window_start, window_objects, window_bytes FROM collector WHERE id = 1",
    );
    HOLD = Statement::each(
        "collector.hold",
        "SELECT paused_at, paused_by, window_start, window_objects, window_bytes FROM collector WHERE id = 1",
        "SELECT paused_at, paused_by, window_start, window_objects, window_bytes FROM collector WHERE id = 1 FOR UPDATE",
    );
    SPEND = Statement::both(
        "collector.spend",
        "UPDATE collector SET window_start = $1, window_objects = $2, window_bytes = $3 WHERE id = 1",
    );
    PAUSE = Statement::both(
        "collector.pause",
        "UPDATE collector SET paused_at = $1, paused_by = $2 WHERE id = 1 AND paused_at IS NULL",
    );
    RESUME = Statement::both(
        "collector.resume",
        "UPDATE collector SET paused_at = NULL, paused_by = NULL WHERE id = 1 AND paused_at IS NOT NULL",
    );
}

fn decoded(row: &Row<'_>) -> Result<State, sqlx::Error> {
    Ok(State {
        paused_at: row.optional_int(0)?,
        paused_by: row.optional_text(1)?,
        window_start: row.int(2)?,
        window_objects: row.size(3)?,
        window_bytes: row.size(4)?,
    })
}

/// How things stand.
///
/// # Errors
/// As any statement.
pub async fn state(reader: &mut Reader) -> Result<State, Error> {
    let found = reader.one(&STATE, &[], decoded).await?;
    found.ok_or_else(|| Error::of(STATE.name, sqlx::Error::RowNotFound))
}

/// The same, and nobody else changes it until the end of the transaction.
///
/// # Errors
/// As any statement.
pub async fn hold(tx: &mut Tx) -> Result<State, Error> {
    let found = tx.one(&HOLD, &[], decoded).await?;
    found.ok_or_else(|| Error::of(HOLD.name, sqlx::Error::RowNotFound))
}

/// Records what was deleted in an hour.
///
/// # Errors
/// As any statement.
pub async fn spend(tx: &mut Tx, window_start: Micros, objects: u64, bytes: u64) -> Result<(), Error> {
    let values = [
        Value::Int(window_start),
        Value::Int(stored_size(objects)),
        Value::Int(stored_size(bytes)),
    ];
    tx.execute(&SPEND, &values).await.map(drop)
}

/// Stops every replica's collector. `Ok(false)`: it was paused before.
///
/// # Errors
/// As any statement.
pub async fn pause(tx: &mut Tx, by: &str, now: Micros) -> Result<bool, Error> {
    Ok(tx.execute(&PAUSE, &[Value::Int(now), Value::Text(by)]).await? == 1)
}

/// Lets every replica's collector go on. `Ok(false)`: it was not paused.
///
/// # Errors
/// As any statement.
pub async fn resume(tx: &mut Tx) -> Result<bool, Error> {
    Ok(tx.execute(&RESUME, &[]).await? == 1)
}
