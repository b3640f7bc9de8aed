//! Receipts and vouchers.

use super::books::Books;
use super::{Desk, Result, now};
use crate::intake;
use crate::ledger::{self, Paying, Taken};
use crate::observe;
use alloy::primitives::Address;
use keeper_store::{Entry, Job, Store};
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Accepted, ChannelId, SignedVoucher};
use protocol::wire::{Code, JobState, Refusal, ToClient, ToWorker};
use std::sync::Arc;

/// What became of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is returned once and taken apart at once")]
pub enum Answer {
    /// It is stored, and everyone was told.
    Told,
    /// It was accepted before; only the one who sent it again has to be told.
    Again(Accepted),
}

impl Desk {
    /// A worker says what it has delivered.
    pub async fn receipt(
        &self,
        worker: Address,
        receipt: Receipt,
        outputs: Vec<Blob>,
    ) -> std::result::Result<(), Refusal> {
        let result = self.try_receipt(worker, receipt, outputs).await;
        self.guard("receipt", result)
    }

    async fn try_receipt(&self, worker: Address, receipt: Receipt, outputs: Vec<Blob>) -> Result<()> {
        intake::receipt(&receipt.statement, &outputs, now())?;
        self.check_outputs(&outputs).await?;
        let id = receipt.statement.job;
        let mut books = self.lock().await;
        let Some(job) = books.jobs.get(&id) else {
            drop(books);
            return self.late_receipt(worker, &receipt).await;
        };
        if job.matched.is_none_or(|matched| matched.worker != worker) {
            return Err(Refusal::new(Code::BadReceipt, "the job is not this worker's").into());
        }
        let resource = intake::resource(&books.resources, job.order.order.resource)?;
        let taken = ledger::take_receipt(job, receipt.clone(), outputs, resource, &self.terms.domain)?;
        match taken {
            Taken::New(job) => {
                self.store.put_receipt(&job, &receipt).await?;
                observe::receipt_taken(id, receipt.statement.sequence, receipt.statement.amount);
                let finished = job.state != JobState::Running;
                books.enter(*job);
                // A finished job gives its slot back before it is paid.
                if finished { self.match_all(&mut books).await } else { Ok(()) }
            }
            Taken::Again => {
                if let Some(accepted) = self.store.accepted_for(id).await? {
                    books.roster.send(worker, ToWorker::Accepted { job: id, accepted });
                }
                Ok(())
            }
        }
    }

    /// A receipt of a job that has ended: its worker may not know yet that it is paid.
    async fn late_receipt(&self, worker: Address, receipt: &Receipt) -> Result<()> {
        let id = receipt.statement.job;
        let job = self.store.job(id).await?.ok_or_else(|| super::views::not_found("job", &id))?;
        let paid = job.paid.sequence >= receipt.statement.sequence;
        match self.store.accepted_for(id).await?.filter(|_| paid) {
            Some(accepted) => {
                self.lock().await.roster.send(worker, ToWorker::Accepted { job: id, accepted });
                Ok(())
            }
            None => {
                let why = job.reason.unwrap_or_else(|| "it is paid in full".into());
                Err(Refusal::new(Code::BadReceipt, format!("the job has ended: {why}")).into())
            }
        }
    }

    async fn check_outputs(&self, outputs: &[Blob]) -> Result<()> {
        for output in outputs {
            if self.blobs.length(output.hash).await? != Some(output.length.get()) {
                let detail = format!("output {} was not uploaded in its full length: PUT it first", output.hash);
                return Err(Refusal::new(Code::MissingBlob, detail).into());
            }
        }
        Ok(())
    }

    /// A worker ends a job without a result.
    pub async fn failed(&self, worker: Address, id: JobId, refusal: Refusal) -> std::result::Result<(), Refusal> {
        let result = self.try_failed(worker, id, refusal).await;
        self.guard("failure", result)
    }

    async fn try_failed(&self, worker: Address, id: JobId, refusal: Refusal) -> Result<()> {
        let mut books = self.lock().await;
        let job = books.jobs.get(&id).filter(|job| job.matched.is_some_and(|m| m.worker == worker));
        match job {
            Some(job) if job.state == JobState::Running => {
                let given_up = ledger::give_up(job, refusal, now());
                self.keep(&mut books, given_up).await
            }
            // What ended or delivered already cannot fail any more; the worker may not have heard of it.
            _ => Ok(()),
        }
    }

