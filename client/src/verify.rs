//! The outputs of a job, checked against what was paid for.
//!
//! Running a job again is the validators' work; here the bytes are checked against the hash that the worker signed. Only a
//! matrix product is checked itself, as that costs far less than to compute it.

use crate::keeper::{Keeper, KeeperError};
use alloy::primitives::B256;
use bytes::Bytes;
use protocol::job::{Builtin, Envelope, FreivaldsError, Kind, MAX_ENVELOPE_BYTES, Program, freivalds, result_hash};
use protocol::order::JobId;
use protocol::wire::JobView;
use std::panic::resume_unwind;
use tokio::task::JoinError;

/// Outputs that are what the worker signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// In their order.
    pub outputs: Vec<Bytes>,
    /// Their result hash.
    pub result: B256,
    /// Whether it is the result that the client expected, where it knew one.
    pub expected: Option<bool>,
    /// Whether it was found to be the product of the job's matrices. A job of another kind, or whose inputs the keeper no
    /// longer has, is not checked.
    pub is_product: bool,
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
    /// It is not the product of the job's matrices.
    #[error("the worker signed a wrong result: {0}")]
    Product(#[from] FreivaldsError),
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
            Self::Mismatch { .. } | Self::Length { .. } | Self::Product(_) => false,
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
    let is_product = match product(keeper, view).await {
        Some(product) => product.check(&outputs).await?,
        None => false,
    };
    Ok(Verified { outputs, result: found, expected: expected.map(|expected| expected == found), is_product })
}

/// A matrix product and its inputs.
struct Product {
    call: Builtin,
    a: Bytes,
    b: Bytes,
}

/// The product that a job computes, where it is one and the keeper still has its inputs.
async fn product(keeper: &Keeper, view: &JobView) -> Option<Product> {
    if view.kind != Kind::Builtin {
        return None;
    }
    let spec = view.order.spec;
    let envelope = keeper.blob(spec, MAX_ENVELOPE_BYTES as u64).await.ok()?;
    let envelope = Envelope::from_bytes(&envelope, spec).ok()?;
    let Program::Builtin { call, .. } = envelope.program else { return None };
    let (Builtin::Gemm { .. }, [a, b]) = (&call, envelope.inputs.as_slice()) else { return None };
    let a = keeper.blob(a.hash, a.length.get()).await.ok()?;
    let b = keeper.blob(b.hash, b.length.get()).await.ok()?;
    Some(Product { call, a, b })
}

impl Product {
    /// Checks it with random numbers that nobody knew when the worker signed.
    async fn check(self, outputs: &[Bytes]) -> Result<bool, FreivaldsError> {
        let Some(c) = outputs.first().cloned() else { return Err(FreivaldsError::Length) };
        let challenge = B256::from(rand::random::<[u8; 32]>());
        let checked = tokio::task::spawn_blocking(move || freivalds(&self.call, &self.a, &self.b, &c, challenge));
        match checked.await.map_err(JoinError::try_into_panic) {
            Ok(checked) => checked.map(|()| true),
            Err(Ok(panic)) => resume_unwind(panic),
            // The program ends before the check does.
            Err(Err(_)) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::job::Element;

    #[tokio::test]
    async fn a_wrong_product_is_found() {
        let call = Builtin::Gemm { element: Element::Int8, m: 1, k: 4, n: 4, toolchain: String::new() };
        let b = Bytes::from_static(&[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        let product = || Product { call: call.clone(), a: Bytes::from_static(&[5, 6, 7, 255]), b: b.clone() };
        let c = Bytes::from([5i32, 6, 7, -1].map(i32::to_le_bytes).concat());
        assert_eq!(product().check(&[c]).await, Ok(true));
        let wrong = Bytes::from([5i32, 6, 7, 255].map(i32::to_le_bytes).concat());
        assert_eq!(product().check(&[wrong]).await, Err(FreivaldsError::Wrong { row: 0 }));
        assert_eq!(product().check(&[]).await, Err(FreivaldsError::Length));
    }
}
