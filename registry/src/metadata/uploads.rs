//! Upload sessions.
//!
//! A session's row is committed before its first byte is written and names every object key that its bytes may get.
//! One request at a time holds the claim and may write; a claim that its holder did not renew in time can be taken
//! over. The number of claims so far makes the name of every object that a claim writes unique, so a holder that wakes
//! up late cannot damage what came after it; what is written under several claims, the store guards (a lock on the
//! local file, part numbers and entity tags of a multipart upload).

use super::Micros;
use super::error::Error;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements, stored_size};
use bytes::Bytes;
use oci::{Digest, RepositoryName};
use uuid::Uuid;

/// What is kept of an upload so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    /// Bytes acknowledged.
    pub stored_bytes: u64,
    /// Those bytes, while they are few: the store has nothing then.
    pub content: Option<Bytes>,
    /// The half-done hash of those bytes.
    pub hasher: Option<Vec<u8>>,
    /// The store's name of a multipart upload to the object key.
    pub multipart_id: Option<String>,
    /// The store's names of the parts, in order.
    pub parts: Vec<String>,
    /// The object with the bytes after the last part.
    pub tail_key: Option<String>,
}

/// An upload that has begun.
#[derive(Debug, Clone)]
pub struct Session {
    /// Names the session in its URL.
    pub id: Uuid,
    /// The key that the finished object will have.
    pub object_key: String,
    /// What the store holds of it.
    pub staged: Staged,
    /// How often a request claimed it, this one included.
    pub claims: u64,
}

/// A session to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// Names the session.
    pub id: Uuid,
    /// Where the blob is to be linked.
    pub repository: &'a RepositoryName,
    /// The final key.
    pub object_key: &'a str,
    /// When it began.
    pub now: Micros,
    /// When it ends unless used; that of an ended session is when its row may go.
    pub expires_at: Micros,
}

/// One request's right to write to a session.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The session.
    pub id: Uuid,
    /// Proves the right.
    pub token: Uuid,
}

const DONE: i64 = 1;
const ABORTED: i64 = 2;

