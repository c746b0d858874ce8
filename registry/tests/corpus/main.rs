//! Bad input, and odd input that is good: rows with the answer each must get, played against the real program over
//! real sockets.
//!
//! The rows say what is sent and which status and code must come back; those that are generated are judged by a naive
//! reading of the specification (`grammar`), never by the server's own parsers. Whatever comes back, no answer may be a
//! server error, no connection may end without an answer, no line of the log may break or steer a terminal, nothing may
//! be logged as an error, and playing everything once more may not grow the process.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test's tool stops where it fails; a corpus tells how large it is, and is made of long tables"
)]

mod case;
mod content;
mod digests;
mod grammar;
mod headers;
mod hostile;
mod listing;
mod log;
mod names;
mod odd;
mod queries;
mod random;
mod ranges;
mod referrers;
mod routes;
mod self_checks;
mod server;
mod sessions;
mod tags;
mod wire;
