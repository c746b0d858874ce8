-- The whole of the registry's state except the bytes of blobs.
--
-- Times are microseconds since 1970 (UTC). Digests are one byte for the algorithm (1 sha256, 2 sha512; 0 for
-- the text of a digest we cannot compute) and then the hash. Foreign keys are NO ACTION: what is still
-- referenced cannot be deleted, whoever forgets to look first.
--
-- deleted_at hides a row without deleting it, which no foreign key notices.

CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: the number of a repository that was deleted is not given to another one.
CREATE TABLE repositories (
    namespace_id INTEGER NOT NULL REFERENCES namespaces (id),
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_published_at INTEGER,
    deleted_at INTEGER,
    UNIQUE (namespace_id, id)
) STRICT;
-- A deleted repository keeps its path beside the one that took its place.
CREATE UNIQUE INDEX repositories_path ON repositories (path) WHERE deleted_at IS NULL;

-- Repositories that are hidden and whose rows are being removed, batch by batch, and those of late that are done.
-- id: the repository's. worked_at: when a batch was removed last, so that each has its turn.
CREATE TABLE repository_deletions (
    id INTEGER PRIMARY KEY,
    namespace_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    tags INTEGER NOT NULL,
    manifests INTEGER NOT NULL,
    blobs INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    worked_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX repository_deletions_open ON repository_deletions (worked_at) WHERE finished_at IS NULL;
CREATE INDEX repository_deletions_done ON repository_deletions (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX repository_deletions_by_path ON repository_deletions (path, requested_at);

-- The bytes of a digest, once for the whole registry. An object key is never written twice and never reused.
-- content: the bytes themselves where they are few; there is no object then. Last: who reads the others reads no page of it.
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    object_key TEXT,
    created_at INTEGER NOT NULL,
    corrupt_at INTEGER,
    content BLOB,
    CHECK ((object_key IS NULL) <> (content IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_corrupt ON blobs (corrupt_at) WHERE corrupt_at IS NOT NULL;

-- A repository's right to a blob. By digest, so that "who has this blob?" asks one partition.
CREATE TABLE blob_links (
    digest BLOB NOT NULL REFERENCES blobs (digest),
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (digest, namespace_id, repository_id),
    FOREIGN KEY (namespace_id, repository_id) REFERENCES repositories (namespace_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_links_by_repository ON blob_links (namespace_id, repository_id, digest);

-- annotations: a JSON object of text, or NULL. content_size: the payload and everything it names.
CREATE TABLE manifests (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    media_type TEXT NOT NULL,
    artifact_type TEXT,
    config_media_type TEXT,
    subject_digest BLOB,
    annotations BLOB,
    payload BLOB NOT NULL,
    payload_size INTEGER NOT NULL,
    content_size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    pushed_at INTEGER NOT NULL,
    last_pulled_at INTEGER,
    deleted_at INTEGER,
    PRIMARY KEY (namespace_id, repository_id, digest),
    FOREIGN KEY (namespace_id, repository_id) REFERENCES repositories (namespace_id, id)
) STRICT;
CREATE INDEX manifests_by_subject ON manifests (namespace_id, repository_id, subject_digest, created_at, digest)
    WHERE subject_digest IS NOT NULL;
CREATE INDEX manifests_deleted ON manifests (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX manifests_deleted_by_repository ON manifests (namespace_id, repository_id, digest)
    WHERE deleted_at IS NOT NULL;

-- kind: 1 config, 2 layer, 3 entry of an index that is a blob.
CREATE TABLE manifest_blobs (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    manifest_digest BLOB NOT NULL,
    blob_digest BLOB NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (namespace_id, repository_id, manifest_digest, blob_digest, kind),
    FOREIGN KEY (namespace_id, repository_id, manifest_digest)
        REFERENCES manifests (namespace_id, repository_id, digest),
    FOREIGN KEY (blob_digest, namespace_id, repository_id)
        REFERENCES blob_links (digest, namespace_id, repository_id)
) STRICT, WITHOUT ROWID;
-- The digest first, or PostgreSQL takes this index for "everything of a manifest", and reads all that the repository has.
CREATE INDEX manifest_blobs_by_blob ON manifest_blobs (blob_digest, namespace_id, repository_id);

CREATE TABLE manifest_children (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    parent_digest BLOB NOT NULL,
    child_digest BLOB NOT NULL,
    PRIMARY KEY (namespace_id, repository_id, parent_digest, child_digest),
    FOREIGN KEY (namespace_id, repository_id, parent_digest)
        REFERENCES manifests (namespace_id, repository_id, digest),
    FOREIGN KEY (namespace_id, repository_id, child_digest)
        REFERENCES manifests (namespace_id, repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_children_by_child ON manifest_children (child_digest, namespace_id, repository_id);

-- What a sparse manifest names and the repository does not have (yet). kind as in manifest_blobs, 4 for a child.
CREATE TABLE missing_references (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    manifest_digest BLOB NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (namespace_id, repository_id, digest, manifest_digest, kind),
    FOREIGN KEY (namespace_id, repository_id, manifest_digest)
        REFERENCES manifests (namespace_id, repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX missing_references_by_manifest
    ON missing_references (namespace_id, repository_id, manifest_digest);

CREATE TABLE tags (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    manifest_digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_pulled_at INTEGER,
    PRIMARY KEY (namespace_id, repository_id, name),
    FOREIGN KEY (namespace_id, repository_id, manifest_digest)
        REFERENCES manifests (namespace_id, repository_id, digest)
) STRICT, WITHOUT ROWID;
-- The digest first: see manifest_blobs.
CREATE INDEX tags_by_manifest ON tags (manifest_digest, namespace_id, repository_id, name);

-- Deleted tags, kept for the retention time so that they can be restored. They keep their manifest alive.
CREATE TABLE deleted_tags (
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    manifest_digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_pulled_at INTEGER,
    deleted_by TEXT,
    PRIMARY KEY (namespace_id, repository_id, name, deleted_at),
    FOREIGN KEY (namespace_id, repository_id, manifest_digest)
        REFERENCES manifests (namespace_id, repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_tags_by_time ON deleted_tags (deleted_at);
CREATE INDEX deleted_tags_by_manifest ON deleted_tags (manifest_digest, namespace_id, repository_id);

-- An upload names its final object key before the first byte is written.
-- content: all bytes so far, while they are so few that nothing was written to the store yet.
-- state: 0 open, 1 done, 2 aborted. claim: the one request that may write now, until claimed_until.
-- expires_at: when an open session ends unless used, and when the row of an ended one goes.
CREATE TABLE upload_sessions (
    id BLOB PRIMARY KEY,
    repository TEXT NOT NULL,
    object_key TEXT NOT NULL,
    state INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    content BLOB,
    hasher BLOB,
    multipart_id TEXT,
    parts TEXT NOT NULL,
    tail_key TEXT,
    claims INTEGER NOT NULL,
    claim BLOB,
    claimed_until INTEGER,
    started_by TEXT,
    digest BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX upload_sessions_by_expiry ON upload_sessions (state, expires_at);

-- What may have become garbage. Written by the transaction that drops or creates a reference.
-- kind: 1 manifest, 2 link of a blob to a repository, 3 blob (namespace and repository are 0).
CREATE TABLE reviews (
    kind INTEGER NOT NULL,
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace_id, repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX reviews_by_due ON reviews (kind, due_at);
CREATE INDEX reviews_parked ON reviews (kind) WHERE attempts >= 10;

-- Whether the collector is paused, and what it has deleted in the hour that begins at window_start. One row.
CREATE TABLE collector (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    paused_at INTEGER,
    paused_by TEXT,
    window_start INTEGER NOT NULL,
    window_objects INTEGER NOT NULL,
    window_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO collector (id, window_start, window_objects, window_bytes) VALUES (1, 0, 0, 0);

-- Objects without a row, to be deleted from storage at not_before or later. attempts: how often a reaper set out to
-- delete the object; with the first, the object counts as gone.
CREATE TABLE tombstones (
    object_key TEXT PRIMARY KEY,
    digest BLOB,
    multipart_id TEXT,
    size INTEGER NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_time ON tombstones (not_before);
CREATE INDEX tombstones_parked ON tombstones (attempts) WHERE attempts >= 10;

-- "You need not upload this" was answered: the blob stays until expires_at. One row a digest, repository and period.
CREATE TABLE blob_leases (
    digest BLOB NOT NULL,
    namespace_id INTEGER NOT NULL,
    repository_id INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (digest, namespace_id, repository_id, expires_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_leases_by_expiry ON blob_leases (expires_at);

-- One holder for each background job.
CREATE TABLE driver_leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far re-hashing has come: a scrub goes on where the one before ended. One row, named 'verify'.
CREATE TABLE scrub_progress (
    name TEXT PRIMARY KEY,
    position BLOB NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events to deliver, written by the transaction that they tell of.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    dead_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_due ON outbox (endpoint, due_at) WHERE dead_at IS NULL;
