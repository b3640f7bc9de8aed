//! Counts direct vouchers: checked against the channel's account and the chain, stored, and only then answered.

use super::{Direct, DirectError};
use crate::accept::ChannelFacts;
use crate::ledger::{JobRow, JobStage, LedgerError};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Account, ChannelId, Payment, SignedVoucher, VoucherError};
use protocol::wire::{Code, Refusal};
use std::collections::HashMap;

/// A receipt that waits for its voucher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) row: JobRow,
    pub(crate) receipt: Receipt,
}

impl Direct {
    /// The account of a channel: what its newest voucher says, or the chain where that says more.
    pub(crate) async fn account(&self, channel: ChannelId, facts: &ChannelFacts) -> Result<Account, LedgerError> {
        let mut account = Account::new(facts.spent);
        if let Some(row) = self.node.ledger.direct_voucher(channel).await? {
            account.apply(&row.voucher.voucher);
            account.total = account.total.max(facts.spent);
        }
        Ok(account)
    }

    /// Counts a voucher for a job of `channel`. The same voucher again is answered again.
    pub(crate) async fn count(
        &self,
        channel: ChannelId,
        job: JobId,
        voucher: &SignedVoucher,
    ) -> Result<(), DirectError> {
        let _books = self.books.lock().await;
        let ledger = &self.node.ledger;
        let row = ledger.job(job).await?.filter(|row| row.assignment.channel == channel);
        let row = row.ok_or_else(|| Refusal::new(Code::NotFound, "this channel has no such job"))?;
        let stored = ledger.direct_voucher(channel).await?;
        if stored.is_some_and(|stored| stored.voucher == *voucher) {
            return Ok(());
        }
        let unknown = || Refusal::new(Code::BadVoucher, "the voucher names no receipt of this job");
        let receipt = ledger.receipt_of(job, voucher.voucher.latest.receipt).await?.ok_or_else(unknown)?;
        let amount = receipt.statement.amount;
        let increase = amount.minus(row.paid).ok().filter(|increase| *increase > Amount::ZERO);
        let increase = increase.ok_or_else(|| Refusal::new(Code::BadVoucher, "this receipt is paid already"))?;
        let facts = self.node.market.channel(self.provider(), channel).await?;
        let account = self.account(channel, &facts).await?;
        let payment = Payment {
            payer: row.assignment.order.order.payer,
            keeper: self.provider(),
            batch: 0,
            provider: self.provider(),
            increase,
            receipt: voucher.voucher.latest.receipt,
        };
        let signer = voucher.signer(&self.node.domain);
        if signer.ok() != Some(row.assignment.signer) {
            return Err(Refusal::new(Code::BadSignature, "the voucher is not signed by the session key").into());
        }
        account.check(&voucher.voucher, &payment, &self.fees(), facts.deposit).map_err(refusal)?;
        let debit = voucher.voucher.total.minus(account.total).unwrap_or_default();
        let last = self.is_last(&row, &receipt).await?;
        ledger.credit_direct(job, channel, voucher, (amount, debit, last)).await?;
        Ok(())
    }

    /// Whether nothing more will be billed once this receipt is paid.
    async fn is_last(&self, row: &JobRow, receipt: &Receipt) -> Result<bool, LedgerError> {
        if row.stage != JobStage::Failed {
            return Ok(receipt.statement.is_final());
        }
        let newest = self.node.ledger.newest_receipt(receipt.statement.job).await?;
        Ok(newest.is_some_and(|newest| newest.statement.sequence == receipt.statement.sequence))
    }

    /// The newest receipt of the oldest job of a channel that is not paid, without those that the client has declined.
    /// Jobs that cost nothing more are closed.
    pub(crate) async fn due(
        &self,
        channel: ChannelId,
        declined: &HashMap<JobId, u64>,
    ) -> Result<Option<Due>, LedgerError> {
        let ledger = &self.node.ledger;
        for row in ledger.open_jobs(self.provider()).await? {
            if row.assignment.channel != channel {
                continue;
            }
            let job = row.assignment.job();
            match ledger.newest_receipt(job).await? {
                Some(receipt) if receipt.statement.amount > row.paid => {
                    if declined.get(&job).is_none_or(|sequence| receipt.statement.sequence > *sequence) {
                        return Ok(Some(Due { row, receipt }));
                    }
                }
                _ => self.settle(job).await,
            }
        }
        Ok(None)
    }
}

fn refusal(error: VoucherError) -> Refusal {
    let code = match error {
        VoucherError::OverDeposit { .. } => Code::InsufficientFunds,
        _ => Code::BadVoucher,
    };
    Refusal::new(code, error.to_string())
}
