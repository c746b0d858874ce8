-- Fills the tables of an empty registry with generated rows: docs/scale.md says how to run it and what came out.
--
--     berth-registry migrate up
--     psql -v manifests=1000000 -v links=10000000 -f fill.sql
--
-- Everything follows from the number n of a manifest. Twenty manifests are a group, and a group is in one repository:
-- sixteen images of one configuration and three layers, two referrers to an image, two indexes of two images each.
-- A fifth of the groups is in scale0/huge; the others are spread over the other repositories. Payloads hash to their
-- digests, and blob i has the text 'blob i' as its bytes, which no store has.
--
-- Foreign keys are not looked at while the rows come in; the last statements look that they hold.
\set ON_ERROR_STOP on
\timing on
SET session_replication_role = replica;
SET synchronous_commit = off;
SET work_mem = '256MB';
SET jit = off;
SELECT :manifests / 50 AS repositories, 1000 AS bases, :manifests AS layers, :manifests * 3 / 20 AS tags \gset

CREATE FUNCTION pg_temp.blob(i bigint) RETURNS bytea IMMUTABLE LANGUAGE sql AS
$$ SELECT '\x01'::bytea || sha256(convert_to('blob ' || i, 'UTF8')) $$;
CREATE FUNCTION pg_temp.named(digest bytea) RETURNS text IMMUTABLE LANGUAGE sql AS
$$ SELECT 'sha256:' || encode(substr(digest, 2), 'hex') $$;
CREATE FUNCTION pg_temp.hashed(payload bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS
$$ SELECT '\x01'::bytea || sha256(payload) $$;

\echo namespaces and repositories
INSERT INTO namespaces (id, name, created_at)
SELECT i, 'scale' || i, 1 FROM generate_series(1, 200) i;
-- 1 is the huge one, 2 the one with the many tags.
INSERT INTO repositories (namespace_id, id, path, created_at, updated_at)
SELECT 1 + i % 200, i,
    'scale' || 1 + i % 200 || '/' || CASE i WHEN 1 THEN 'huge' WHEN 2 THEN 'tags' ELSE 'app' || i END, 1, 1
FROM generate_series(1, :repositories) i;
SELECT setval(pg_get_serial_sequence('namespaces', 'id'), 1000),
    setval(pg_get_serial_sequence('repositories', 'id'), :repositories + 1000);

\echo blobs: configurations, base layers, layers
INSERT INTO blobs (digest, size, object_key, created_at)
SELECT d, length('blob ' || i), 'blobs/' || substr(encode(d, 'hex'), 3, 2) || '/' || encode(d, 'hex'), 1
FROM generate_series(0, :manifests + :bases + :layers - 1) i, LATERAL (SELECT pg_temp.blob(i) AS d OFFSET 0) x;

\echo images
CREATE TEMPORARY TABLE made AS
SELECT n, n % 20 AS place, r AS repository_id, 1 + r % 200 AS namespace_id, b AS blobs, pg_temp.hashed(p) AS digest, p AS payload
FROM generate_series(0, :manifests - 1) n,
    LATERAL (SELECT n / 20 AS g) x,
    LATERAL (SELECT CASE WHEN g % 5 = 0 THEN 1 WHEN g % 50 = 1 THEN 2 ELSE 3 + g % (:repositories - 2) END AS r) y,
    LATERAL (
        SELECT ARRAY[
            n,
            :manifests + g % :bases,
            :manifests + :bases + n * 2 % :layers,
            :manifests + :bases + (n * 2 + 1) % :layers
        ] AS b
    ) z,
    LATERAL (
        SELECT convert_to(format(
            '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":'
            '{"mediaType":"application/vnd.oci.image.config.v1+json","size":%s,"digest":"%s"},"layers":[%s]}',
            length('blob ' || n), pg_temp.named(pg_temp.blob(n)),
            (SELECT string_agg(format(
                '{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":%s,"digest":"%s"}',
                length('blob ' || layer), pg_temp.named(pg_temp.blob(layer))), ',')
             FROM unnest(b[2:]) layer)
        ), 'UTF8') AS p
        OFFSET 0
    ) w
WHERE n % 20 < 16;
CREATE UNIQUE INDEX ON made (n);
ANALYZE made;

\echo referrers and indexes
WITH listed AS MATERIALIZED (
    SELECT n / 20 AS g, place / 2 AS half, string_agg(format(
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%s,"digest":"%s"}',
        length(payload), pg_temp.named(digest)), ',' ORDER BY n) AS entries
    FROM made WHERE place < 4
    GROUP BY 1, 2
)
INSERT INTO made (n, place, repository_id, namespace_id, digest, payload)
SELECT n, place, repository_id, namespace_id, pg_temp.hashed(payload), payload
FROM (
    SELECT first.n + place AS n, place, repository_id, namespace_id, convert_to(CASE
        WHEN place < 18 THEN format(
            '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.scale.%s",'
            '"config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:%s"},"layers":[],'
            '"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%s,"digest":"%s"},'
            '"annotations":{"scale.number":"%s"}}',
            place, encode(sha256('{}'), 'hex'), length(first.payload), pg_temp.named(first.digest), first.n + place)
        ELSE format(
            '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s],'
            '"annotations":{"scale.number":"%s"}}',
            listed.entries,
            first.n + place)
        END, 'UTF8') AS payload
    FROM (
        -- Of one group in ten in scale0/huge, the referrers are all of its first image.
        SELECT i.n, i.repository_id, i.namespace_id, s.digest, s.payload
        FROM made i
        JOIN made s ON s.n = CASE WHEN i.n % 1000 = 0 THEN 0 ELSE i.n END
        WHERE i.place = 0
    ) AS first
    JOIN listed ON listed.g = first.n / 20, generate_series(16, 19) place
    WHERE listed.half = greatest(place - 18, 0)
) new;

