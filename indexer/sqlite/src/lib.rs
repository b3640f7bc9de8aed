//! An indexer's store in one SQLite file.
//!
//! One connection writes and a pool of read-only ones reads, each answer from one snapshot (WAL). Every query is
//! checked against the schema when this crate is compiled.
//!
//! - [`SqliteStore::open`] makes or opens the file and refuses one that belongs to another deployment.
//! - `write` applies and takes back blocks, `attach` adds verified lines, `count` keeps the sums over them.
//! - `read` answers queries.

mod attach;
mod codec;
mod count;
mod fault;
mod open;
mod plain;
mod read;
mod write;

pub use open::SqliteStore;
