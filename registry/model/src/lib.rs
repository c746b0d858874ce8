//! The protocol of collecting garbage, as states and steps that a model checker explores.
//!
//! Two blobs, an image that names them, an index that lists the image, a signature of it, two tags, two repositories; clients that
//! push, mount, ask, delete and restore; collectors, reapers, the sweeper. A step is one effect that others can see: one commit, one
//! call to the store, one lock. Between any two of them any actor may die. Time is the adversary's: whatever could be due is due. A
//! copy of the database that lags behind may take its place.
//!
//! Locks follow from where actors stand: a collector holds the row of its subject from when it takes the review up until it
//! commits, and whoever refers to that row waits. A transaction that looks and then writes is two steps where something can
//! happen between them, and one where its locks prevent that.
//!
//! What the model leaves out, the tests of the real code have: the statements themselves, several repositories of one
//! image, the deletion of a whole repository.

pub mod client;
pub mod collector;
pub mod flaw;
pub mod promise;
pub mod rows;
pub mod scenario;
pub mod state;
