//! The table of settings: every key of the file, and so every `BERTH_…` variable.

use super::setting::{Kind, Setting, setting};

/// Every setting, in the order in which `check-config` shows them.
pub const SETTINGS: &[Setting] = &[
    setting(
        "data_dir",
        Kind::Path,
        "./berth-data",
        "folder of the SQLite file and of the blobs, where those are not elsewhere",
    ),
    setting("http.listen", Kind::Address, "127.0.0.1:5000", "where clients connect"),
    setting(
        "http.drain_timeout",
        Kind::Duration("0s", "24h"),
        "30s",
        "how long requests may go on after SIGTERM",
    ),
    setting(
        "http.max_connections",
        Kind::Number(1, 1_000_000),
        "10000",
        "open connections of clients; more wait until one ends",
    ),
    setting(
        "http.max_requests",
        Kind::Number(1, 1_000_000),
        "8192",
        "requests of clients under way, answers that are being sent included; more get 503 at once",
    ),
    setting(
        "http.max_uploads",
        Kind::Number(1, 1_000_000),
        "4096",
        "of those, requests that push; more get 503 while pulls go on",
    ),
    setting(
        "http.header_timeout",
        Kind::Duration("1s", "10m"),
        "30s",
        "how long a client may take for the head of a request",
    ),
    setting(
        "http.idle_timeout",
        Kind::Duration("1s", "24h"),
        "2m",
        "how long a connection may be open without a request; longer than that of a load balancer in front",
    ),
    setting(
        "http.stall_timeout",
        Kind::Duration("1s", "1h"),
        "1m",
        "how long a client may neither send nor take a few KiB in the middle of a body; slow is fine, for hours",
    ),
    setting(
        "http.tls.certificate_file",
        Kind::Path,
        "",
        "PEM file of the certificate, then its intermediates; absent: no TLS; read again when it changes and on SIGHUP",
    ),
    setting(
        "http.tls.key_file",
        Kind::Path,
        "",
        "PEM file of the certificate's private key",
    ),
    setting(
        "http.tls.client_ca_file",
        Kind::Path,
        "",
        "PEM file of the authorities whose client certificates are accepted",
    ),
    setting(
        "http.tls.client_auth",
        Kind::Word(&["none", "optional", "required"]),
        "none",
        "whether clients are asked for a certificate, and turned away without one",
    ),
    setting(
        "http.external_url",
        Kind::HttpUrl,
        "",
        "where clients find the registry, a path included; Locations are then absolute, and begin with it",
    ),
    setting(
        "http.relative_locations",
        Kind::Switch,
        "",
        "Locations without scheme and host; absent: true unless http.external_url is given",
    ),
    setting(
        "http.trusted_proxies",
        Kind::Networks,
        "",
        "addresses and ranges, with commas between, whose Forwarded and X-Forwarded-… headers are believed",
    ),
    setting(
        "http.secret",
        Kind::Secret,
        "",
        "shared by all replicas; signs what the operator asks of the management API",
    ),
    setting(
        "admin.listen",
        Kind::Address,
        "127.0.0.1:5001",
        "/livez, /readyz, /metrics and the management API",
    ),
    setting(
        "database.url",
        Kind::DatabaseUrl,
        "",
        "postgres://host:port/name?sslmode=…, or sqlite:<path>; absent: SQLite in data_dir",
    ),
    setting(
        "database.username",
        Kind::Text,
        "",
        "PostgreSQL role; wins over the URL's",
    ),
    setting(
        "database.password",
        Kind::Secret,
        "",
        "its password; wins over the URL's",
    ),
    setting(
        "database.ca_file",
        Kind::Path,
        "",
        "PEM file of the authority that signed PostgreSQL's certificate",
    ),
    setting(
        "database.max_connections",
        Kind::Number(1, 1000),
        "16",
        "PostgreSQL connections of one process",
    ),
    setting(
        "database.partitions",
        // More would not fit into the lock table of a PostgreSQL server with its default settings.
        Kind::Number(1, 128),
        "64",
        "hash partitions of each large PostgreSQL table; read by the first migration only",
    ),
    setting(
        "storage.filesystem.root_directory",
        Kind::Path,
        "",
        "folder of the blobs; absent: blobs in data_dir",
    ),
    setting(
        "storage.inline_size",
        Kind::Bytes("0B", "64KiB"),
        "16KiB",
        "blobs of at most so many bytes are kept in the database, and not in the store; 0B: none",
    ),
    setting("storage.s3.bucket", Kind::Text, "", "bucket of the blobs"),
    setting("storage.s3.region", Kind::Text, "us-east-1", "region of the bucket"),
    setting(
        "storage.s3.endpoint",
        Kind::HttpUrl,
        "",
        "URL of a server that speaks S3; absent: Amazon's",
    ),
    setting(
        "storage.s3.root_directory",
        Kind::Text,
        "",
        "prefix of every key in the bucket",
    ),
    setting(
        "storage.s3.path_style",
        Kind::Switch,
        "true",
        "https://host/bucket/key instead of https://bucket.host/key",
    ),
    setting(
        "storage.s3.access_key_id",
        Kind::Text,
        "",
        "absent: web identity or instance profile",
    ),
    setting(
        "storage.s3.secret_access_key",
        Kind::Secret,
        "",
        "goes with access_key_id",
    ),
    setting(
        "storage.s3.public_endpoint",
        Kind::HttpUrl,
        "",
        "the server's URL as clients reach it, for redirects; absent: endpoint",
    ),
    setting(
        "storage.s3.checksum",
        Kind::Word(&["sha256", "crc64nvme", "none"]),
        "sha256",
        "what the server is to check each body with; none for servers that refuse the header",
    ),
    setting(
        "storage.s3.equal_parts",
        Kind::Switch,
        "false",
        "all parts of an object but the last of one size, as Cloudflare R2 wants it",
    ),
    setting(
        "storage.azure.container",
        Kind::Text,
        "",
        "container of the blobs in Azure's Blob Storage",
    ),
    setting("storage.azure.account", Kind::Text, "", "its storage account"),
    setting(
        "storage.azure.endpoint",
        Kind::HttpUrl,
        "",
        "URL of the service; absent: Azure's; for Azurite http://host:port/account",
    ),
    setting(
        "storage.azure.root_directory",
        Kind::Text,
        "",
        "prefix of every key in the container",
    ),
    setting(
        "storage.azure.access_key",
        Kind::Secret,
        "",
        "a key of the account; absent: sas_token, or workload or managed identity",
    ),
    setting(
        "storage.azure.sas_token",
        Kind::Secret,
        "",
        "shared access signature for the container; cannot sign redirects",
    ),
    setting(
        "storage.gcs.bucket",
        Kind::Text,
        "",
        "bucket of the blobs in Google Cloud Storage",
    ),
    setting(
        "storage.gcs.endpoint",
        Kind::HttpUrl,
        "",
        "URL of the service; absent: Google's",
    ),
    setting(
        "storage.gcs.root_directory",
        Kind::Text,
        "",
        "prefix of every key in the bucket",
    ),
    setting(
        "storage.gcs.service_account_file",
        Kind::Path,
        "",
        "key file (JSON) of a service account; absent: default credentials or the instance's account",
    ),
    setting(
        "storage.redirect.mode",
        Kind::Word(&["never", "always", "matching"]),
        "never",
        "which clients are sent to the store for a blob; matching: those in user_agents and networks",
    ),
    setting(
        "storage.redirect.user_agents",
        Kind::Text,
        "",
        "beginnings of User-Agent, with commas: `containerd/, docker/`",
    ),
    setting(
        "storage.redirect.networks",
        Kind::Networks,
        "",
        "networks of clients, with commas: `10.0.0.0/8, fd00::/8`",
    ),
    setting(
        "storage.redirect.lifetime",
        Kind::Duration("1m", "12h"),
        "20m",
        "how long a client may begin to fetch from the URL it was given",
    ),
    setting(
        "storage.redirect.base_url",
        Kind::HttpUrl,
        "",
        "CDN or proxy in front of the bucket, which checks signatures as Google Cloud CDN does",
    ),
    setting(
        "storage.redirect.key_name",
        Kind::Text,
        "",
        "the name that the CDN has for the key",
    ),
    setting(
        "storage.redirect.key",
        Kind::Secret,
        "",
        "the CDN's key in URL-safe base64; at least 16 bytes",
    ),
    setting(
        "uploads.memory",
        Kind::Bytes("128MiB", "64GiB"),
        "256MiB",
        "what all uploads to an object store together may have in memory; more wait",
    ),
    setting(
        "uploads.expiry",
        Kind::Duration("1h", "30d"),
        "24h",
        "how long an upload session lives after its last use",
    ),
    setting(
        "uploads.max_size",
        Kind::Bytes("1MiB", "1048576GiB"),
        "",
        "largest blob, such as `10GiB`; absent: any size",
    ),
    setting(
        "uploads.sweep_interval",
        Kind::Duration("1s", "24h"),
        "5m",
        "how often expired upload sessions are ended",
    ),
    setting(
        "manifests.max_size",
        Kind::Bytes("1MiB", "64MiB"),
        "4MiB",
        "largest manifest; clients expect at least 4MiB",
    ),
    setting(
        "manifests.memory",
        Kind::Bytes("16MiB", "64GiB"),
        "64MiB",
        "what all manifests that are being pushed may have in memory; more wait, then get 503; twice manifests.max_size at least",
    ),
    setting(
        "manifests.max_references",
        Kind::Number(1, 10_000),
        "10000",
        "blobs and manifests that one manifest may name",
    ),
    setting(
        "manifests.max_tags",
        Kind::Number(10, 1000),
        "50",
        "tags that one push of a manifest by its digest may set (?tag=)",
    ),
    setting(
        "manifests.sparse",
        Kind::Word(&["strict", "index", "all"]),
        "strict",
        "what a manifest may name before it is pushed: nothing, the manifests of an index, or blobs too",
    ),
    setting("deletion.tags", Kind::Switch, "true", "clients may delete tags"),
    setting(
        "deletion.manifests",
        Kind::Switch,
        "true",
        "clients may delete manifests by their digests",
    ),
    setting(
        "deletion.blobs",
        Kind::Switch,
        "true",
        "clients may take a blob that no manifest names from a repository",
    ),
    setting(
        "deletion.retention",
        Kind::Duration("0s", "365d"),
        "0s",
        "how long a deleted tag or manifest can be restored by the management API, and takes its space; 0s: not at all",
    ),
    setting(
        "gc.enabled",
        Kind::Switch,
        "true",
        "this server collects garbage while it serves",
    ),
    setting(
        "gc.interval",
        Kind::Duration("100ms", "1h"),
        "5s",
        "how often the collector looks whether something is due, once it has done all that was",
    ),
    setting(
        "gc.batch",
        Kind::Number(1, 1000),
        "200",
        "the most items of one transaction, and objects of one deletion; fewer when database or store are slow",
    ),
    setting(
        "gc.untagged",
        Kind::Word(&["collect", "keep"]),
        "collect",
        "manifests with neither a tag nor an index that lists them; keep: clients may know their digests",
    ),
    setting(
        "gc.delays.default",
        Kind::Duration("0s", "365d"),
        "24h",
        "the grace: how long what may have become garbage is left alone; 0s loses nothing, pushes may have to repeat a part",
    ),
    setting(
        "gc.delays.blob_upload",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of a blob that was uploaded or mounted and that no manifest names",
    ),
    setting(
        "gc.delays.manifest_upload",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of a manifest after it was pushed",
    ),
    setting(
        "gc.delays.tag_switch",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of a manifest whose tag was moved",
    ),
    setting(
        "gc.delays.tag_delete",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of a manifest whose tag was deleted",
    ),
    setting(
        "gc.delays.manifest_delete",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of what a deleted manifest named, and of what refers to it",
    ),
    setting(
        "gc.delays.manifest_list_delete",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of the manifests that a deleted index listed",
    ),
    setting(
        "gc.delays.blob_unlink",
        Kind::Duration("0s", "365d"),
        "",
        "the grace of a blob that was deleted from a repository",
    ),
    setting(
        "gc.lease",
        Kind::Duration("1s", "24h"),
        "1h",
        "how long a blob stays for a client that was told that it need not upload it; a blob that no manifest names is promised for four of these, from its grace on",
    ),
    setting(
        "gc.quarantine",
        Kind::Duration("0s", "365d"),
        "24h",
        "how long an object stays in the store after its row has gone; longer than a restored backup of the database is old",
    ),
    setting(
        "gc.budget.objects_per_hour",
        Kind::Number(1, 4_000_000_000),
        "",
        "manifests and blobs that all servers together collect in an hour; absent: any number",
    ),
    setting(
        "gc.budget.bytes_per_hour",
        Kind::Bytes("1MiB", "1048576GiB"),
        "",
        "bytes of those, such as `500GiB`; absent: any number",
    ),
    setting(
        "catalog.enabled",
        Kind::Switch,
        "true",
        "/v2/_catalog lists the repositories",
    ),
    setting(
        "metrics.registry",
        Kind::Text,
        "",
        "name of this registry in metrics, the same for all its replicas; the operator writes namespace/name",
    ),
    setting(
        "metrics.replica",
        Kind::Text,
        "",
        "name of this replica in metrics; the operator writes the pod's",
    ),
    setting(
        "metrics.stage",
        Kind::Word(&["main", "canary"]),
        "main",
        "which replicas this is one of in metrics: the many, or the few that get a new version first",
    ),
    setting(
        "log.level",
        Kind::Text,
        "info",
        "error, warn, info, debug or trace, or a filter such as `info,berth_registry=debug`",
    ),
    setting(
        "log.format",
        Kind::Word(&["text", "json"]),
        "text",
        "text for people, json for programs",
    ),
];

/// The environment variable of a setting.
pub fn environment_name(path: &str) -> String {
    format!("BERTH_{}", path.replace('.', "_").to_uppercase())
}

pub(super) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// True for a path that has settings below it.
pub(super) fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The keys directly below a section; the empty path is the top.
pub(super) fn keys_below(path: &str) -> Vec<&'static str> {
    let below = |setting: &'static Setting| -> Option<&'static str> {
        let rest = if path.is_empty() {
            setting.path
        } else {
            setting.path.strip_prefix(path)?.strip_prefix('.')?
        };
        Some(rest.split('.').next().unwrap_or(rest))
    };
    let mut keys: Vec<&'static str> = SETTINGS.iter().filter_map(below).collect();
    keys.dedup();
    keys
}

/// The known word nearest to a misspelt one.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}
