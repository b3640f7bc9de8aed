//! The ledger's decisions: receipts, vouchers, acceptances, and how a job ends.
//!
//! Pure: each function looks at what is known and says what has to be written, as values after the change. The store
//! writes that first, and only then does the rest of the keeper act on it.

use alloy::primitives::Address;
use keeper_store::{Batch, Channel, Entry, Job, Matched};
use protocol::amount::{Amount, Overflow, Timestamp};
use protocol::batch::Line;
use protocol::job::{Blob, result_hash};
use protocol::order::JobId;
use protocol::receipt::{Facts as ReceiptFacts, Receipt, Statement};
use protocol::resource::Resource;
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Acceptance, Accepted, Fees, Payment, SignedAcceptance, SignedVoucher, VoucherError};
use protocol::wire::{Code, JobState, Refusal};
use std::collections::{BTreeMap, HashMap};

/// What the chain holds for a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deposit {
    /// What counts: the lower one of the safe head's and the newest block's deposit.
    pub amount: Amount,
    /// Whether it is closing at the newest block.
    pub closing: bool,
}

/// The batch being filled.
#[derive(Debug, Clone)]
pub struct Filling {
    /// Its row.
    pub batch: Batch,
    /// Fees of its vouchers.
    pub fees: Fees,
    /// What each provider is owed in it.
    pub owed: BTreeMap<Address, Amount>,
    /// Its usage lines.
    pub lines: HashMap<JobId, Line>,
}

impl Filling {
    /// A batch that nothing was accepted in.
    pub fn empty(batch: Batch, fees: Fees) -> Self {
        Self { batch, fees, owed: BTreeMap::new(), lines: HashMap::new() }
    }

    /// Counts an entry that is stored.
    pub fn apply(&mut self, entry: &Entry) {
        let promise = &entry.accepted.acceptance.acceptance;
        self.batch = entry.batch.clone();
        self.owed.insert(promise.provider, promise.owed);
        self.lines.insert(entry.job.id, entry.line);
    }
}

/// A voucher and all that it is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Paying<'a> {
    /// Where signatures count.
    pub domain: &'a Domain,
    /// The keeper's key, which signs the acceptance.
    pub key: &'a SigningKey,
    /// The paying channel.
    pub channel: &'a Channel,
    /// What the chain holds for it.
    pub deposit: Deposit,
    /// The job paid for.
    pub job: &'a Job,
    /// The receipt that the voucher names.
    pub receipt: &'a Statement,
    /// The resource that the job buys.
    pub resource: &'a Resource,
    /// The batch being filled.
    pub filling: &'a Filling,
    /// Now.
    pub now: Timestamp,
}

/// Judges a voucher. What comes back has to be stored before the acceptance in it leaves the keeper.
pub fn accept(paying: &Paying<'_>, voucher: SignedVoucher) -> Result<Entry, Refusal> {
    let Paying { domain, key, channel, job, receipt, filling, .. } = paying;
    let signer = voucher.signer(domain).map_err(|error| Refusal::new(Code::BadSignature, error.to_string()))?;
    if signer != channel.signer {
        let detail = format!("the voucher is signed by {signer}, the channel's session key is {}", channel.signer);
        return Err(Refusal::new(Code::BadSignature, detail));
    }
    if paying.deposit.closing {
        return Err(channel_closing());
    }
    let matched = job.matched.ok_or_else(|| bad_voucher("the job has not started, so there is nothing to pay"))?;
    if receipt.sequence <= job.paid.sequence {
        return Err(bad_voucher("the receipt that the voucher names is paid already"));
    }
    let payment = Payment {
        payer: channel.payer,
        keeper: key.address(),
        batch: filling.batch.number,
        provider: matched.provider,
        increase: receipt.amount.minus(job.paid.amount).map_err(overflow)?,
        receipt: receipt.hash(),
    };
    let said = &voucher.voucher;
    channel.account.check(said, &payment, &filling.fees, paying.deposit.amount).map_err(|e| refuse_voucher(&e))?;
    let owed = filling.owed.get(&matched.provider).copied().unwrap_or_default();
    let owed = owed.plus(payment.increase).map_err(overflow)?;
    let promise = Acceptance { voucher: said.hash(), provider: matched.provider, batch: payment.batch, owed };
    let acceptance = SignedAcceptance::sign(promise, domain, key);
    enter(paying, &matched, Accepted { voucher, acceptance }).map_err(overflow)
}

/// Everything that an accepted voucher changes.
fn enter(paying: &Paying<'_>, matched: &Matched, accepted: Accepted) -> Result<Entry, Overflow> {
    let Paying { receipt, filling, now, .. } = *paying;
    let debit = accepted.voucher.voucher.total.minus(paying.channel.account.total)?;
    let quantity = receipt.usage.quantity(paying.resource.unit);
    let before = paying.job.paid;

    let line = filling.lines.get(&paying.job.id);
    let line = Line {
        job: paying.job.id,
        payer: paying.channel.payer,
        provider: matched.provider,
        resource: paying.resource.id,
        quantity: quantity.minus(before.quantity)?.plus(line.map(|l| l.quantity).unwrap_or_default())?,
        price: matched.price,
        amount: receipt.amount.minus(before.amount)?.plus(line.map(|l| l.amount).unwrap_or_default())?,
        ended_at: receipt.at,
        result: receipt.result,
    };

    let mut channel = paying.channel.clone();
    channel.account.apply(&accepted.voucher.voucher);

    let mut batch = filling.batch.clone();
    batch.debits = batch.debits.plus(debit)?;
    batch.vouchers = batch.vouchers.saturating_add(1);
    batch.first_at = batch.first_at.or(Some(now));

    let mut job = paying.job.clone();
    job.paid.sequence = receipt.sequence;
    job.paid.amount = receipt.amount;
    job.paid.quantity = quantity;
    job.paid.debited = before.debited.plus(debit)?;
    settle(&mut job, now);
    Ok(Entry { accepted, debit, channel, job, batch, line })
}

