//! What can go wrong between a keeper and its store.

use std::error::Error;

/// An operation of the store failed, and nothing of it was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database is busy or out of reach.
    #[error("the database cannot be reached or is busy: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A row does not read as what was written.
    #[error("the database is damaged: {0}; restore the newest backup before this keeper signs again")]
    Corrupt(String),
    /// The database belongs to another keeper, chain or contract.
    #[error("the database belongs to {found}, this keeper is {expected}: configure another data folder")]
    Foreign {
        /// The configured identity.
        expected: String,
        /// The one in the database.
        found: String,
    },
    /// A value does not fit into a column.
    #[error("{0} does not fit into a signed 64-bit column")]
    OutOfRange(&'static str),
}

impl StoreError {
    /// Whether the same operation may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Damage, in words.
    pub fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt(what.to_string())
    }
}
