//! How the engines run the statements: with many rows, none reads a whole table, and none a partition that cannot have
//! the answer. docs/scale.md has the times that this leads to with ten million rows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's tool stops where it fails")]

use crate::support::{self, stores};
use berth_registry::config::{Config, Database};
use berth_registry::metadata::{self, Engine};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Statements of no request: the tables of migrations and of the collector's state have a handful of rows, claims are
/// given back by the one process that owns an SQLite file when it starts, what is over is looked for in every partition,
/// by its time, a deleted repository is read as a whole, a piece at a time, and a scrub reads everything, page by page.
fn serves_requests(name: &str) -> bool {
    let tables = ["schema_migrations.", "collector.", "erasing.", "scrub."];
    let others = [
        "upload_sessions.release_all",
        "deleted_tags.expired",
        "deleted_manifests.expired",
        "blob_leases.sweep",
        "repositories.remove",
        "repository_deletions.take",
    ];
    !tables.iter().any(|table| name.starts_with(table)) && !others.contains(&name)
}

/// Half of everything is in repository 2 of namespace 2. `DIGEST(i)` is each engine's own expression.
const ROWS: &str = "
    INSERT INTO namespaces (id, name, created_at)
    WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1000) SELECT i, 'team' || i, 1 FROM s;
    INSERT INTO repositories (namespace_id, id, path, created_at, updated_at)
    WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 2000)
    SELECT 1 + (i - 1) % 1000, i, 'team' || (1 + (i - 1) % 1000) || '/app' || i, 1, 1 FROM s;
    INSERT INTO blobs (digest, size, object_key, created_at)
    WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 8000)
    SELECT DIGEST(i), 1, 'blobs/' || i, 1 FROM s;
    INSERT INTO blob_links (digest, namespace_id, repository_id, created_at)
    WITH RECURSIVE s (i, r) AS (SELECT 1, 1 UNION ALL
        SELECT i + 1, CASE i % 2 WHEN 0 THEN 2 ELSE 1 + i % 2000 END FROM s WHERE i < 8000)
    SELECT DIGEST(i), 1 + (r - 1) % 1000, r, 1 FROM s;
    INSERT INTO manifests (namespace_id, repository_id, digest, media_type, subject_digest, payload, payload_size,
        content_size, created_at, pushed_at)
    WITH RECURSIVE s (i, r) AS (SELECT 1, 1 UNION ALL
        SELECT i + 1, CASE i % 2 WHEN 0 THEN 2 ELSE 1 + i % 2000 END FROM s WHERE i < 8000)
    SELECT 1 + (r - 1) % 1000, r, DIGEST(i), 'm', CASE WHEN i % 4 = 3 THEN DIGEST(i % 200) END, DIGEST(i), 33, 33, i, i
    FROM s;
    INSERT INTO manifest_blobs (namespace_id, repository_id, manifest_digest, blob_digest, kind, size, media_type)
    SELECT namespace_id, repository_id, digest, digest, 2, 1, 'l' FROM manifests;
    INSERT INTO manifest_children (namespace_id, repository_id, parent_digest, child_digest)
    SELECT namespace_id, repository_id, digest, digest FROM manifests;
    INSERT INTO missing_references (namespace_id, repository_id, digest, manifest_digest, kind, size, media_type)
    SELECT namespace_id, repository_id, digest, digest, 4, 1, 'm' FROM manifests;
    INSERT INTO tags (namespace_id, repository_id, name, manifest_digest, created_at, updated_at)
    SELECT namespace_id, repository_id, 'v' || created_at, digest, 1, 1 FROM manifests;
    INSERT INTO deleted_tags (namespace_id, repository_id, name, deleted_at, manifest_digest, created_at, updated_at)
    SELECT namespace_id, repository_id, name, created_at, manifest_digest, 1, 1 FROM tags;
    INSERT INTO blob_leases (digest, namespace_id, repository_id, expires_at)
    SELECT digest, namespace_id, repository_id, 1 FROM blob_links;
    INSERT INTO upload_sessions (id, repository, object_key, state, stored_bytes, parts, claims, created_at, expires_at)
    SELECT digest, 'team/app', object_key, 0, 0, '[]', 0, 1, 1 FROM blobs;
    INSERT INTO reviews (kind, namespace_id, repository_id, digest, due_at, attempts, reason, created_at)
    SELECT 2, namespace_id, repository_id, digest, 1, 0, 'blob_upload', 1 FROM blob_links;
    INSERT INTO tombstones (object_key, size, reason, attempts, not_before, created_at)
    SELECT object_key, 1, 'duplicate', 0, 1, 1 FROM blobs;
    INSERT INTO repository_deletions (id, namespace_id, path, tags, manifests, blobs, requested_at, worked_at,
        finished_at)
    SELECT id, namespace_id, path, 0, 0, 0, id, id, CASE WHEN id % 2 = 0 THEN id END FROM repositories;
    ANALYZE;";

