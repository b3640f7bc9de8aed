//! Closed batches: their trees, rebuilt from the ledger whenever somebody asks, and the lines file for everyone.

use crate::Engine;
use crate::blobs::{BlobError, Blobs};
use crate::error::DeskError;
use alloy::primitives::Address;
use bytes::Bytes;
use keeper_store::{Batch, Prepared, Store, StoreError};
use protocol::amount::Amount;
use protocol::batch::{ClosedBatch, close};
use protocol::voucher::BatchNumber;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Batches that are kept built; most questions are about the newest ones.
const KEPT: usize = 4;

/// Builds batches from the ledger.
#[derive(Debug, Clone)]
pub struct Publisher {
    keeper: Address,
    store: Engine,
    built: Arc<Mutex<BTreeMap<BatchNumber, Arc<ClosedBatch>>>>,
}

impl Publisher {
    /// A publisher of this keeper's batches.
    pub fn new(keeper: Address, store: Engine) -> Self {
        Self { keeper, store, built: Arc::default() }
    }

    /// Builds a closed batch from its rows, and what the chain has collected for it.
    pub async fn build(
        &self,
        number: BatchNumber,
        debits: Amount,
        fee_bps: u16,
    ) -> Result<(Prepared, Arc<ClosedBatch>), DeskError> {
        let owed = self.store.owed(number).await?;
        let lines = self.store.lines(number).await?;
        // Providers are never owed more than vouchers brought in; anything else is damage.
        let closed = close(self.keeper, debits, fee_bps, owed, lines).map_err(StoreError::corrupt)?;
        let prepared = Prepared { debits, fee_bps, commitment: closed.commitment };
        Ok((prepared, Arc::new(closed)))
    }

    /// A batch that is prepared, with its trees; `None` before.
    pub async fn closed(&self, batch: &Batch) -> Result<Option<Arc<ClosedBatch>>, DeskError> {
        let Some(prepared) = batch.prepared else { return Ok(None) };
        let mut built = self.built.lock().await;
        if let Some(closed) = built.get(&batch.number).filter(|closed| closed.commitment == prepared.commitment) {
            return Ok(Some(Arc::clone(closed)));
        }
        let (again, closed) = self.build(batch.number, prepared.debits, prepared.fee_bps).await?;
        if again != prepared {
            return Err(StoreError::corrupt(format!("batch {} does not build to its commitment", batch.number)).into());
        }
        built.insert(batch.number, Arc::clone(&closed));
        while built.len() > KEPT {
            built.pop_first();
        }
        Ok(Some(closed))
    }

    /// Puts the lines file where everyone finds it by its hash.
    pub async fn publish(&self, blobs: &Blobs, closed: &ClosedBatch) -> Result<(), BlobError> {
        blobs.put_own(Bytes::from(closed.lines.to_bytes())).await
    }
}
