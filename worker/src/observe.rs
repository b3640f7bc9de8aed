//! What the worker tells its operator: one function per event, each with its log line and its metric.

mod surroundings;

pub(crate) use surroundings::{
    device, device_alarm, devices_sampled, isolation, market_seen, monitor_failed, unsettled, xid,
};

use crate::accept::AcceptanceError;
use crate::execute::Compilations;
use alloy::primitives::{Address, B256};
use protocol::amount::Amount;
use protocol::job::Kind;
use protocol::order::JobId;
use protocol::voucher::{BatchNumber, ChannelId};
use protocol::wire::Refusal;
use std::fmt::Display;
use std::time::Duration;

pub(crate) fn connected(keeper: Address) {
    metrics::gauge!("capa_worker_connected").set(1.0);
    tracing::info!(%keeper, "connected to the keeper");
}

pub(crate) fn disconnected(reason: &dyn Display, retry_ms: u128) {
    metrics::gauge!("capa_worker_connected").set(0.0);
    metrics::counter!("capa_worker_disconnects_total").increment(1);
    tracing::warn!(%reason, retry_ms, "the connection to the keeper ended; trying again");
}

pub(crate) fn offer_taken(offer: B256) {
    tracing::info!(%offer, "the offer rests in the book");
}

pub(crate) fn offer_refused(offer: B256, refusal: &Refusal) {
    metrics::counter!("capa_worker_offers_refused_total").increment(1);
    tracing::warn!(%offer, code = refusal.code.as_str(), reason = refusal.detail, "the keeper refused an offer");
}

pub(crate) fn job_started(job: JobId, provider_cap: Amount) {
    metrics::counter!("capa_worker_jobs_started_total").increment(1);
    tracing::info!(%job, cap = %provider_cap, "a job was taken");
}

pub(crate) fn job_delivered(job: JobId, kind: Option<Kind>, amount: Amount) {
    job_ended(kind, "delivered", "none".into());
    tracing::info!(%job, %amount, "a job was delivered");
}

pub(crate) fn job_failed(job: JobId, kind: Option<Kind>, refusal: &Refusal) {
    job_ended(kind, "failed", refusal.code.as_str());
    tracing::warn!(%job, code = refusal.code.as_str(), reason = refusal.detail, "a job failed");
}

/// The kind is unknown where a job ended before its envelope was read.
fn job_ended(kind: Option<Kind>, outcome: &'static str, reason: String) {
    let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
    metrics::counter!("capa_worker_jobs_total", "kind" => kind, "outcome" => outcome, "reason" => reason).increment(1);
}

/// A process compiled a job's program, or had it still. No job has more than one.
pub(crate) fn compiled(kind: Kind, compilations: Compilations) {
    for (cached, count) in [("false", compilations.fresh), ("true", compilations.cached)] {
        metrics::counter!("capa_worker_compilations_total", "kind" => kind.to_string(), "cached" => cached)
            .increment(count.min(1));
    }
}

/// A job waited for a free slot or device.
pub(crate) fn waited(queue: &'static str, time: Duration) {
    metrics::histogram!("capa_worker_queue_wait_seconds", "queue" => queue).record(time.as_secs_f64());
}

/// A job had a device. The sum of these times is how long the device was busy.
pub(crate) fn device_used(device: &dyn Display, time: Duration) {
    metrics::histogram!("capa_worker_device_busy_seconds", "device" => device.to_string()).record(time.as_secs_f64());
}

pub(crate) fn child_started(site: &dyn Display) {
    metrics::counter!("capa_worker_children_total", "event" => "started").increment(1);
    metrics::gauge!("capa_worker_children").increment(1.0);
    tracing::debug!(%site, "a process for jobs was started");
}

pub(crate) fn child_ended(site: &dyn Display) {
    metrics::counter!("capa_worker_children_total", "event" => "ended").increment(1);
    metrics::gauge!("capa_worker_children").decrement(1.0);
    tracing::debug!(%site, "a process for jobs was ended");
}

pub(crate) fn orphan_killed(pid: u32) {
    metrics::counter!("capa_worker_children_total", "event" => "orphan_killed").increment(1);
    tracing::warn!(pid, "a process that an earlier start left behind was killed");
}

pub(crate) fn device_quarantined(device: &dyn Display, reason: &str) {
    metrics::counter!("capa_worker_children_total", "event" => "quarantined").increment(1);
    metrics::gauge!("capa_worker_devices_quarantined").increment(1.0);
    tracing::error!(%device, reason, "a device takes no jobs until it works again");
}

pub(crate) fn device_recovered(device: &dyn Display) {
    metrics::gauge!("capa_worker_devices_quarantined").decrement(1.0);
    tracing::info!(%device, "a device that was in quarantine works again");
}