fn rows(digest: &str) -> String {
    let pieces = ROWS.split("DIGEST(").collect::<Vec<_>>();
    let mut sql = pieces[0].to_owned();
    for piece in &pieces[1..] {
        let (number, rest) = piece.split_once(')').unwrap();
        sql.push_str(&digest.replace("NUMBER", number));
        sql.push_str(rest);
    }
    sql
}

/// What is wrong with the plan of each statement, by its name; empty where nothing is.
type Mistakes = BTreeMap<String, Vec<String>>;

/// True for the condition of a search that reads everything which the largest repository has.
fn reads_a_whole_repository(condition: &str) -> bool {
    let besides = condition.replace("namespace_id", "").replace("repository_id", "");
    let of_one_row = ["digest", "name", "(id ="]
        .iter()
        .any(|column| besides.contains(column));
    condition.contains("repository_id") && !of_one_row
}

async fn filled() -> (Config, tempfile::TempDir) {
    let (config, folder) = stores::fresh().await;
    support::migrate(&config).await;
    (config, folder)
}

async fn mistakes(config: &Config) -> Mistakes {
    match &config.database {
        Database::Sqlite { path } => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection
                .execute_batch(&rows("unhex(printf('01%064x', NUMBER))"))
                .unwrap();
            sqlite::mistakes(&connection)
        }
        Database::Postgres { url, .. } => {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            let sql = rows("decode('01' || lpad(to_hex(NUMBER), 64, '0'), 'hex')");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap();
            let found = postgres::mistakes(&mut connection).await;
            connection.close().await.unwrap();
            found
        }
    }
}

#[tokio::test]
async fn every_statement_of_a_request_finds_its_rows_by_an_index_in_the_partition_that_has_them() {
    let (config, _folder) = filled().await;

    let found = mistakes(&config).await;

    assert!(found.len() > 45, "only {} statements", found.len());
    let wrong: Vec<_> = found.iter().filter(|(_, mistakes)| !mistakes.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_deletion_finds_what_still_refers_to_its_row_by_an_index() {
    let (config, _folder) = filled().await;
    let Database::Postgres { .. } = &config.database else {
        // The two schemas have the same indexes; only one of the engines can be asked this way.
        return;
    };

    let without_index = stores::count(
        &config,
        "SELECT count(*)
         FROM pg_constraint c
         WHERE c.contype = 'f' AND c.conparentid = 0 AND NOT EXISTS (
             SELECT 1 FROM pg_index i
             WHERE i.indrelid = c.conrelid AND i.indpred IS NULL
                 AND (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)] @> c.conkey
         )",
    )
    .await;

    assert_eq!(without_index, 0);
}

mod sqlite {
    use super::{Engine, Mistakes, metadata, reads_a_whole_repository, serves_requests};

    pub(super) fn mistakes(connection: &rusqlite::Connection) -> Mistakes {
        let of_requests = metadata::statements(Engine::Sqlite).filter(|(name, _)| serves_requests(name));
        of_requests
            .map(|(name, text)| (name.to_owned(), wrong(&plan(connection, text))))
            .map(|(name, wrong)| match name.as_str() {
                // The foreign keys' look at rows that wait for a repository to come into being: there are none.
                "repositories.add" | "repositories.add_new" => (
                    name,
                    wrong.into_iter().filter(|line| line.starts_with("SCAN")).collect(),
                ),
                _ => (name, wrong),
            })
            .collect()
    }

    fn plan(connection: &rusqlite::Connection, text: &str) -> Vec<String> {
        let mut prepared = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let mut lines = prepared.raw_query();
        let mut plan = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            plan.push(line.get(3).unwrap());
        }
        plan
    }

    /// A scan is wrong, unless it is of an array that was bound or of the few rows that another step found.
    fn wrong(plan: &[String]) -> Vec<String> {
        let found_before = |line: &str| {
            let steps = plan.iter().filter_map(|step| step.strip_prefix("CO-ROUTINE "));
            steps.into_iter().any(|step| line == format!("SCAN {step}"))
        };
        let of_few = |line: &str| {
            line.contains("VIRTUAL TABLE")
                || line.contains("CONSTANT ROW")
                || line.starts_with("SCAN (subquery")
                || found_before(line)
        };
        let reads_all = |line: &str| {
            let (how, condition) = line.split_once('(').unwrap_or((line, ""));
            how.starts_with("SCAN") && !of_few(line) || how.starts_with("SEARCH") && reads_a_whole_repository(condition)
        };
        plan.iter().filter(|line| reads_all(line)).cloned().collect()
    }
}

mod postgres {
    use super::{
        AssertSqlSafe, BTreeMap, BTreeSet, Engine, Mistakes, PgConnection, Row, metadata, reads_a_whole_repository,
        serves_requests,
    };

    /// The server plans a statement for the values of each call, or once for all values. Left alone it does the first for
    /// five calls and then what seems cheaper.
    const MODES: [&str; 3] = ["force_custom_plan", "force_generic_plan", "auto"];
    const CALLS: usize = 7;