statements! {
    BEGIN = Statement::both(
        "upload_sessions.begin",
        "INSERT INTO upload_sessions
             (id, repository, object_key, state, stored_bytes, parts, claims, created_at, expires_at)
         VALUES ($1, $2, $3, 0, 0, '[]', 0, $4, $5)",
    );
    FIND = Statement::both(
        "upload_sessions.find",
        "SELECT id, object_key, stored_bytes, hasher, multipart_id, parts, tail_key, claims, content
         FROM upload_sessions
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3",
    );
    FINISHED = Statement::both(
        "upload_sessions.finished",
        "SELECT digest FROM upload_sessions WHERE id = $1 AND repository = $2 AND state = 1",
    );
    // A session does not expire while it is claimed.
    CLAIM = Statement::both(
        "upload_sessions.claim",
        "UPDATE upload_sessions
         SET claim = $4, claimed_until = $5, claims = claims + 1,
             expires_at = CASE WHEN expires_at < $5 THEN $5 ELSE expires_at END
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3 AND claim IS NULL
         RETURNING id, object_key, stored_bytes, hasher, multipart_id, parts, tail_key, claims, content",
    );
    TAKE_OVER = Statement::both(
        "upload_sessions.take_over",
        "UPDATE upload_sessions
         SET claim = $4, claimed_until = $5, claims = claims + 1,
             expires_at = CASE WHEN expires_at < $5 THEN $5 ELSE expires_at END
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3 AND claimed_until <= $3
         RETURNING id, object_key, stored_bytes, hasher, multipart_id, parts, tail_key, claims, content",
    );
    RENEW = Statement::both(
        "upload_sessions.renew",
        "UPDATE upload_sessions
         SET claimed_until = $3, expires_at = $4
         WHERE id = $1 AND claim = $2 AND state = 0",
    );
    HELD = Statement::both(
        "upload_sessions.held",
        "SELECT claims FROM upload_sessions WHERE id = $1 AND claim = $2 AND state = 0",
    );
    RELEASE = Statement::both(
        "upload_sessions.release",
        "UPDATE upload_sessions SET claim = NULL, claimed_until = NULL WHERE id = $1 AND claim = $2",
    );
    RELEASE_ALL = Statement::both(
        "upload_sessions.release_all",
        "UPDATE upload_sessions SET claim = NULL, claimed_until = NULL WHERE claim IS NOT NULL",
    );
    MULTIPART = Statement::both(
        "upload_sessions.multipart",
        "UPDATE upload_sessions
         SET multipart_id = $3, object_key = $4
         WHERE id = $1 AND claim = $2 AND state = 0",
    );
    STORED = Statement::both(
        "upload_sessions.stored",
        "UPDATE upload_sessions
         SET stored_bytes = $3, hasher = $4, parts = $5, tail_key = $6, expires_at = $7, content = NULL,
             claim = NULL, claimed_until = NULL
         WHERE id = $1 AND claim = $2 AND state = 0",
    );
    // A session that was never claimed has written nothing to the store. Where a loss of power took a claim back, which waits for no
    // disk, a file may be there that nothing names: that is for the scrub.
    STAGE = Statement::both(
        "upload_sessions.stage",
        "UPDATE upload_sessions
         SET stored_bytes = $4, content = $5, expires_at = $6
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3 AND claims = 0 AND content IS NULL",
    );
    FINISH_UNCLAIMED = Statement::both(
        "upload_sessions.finish_unclaimed",
        "UPDATE upload_sessions
         SET state = 1, digest = $4, expires_at = $5
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3 AND claims = 0
         RETURNING content",
    );
    EMPTY = Statement::both(
        "upload_sessions.empty",
        "UPDATE upload_sessions SET content = NULL WHERE id = $1",
    );
    END = Statement::both(
        "upload_sessions.end",
        "UPDATE upload_sessions
         SET state = $3, digest = $4, expires_at = $5, content = NULL, claim = NULL, claimed_until = NULL
         WHERE id = $1 AND claim = $2 AND state = 0
         RETURNING object_key, multipart_id, claims, tail_key",
    );
    CANCEL = Statement::both(
        "upload_sessions.cancel",
        "UPDATE upload_sessions
         SET state = 2, expires_at = $4, content = NULL, claim = NULL, claimed_until = NULL
         WHERE id = $1 AND repository = $2 AND state = 0 AND expires_at > $3
         RETURNING object_key, multipart_id, claims, tail_key",
    );
    // Several replicas sweep at once: each takes rows that no other is at. As an array, because a join with a limit that
    // the planner does not know would read the whole table.
    EXPIRE = Statement::each(
        "upload_sessions.expire",
        "UPDATE upload_sessions
         SET state = 2, expires_at = $2, content = NULL, claim = NULL, claimed_until = NULL
         WHERE id IN (
             SELECT id FROM upload_sessions WHERE state = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $3
         )
         RETURNING object_key, multipart_id, claims, tail_key",
        "WITH due AS MATERIALIZED (
             SELECT id FROM upload_sessions WHERE state = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         UPDATE upload_sessions
         SET state = 2, expires_at = $2, content = NULL, claim = NULL, claimed_until = NULL
         WHERE id = ANY(ARRAY(SELECT id FROM due))
         RETURNING object_key, multipart_id, claims, tail_key",
    );
    FORGET = Statement::each(
        "upload_sessions.forget",
        "DELETE FROM upload_sessions
         WHERE id IN (
             SELECT id FROM upload_sessions WHERE state IN (1, 2) AND expires_at <= $1 LIMIT $2
         )",
        "WITH due AS MATERIALIZED (
             SELECT id FROM upload_sessions WHERE state IN (1, 2) AND expires_at <= $1 LIMIT $2
             FOR UPDATE SKIP LOCKED
         )
         DELETE FROM upload_sessions WHERE id = ANY(ARRAY(SELECT id FROM due))",
    );
}

