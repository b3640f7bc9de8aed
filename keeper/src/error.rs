//! What can go wrong inside the keeper, and what its callers are told of it.

use crate::blobs::BlobError;
use keeper_store::StoreError;
use protocol::wire::{Code, Refusal};
use service::chain::ChainError;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// It breaks a rule. The same request will be refused again until what it names has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger cannot be read or written. The keeper stops, because it must not promise what it cannot store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain cannot be read; the same request may succeed later.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A blob cannot be read or written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl DeskError {
    /// What the caller is told. Inner failures are logged, not told.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Blob(error @ BlobError::WrongHash { .. }) => Refusal::new(Code::WrongBlobHash, error.to_string()),
            Self::Blob(error @ BlobError::Full { .. }) => Refusal::new(Code::Limited, error.to_string()),
            Self::Store(error) => internal("ledger", &error),
            Self::Chain(error) => internal("chain", &error),
            Self::Blob(error) => internal("blob storage", &error),
        }
    }
}

fn internal(part: &'static str, error: &dyn std::error::Error) -> Refusal {
    tracing::error!(part, %error, "a request failed inside the keeper");
    Refusal::new(Code::Internal, format!("the keeper's {part} is not available now: try again in a few seconds"))
}
