//! Who a job is worked for: a keeper, or a client that pays directly. The runner knows no difference.

use crate::ledger::Assignment;
use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::wire::{Code, Refusal};
use std::time::Duration;

/// Why bytes could not be fetched or handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlobError {
    /// Nobody has uploaded them.
    #[error("blob {0} was not uploaded: upload it and order again")]
    Missing(B256),
    /// They are not what their name says.
    #[error("blob {expected} came with other bytes, which hash to {found}")]
    WrongHash {
        /// Its name.
        expected: B256,
        /// What the bytes hash to.
        found: B256,
    },
    /// More bytes than were announced or are taken.
    #[error("blob {hash} has more than {limit} bytes")]
    TooLarge {
        /// Its name.
        hash: B256,
        /// Most that is taken.
        limit: u64,
    },
    /// The other side refused.
    #[error("blob {hash} was refused: {reason}")]
    Refused {
        /// Its name.
        hash: B256,
        /// What it said.
        reason: String,
    },
    /// The other side did not answer; asking again may help.
    #[error("blobs cannot be exchanged now: {0}")]
    Unreachable(String),
}

impl BlobError {
    /// Whether the same call may succeed later.
    pub(crate) const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// The reason a job ends with it.
    pub(crate) fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Missing(_) => Code::MissingBlob,
            Self::WrongHash { .. } => Code::WrongBlobHash,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Refused { .. } | Self::Unreachable(_) => Code::NodeFailed,
        };
        Refusal::new(code, self.to_string())
    }
}

/// Why work for a channel must not start or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A rule forbids it.
    Refused(Refusal),
    /// The chain or the ledger could not be read.
    Unknown(String),
}

/// The two sides of the market look alike from here.
pub(crate) trait Outlet: Send + Sync {
    /// How often a running job is billed.
    fn interval(&self) -> Duration;

    /// Whether a receipt written now has somebody to go to.
    fn is_up(&self) -> bool;

    /// Something about this job was written into the ledger.
    fn changed(&self, job: JobId);

    /// Whether work for this job's channel may start or go on.
    fn standing<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<(), Standing>>;

    /// Bytes by their hash, at most `limit` of them, already checked.
    fn fetch(&self, hash: B256, limit: u64) -> BoxFuture<'_, Result<Bytes, BlobError>>;

    /// Hands over an output.
    fn store(&self, bytes: Bytes) -> BoxFuture<'_, Result<Blob, BlobError>>;
}

/// Checks bytes against their name.
pub(crate) fn verified(hash: B256, bytes: Bytes) -> Result<Bytes, BlobError> {
    let found = keccak256(&bytes);
    if found == hash { Ok(bytes) } else { Err(BlobError::WrongHash { expected: hash, found }) }
}
