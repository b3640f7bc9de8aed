//! Paying out what is final: the keeper's own earnings, and, where it is so configured, everyone's.

use super::{LOOK_BACK, Result, SettleError, Settler};
use crate::onchain::KeeperView;
use alloy::sol_types::SolCall;
use keeper_store::{Batch, Store};
use protocol::batch::ClosedBatch;
use protocol::bindings::settlement::{claimCall, distributeCall};
use protocol::wire::BatchState;
use service::chain::SendError;

/// Leaves that fit one `distribute`.
const MOST_LEAVES: usize = 1_000;

impl Settler {
    /// Pays out every final batch that was not looked at yet.
    pub async fn pay_out(&self, view: &KeeperView) -> Result<()> {
        let config = self.desk.terms().config.settle;
        if !config.claim_own && !config.distribute {
            return Ok(());
        }
        for batch in self.desk.store().batches(LOOK_BACK).await? {
            let known = self.claimed.lock().await.contains(&batch.number);
            if known || batch.state != BatchState::Final || batch.number >= view.current {
                continue;
            }
            if let Some(closed) = self.publisher.closed(&batch).await? {
                self.pay_out_batch(&batch, &closed).await?;
            }
            self.claimed.lock().await.insert(batch.number);
        }
        Ok(())
    }

    async fn pay_out_batch(&self, batch: &Batch, closed: &ClosedBatch) -> Result<()> {
        let config = self.desk.terms().config.settle;
        let keeper = self.desk.terms().keeper();
        if closed.earnings.is_empty() || self.desk.onchain().is_distributed(keeper, batch.number).await? {
            return Ok(());
        }
        if config.distribute && closed.earnings.len() <= MOST_LEAVES && self.distribute(batch, closed).await? {
            return Ok(());
        }
        if config.claim_own { self.claim_own(batch, closed).await } else { Ok(()) }
    }

    /// False where somebody has claimed already, which leaves nothing to distribute.
    async fn distribute(&self, batch: &Batch, closed: &ClosedBatch) -> Result<bool> {
        let call = distributeCall {
            keeper: self.desk.terms().keeper(),
            number: batch.number,
            leaves: closed.to_distribution().into(),
        };
        match self.send(format!("distribute:{}", batch.number), call.abi_encode()).await {
            Ok(_) => Ok(true),
            Err(SettleError::Send { source: SendError::Reverted { .. } | SendError::Failed { .. }, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn claim_own(&self, batch: &Batch, closed: &ClosedBatch) -> Result<()> {
        let keeper = self.desk.terms().keeper();
        let Some((amount, proof)) = closed.proof(keeper) else { return Ok(()) };
        if self.desk.onchain().paid(keeper, keeper, batch.number).await? >= amount {
            return Ok(());
        }
        let items = proof.to_claim(batch.number, amount).into();
        let call = claimCall { keeper, provider: keeper, items };
        self.send(format!("claim:{}", batch.number), call.abi_encode()).await.map(|_| ())
    }
}
