//! What may have become garbage, for the collector to look at.

use super::Micros;
use super::collect::{Item, Items, item, over_items};
use super::error::Error;
use super::repositories::RepositoryKey;
use super::session::{Reader, Tx};
use super::statement::{Row, Statement, Value, statements};
use crate::staging;
use oci::Digest;

/// What is to be reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A manifest: is it still tagged, or listed by an index?
    Manifest,
    /// A repository's right to a blob: does a manifest of it still need the blob?
    BlobLink,
    /// A blob, under [`RepositoryKey::NONE`]: does any repository still have it?
    Blob,
}

impl Subject {
    /// Every kind, those first that lead to the others.
    pub const ALL: [Self; 3] = [Self::Manifest, Self::BlobLink, Self::Blob];

    /// The word used in answers, logs and measures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::BlobLink => "blob_link",
            Self::Blob => "blob",
        }
    }

    fn kind(self) -> i64 {
        match self {
            Self::Manifest => 1,
            Self::BlobLink => 2,
            Self::Blob => 3,
        }
    }
}

/// The change that made a review needful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A blob was uploaded or mounted and nothing names it yet.
    BlobUpload,
    /// A manifest was pushed without a tag.
    ManifestUpload,
    /// A tag moved to another manifest.
    TagSwitch,
    /// A tag was deleted.
    TagDelete,
    /// A manifest that named it was deleted, or that had it as its subject, or was its subject.
    ManifestDelete,
    /// An index was deleted that listed it, or that had it as its subject, or was its subject.
    ManifestListDelete,
    /// A repository gave the blob up.
    BlobUnlink,
}

impl Reason {
    /// The word used in rows, answers, logs and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUpload => "blob_upload",
            Self::ManifestUpload => "manifest_upload",
            Self::TagSwitch => "tag_switch",
            Self::TagDelete => "tag_delete",
            Self::ManifestDelete => "manifest_delete",
            Self::ManifestListDelete => "manifest_list_delete",
            Self::BlobUnlink => "blob_unlink",
        }
    }
}

