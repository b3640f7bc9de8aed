//! The outputs of a job, checked against what was paid for.
//!
//! Running a job again is the validators' work; here the bytes are checked against the hash that the worker signed.

use crate::keeper::{Keeper, KeeperError};
use alloy::primitives::B256;
use bytes::Bytes;
use protocol::job::result_hash;
use protocol::order::JobId;
use protocol::wire::JobView;

/// Outputs that are what the worker signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// In their order.
    pub outputs: Vec<Bytes>,
    /// Their result hash.
    pub result: B256,
    /// Whether it is the result that the client expected, where it knew one.
    pub expected: Option<bool>,
}

/// There is no result, or it is not the one that was paid for.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The job has delivered nothing.
    #[error("job {0} has no result yet: wait until it is done")]
    NoResult(JobId),
    /// The keeper offers other outputs than the worker signed.
    #[error("the outputs offered hash to {found}, but the paid receipt says {signed}: do not use them")]
    Mismatch {
        /// By the worker's last receipt.
        signed: B256,
        /// By the outputs.
        found: B256,
    },
    /// An output has another length than stated.
    #[error("output {index} has {found} bytes instead of {stated}: do not use it")]
    Length {
        /// Which output.
        index: usize,
        /// Its stated length.
        stated: u64,
        /// Its length.
        found: u64,
    },
    /// It cannot be downloaded.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

impl VerifyError {
    /// Whether the same may work later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NoResult(_) => true,
            Self::Keeper(error) => error.is_retryable(),
            Self::Mismatch { .. } | Self::Length { .. } => false,
        }
    }
}

/// Downloads the outputs of a job. `signed` is the result of its last paid receipt; a client that has none (`None` or
/// zero) has only the keeper's word, which is in `view`.
pub async fn fetch(
    keeper: &Keeper,
    view: &JobView,
    signed: Option<B256>,
    expected: Option<B256>,
) -> Result<Verified, VerifyError> {
    let stated = |result: &B256| *result != B256::ZERO;
    let signed = signed.filter(stated).or(view.result).filter(stated);
    let signed = signed.ok_or(VerifyError::NoResult(view.id))?;
    let found = result_hash(&view.outputs);
    if found != signed {
        return Err(VerifyError::Mismatch { signed, found });
    }
    let mut outputs = Vec::with_capacity(view.outputs.len());
    for (index, blob) in view.outputs.iter().enumerate() {
        let bytes = keeper.blob(blob.hash, blob.length.get()).await?;
        if bytes.len() as u64 != blob.length.get() {
            return Err(VerifyError::Length { index, stated: blob.length.get(), found: bytes.len() as u64 });
        }
        outputs.push(bytes);
    }
    Ok(Verified { outputs, result: found, expected: expected.map(|expected| expected == found) })
}
