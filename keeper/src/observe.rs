//! What operators see: one function per event of the domain.

use crate::ledger::Filling;
use crate::market::Match;
use keeper_store::{Entry, Job};
use metrics::{counter, gauge};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::voucher::BatchNumber;
use protocol::wire::Refusal;

/// An order rests or runs.
pub fn order_taken(job: &Job) {
    counter!("keeper_orders_total").increment(1);
    tracing::info!(job = %job.id, channel = %job.channel, kind = %job.kind, "order taken");
}

/// An order met an offer.
pub fn matched(found: &Match) {
    counter!("keeper_matches_total").increment(1);
    tracing::info!(job = %found.job, provider = %found.provider, price = %found.price, "order matched");
}

/// Something was refused.
pub fn refused(what: &'static str, refusal: &Refusal) {
    counter!("keeper_refusals_total", "what" => what, "code" => refusal.code.as_str()).increment(1);
    tracing::debug!(what, code = refusal.code.as_str(), detail = %refusal.detail, "refused");
}

/// A receipt is stored.
pub fn receipt_taken(job: JobId, sequence: u64, amount: Amount) {
    counter!("keeper_receipts_total").increment(1);
    tracing::debug!(%job, sequence, %amount, "receipt taken");
}

/// A voucher is stored and its acceptance signed.
pub fn voucher_accepted(entry: &Entry, filling: &Filling) {
    counter!("keeper_vouchers_total").increment(1);
    #[allow(clippy::cast_precision_loss)]
    gauge!("keeper_batch_debits_nano").set(filling.batch.debits.get() as f64);
    tracing::debug!(job = %entry.job.id, debit = %entry.debit, batch = filling.batch.number, "voucher accepted");
}

/// A job will never change again.
pub fn job_ended(job: &Job) {
    counter!("keeper_jobs_ended_total", "state" => format!("{:?}", job.state).to_lowercase()).increment(1);
    let reason = job.reason.as_deref().unwrap_or_default();
    tracing::info!(job = %job.id, state = ?job.state, paid = %job.paid.amount, reason, "job ended");
}

/// Workers connected now.
pub fn workers(connected: usize) {
    gauge!("keeper_workers").set(u32::try_from(connected).unwrap_or(u32::MAX));
}

/// A batch takes no more vouchers.
pub fn batch_closed(number: BatchNumber, vouchers: u64, debits: Amount) {
    tracing::info!(batch = number, vouchers, %debits, "batch closed");
}

/// A batch is on chain.
pub fn batch_committed(number: BatchNumber, sum: Amount, gas: u64) {
    counter!("keeper_batches_committed_total").increment(1);
    counter!("keeper_settlement_gas_total").increment(gas);
    tracing::info!(batch = number, %sum, gas, "batch committed");
}

/// A reorganisation has dropped the block of a commit; it is sent again.
pub fn commit_lost(number: BatchNumber) {
    counter!("keeper_commits_lost_total").increment(1);
    tracing::warn!(batch = number, "the chain has dropped a commit");
}

/// A batch can be paid out.
pub fn batch_final(number: BatchNumber) {
    gauge!("keeper_final_batch").set(number);
    tracing::info!(batch = number, "batch final");
}

/// Someone challenged a pending batch, and the proof was sent.
pub fn challenge_answered(number: BatchNumber, provider: alloy::primitives::Address) {
    counter!("keeper_challenges_answered_total").increment(1);
    tracing::warn!(batch = number, %provider, "challenge answered");
}
