//! Redeems direct vouchers: when a channel owes enough, and at once when it closes.

use super::{Direct, DirectError};
use crate::ledger::DirectRow;
use crate::node::{HOLD_SECONDS, now};
use crate::observe;
use alloy::primitives::{Bytes, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::{Amount, Timestamp};
use protocol::bindings::settlement;
use service::chain::{Intent, SendError};
use std::sync::Arc;
use std::time::Duration;

/// Most vouchers of one transaction.
const VOUCHERS: usize = 100;

/// Redeems until the shutdown.
pub(crate) async fn run(direct: Arc<Direct>) {
    let mut passes = tokio::time::interval(Duration::from_millis(direct.node.config.claim.poll_ms));
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut attempt = 0u32;
    loop {
        tokio::select! {
            _ = passes.tick() => {}
            () = direct.node.shutdown.cancelled() => return,
        }
        let result = tokio::select! {
            result = direct.redeem(attempt) => result,
            () = direct.node.shutdown.cancelled() => return,
        };
        match result {
            Ok(()) => direct.node.health.set("redemptions", Ok(())),
            Err(error) => {
                if matches!(error, RedeemError::Send(SendError::Failed { .. })) {
                    attempt = attempt.saturating_add(1);
                }
                observe::failing("redemptions", &error);
                direct.node.health.set("redemptions", Err(error.to_string()));
            }
        }
    }
}

/// Why a redemption did not happen; the next pass tries it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    #[error(transparent)]
    Direct(#[from] DirectError),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Direct {
    /// One pass over all channels. `attempt` counts redemptions that were mined and reverted: each further one is a
    /// new intent.
    async fn redeem(&self, attempt: u32) -> Result<(), RedeemError> {
        let held_since = Timestamp(now().get().saturating_sub(HOLD_SECONDS));
        self.node.ledger.close_ended(self.provider(), held_since).await.map_err(DirectError::from)?;
        let rows = self.worth_redeeming().await?;
        match self.send_redemption(&rows, attempt).await {
            // One voucher that the contract refuses must not hold up the others.
            Err(RedeemError::Send(SendError::Reverted { .. })) if rows.len() > 1 => {
                let mut result = Ok(());
                for row in &rows {
                    result = result.and(self.send_redemption(std::slice::from_ref(row), attempt).await);
                }
                result
            }
            sent => sent,
        }
    }

    async fn send_redemption(&self, rows: &[(DirectRow, Amount)], attempt: u32) -> Result<(), RedeemError> {
        if rows.is_empty() {
            return Ok(());
        }
        let packed: Vec<u8> = rows.iter().flat_map(|(row, _)| row.voucher.to_debit()).collect();
        let key = format!("redeem:{}:{attempt}", keccak256(&packed));
        let call = settlement::redeemCall { keeper: self.provider(), vouchers: Bytes::from(packed) };
        let intent = Intent { key, to: self.node.domain.settlement(), data: call.abi_encode().into() };
        self.sender.send(intent).await?;
        for (row, _) in rows {
            let total = row.voucher.voucher.total;
            self.node.ledger.set_redeemed(row.channel, total).await.map_err(DirectError::from)?;
        }
        let value = rows.iter().fold(0u64, |sum, (_, value)| sum.saturating_add(value.get()));
        observe::redeemed(Amount(value), rows.len());
        Ok(())
    }

    /// Channels that owe enough, or that are closing; each with what it owes.
    async fn worth_redeeming(&self) -> Result<Vec<(DirectRow, Amount)>, DirectError> {
        let mut worth = Vec::new();
        for row in self.node.ledger.redeemable().await? {
            let facts = self.node.market.channel(row.channel).await?;
            let total = row.voucher.voucher.total;
            let value = Amount(total.get().saturating_sub(facts.spent.get()));
            if value == Amount::ZERO {
                // Somebody else has redeemed it; anyone may.
                self.node.ledger.set_redeemed(row.channel, total).await?;
            } else if (value >= self.config.redeem || facts.closing) && worth.len() < VOUCHERS {
                worth.push((row, value));
            }
        }
        Ok(worth)
    }
}