fn session(row: &Row<'_>) -> Result<Session, sqlx::Error> {
    let parts = serde_json::from_str(&row.text(5)?).map_err(|source| decode(5, source))?;
    Ok(Session {
        id: Uuid::from_slice(&row.bytes(0)?).map_err(|source| decode(0, source))?,
        object_key: row.text(1)?,
        staged: Staged {
            stored_bytes: row.size(2)?,
            content: row.optional_bytes(8)?.map(Bytes::from),
            hasher: row.optional_bytes(3)?,
            multipart_id: row.optional_text(4)?,
            parts,
            tail_key: row.optional_text(6)?,
        },
        claims: row.size(7)?,
    })
}

fn decode(column: usize, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: Box::new(source),
    }
}

/// Begins a session.
///
/// # Errors
/// As any statement.
pub async fn begin(tx: &mut Tx, new: NewSession<'_>) -> Result<(), Error> {
    let values = [
        Value::Bytes(new.id.as_bytes()),
        Value::Text(new.repository.as_str()),
        Value::Text(new.object_key),
        Value::Int(new.now),
        Value::Int(new.expires_at),
    ];
    tx.execute(&BEGIN, &values).await.map(drop)
}

/// The open session, unless it is unknown, ended, expired or of another repository.
///
/// # Errors
/// As any statement.
pub async fn find(
    reader: &mut Reader,
    id: Uuid,
    repository: &RepositoryName,
    now: Micros,
) -> Result<Option<Session>, Error> {
    let values = [
        Value::Bytes(id.as_bytes()),
        Value::Text(repository.as_str()),
        Value::Int(now),
    ];
    reader.one(&FIND, &values, session).await
}

/// The digest that a finished session was committed with.
///
/// # Errors
/// As any statement.
pub async fn finished(reader: &mut Reader, id: Uuid, repository: &RepositoryName) -> Result<Option<Digest>, Error> {
    let values = [Value::Bytes(id.as_bytes()), Value::Text(repository.as_str())];
    Ok(reader
        .one(&FINISHED, &values, |row| row.optional_digest(0))
        .await?
        .flatten())
}

/// Takes the right to write, which nobody has. `None`: the session is not open, or another request has the right.
///
/// # Errors
/// As any statement.
pub async fn claim(
    tx: &mut Tx,
    claim: Claim,
    repository: &RepositoryName,
    now: Micros,
    until: Micros,
) -> Result<Option<Session>, Error> {
    take(tx, &CLAIM, (claim, repository), (now, until)).await
}

/// Takes the right to write from a request that did not renew it in time. `None` as for [`claim`].
///
/// # Errors
/// As any statement.
pub async fn take_over(
    tx: &mut Tx,
    claim: Claim,
    repository: &RepositoryName,
    now: Micros,
    until: Micros,
) -> Result<Option<Session>, Error> {
    take(tx, &TAKE_OVER, (claim, repository), (now, until)).await
}

async fn take(
    tx: &mut Tx,
    statement: &'static Statement,
    (claim, repository): (Claim, &RepositoryName),
    (now, until): (Micros, Micros),
) -> Result<Option<Session>, Error> {
    let values = [
        Value::Bytes(claim.id.as_bytes()),
        Value::Text(repository.as_str()),
        Value::Int(now),
        Value::Bytes(claim.token.as_bytes()),
        Value::Int(until),
    ];
    tx.one(statement, &values, session).await
}

