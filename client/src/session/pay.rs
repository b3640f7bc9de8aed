//! From a receipt to an accepted voucher.

use crate::anchor::{Anchor, AnchorError};
use crate::session::Event;
use crate::session::SessionError;
use crate::session::rules::{
    Claimed, Due, ReceiptError, Witness, check_promise, check_receipt, check_terms, last_batch, next_voucher,
};
use crate::session::run::{Exit, Runner};
use crate::session::socket::Socket;
use crate::session::state::Signed;
use alloy::primitives::{Address, B256};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::voucher::{BatchNumber, Fees, SignedAcceptance, SignedVoucher, Voucher};
use protocol::wire::{Code, FromClient, Refusal};
use std::time::Duration;
use tokio::time::Instant;

/// Answers of the chain are used again for this long, so that a voucher a second does not cost five calls a second.
const FRESH: Duration = Duration::from_secs(5);
/// A worker key changes provider only through the registry, which takes a transaction.
const WORKER_FRESH: Duration = Duration::from_secs(60);
/// Pause before a condition is looked at again that mends itself soon.
const SOON: Duration = Duration::from_millis(250);
/// Pause before something is tried again that needs somebody's help.
const LATER: Duration = Duration::from_secs(2);
/// Final refusals of one voucher, with a fresh comparison of accounts between them, before the session gives up.
const MAX_REFUSALS: u32 = 3;

/// The terms that were last found right, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checked(Option<(BatchNumber, Fees, Instant)>);

/// What is paid next.
enum Next {
    /// A receipt that has just come.
    New(Claimed),
    /// The receipt of the newest voucher in flight, which has no answer yet.
    Again(Signed),
}

impl<A: Anchor> Runner<A> {
    /// Keeps the newest receipt of each job.
    pub(super) fn queue(&mut self, claimed: Claimed) {
        let statement = &claimed.receipt.statement;
        let older = self.waiting.iter_mut().find(|other| other.receipt.statement.job == statement.job);
        match older {
            Some(older) if older.receipt.statement.sequence <= statement.sequence => *older = claimed,
            Some(_) => {}
            None => self.waiting.push_back(claimed),
        }
    }