    /// A client pays for a receipt.
    pub async fn voucher(
        self: &Arc<Self>,
        channel: ChannelId,
        id: JobId,
        voucher: SignedVoucher,
    ) -> std::result::Result<Answer, Refusal> {
        self.whole(move |desk| async move {
            let answer = desk.try_voucher(channel, id, voucher).await;
            desk.guard("voucher", answer)
        })
        .await
    }

    async fn try_voucher(&self, channel: ChannelId, id: JobId, voucher: SignedVoucher) -> Result<Answer> {
        self.refresh_deposit(channel, &voucher).await?;
        let mut books = self.lock().await;
        if let Some(newest) = self.store.newest_accepted(channel).await?
            && newest.voucher == voucher
        {
            return Ok(Answer::Again(newest));
        }
        self.check_sight(&books)?;
        let entry = self.judge(&books, channel, id, voucher).await?;
        self.store.accept(&entry).await?;
        self.count(&mut books, entry).await?;
        Ok(Answer::Told)
    }

    async fn judge(&self, books: &Books, channel: ChannelId, id: JobId, voucher: SignedVoucher) -> Result<Entry> {
        let unknown = || Refusal::new(Code::NotFound, format!("this channel has no open job {id}"));
        let tab = books.tabs.get(&channel).ok_or_else(unknown)?;
        let job = books.jobs.get(&id).filter(|job| job.channel == channel).ok_or_else(unknown)?;
        let receipt = self.paid_receipt(job, &voucher).await?;
        let resource = intake::resource(&books.resources, job.order.order.resource)?;
        let paying = Paying {
            domain: &self.terms.domain,
            key: &self.terms.key,
            channel: &tab.channel,
            deposit: tab.deposit,
            job,
            receipt: &receipt.statement,
            resource,
            filling: &books.filling,
            now: now(),
        };
        Ok(ledger::accept(&paying, voucher)?)
    }

    /// The receipt that a voucher names: mostly the newest, after a reconnect perhaps the one before.
    async fn paid_receipt(&self, job: &Job, voucher: &SignedVoucher) -> Result<Receipt> {
        let named = voucher.voucher.latest.receipt;
        match &job.newest {
            Some(newest) if newest.statement.hash() == named => Ok(newest.clone()),
            _ => self.store.receipt(job.id, named).await?.ok_or_else(|| {
                Refusal::new(Code::BadVoucher, "the voucher names a receipt that this job does not have").into()
            }),
        }
    }

    /// Takes in an entry that is stored, and tells both sides.
    async fn count(&self, books: &mut Books, entry: Entry) -> Result<()> {
        let (id, channel, accepted) = (entry.job.id, entry.channel.id, entry.accepted);
        books.filling.apply(&entry);
        observe::voucher_accepted(&entry, &books.filling);
        if let Some(tab) = books.tabs.get_mut(&channel) {
            tab.channel = entry.channel;
            if tab.in_flight == Some(id) {
                tab.in_flight = None;
            }
            tab.send(&ToClient::Accepted {
                job: id,
                voucher: accepted.acceptance.acceptance.voucher,
                acceptance: Some(accepted.acceptance),
            });
        }
        if let Some(matched) = entry.job.matched {
            books.roster.send(matched.worker, ToWorker::Accepted { job: id, accepted });
        }
        if entry.job.state.is_terminal() {
            // What the offer gets back; the entry itself is stored already.
            self.keep(books, entry.job).await?;
        } else {
            books.enter(entry.job);
        }
        books.tidy(channel);
        Ok(())
    }

    /// A top-up counts once it is safe; it is asked for only when a voucher needs it.
    async fn refresh_deposit(&self, channel: ChannelId, voucher: &SignedVoucher) -> Result<()> {
        let known = self.lock().await.tabs.get(&channel).map(|tab| tab.deposit.amount);
        if known.is_none_or(|known| voucher.voucher.total <= known) {
            return Ok(());
        }
        let facts = self.onchain.channel(channel).await?;
        if let Some(tab) = self.lock().await.tabs.get_mut(&channel) {
            tab.deposit = facts.deposit;
        }
        Ok(())
    }
}