/// Keeps the right to write, and the session, which does not expire while it is written to. `Ok(false)`: the right is
/// lost.
///
/// # Errors
/// As any statement.
pub async fn renew(tx: &mut Tx, claim: Claim, until: Micros, expires_at: Micros) -> Result<bool, Error> {
    let values = [
        Value::Bytes(claim.id.as_bytes()),
        Value::Bytes(claim.token.as_bytes()),
        Value::Int(until),
        Value::Int(expires_at),
    ];
    Ok(tx.execute(&RENEW, &values).await? == 1)
}

/// Gives the right to write back; the session is as it was before the claim.
///
/// # Errors
/// As any statement.
pub async fn release(tx: &mut Tx, claim: Claim) -> Result<(), Error> {
    let values = [Value::Bytes(claim.id.as_bytes()), Value::Bytes(claim.token.as_bytes())];
    tx.execute(&RELEASE, &values).await.map(drop)
}

/// Gives back every claim: for the start of the only process that can have made them.
///
/// # Errors
/// As any statement.
pub async fn release_all(tx: &mut Tx) -> Result<u64, Error> {
    tx.execute(&RELEASE_ALL, &[]).await
}

/// Whether the right to write is still held, right now.
///
/// # Errors
/// As any statement.
pub async fn is_held(reader: &mut Reader, claim: Claim) -> Result<bool, Error> {
    let values = [Value::Bytes(claim.id.as_bytes()), Value::Bytes(claim.token.as_bytes())];
    Ok(reader.one(&HELD, &values, |row| row.int(0)).await?.is_some())
}

/// Names a multipart upload, and the key that it will have, before a part of it is written. `Ok(false)`: the claim is
/// lost.
///
/// # Errors
/// As any statement.
pub async fn multipart_begun(tx: &mut Tx, claim: Claim, multipart_id: &str, object_key: &str) -> Result<bool, Error> {
    let values = [
        Value::Bytes(claim.id.as_bytes()),
        Value::Bytes(claim.token.as_bytes()),
        Value::Text(multipart_id),
        Value::Text(object_key),
    ];
    Ok(tx.execute(&MULTIPART, &values).await? == 1)
}

/// Records what an append has made durable, and gives the claim back. `Ok(false)`: the claim was lost.
///
/// # Errors
/// As any statement.
pub async fn stored(tx: &mut Tx, claim: Claim, staged: &Staged, expires_at: Micros) -> Result<bool, Error> {
    let parts = serde_json::to_string(&staged.parts).unwrap_or_default();
    let values = [
        Value::Bytes(claim.id.as_bytes()),
        Value::Bytes(claim.token.as_bytes()),
        Value::Int(stored_size(staged.stored_bytes)),
        Value::OptionalBytes(staged.hasher.as_deref()),
        Value::Text(&parts),
        Value::OptionalText(staged.tail_key.as_deref()),
        Value::Int(expires_at),
    ];
    Ok(tx.execute(&STORED, &values).await? == 1)
}

/// A session of a repository.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Names it.
    pub id: Uuid,
    /// Where the blob is to be linked.
    pub repository: &'a RepositoryName,
}

/// Keeps the first bytes of an upload in its row. `Ok(false)`: the session is not open, or has bytes already, or a request
/// has claimed it.
///
/// # Errors
/// As any statement.
pub async fn stage(
    tx: &mut Tx,
    named: Named<'_>,
    content: &[u8],
    (now, expires_at): (Micros, Micros),
) -> Result<bool, Error> {
    let values = [
        Value::Bytes(named.id.as_bytes()),
        Value::Text(named.repository.as_str()),
        Value::Int(now),
        Value::Int(stored_size(content.len() as u64)),
        Value::Bytes(content),
        Value::Int(expires_at),
    ];
    Ok(tx.execute(&STAGE, &values).await? == 1)
}