    /// Pays what waits, one voucher at a time.
    pub(super) async fn pay(&mut self, socket: &mut Socket) -> Result<(), Exit> {
        self.retry_at = None;
        while self.sent.is_none() && self.retry_at.is_none() {
            let Some(next) = self.next() else { return Ok(()) };
            let job = match &next {
                Next::New(claimed) => claimed.receipt.statement.job,
                Next::Again(signed) => signed.job,
            };
            match self.due(next).await {
                Ok(Some(due)) => self.sign(job, due, socket).await?,
                Ok(None) => {}
                Err(Obstacle::Receipt(error)) => self.reject(job, &error, socket).await?,
                Err(Obstacle::Chain(error)) if error.is_retryable() => self.wait(error.to_string(), LATER),
                Err(Obstacle::Chain(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A voucher without an answer comes before anything else, in the form of its job's newest receipt. That of a job
    /// that is no longer paid is not sent again, but remembered: the keeper may still take it.
    fn next(&mut self) -> Option<Next> {
        let is_paid_on = |signed: &&Signed| self.state.jobs.get(&signed.job).is_some_and(|job| job.stopped.is_none());
        let Some(signed) = self.state.in_flight.iter().rev().find(is_paid_on).cloned() else {
            return self.waiting.front().cloned().map(Next::New);
        };
        let newer = self.waiting.iter().find(|claimed| {
            let statement = &claimed.receipt.statement;
            statement.job == signed.job && statement.sequence > signed.statement.sequence
        });
        Some(newer.cloned().map_or(Next::Again(signed), Next::New))
    }

    /// What has to be paid for a receipt; `None` if it is paid already.
    async fn due(&mut self, next: Next) -> Result<Option<Due>, Obstacle> {
        match next {
            Next::New(claimed) => {
                let job = claimed.receipt.statement.job;
                let Some(record) = self.state.jobs.get(&job).cloned() else {
                    return Err(ReceiptError::UnknownJob(job.0).into());
                };
                if record.paid.as_ref().is_some_and(|paid| paid.hash() == claimed.receipt.statement.hash()) {
                    self.drop_waiting(job);
                    return Ok(None);
                }
                let resource = self.resources.get(&record.order.order.resource).cloned();
                let resource = resource.ok_or(ReceiptError::UnknownJob(job.0))?;
                let provider = self.provider_of(claimed.worker).await?;
                let direct = self.is_direct().then_some(self.config.keeper);
                let witness =
                    Witness { domain: &self.domain, resource: &resource, provider_of_worker: provider, direct };
                Ok(Some(check_receipt(&claimed, &record, &witness, &self.config.policy)?))
            }
            Next::Again(signed) => {
                let paid = self.state.jobs.get(&signed.job).and_then(|record| record.paid.as_ref());
                let before = paid.map_or(Amount::ZERO, |paid| paid.amount);
                let increase = signed.statement.amount.minus(before).map_err(ReceiptError::from)?;
                Ok(Some(Due { statement: signed.statement, increase, price: signed.price }))
            }
        }
    }

    /// Signs, stores, sends: in this order, so that nothing leaves that a restart would not know of.
    async fn sign(&mut self, job: JobId, due: Due, socket: &mut Socket) -> Result<(), Exit> {
        if !self.terms_hold().await? {
            return Ok(());
        }
        let (Some(info), Some(record)) = (self.info.clone(), self.state.jobs.get(&job).cloned()) else {
            return self.reject(job, &ReceiptError::UnknownJob(job.0), socket).await;
        };
        let voucher = match next_voucher(&self.state, &record, &due, &info) {
            Ok(voucher) => voucher,
            Err(error) => return self.reject(job, &error, socket).await,
        };
        if !self.covered(&voucher).await? {
            return Ok(());
        }
        let signed = SignedVoucher::sign(voucher, &self.domain, &self.config.key);
        let mut state = self.state.clone();
        state.send(Signed { job, statement: due.statement, price: due.price, voucher: signed });
        self.save(state).await?;
        self.sent = Some((voucher.hash(), Instant::now()));
        self.obstacle = None;
        self.drop_waiting(job);
        Ok(socket.send(&FromClient::Voucher { job, voucher: signed }).await?)
    }

    /// Whether batch and fees may be signed for right now; if that may change by itself, it is asked again soon.
    async fn terms_hold(&mut self) -> Result<bool, Exit> {
        if self.info.as_ref().is_none_or(|info| !info.is_direct() && info.batch <= self.closed) {
            match self.keeper.info().await {
                Ok(info) => self.take_info(info)?,
                Err(error) if error.is_retryable() => {
                    self.wait(error.to_string(), LATER);
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(info) = self.info.clone() else { return Ok(false) };
        if !info.is_direct() && info.batch <= self.closed {
            self.retry_at = Some(Instant::now() + SOON);
            return Ok(false);
        }
        let known = |(batch, fees, at): (BatchNumber, Fees, Instant)| {
            batch == info.batch && fees == info.fees && at.elapsed() < FRESH
        };
        if self.checked.0.is_some_and(known) {
            return Ok(true);
        }
        let settling = match self.anchor.settling(self.config.keeper).await {
            Ok(settling) => settling,
            Err(error) if error.is_retryable() => {
                self.wait(error.to_string(), LATER);
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        match check_terms(&info, &settling, last_batch(&self.state), &self.config.policy) {
            Ok(()) => {
                self.checked.0 = Some((info.batch, info.fees, Instant::now()));
                Ok(true)
            }
            Err(error) if error.is_retryable() => {
                self.wait(error.to_string(), SOON);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the channel holds what the voucher promises.
    async fn covered(&mut self, voucher: &Voucher) -> Result<bool, Exit> {
        if voucher.total <= self.deposit {
            return Ok(true);
        }
        match self.anchor.channel(self.state.channel()).await {
            Ok(channel) => self.deposit = channel.deposit,
            Err(error) if !error.is_retryable() => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "the channel's deposit is not known"),
        }
        if voucher.total <= self.deposit {
            return Ok(true);
        }
        let (total, deposit) = (voucher.total.to_capa(), self.deposit.to_capa());
        let text = format!("the channel holds {deposit} CAPA, {total} are due: top it up with `capa channel open`");
        self.wait(text, LATER);
        Ok(false)
    }

    async fn provider_of(&mut self, worker: Address) -> Result<Option<Address>, AnchorError> {
        if let Some((provider, at)) = self.workers.get(&worker)
            && at.elapsed() < WORKER_FRESH
        {
            return Ok(Some(*provider));
        }
        let provider = self.anchor.provider_of(worker).await?;
        if let Some(provider) = provider {
            self.workers.insert(worker, (provider, Instant::now()));
        }
        Ok(provider)
    }

    /// Stops a job whose receipt broke a rule. What was paid stays paid, nothing more is.
    async fn reject(&mut self, job: JobId, error: &ReceiptError, socket: &mut Socket) -> Result<(), Exit> {
        self.drop_waiting(job);
        let mut state = self.state.clone();
        if let Some(record) = state.jobs.get_mut(&job) {
            record.stopped.get_or_insert_with(|| error.to_string());
        }
        self.save(state).await?;
        tracing::warn!(%job, %error, "a receipt is not paid");
        self.tell(Event::Rejected { job, reason: error.to_string() });
        Ok(socket.send(&FromClient::Cancel { job }).await?)
    }

    /// The keeper took a voucher.
    pub(super) async fn accepted(
        &mut self,
        voucher: B256,
        acceptance: Option<SignedAcceptance>,
        socket: &mut Socket,
    ) -> Result<(), Exit> {
        let Some(signed) = self.state.find(voucher).cloned() else {
            let known = self.state.taken.as_ref().is_some_and(|taken| taken.voucher.voucher.hash() == voucher);
            // An answer from before a reconnect is compared afresh rather than guessed at.
            return if known { Ok(()) } else { Err(Exit::Reconnect("an unknown voucher was accepted".into())) };
        };
        check_promise(&signed.voucher, acceptance.as_ref(), &self.domain)?;
        let mut state = self.state.clone();
        state.accept(voucher, acceptance);
        let debited = state.jobs.get(&signed.job).map_or(Amount::ZERO, |record| record.debited);
        self.save(state).await?;
        self.sent = self.sent.filter(|(hash, _)| *hash != voucher);
        self.refusals = 0;
        self.tell(Event::Paid {
            job: signed.job,
            sequence: signed.statement.sequence,
            amount: signed.statement.amount,
            debited,
            batch: signed.voucher.voucher.batch,
        });
        self.pay(socket).await
    }

    /// The keeper did not take a voucher.
    pub(super) async fn refused(
        &mut self,
        job: JobId,
        voucher: B256,
        refusal: Refusal,
        socket: &mut Socket,
    ) -> Result<(), Exit> {
        if self.sent.is_none_or(|(hash, _)| hash != voucher) {
            return Ok(());
        }
        self.sent = None;
        let batch = self.state.find(voucher).map_or(0, |signed| signed.voucher.voucher.batch);
        if refusal.code == Code::BatchClosed {
            self.closed = self.closed.max(batch);
            return self.pay(socket).await;
        }
        self.tell(Event::VoucherRefused { job, refusal: refusal.clone() });
        if matches!(refusal.code, Code::Internal | Code::Limited | Code::InsufficientFunds) {
            self.wait(refusal.detail, LATER);
            return Ok(());
        }
        self.refusals += 1;
        if self.refusals >= MAX_REFUSALS {
            return Err(SessionError::VoucherRefused { job, refusal }.into());
        }
        Err(Exit::Reconnect(format!("a voucher was refused: {refusal}")))
    }

    fn drop_waiting(&mut self, job: JobId) {
        self.waiting.retain(|claimed| claimed.receipt.statement.job != job);
    }

    fn wait(&mut self, reason: String, pause: Duration) {
        self.retry_at = Some(Instant::now() + pause);
        if self.obstacle.as_ref() != Some(&reason) {
            self.obstacle = Some(reason.clone());
            self.tell(Event::Waiting(reason));
        }
    }
}

/// What keeps a receipt from being paid.
enum Obstacle {
    Receipt(ReceiptError),
    Chain(AnchorError),
}

impl<E: Into<ReceiptError>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Receipt(error.into())
    }
}

impl From<AnchorError> for Obstacle {
    fn from(error: AnchorError) -> Self {
        Self::Chain(error)
    }
}
