//! What a keeper keeps: the rows, and the operations that an engine has to offer.
//!
//! Every operation is one durable transaction: when it returns, the data survives a power cut, and when it fails,
//! nothing of it was written. The ledger decides what to write; an engine only writes, with absolute values, so that
//! the same write twice is the same as once. [`suite`] holds the tests that every engine passes.

#![warn(missing_docs)]

mod error;
mod rows;
mod store;

#[cfg(feature = "suite")]
#[allow(clippy::unwrap_used, clippy::panic)]
pub mod suite;

pub use error::StoreError;
pub use rows::{Batch, Channel, Entry, Identity, Job, JobFilter, Matched, Paid, Prepared, StoredOffer};
pub use store::Store;
