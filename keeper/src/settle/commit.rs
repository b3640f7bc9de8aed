//! Committing: the roots of a collected batch go on chain, after its lines are published.

use super::{Result, SettleError, Settler};
use crate::observe;
use alloy::sol_types::SolCall;
use keeper_store::{Batch, Store, StoreError};
use protocol::bindings::settlement::commitCall;
use protocol::voucher::BatchNumber;
use protocol::wire::BatchState;
use service::chain::SendError;

/// How often a commit that was mined and reverted is tried again, each time under a new name.
const ATTEMPTS: u32 = 4;

impl Settler {
    /// Builds a collected batch over what the chain holds for it, stores what will be committed, and publishes its
    /// lines. A batch that is prepared already stays as it is: its commit may be on its way.
    pub async fn prepare(&self, mut batch: Batch) -> Result<Batch> {
        let number = batch.number;
        let store = self.desk.store();
        if batch.prepared.is_none() {
            let view = self.look().await?;
            if view.debits < batch.debits {
                return Err(SettleError::Disagree(format!(
                    "the chain holds {} nano for batch {number}, the ledger accepted {}",
                    view.debits, batch.debits
                )));
            }
            let rate = view.fee_bps_of(number).ok_or_else(|| {
                SettleError::Disagree(format!("batch {number} is closed, the chain has {} open", view.uncommitted()))
            })?;
            let (prepared, _) = self.publisher.build(number, view.debits, rate).await?;
            batch.prepared = Some(prepared);
            store.put_batch(&batch).await?;
        }
        let closed = self.publisher.closed(&batch).await?;
        let closed = closed.ok_or_else(|| StoreError::corrupt(format!("batch {number} lost its commitment")))?;
        self.publisher.publish(self.desk.blobs(), &closed).await.map_err(crate::error::DeskError::from)?;
        Ok(batch)
    }

    /// Commits a prepared batch, or recognises that it is committed.
    pub async fn commit(&self, mut batch: Batch) -> Result<()> {
        let number = batch.number;
        let prepared = batch.prepared.ok_or_else(|| StoreError::corrupt(format!("batch {number} is not prepared")))?;
        let commitment = prepared.commitment;
        let call = commitCall {
            root: commitment.root,
            sum: commitment.sum.get(),
            linesRoot: commitment.lines_root,
            linesSum: commitment.lines_sum.get(),
            lineCount: commitment.line_count,
            dataHash: commitment.data_hash,
        };
        let keeper = self.desk.terms().keeper();
        for attempt in 0..ATTEMPTS {
            let key = name(number, attempt);
            let known = self.desk.onchain().committed(keeper, number).await?.is_some();
            if known && !self.is_stored(&key).await? {
                break;
            }
            match self.send(key, call.abi_encode()).await {
                Ok(outcome) => {
                    batch.transaction = Some(outcome.hash);
                    if self.desk.onchain().committed(keeper, number).await?.is_some() {
                        break;
                    }
                    // It was mined, and the chain has dropped its block since.
                }
                // It was mined and reverted, which settles its name.
                Err(SettleError::Send { source: SendError::Failed { .. }, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let found = self.desk.onchain().committed(keeper, number).await?;
        let found = found.filter(|found| found.earnings == commitment.earnings()).ok_or_else(|| {
            SettleError::Disagree(format!("batch {number} is not on chain with the root that was committed"))
        })?;
        let mut gas = self.collect_gas(number).await?;
        for attempt in 0..ATTEMPTS {
            gas = gas.saturating_add(self.gas(&name(number, attempt)).await?.unwrap_or_default());
        }
        batch.gas = Some(gas);
        batch.committed_at = Some(found.committed_at);
        batch.state = BatchState::Committed;
        self.desk.store().put_batch(&batch).await?;
        observe::batch_committed(number, commitment.sum, gas);
        self.look().await.map(|_| ())
    }
}

fn name(number: BatchNumber, attempt: u32) -> String {
    if attempt == 0 { format!("commit:{number}") } else { format!("commit:{number}:{attempt}") }
}