    pub(super) async fn mistakes(connection: &mut PgConnection) -> Mistakes {
        let mut found = Mistakes::new();
        for (number, (name, text)) in metadata::statements(Engine::Postgres).enumerate() {
            if !serves_requests(name) {
                continue;
            }
            let prepared = format!("s{number}");
            ask(connection, format!("PREPARE {prepared} AS {text}")).await;
            let call = call(connection, &prepared).await;
            // What reads can be run: some partitions are left out only then. So can what the collector does to a batch of
            // items that there are not.
            let how = if text.starts_with("SELECT") || name.starts_with("collect.") {
                "COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF"
            } else {
                "COSTS OFF"
            };
            let of_statement = found.entry(name.to_owned()).or_default();
            for mode in MODES {
                ask(connection, format!("SET plan_cache_mode = {mode}")).await;
                let mut plan = Vec::new();
                for _ in 0..CALLS {
                    plan = ask(connection, format!("EXPLAIN ({how}) EXECUTE {call}")).await;
                }
                // A plan for all values knows neither an array's partitions nor how large the repository is; where that
                // matters the server must not choose it.
                let wrong = match mode {
                    "force_generic_plan" => searches(&plan, |_| true),
                    _ => [
                        searches(&plan, |c| !reads_a_whole_repository(c)),
                        skipping(&plan),
                        scattered(&plan),
                    ]
                    .concat(),
                };
                of_statement.extend(wrong.into_iter().map(|line| format!("{mode}: {line}")));
            }
        }
        found
    }

    async fn ask(connection: &mut PgConnection, sql: String) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The statement with a value for each parameter; an array has one element, which is in one partition.
    async fn call(connection: &mut PgConnection, prepared: &str) -> String {
        let sql = format!(
            "SELECT t FROM pg_prepared_statements, unnest(parameter_types::text[]) WITH ORDINALITY AS x (t, position)
             WHERE name = '{prepared}' ORDER BY position"
        );
        let types = ask(connection, sql).await;
        let values = types.iter().map(|of| match of.as_str() {
            "bigint" => "2".to_owned(),
            "text" => "'team2/app1'".to_owned(),
            "bytea" => r"'\x0101'".to_owned(),
            "bytea[]" => r"ARRAY['\x0101'::bytea]".to_owned(),
            array => format!("ARRAY['1']::{array}"),
        });
        let values = values.collect::<Vec<_>>().join(", ");
        if values.is_empty() {
            prepared.to_owned()
        } else {
            format!("{prepared} ({values})")
        }
    }

    fn node(line: &str) -> &str {
        line.trim_start().trim_start_matches("->").trim_start()
    }

    /// Steps that read a whole table, or an index without a condition that will do.
    fn searches(plan: &[String], will_do: fn(&str) -> bool) -> Vec<String> {
        let by_index = ["Index Scan ", "Index Only Scan ", "Bitmap Index Scan "];
        let bounded = |at: usize| {
            let condition = plan.get(at + 1).and_then(|next| node(next).strip_prefix("Index Cond:"));
            condition.is_some_and(will_do)
        };
        let reads_all = |(at, line): &(usize, &String)| {
            let step = node(line);
            // An index of the few rows that nobody could delete needs no condition.
            let of_few = step.contains(" using tombstones_parked ");
            step.starts_with("Seq Scan")
                || by_index.iter().any(|kind| step.starts_with(kind)) && !bounded(*at) && !of_few
        };
        let wrong = plan.iter().enumerate().filter(reads_all);
        wrong.map(|(_, line)| node(line).to_owned()).collect()
    }

    /// Searches for a tag by its name in the index of tags by manifest, where it is to be found only by reading all that the
    /// repository has.
    fn skipping(plan: &[String]) -> Vec<String> {
        let steps = plan.iter().zip(plan.iter().skip(1));
        let skips = steps.filter(|(step, condition)| {
            step.contains("_manifest_digest_name_idx on tags") && !condition.contains("manifest_digest =")
        });
        skips.map(|(step, _)| node(step).to_owned()).collect()
    }

    /// Tables of which more than one partition is read.
    fn scattered(plan: &[String]) -> Vec<String> {
        let mut partitions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (table, partition) in plan.iter().filter_map(|line| scanned(node(line))) {
            partitions.entry(table).or_default().insert(partition);
        }
        let several = partitions.into_iter().filter(|(_, of_table)| of_table.len() > 1);
        several
            .map(|(table, of_table)| format!("{} partitions of {table}", of_table.len()))
            .collect()
    }

    /// The table and the number of the partition that a step of a plan reads.
    fn scanned(node: &str) -> Option<(&str, &str)> {
        let (kind, named) = node.split_once(" on ")?;
        let relation = named.split_whitespace().next()?;
        let reads = kind.contains("Scan") && !kind.starts_with("Bitmap Index") && !named.contains("never executed");
        relation.rsplit_once("_p").filter(|_| reads)
    }
}
