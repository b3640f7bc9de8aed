//! The worst case: a keeper that does not answer a challenge or misses its heartbeat is wound down, and what it owes is
//! recovered straight from the channels.

use super::{Watch, WatchError};
use crate::ledger::BatchStage;
use crate::observe;
use alloy::primitives::{Address, Bytes, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::Amount;
use protocol::bindings::settlement;
use protocol::voucher::{Accepted, BatchNumber, ChannelId};
use service::chain::SendError;

/// Most vouchers of one transaction.
const VOUCHERS: usize = 64;

impl Watch {
    /// Winds a keeper down that left this provider's challenge unanswered.
    pub(super) async fn void(&self, keeper: Address, batch: BatchNumber) -> Result<(), WatchError> {
        let provider = self.node.config.provider;
        let deadline = self.node.market.challenge_deadline(keeper, batch, provider).await?;
        if deadline == 0 || self.node.market.now().await? <= deadline {
            return Ok(());
        }
        let call = settlement::voidCall { keeper, provider };
        self.send(format!("void:{keeper}:{batch}"), call.abi_encode()).await?;
        observe::keeper_voided(keeper, batch);
        Ok(())
    }

    /// Winds a keeper down that stayed without a commit for longer than it may, and owes something in its open batch.
    pub(super) async fn lapse(&self, keeper: Address, batch: BatchNumber) -> Result<(), WatchError> {
        if !self.node.market.keeper(keeper).await?.late {
            return Ok(());
        }
        let call = settlement::lapseCall { keeper };
        self.send(format!("lapse:{keeper}:{batch}"), call.abi_encode()).await?;
        observe::keeper_lapsed(keeper, batch);
        Ok(())
    }

    /// Recovers every accepted voucher of the batches that will never be final. What fails is tried again in the next
    /// pass, until the recovery period ends.
    pub(super) async fn recover(&self, keeper: Address) -> Result<(), WatchError> {
        let void = self.node.ledger.void_batches(keeper).await?;
        if void.is_empty() {
            return Ok(());
        }
        let Some(end) = self.node.market.recovery_end(keeper).await? else {
            // A reorganisation took the wind-down back: the batches are to be proven and claimed after all.
            for batch in void {
                self.node.ledger.set_stage(keeper, batch, BatchStage::Open).await?;
            }
            return Ok(());
        };
        let too_late = self.node.market.now().await? >= end;
        let mut result = Ok(());
        for batch in void {
            // One batch that fails must not hold up the others: the time for all of them is running out.
            match if too_late { Ok(()) } else { self.recover_batch(keeper, batch).await } {
                Ok(()) => self.node.ledger.set_stage(keeper, batch, BatchStage::Recovered).await?,
                Err(error) => result = Err(error),
            }
        }
        result
    }

    async fn recover_batch(&self, keeper: Address, batch: BatchNumber) -> Result<(), WatchError> {
        let mut open = Vec::new();
        for accepted in self.node.ledger.accepted_in(keeper, batch).await? {
            if !self.is_recovered(keeper, &accepted).await? {
                open.push(accepted);
            }
        }
        let mut result = Ok(());
        for chunk in open.chunks(VOUCHERS) {
            let sent = match self.send_recovery(keeper, chunk).await {
                // One voucher that the contract refuses must not hold up the others.
                Err(WatchError::Send(SendError::Reverted { .. })) if chunk.len() > 1 => {
                    self.send_each(keeper, chunk).await
                }
                sent => sent,
            };
            result = result.and(sent);
        }
        result
    }

    async fn send_each(&self, keeper: Address, chunk: &[Accepted]) -> Result<(), WatchError> {
        let mut result = Ok(());
        for accepted in chunk {
            result = result.and(self.send_recovery(keeper, std::slice::from_ref(accepted)).await);
        }
        result
    }

    async fn is_recovered(&self, keeper: Address, accepted: &Accepted) -> Result<bool, WatchError> {
        let voucher = &accepted.voucher.voucher;
        // A pair whose signature recovers nobody was never counted; its channel would be a stranger's.
        let signer = accepted.voucher.signer(&self.node.domain).unwrap_or_default();
        let channel = ChannelId::of(voucher.payer, signer, keeper);
        let provider = self.node.config.provider;
        Ok(self.node.market.recovered(channel, provider, voucher.batch).await? >= voucher.latest.earned)
    }

    async fn send_recovery(&self, keeper: Address, accepted: &[Accepted]) -> Result<(), WatchError> {
        let items: Vec<u8> = accepted.iter().flat_map(Accepted::to_recovery).collect();
        let key = format!("recover:{keeper}:{}", keccak256(&items));
        let call = settlement::recoverCall { keeper, items: Bytes::from(items) };
        self.send(key, call.abi_encode()).await?;
        let earned = accepted.iter().map(|pair| pair.voucher.voucher.latest.earned);
        observe::recovered(keeper, Amount::sum(earned)?, accepted.len());
        Ok(())
    }
}
