//! What the engine below the rows is.

use super::error::Error;
use super::session::Reader;
use super::statement::{Engine, Statement, statements};

statements! {
    SERVER = Statement::each(
        "server.show",
        "SELECT 0, 1",
        "SELECT CAST(current_setting('server_version_num') AS bigint),
                CAST(CASE WHEN pg_is_in_recovery() THEN 0 ELSE 1 END AS bigint)",
    );
}

/// The engine that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    /// As it counts: 150004 is PostgreSQL 15.4, 3050004 is SQLite 3.50.4.
    pub version: i64,
    /// It takes writes: it does not only follow another.
    pub is_primary: bool,
}

/// Asks the engine what it is.
///
/// # Errors
/// As any statement.
pub(super) async fn server(reader: &mut Reader) -> Result<Server, Error> {
    let told = reader.one(&SERVER, &[], |row| Ok((row.int(0)?, row.int(1)?))).await?;
    let (version, primary) = told.unwrap_or_default();
    Ok(Server {
        version: match reader.engine() {
            Engine::Sqlite => i64::from(rusqlite::version_number()),
            Engine::Postgres => version,
        },
        is_primary: primary == 1,
    })
}