pub(crate) fn scrubbed(site: &dyn Display, bytes: u64, milliseconds: u64) {
    metrics::counter!("capa_worker_scrubs_total").increment(1);
    tracing::info!(%site, mib = bytes >> 20, milliseconds, "its memory was cleared before somebody else is given it");
}

pub(crate) fn usage_clamped() {
    metrics::counter!("capa_worker_usage_clamped_total").increment(1);
    tracing::warn!("a job's process claimed more than it can have used; what is beyond that is not billed");
}

pub(crate) fn receipt_refused(job: JobId, sequence: u64, refusal: &Refusal) {
    metrics::counter!("capa_worker_receipts_refused_total").increment(1);
    tracing::error!(%job, sequence, code = refusal.code.as_str(), reason = refusal.detail, "a receipt was refused");
}

pub(crate) fn credited(job: JobId, paid: Amount, batch: BatchNumber) {
    metrics::counter!("capa_worker_acceptances_total").increment(1);
    tracing::debug!(%job, %paid, batch, "a payment was counted");
}

pub(crate) fn acceptance_rejected(job: JobId, error: &AcceptanceError) {
    metrics::counter!("capa_worker_acceptances_rejected_total").increment(1);
    tracing::error!(%job, %error, "an acceptance is not counted as money");
}

pub(crate) fn proof_stored(batch: BatchNumber, amount: Amount) {
    tracing::info!(batch, %amount, "the proof of a batch is stored");
}

pub(crate) fn proof_missing(batch: BatchNumber, reason: &dyn Display) {
    metrics::counter!("capa_worker_proofs_missing_total").increment(1);
    tracing::warn!(batch, %reason, "the keeper gave no good proof of a committed batch; asking again");
}

pub(crate) fn challenge_not_worth(batch: BatchNumber, short: Amount) {
    tracing::warn!(batch, %short, "what the keeper's proof is short of is not worth the gas of a challenge");
}

pub(crate) fn challenged(batch: BatchNumber, owed: Amount) {
    metrics::counter!("capa_worker_challenges_total").increment(1);
    tracing::error!(batch, %owed, "the keeper showed no good proof in time and is challenged on chain");
}

pub(crate) fn batch_void(batch: BatchNumber) {
    metrics::counter!("capa_worker_batches_void_total").increment(1);
    tracing::error!(batch, "the keeper is wound down: what it owes is recovered from the channels");
}

pub(crate) fn keeper_voided(keeper: Address, batch: BatchNumber) {
    tracing::error!(%keeper, batch, "the keeper left a challenge unanswered and is wound down");
}

pub(crate) fn keeper_lapsed(keeper: Address, batch: BatchNumber) {
    tracing::error!(%keeper, batch, "the keeper missed its heartbeat and is wound down");
}

pub(crate) fn recovered(keeper: Address, amount: Amount, channels: usize) {
    metrics::counter!("capa_worker_recovered_nano_total").increment(amount.get());
    tracing::info!(%keeper, %amount, channels, "earnings were recovered from the channels");
}

pub(crate) fn claimed(keeper: Address, amount: Amount, batches: usize) {
    metrics::counter!("capa_worker_claimed_nano_total").increment(amount.get());
    tracing::info!(%keeper, %amount, batches, "earnings were claimed");
}

pub(crate) fn redeemed(amount: Amount, channels: usize) {
    metrics::counter!("capa_worker_redeemed_nano_total").increment(amount.get());
    tracing::info!(%amount, channels, "direct vouchers were redeemed");
}

pub(crate) fn payout_waits(kind: &'static str, amount: Amount) {
    metrics::counter!("capa_worker_payouts_postponed_total", "kind" => kind).increment(1);
    tracing::debug!(kind, %amount, "a payout waits for cheaper gas");
}

pub(crate) fn voucher_uncovered(channel: ChannelId, amount: Amount) {
    metrics::counter!("capa_worker_vouchers_uncovered_total").increment(1);
    tracing::error!(%channel, %amount, "the client has withdrawn what its voucher promised");
}

pub(crate) fn draining() {
    metrics::gauge!("capa_worker_draining").set(1.0);
    tracing::info!("draining: no more jobs are taken");
}

pub(crate) fn drained(running: usize, unsettled: u64) {
    if running == 0 && unsettled == 0 {
        tracing::info!("drained: everything ended and is paid");
    } else {
        tracing::warn!(running, unsettled, "the time of the drain is over; what runs is stopped");
    }
}

pub(crate) fn failing(part: &'static str, error: &dyn Display) {
    metrics::counter!("capa_worker_errors_total", "part" => part).increment(1);
    tracing::warn!(part, %error, "this step failed and is tried again");
}
