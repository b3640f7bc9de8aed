//! Collecting: the newest accepted voucher of every channel of a closed batch goes on chain.

use super::{Result, SettleError, Settler};
use alloy::sol_types::SolCall;
use keeper_store::Store;
use protocol::bindings::settlement::collectCall;
use protocol::voucher::{BatchNumber, ChannelId, SignedVoucher};
use service::chain::SendError;

/// How often what the chain has not taken is tried again, each time under a new name.
const ROUNDS: u32 = 8;
/// More do not fit a transaction.
const LARGEST_CHUNK: usize = 900;

impl Settler {
    /// Collects a closed batch. What the chain has already is skipped, so this may be killed and run again.
    pub async fn collect(&self, number: BatchNumber) -> Result<()> {
        let debits = self.desk.store().debits(number).await?;
        let chunk = self.desk.terms().config.settle.chunk.clamp(1, LARGEST_CHUNK);
        for round in 0..ROUNDS {
            let mut missing = 0;
            for (index, debits) in debits.chunks(chunk).enumerate() {
                missing += self.collect_chunk(number, round, index, debits).await?;
            }
            if missing == 0 {
                return Ok(());
            }
        }
        Err(SettleError::Disagree(format!("the chain did not take every voucher of batch {number}")))
    }

    /// Collects one chunk; answers how many vouchers the chain lacked before.
    async fn collect_chunk(
        &self,
        number: BatchNumber,
        round: u32,
        index: usize,
        debits: &[(ChannelId, SignedVoucher)],
    ) -> Result<usize> {
        let mut packed = Vec::with_capacity(debits.len() * 124);
        for (channel, voucher) in debits {
            if self.desk.onchain().spent(*channel).await? < voucher.voucher.total {
                packed.extend_from_slice(&voucher.to_debit());
            }
        }
        let missing = packed.len() / 124;
        if missing == 0 {
            return Ok(0);
        }
        let call = collectCall { vouchers: packed.into() };
        match self.send(name(number, round, index), call.abi_encode()).await {
            // A transaction that was mined and reverted has settled its name; the next round has another.
            Ok(_) | Err(SettleError::Send { source: SendError::Failed { .. }, .. }) => Ok(missing),
            Err(error) => Err(error),
        }
    }

    /// Gas of everything that was sent to collect a batch.
    pub(super) async fn collect_gas(&self, number: BatchNumber) -> Result<u64> {
        let mut sum = 0u64;
        for round in 0..ROUNDS {
            let mut any = false;
            for index in 0.. {
                let Some(gas) = self.gas(&name(number, round, index)).await? else { break };
                sum = sum.saturating_add(gas);
                any = true;
            }
            if !any {
                break;
            }
        }
        Ok(sum)
    }
}

fn name(number: BatchNumber, round: u32, index: usize) -> String {
    if round == 0 { format!("collect:{number}:{index}") } else { format!("collect:{number}:{index}:{round}") }
}