/// Ends a delivered job once nothing of it is unpaid.
fn settle(job: &mut Job, now: Timestamp) {
    if job.state != JobState::Delivered || job.is_unpaid() {
        return;
    }
    job.state = match &job.failure {
        None => JobState::Done,
        Some(failure) => ended_by(failure),
    };
    job.ended_at = Some(now);
}

fn ended_by(failure: &Refusal) -> JobState {
    if failure.code == Code::Cancelled { JobState::Cancelled } else { JobState::Failed }
}

/// What became of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is the job's newest now.
    New(Box<Job>),
    /// It was taken before.
    Again,
}

/// Judges a receipt; the outputs' blobs are known to be here.
pub fn take_receipt(
    job: &Job,
    receipt: Receipt,
    outputs: Vec<Blob>,
    resource: &Resource,
    domain: &Domain,
) -> Result<Taken, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadReceipt, detail);
    let matched = job.matched.ok_or_else(|| bad("the job has not started".into()))?;
    let last = job.newest.as_ref();
    if last.is_some_and(|last| *last == receipt || receipt.statement.sequence < last.statement.sequence) {
        return Ok(Taken::Again);
    }
    if job.state != JobState::Running {
        return Err(bad(format!("the job is {}, it takes no more receipts", state_name(job.state))));
    }
    let facts = ReceiptFacts {
        domain,
        order: &job.order.order,
        resource,
        price: matched.price,
        provider: matched.provider,
        worker: matched.worker,
        last: last.map(|last| &last.statement),
    };
    let receipt = receipt.check(&facts).map_err(|rejection| bad(rejection.to_string()))?.into_unchecked();
    let said = &receipt.statement;
    if said.amount > job.cap {
        let detail = format!("the receipt bills {} nano, the order leaves {} after fees", said.amount, job.cap);
        return Err(bad(detail));
    }
    let mut job = job.clone();
    if said.is_final() {
        if said.result != result_hash(&outputs) {
            return Err(bad("the receipt's result is not the hash over its outputs".into()));
        }
        job.state = JobState::Delivered;
        job.outputs = outputs;
        // A result that came before the worker heard of a cancellation is a result all the same.
        job.failure = None;
        job.reason = None;
    }
    job.newest = Some(receipt);
    Ok(Taken::New(Box::new(job)))
}

/// A worker gave a job up. What it has delivered so far is still to be paid, unless the node itself failed.
pub fn give_up(job: &Job, refusal: Refusal, now: Timestamp) -> Job {
    let mut job = job.clone();
    let at_fault = refusal.code == Code::NodeFailed;
    let failure = job.failure.take().unwrap_or(refusal);
    if at_fault {
        return end(&job, failure, now);
    }
    job.state = JobState::Delivered;
    job.reason = Some(failure.detail.clone());
    job.failure = Some(failure);
    settle(&mut job, now);
    job
}

/// A client wants a job stopped. One that runs goes on until its worker has billed what it delivered.
pub fn cancel(job: &Job, now: Timestamp) -> Result<Job, Refusal> {
    let refusal = Refusal::new(Code::Cancelled, "Stopped by the client.");
    match job.state {
        JobState::Queued => Ok(end(job, refusal, now)),
        JobState::Running => {
            let mut job = job.clone();
            job.reason = Some(refusal.detail.clone());
            job.failure = Some(refusal);
            Ok(job)
        }
        state => Err(Refusal::new(Code::Conflict, format!("the job is {}, it cannot be stopped", state_name(state)))),
    }
}

/// Ends a job at once without a result. What was paid until then stays paid.
pub fn end(job: &Job, failure: Refusal, now: Timestamp) -> Job {
    let mut job = job.clone();
    job.state = if failure.code == Code::Expired { JobState::Expired } else { ended_by(&failure) };
    job.reason = Some(failure.detail.clone());
    job.failure = Some(failure);
    job.ended_at = Some(now);
    job
}

/// The refusal of everything on a closing channel.
pub fn channel_closing() -> Refusal {
    Refusal::new(
        Code::ChannelClosing,
        "the channel is closing and takes no new debits: deposit into it again to keep it open, or use another",
    )
}

fn refuse_voucher(error: &VoucherError) -> Refusal {
    let code = match error {
        VoucherError::WrongBatch { .. } => Code::BatchClosed,
        VoucherError::OverDeposit { .. } => Code::InsufficientFunds,
        _ => Code::BadVoucher,
    };
    Refusal::new(code, error.to_string())
}

fn bad_voucher(detail: &str) -> Refusal {
    Refusal::new(Code::BadVoucher, detail)
}

fn overflow(error: Overflow) -> Refusal {
    Refusal::new(Code::BadVoucher, error.to_string())
}

fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Delivered => "delivered",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Expired => "expired",
        JobState::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests;