statements! {
    // In the order of the digests, so that two transactions cannot wait for each other.
    ADD = Statement::each(
        "reviews.add",
        "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
         SELECT $1, $2, $3, unhex(value), $5, 0, $6, $7 FROM json_each($4) WHERE true ORDER BY 4
         ON CONFLICT (kind, namespace_id, repository_id, digest) DO UPDATE
         SET due_at = excluded.due_at, reason = excluded.reason, created_at = excluded.created_at",
        "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
         SELECT $1, $2, $3, digest, $5, 0, $6, $7 FROM unnest($4::bytea[]) AS digest ORDER BY digest
         ON CONFLICT (kind, namespace_id, repository_id, digest) DO UPDATE
         SET due_at = excluded.due_at, reason = excluded.reason, created_at = excluded.created_at",
    );
    ADD_ALL = over_items!(
        "reviews.add_all",
        "INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
         SELECT $4, item.namespace_id, item.repository_id, item.digest, $5, 0, $6, $7 FROM ",
        " WHERE true ORDER BY 2, 3, 4
         ON CONFLICT (kind, namespace_id, repository_id, digest) DO UPDATE
         SET due_at = excluded.due_at, reason = excluded.reason, created_at = excluded.created_at"
    );
    ASKED_AT = Statement::both(
        "reviews.asked_at",
        "SELECT created_at FROM reviews
         WHERE kind = $1 AND namespace_id = $2 AND repository_id = $3 AND digest = $4",
    );
    TAKE = Statement::each(
        "reviews.take",
        "SELECT namespace_id, repository_id, digest, attempts, reason, due_at, created_at FROM reviews
         WHERE kind = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3",
        "SELECT namespace_id, repository_id, digest, attempts, reason, due_at, created_at FROM reviews
         WHERE kind = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED",
    );
    TAKE_THESE = over_items!(
        "reviews.take_these",
        "SELECT r.namespace_id, r.repository_id, r.digest, r.attempts, r.reason, r.due_at, r.created_at FROM ",
        " CROSS JOIN reviews r
          WHERE r.kind = $4 AND r.namespace_id = item.namespace_id AND r.repository_id = item.repository_id
              AND r.digest = item.digest AND r.due_at <= $5",
        prune: "",
        lock: " FOR UPDATE OF r SKIP LOCKED"
    );
    PAGE = Statement::both(
        "reviews.page",
        "SELECT namespace_id, repository_id, digest, attempts, reason, due_at, created_at FROM reviews
         WHERE kind = $1 AND due_at <= $2 AND (due_at, namespace_id, repository_id, digest) > ($3, $4, $5, $6)
         ORDER BY due_at, namespace_id, repository_id, digest LIMIT $7",
    );
    FINISH = over_items!(
        "reviews.finish",
        "DELETE FROM reviews WHERE kind = $4 AND (namespace_id, repository_id, digest) IN
             (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")"
    );
    POSTPONE = over_items!(
        "reviews.postpone",
        "UPDATE reviews SET due_at = $5, attempts = attempts + $6 WHERE kind = $4
             AND (namespace_id, repository_id, digest) IN
                 (SELECT item.namespace_id, item.repository_id, item.digest FROM ",
        ")"
    );
    DUE = Statement::both(
        "reviews.due",
        "SELECT count(*), min(due_at) FROM
             (SELECT due_at FROM reviews WHERE kind = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3) AS due",
    );
    // Few fail so often; they are found among those that are due in the future.
    PARKED = Statement::both(
        "reviews.parked",
        "SELECT count(*) FROM
             (SELECT 1 FROM reviews WHERE attempts >= 10 AND kind = $1 LIMIT $2) AS parked",
    );
}

/// How often an item fails before it counts as parked: reviewed once a day, and told of. As the index of the schema
/// has it.
pub const PARKED_AFTER: i64 = 10;

/// An item to be reviewed.
#[derive(Debug, Clone)]
pub struct Review {
    /// Which.
    pub item: Item,
    /// How often its review has failed.
    pub attempts: i64,
    /// What made it needful.
    pub reason: String,
    /// Since when it is due.
    pub due_at: Micros,
    /// When it was asked for last.
    pub created_at: Micros,
}

fn review(row: &Row<'_>) -> Result<Review, sqlx::Error> {
    Ok(Review {
        item: item(row)?,
        attempts: row.int(3)?,
        reason: row.text(4)?,
        due_at: row.int(5)?,
        created_at: row.int(6)?,
    })
}

/// When and why to look.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Not before this time.
    pub at: Micros,
    /// What happened.
    pub reason: Reason,
    /// When it happened.
    pub now: Micros,
}

/// Asks the collector to look at the digests of a repository; a later entry for the same one replaces the earlier.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, subject: Subject, key: RepositoryKey, digests: &[Digest], due: Due) -> Result<(), Error> {
    if digests.is_empty() || staging::mutated_in("review_forgotten", due.reason.as_str()) {
        return Ok(());
    }
    let digests: Vec<Vec<u8>> = digests.iter().map(Digest::to_bytes).collect();
    let values = [
        Value::Int(subject.kind()),
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::BytesArray(&digests),
        Value::Int(due.at),
        Value::Text(due.reason.as_str()),
        Value::Int(due.now),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}

/// Asks for reviews in any number of repositories.
///
/// # Errors
/// As any statement.
pub async fn add_all(tx: &mut Tx, subject: Subject, items: &Items, due: Due) -> Result<(), Error> {
    if items.is_empty() || staging::mutated_in("review_forgotten_by_collector", due.reason.as_str()) {
        return Ok(());
    }
    let rest = [
        Value::Int(subject.kind()),
        Value::Int(due.at),
        Value::Text(due.reason.as_str()),
        Value::Int(due.now),
    ];
    tx.execute(&ADD_ALL, &[&items.values()[..], &rest].concat())
        .await
        .map(drop)
}

/// Since when an item waits for a review, if it does.
///
/// # Errors
/// As any statement.
pub async fn asked_at(
    reader: &mut Reader,
    subject: Subject,
    key: RepositoryKey,
    digest: &Digest,
) -> Result<Option<Micros>, Error> {
    let digest = digest.to_bytes();
    let values = [
        Value::Int(subject.kind()),
        Value::Int(key.namespace),
        Value::Int(key.repository),
        Value::Bytes(&digest),
    ];
    reader.one(&ASKED_AT, &values, |row| row.int(0)).await
}

/// At most `limit` reviews that are due, the oldest first. Nobody else takes, changes or ends them until the end of the
/// transaction; those that somebody else has are left out.
///
/// # Errors
/// As any statement.
pub async fn take(tx: &mut Tx, subject: Subject, now: Micros, limit: u32) -> Result<Vec<Review>, Error> {
    let values = [Value::Int(subject.kind()), Value::Int(now), Value::Int(limit.into())];
    tx.all(&TAKE, &values, review).await
}

/// The same for certain items.
///
/// # Errors
/// As any statement.
pub async fn take_these(tx: &mut Tx, subject: Subject, items: &Items, now: Micros) -> Result<Vec<Review>, Error> {
    let rest = [Value::Int(subject.kind()), Value::Int(now)];
    tx.all(&TAKE_THESE, &[&items.values()[..], &rest].concat(), review)
        .await
}

/// At most `limit` reviews that are due, behind `after` in the order of their times. They stay for others to take.
///
/// # Errors
/// As any statement.
pub async fn page(
    reader: &mut Reader,
    subject: Subject,
    now: Micros,
    after: Option<&Review>,
    limit: u32,
) -> Result<Vec<Review>, Error> {
    let none = Item {
        key: RepositoryKey {
            namespace: i64::MIN,
            repository: i64::MIN,
        },
        digest: Vec::new(),
    };
    let (due_at, last) = after.map_or((Micros::MIN, &none), |after| (after.due_at, &after.item));
    let values = [
        Value::Int(subject.kind()),
        Value::Int(now),
        Value::Int(due_at),
        Value::Int(last.key.namespace),
        Value::Int(last.key.repository),
        Value::Bytes(&last.digest),
        Value::Int(limit.into()),
    ];
    reader.all(&PAGE, &values, review).await
}

/// Ends reviews that this transaction has taken.
///
/// # Errors
/// As any statement.
pub async fn finish(tx: &mut Tx, subject: Subject, items: &Items) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let kind = [Value::Int(subject.kind())];
    tx.execute(&FINISH, &[&items.values()[..], &kind].concat())
        .await
        .map(drop)
}