\echo manifests
INSERT INTO manifests (namespace_id, repository_id, digest, media_type, artifact_type, config_media_type, subject_digest,
    annotations, payload, payload_size, content_size, created_at, pushed_at)
SELECT namespace_id, repository_id, digest,
    'application/vnd.oci.image.' || CASE WHEN place < 18 THEN 'manifest' ELSE 'index' END || '.v1+json',
    CASE WHEN place IN (16, 17) THEN 'application/vnd.scale.' || place END,
    CASE WHEN place < 16 THEN 'application/vnd.oci.image.config.v1+json' WHEN place < 18 THEN 'application/vnd.oci.empty.v1+json' END,
    CASE WHEN place IN (16, 17) THEN '\x01'::bytea || decode(substring(convert_from(payload, 'UTF8') FROM '"subject".*sha256:([0-9a-f]{64})"\}'), 'hex') END,
    CASE WHEN place >= 16 THEN convert_to(format('{"scale.number":"%s"}', n), 'UTF8') END,
    payload, length(payload), length(payload), n + 2, n + 2
FROM made;
-- By number: the tags, and whoever measures, look things up here.
CREATE UNLOGGED TABLE scale_manifests AS SELECT n, place, namespace_id, repository_id, digest, blobs FROM made;
DROP TABLE made;
CREATE UNIQUE INDEX ON scale_manifests (n);
ANALYZE scale_manifests;

INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
SELECT p.namespace_id, p.repository_id, p.digest, c.digest
FROM scale_manifests p
JOIN scale_manifests c ON c.n / 20 = p.n / 20 AND c.place / 2 = p.place - 18
WHERE p.place >= 18 AND c.place < 4;

\echo blobs that manifests name
INSERT INTO manifest_blobs (namespace_id, repository_id, manifest_digest, blob_digest, kind, size, media_type)
SELECT namespace_id, repository_id, digest, pg_temp.blob(b), CASE o WHEN 1 THEN 1 ELSE 2 END, length('blob ' || b),
    'application/vnd.oci.image.' || CASE o WHEN 1 THEN 'config.v1+json' ELSE 'layer.v1.tar+gzip' END