/// Ends a session that no request has claimed with the blob it became, and gives the bytes that its row has kept; it is
/// remembered until `forget_at`. `None`: it is not open, or was claimed.
///
/// # Errors
/// As any statement.
pub async fn finish_unclaimed(
    tx: &mut Tx,
    named: Named<'_>,
    digest: &Digest,
    (now, forget_at): (Micros, Micros),
) -> Result<Option<Bytes>, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Bytes(named.id.as_bytes()),
        Value::Text(named.repository.as_str()),
        Value::Int(now),
        Value::Bytes(&digest),
        Value::Int(forget_at),
    ];
    let ended = tx.one(&FINISH_UNCLAIMED, &values, |row| row.optional_bytes(0)).await?;
    let Some(content) = ended else {
        return Ok(None);
    };
    if content.is_some() {
        tx.execute(&EMPTY, &values[..1]).await?;
    }
    Ok(Some(content.unwrap_or_default().into()))
}

/// What a session that has ended leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The key that its object has, or was to have.
    pub object_key: String,
    /// The multipart upload to that key, where one was begun.
    pub multipart_id: Option<String>,
    /// How often it was claimed.
    pub claims: u64,
    /// The object with the bytes after the last part; its name may be made from a key that the upload had before.
    pub tail_key: Option<String>,
}

fn ended(row: &Row<'_>) -> Result<Ended, sqlx::Error> {
    Ok(Ended {
        object_key: row.text(0)?,
        multipart_id: row.optional_text(1)?,
        claims: row.size(2)?,
        tail_key: row.optional_text(3)?,
    })
}

/// Ends a claimed session with the blob it became; it is remembered until `forget_at`. `None`: the claim was lost.
///
/// # Errors
/// As any statement.
pub async fn finish(tx: &mut Tx, claim: Claim, digest: &Digest, forget_at: Micros) -> Result<Option<Ended>, Error> {
    end(tx, claim, (DONE, Some(digest)), forget_at).await
}

/// Ends a claimed session without a blob. `None`: the claim was lost.
///
/// # Errors
/// As any statement.
pub async fn abort(tx: &mut Tx, claim: Claim, forget_at: Micros) -> Result<Option<Ended>, Error> {
    end(tx, claim, (ABORTED, None), forget_at).await
}

async fn end(
    tx: &mut Tx,
    claim: Claim,
    (state, digest): (i64, Option<&Digest>),
    forget_at: Micros,
) -> Result<Option<Ended>, Error> {
    let digest = digest.map(Digest::to_bytes);
    let values = [
        Value::Bytes(claim.id.as_bytes()),
        Value::Bytes(claim.token.as_bytes()),
        Value::Int(state),
        Value::OptionalBytes(digest.as_deref()),
        Value::Int(forget_at),
    ];
    tx.one(&END, &values, ended).await
}

/// Ends an open session without a blob, whoever holds its claim. `None`: it is not open.
///
/// # Errors
/// As any statement.
pub async fn cancel(
    tx: &mut Tx,
    id: Uuid,
    repository: &RepositoryName,
    (now, forget_at): (Micros, Micros),
) -> Result<Option<Ended>, Error> {
    let values = [
        Value::Bytes(id.as_bytes()),
        Value::Text(repository.as_str()),
        Value::Int(now),
        Value::Int(forget_at),
    ];
    tx.one(&CANCEL, &values, ended).await
}

/// Ends at most `limit` open sessions that nobody used in time. Transactions that do this at once do not wait for each
/// other.
///
/// # Errors
/// As any statement.
pub async fn expire(tx: &mut Tx, (now, forget_at): (Micros, Micros), limit: u32) -> Result<Vec<Ended>, Error> {
    let values = [Value::Int(now), Value::Int(forget_at), Value::Int(limit.into())];
    tx.all(&EXPIRE, &values, ended).await
}

/// Removes the rows of at most `limit` sessions that ended long enough ago. Gives their number.
///
/// # Errors
/// As any statement.
pub async fn forget(tx: &mut Tx, now: Micros, limit: u32) -> Result<u64, Error> {
    tx.execute(&FORGET, &[Value::Int(now), Value::Int(limit.into())]).await
}
