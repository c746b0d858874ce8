//! Measurements as JSON lines become the table and the pictures of `docs/performance.md`.
//!
//! Three kinds of line, told apart by their fields, may come in any mixture of files:
//!
//! - of the benchmark driver: `{"target":…,"workload":…,"conc":…,"rep":…,"ops_s":…,"mb_s":…,"p99_ms":…,"cpu_us_op":…,"errors":…}`;
//! - of `performance tags`: `{"target":…,"tags":…,"p50_ms":…,"p99_ms":…}`;
//! - of `performance watch`: `{"t":…,"rss_mib":…,"phase":…}`.
//!
//! `lines` reads them, `figures` counts, `summary` puts repetitions together; `throughput`, `growth` and `memory` draw on
//! `svg` and `scale`; `table` is Markdown; `watch` and `tags` measure. What draws and counts is pure.

mod command;
mod figures;
mod growth;
mod lines;
mod memory;
mod scale;
mod summary;
mod svg;
mod table;
mod tags;
mod throughput;
mod watch;

pub use command::main;

/// The name that a reader knows a target by.
fn shown(target: &str) -> &str {
    match target {
        "berth" => "Berth",
        "dist3" => "Distribution 3",
        "docker-registry" => "Distribution 2.8",
        "berth-redirect" => "Berth, redirects",
        "dist3-redirect" => "Distribution 3, redirects",
        "nginx" => "nginx, static files",
        other => other,
    }
}

/// True for what is no registry but the limit: a web server with the same files.
fn is_limit(target: &str) -> bool {
    target == "nginx"
}
