//! Challenges: answered at once, with the proof.

use super::{Result, SettleError, Settler};
use crate::observe;
use crate::onchain::KeeperView;
use alloy::primitives::Address;
use alloy::sol_types::SolCall;
use keeper_store::Store;
use protocol::batch::ClosedBatch;
use protocol::bindings::settlement::answerCall;
use protocol::voucher::BatchNumber;

impl Settler {
    /// Answers every open challenge against the pending batch.
    pub async fn answer(&self, view: &KeeperView) -> Result<()> {
        let Some(pending) = view.pending.filter(|pending| pending.challenges > 0) else { return Ok(()) };
        let keeper = self.desk.terms().keeper();
        let batch = self.desk.store().batch(view.current).await?;
        let closed = match batch {
            Some(batch) => self.publisher.closed(&batch).await?,
            None => None,
        };
        let closed = closed.ok_or_else(|| {
            SettleError::Disagree(format!("batch {} is challenged, and it is not in the ledger", view.current))
        })?;
        // The batch was committed at a known time; its challenges stand in blocks after it.
        let since = self.block_at_or_before(view, pending.committed_at.get()).await?;
        for provider in self.desk.onchain().challenged(keeper, view.current, since..=view.block).await? {
            self.answer_one(view.current, provider, &closed).await?;
        }
        Ok(())
    }

    async fn answer_one(&self, number: BatchNumber, provider: Address, closed: &ClosedBatch) -> Result<()> {
        let Some((amount, proof)) = closed.proof(provider) else {
            return Err(SettleError::Disagree(format!("{provider} challenges batch {number} and has no leaf in it")));
        };
        let call = answerCall {
            keeper: self.desk.terms().keeper(),
            provider,
            amount: amount.get(),
            index: proof.index,
            proof: proof.to_bytes().into(),
        };
        // A provider may challenge again with a higher acceptance, so the name carries a number.
        for attempt in 0u32.. {
            let key = format!("answer:{number}:{provider}:{attempt}");
            if self.gas(&key).await?.is_none() {
                self.send(key, call.abi_encode()).await?;
                break;
            }
        }
        observe::challenge_answered(number, provider);
        Ok(())
    }

    /// The highest block that is not younger than a moment, by bisection.
    async fn block_at_or_before(&self, view: &KeeperView, time: u64) -> Result<u64> {
        let (mut low, mut high) = (0u64, view.block);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.desk.onchain().time_of(middle).await? <= time { low = middle } else { high = middle - 1 }
        }
        Ok(low)
    }
}
