//! What others see.

use super::{Desk, Result, books::Books, now};
use alloy::primitives::Address;
use keeper_store::{Batch, Job, JobFilter, Store};
use protocol::amount::Quantity;
use protocol::order::JobId;
use protocol::resource::ResourceId;
use protocol::voucher::{BatchNumber, ChannelId};
use protocol::wire::{BatchView, Book, ChannelView, Code, Info, JobState, JobView, OfferView, Refusal, ToClient};

/// A page of a list.
const PAGE: u32 = 200;

pub(super) fn job(job: &Job) -> JobView {
    let said = job.newest.as_ref().map(|receipt| &receipt.statement);
    JobView {
        id: job.id,
        state: job.state,
        order: job.order.order.clone(),
        channel: job.channel,
        kind: job.kind,
        price: job.matched.map(|m| m.price),
        provider: job.matched.map(|m| m.provider),
        worker: job.matched.map(|m| m.worker),
        usage: said.map(|said| said.usage).unwrap_or_default(),
        amount: job.earned(),
        paid: job.paid.amount,
        debited: job.paid.debited,
        result: said.filter(|said| said.is_final()).map(|said| said.result),
        outputs: job.outputs.clone(),
        reason: job.reason.clone(),
        created_at: job.created_at,
        ended_at: job.ended_at,
    }
}

/// The newest receipt of a job, for its client.
pub(super) fn receipt(job: &Job) -> Option<ToClient> {
    let (receipt, matched) = (job.newest.clone()?, job.matched?);
    Some(ToClient::Receipt { receipt, price: matched.price, worker: matched.worker })
}

/// A batch.
pub fn batch(batch: &Batch) -> BatchView {
    BatchView {
        number: batch.number,
        state: batch.state,
        debits: batch.prepared.map_or(batch.debits, |prepared| prepared.debits),
        commitment: batch.prepared.map(|prepared| prepared.commitment),
        transaction: batch.transaction,
        gas: batch.gas.map(Quantity),
        committed_at: batch.committed_at,
    }
}

impl Books {
    pub(super) fn info(&self, desk: &Desk) -> Info {
        let config = &desk.terms.config;
        Info {
            keeper: desk.terms.keeper(),
            chain_id: Quantity(desk.terms.domain.chain_id()),
            settlement: desk.terms.domain.settlement(),
            token: desk.terms.token,
            batch: self.filling.batch.number,
            fees: self.filling.fees,
            resources: self.resources.clone(),
            interval_ms: Quantity(config.interval_ms),
            max_blob: Quantity(config.max_blob),
        }
    }
}

impl Desk {
    /// The keeper's terms.
    pub async fn info(&self) -> Info {
        self.lock().await.info(self)
    }

    /// All resting offers.
    pub async fn offers(&self) -> Vec<OfferView> {
        let (books, now) = (self.lock().await, now());
        let asks = books.market.asks().filter(|ask| ask.offer.expiry >= now);
        asks.map(|ask| OfferView { id: ask.id, offer: ask.offer.clone(), remaining: ask.remaining }).collect()
    }

    /// The price levels of a resource.
    pub async fn book(&self, resource: ResourceId) -> std::result::Result<Book, Refusal> {
        let books = self.lock().await;
        crate::intake::resource(&books.resources, resource)?;
        Ok(books.market.book(resource, now()))
    }

    /// One job.
    pub async fn job_view(&self, id: JobId) -> std::result::Result<JobView, Refusal> {
        let _turn = self.public_read().await;
        let found = self.store.job(id).await.map_err(Into::into);
        let mut view = self.guard("job", found)?.as_ref().map(job).ok_or_else(|| not_found("job", &id))?;
        if view.state == JobState::Queued {
            // What an order waits for changes with every offer and worker.
            view.reason = Some(self.lock().await.why(now(), id));
        }
        Ok(view)
    }

    /// Jobs, newest first.
    pub async fn job_views(
        &self,
        payer: Option<Address>,
        signer: Option<Address>,
    ) -> std::result::Result<Vec<JobView>, Refusal> {
        let _turn = self.public_read().await;
        let found = self.store.jobs(JobFilter { payer, signer }, PAGE).await.map_err(Into::into);
        Ok(self.guard("jobs", found)?.iter().map(job).collect())
    }

    /// A channel's account, with its newest voucher as evidence.
    pub async fn channel_view(&self, id: ChannelId) -> std::result::Result<ChannelView, Refusal> {
        let view = self.read_channel(id).await;
        self.guard("channel", view)
    }

    async fn read_channel(&self, id: ChannelId) -> Result<ChannelView> {
        // Every channel at the desk is stored, so a stranger's question costs no question to the chain.
        self.store.channel(id).await?.ok_or_else(|| not_found("channel", &id))?;
        let facts = self.onchain.channel(id).await?;
        let mut books = self.lock().await;
        let newest = self.store.newest_accepted(id).await?;
        let reserved = books.reserved(id);
        let channel = match books.tabs.get_mut(&id) {
            Some(tab) => {
                tab.deposit = facts.deposit;
                tab.channel.clone()
            }
            None => self.store.channel(id).await?.ok_or_else(|| not_found("channel", &id))?,
        };
        Ok(ChannelView {
            channel: id,
            payer: channel.payer,
            signer: channel.signer,
            deposit: facts.deposit.amount,
            closing: facts.deposit.closing,
            account: channel.account,
            reserved,
            newest,
        })
    }

    /// One batch.
    pub async fn batch_view(&self, number: BatchNumber) -> std::result::Result<BatchView, Refusal> {
        let _turn = self.public_read().await;
        let found = self.store.batch(number).await.map_err(Into::into);
        self.guard("batch", found)?.as_ref().map(batch).ok_or_else(|| not_found("batch", &number))
    }

    /// Batches, newest first.
    pub async fn batch_views(&self) -> std::result::Result<Vec<BatchView>, Refusal> {
        let _turn = self.public_read().await;
        let found = self.store.batches(PAGE).await.map_err(Into::into);
        Ok(self.guard("batches", found)?.iter().map(batch).collect())
    }
}

/// The refusal for a name that stands for nothing.
pub fn not_found(what: &str, name: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::NotFound, format!("this keeper knows no {what} {name}"))
}