FROM scale_manifests, unnest(blobs) WITH ORDINALITY AS x (b, o)
WHERE place < 16;

\echo links of blobs: what manifests name, and what was mounted for manifests to come
INSERT INTO blob_links (digest, namespace_id, repository_id, created_at)
SELECT DISTINCT pg_temp.blob(b), namespace_id, repository_id, 1
FROM scale_manifests, unnest(blobs) b
WHERE place < 16;
SELECT count(*) AS linked FROM blob_links \gset
INSERT INTO blob_links (digest, namespace_id, repository_id, created_at)
SELECT pg_temp.blob(:manifests + (hashint8(i) & 2147483647) % (:bases + :layers)), 1 + r % 200, r, 1
FROM generate_series(1, :links - :linked) i, LATERAL (SELECT 3 + i % (:repositories - 2) AS r) x
ORDER BY 1
ON CONFLICT DO NOTHING;

\echo tags
INSERT INTO tags (namespace_id, repository_id, name, manifest_digest, created_at, updated_at)
SELECT namespace_id, repository_id, 'v' || n, digest, 1, 1
FROM scale_manifests WHERE place < 4 OR place >= 18;
INSERT INTO tags (namespace_id, repository_id, name, manifest_digest, created_at, updated_at)
SELECT m.namespace_id, m.repository_id, 't' || i, m.digest, 1, 1
FROM generate_series(1, :tags) i
JOIN scale_manifests m ON m.n = 20 + i % 16;

\echo statistics
SET session_replication_role = origin;
VACUUM ANALYZE;

\echo foreign keys: none of these may be above 0
SELECT
    (SELECT count(*) FROM blob_links l LEFT JOIN blobs b USING (digest) WHERE b.digest IS NULL) AS links_without_blob,
    (SELECT count(*) FROM manifest_blobs m
     LEFT JOIN blob_links l ON l.digest = m.blob_digest AND l.namespace_id = m.namespace_id AND l.repository_id = m.repository_id
     WHERE l.digest IS NULL) AS blobs_without_link,
    (SELECT count(*) FROM manifest_blobs b
     LEFT JOIN manifests m ON m.namespace_id = b.namespace_id AND m.repository_id = b.repository_id AND m.digest = b.manifest_digest
     WHERE m.digest IS NULL) AS blobs_without_manifest,
    (SELECT count(*) FROM tags t
     LEFT JOIN manifests m ON m.namespace_id = t.namespace_id AND m.repository_id = t.repository_id AND m.digest = t.manifest_digest
     WHERE m.digest IS NULL) AS tags_without_manifest,
    (SELECT count(*) FROM manifest_children c
     LEFT JOIN manifests m ON m.namespace_id = c.namespace_id AND m.repository_id = c.repository_id AND m.digest = c.child_digest
     WHERE m.digest IS NULL) AS children_without_manifest,
    (SELECT count(*) FROM repositories r LEFT JOIN namespaces n ON n.id = r.namespace_id WHERE n.id IS NULL) AS repositories_without_namespace,
    (SELECT count(*) FROM manifests m LEFT JOIN repositories r ON r.namespace_id = m.namespace_id AND r.id = m.repository_id
     WHERE r.id IS NULL) AS manifests_without_repository;
SELECT (SELECT count(*) FROM repositories) AS repositories, (SELECT count(*) FROM manifests) AS manifests,
    (SELECT count(*) FROM blobs) AS blobs, (SELECT count(*) FROM blob_links) AS blob_links,
    (SELECT count(*) FROM manifest_blobs) AS manifest_blobs, (SELECT count(*) FROM tags) AS tags,
    (SELECT count(*) FROM manifest_children) AS manifest_children,
    pg_size_pretty(pg_database_size(current_database())) AS size;