/// Puts reviews off until `due_at`; `failed` counts it as one more that came to nothing.
///
/// # Errors
/// As any statement.
pub async fn postpone(tx: &mut Tx, subject: Subject, items: &Items, due_at: Micros, failed: bool) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let rest = [
        Value::Int(subject.kind()),
        Value::Int(due_at),
        Value::Int(failed.into()),
    ];
    tx.execute(&POSTPONE, &[&items.values()[..], &rest].concat())
        .await
        .map(drop)
}

/// How many reviews wait, counted up to a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that are due.
    pub due: u64,
    /// Since when the oldest of them is.
    pub oldest: Option<Micros>,
    /// Those that failed again and again.
    pub parked: u64,
}

/// Counts what is due and what is parked, up to `limit` of each: the queue may have millions.
///
/// # Errors
/// As any statement.
pub async fn depth(reader: &mut Reader, subject: Subject, now: Micros, limit: u32) -> Result<Depth, Error> {
    let values = [Value::Int(subject.kind()), Value::Int(now), Value::Int(limit.into())];
    let due = reader
        .one(&DUE, &values, |row| Ok((row.size(0)?, row.optional_int(1)?)))
        .await?;
    let values = [Value::Int(subject.kind()), Value::Int(limit.into())];
    let parked = reader.one(&PARKED, &values, |row| row.size(0)).await?;
    let (due, oldest) = due.unwrap_or_default();
    Ok(Depth {
        due,
        oldest,
        parked: parked.unwrap_or_default(),
    })
}
