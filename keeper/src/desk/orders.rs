//! Orders: checked against the chain and the blobs, then put into the book.

use super::books::{Books, Tab};
use super::{Desk, Result, now};
use crate::intake::{self, Billing};
use crate::ledger;
use crate::market::Bid;
use crate::observe;
use crate::onchain::{ChannelFacts, Standing};
use alloy::primitives::Address;
use keeper_store::{Channel, Job, Paid, Store};
use protocol::amount::Quantity;
use protocol::job::Envelope;
use protocol::order::{Order, SignedOrder};
use protocol::voucher::{Account, ChannelId};
use protocol::wire::{Code, JobState, OrderTaken, Refusal};
use std::sync::Arc;

impl Desk {
    /// Takes an order. The same order again answers the same job.
    pub async fn order(self: &Arc<Self>, signed: SignedOrder) -> std::result::Result<OrderTaken, Refusal> {
        self.whole(|desk| async move {
            let taken = desk.try_order(signed).await;
            desk.guard("order", taken)
        })
        .await
    }

    async fn try_order(&self, signed: SignedOrder) -> Result<OrderTaken> {
        let order = &signed.order;
        let signer =
            signed.signer(&self.terms.domain).map_err(|error| Refusal::new(Code::BadSignature, error.to_string()))?;
        if let Some(job) = self.store.job(order.id()).await? {
            return Ok(taken(&job));
        }
        intake::order(order, now())?;
        let envelope = self.envelope(order).await?;
        let channel = ChannelId::of(order.payer, signer, self.terms.keeper());
        let facts = self.onchain.channel(channel).await?;
        check_channel(&facts, order.payer, signer, self.terms.keeper())?;

        let mut books = self.lock().await;
        // Another request may have brought the same order while the chain was asked, and its job may have ended.
        if let Some(job) = self.store.job(order.id()).await? {
            return Ok(taken(&job));
        }
        self.check_sight(&books)?;
        self.open_tab(&mut books, channel, order.payer, signer, &facts).await?;
        let rested = self.rest(&mut books, signed, &envelope, channel, signer).await;
        books.tidy(channel);
        rested
    }

    async fn rest(
        &self,
        books: &mut Books,
        signed: SignedOrder,
        envelope: &Envelope,
        channel: ChannelId,
        signer: Address,
    ) -> Result<OrderTaken> {
        let mut job = self.new_job(books, signed, envelope, channel, signer)?;
        job.sequence = books.next_sequence();
        let (id, bid) = (job.id, bid(&job));
        books.market.add_bid(bid);
        books.jobs.insert(id, job.clone());
        job.reason = Some(books.why(now(), id));
        self.store.put_job(&job, None).await?;
        observe::order_taken(&job);
        books.enter(job);
        if let Some(found) = books.strike(now(), Some(id)) {
            self.start(books, &found).await?;
        }
        let job = books.jobs.get(&id).ok_or_else(|| super::views::not_found("job", &id))?;
        Ok(taken(job))
    }

    fn new_job(
        &self,
        books: &Books,
        signed: SignedOrder,
        envelope: &Envelope,
        channel: ChannelId,
        signer: Address,
    ) -> Result<Job> {
        let order = &signed.order;
        if books.view.standing != Standing::Active {
            let detail = "this keeper is retiring and takes no more orders: open a channel with another";
            return Err(Refusal::new(Code::Unsupported, detail).into());
        }
        let resource = intake::resource(&books.resources, order.resource)?;
        envelope.program.check_resource(resource).map_err(|text| Refusal::new(Code::Unsupported, text))?;
        let tab = books.tabs.get(&channel).ok_or_else(ledger::channel_closing)?;
        if tab.jobs.len() >= self.terms.config.market.open_jobs_per_channel {
            let detail = "the channel has as many open jobs as this keeper allows: wait until some have ended";
            return Err(Refusal::new(Code::Limited, detail).into());
        }
        intake::funds(tab.deposit.amount, tab.channel.account.total, books.reserved(channel), order)?;
        let billing = Billing {
            fees: books.filling.fees,
            interval_ms: self.terms.config.interval_ms,
            batch_ms: self.terms.config.batch.close_after_ms,
        };
        let cap = intake::cap(order, envelope, resource, &billing)?;
        Ok(Job {
            sequence: 0,
            id: order.id(),
            channel,
            signer,
            kind: envelope.program.kind(),
            memory: envelope.limits.memory,
            devices: envelope.program.devices(),
            cap,
            state: JobState::Queued,
            matched: None,
            newest: None,
            outputs: Vec::new(),
            paid: Paid::default(),
            failure: None,
            reason: None,
            created_at: now(),
            ended_at: None,
            order: signed,
        })
    }

    /// The order's envelope, with everything that it names here.
    async fn envelope(&self, order: &Order) -> Result<Envelope> {
        let bytes = self.blobs.get(order.spec).await?.ok_or_else(|| missing_blob("the job envelope", &order.spec))?;
        let envelope = Envelope::from_bytes(&bytes, order.spec)
            .map_err(|error| Refusal::new(Code::BadEnvelope, error.to_string()))?;
        if i64::try_from(envelope.limits.memory.get()).is_err() {
            return Err(Refusal::new(Code::BadEnvelope, "limits.memory must fit into 63 bits").into());
        }
        let most = self.terms.config.max_blob;
        if let Some(output) = envelope.outputs.iter().find(|output| output.length.get() > most) {
            let detail = format!(
                "an output of {} bytes could not be handed over: this keeper takes blobs of at most {most}",
                output.length
            );
            return Err(Refusal::new(Code::TooLarge, detail).into());
        }
        for blob in envelope.blobs() {
            let length = self.blobs.length(blob.hash).await?;
            let length = length.ok_or_else(|| missing_blob("a program or input", &blob.hash))?;
            if Quantity(length) != blob.length {
                let detail = format!("blob {} has {length} bytes, the envelope says {}", blob.hash, blob.length);
                return Err(Refusal::new(Code::BadEnvelope, detail).into());
            }
        }
        Ok(envelope)
    }

    /// Makes a channel's tab, or brings it up to date.
    pub(super) async fn open_tab(
        &self,
        books: &mut Books,
        id: ChannelId,
        payer: Address,
        signer: Address,
        facts: &ChannelFacts,
    ) -> Result<()> {
        if let Some(tab) = books.tabs.get_mut(&id) {
            tab.deposit = facts.deposit;
            return Ok(());
        }
        let channel = match self.store.channel(id).await? {
            Some(channel) => channel,
            None => {
                let channel = Channel { id, payer, signer, account: Account::new(facts.spent) };
                self.store.put_channel(&channel).await?;
                channel
            }
        };
        books.tabs.insert(id, Tab::new(channel, facts.deposit));
        Ok(())
    }
}

/// Checks that a channel can be used at all.
pub(super) fn check_channel(
    facts: &ChannelFacts,
    payer: Address,
    signer: Address,
    keeper: Address,
) -> std::result::Result<(), Refusal> {
    if !facts.exists {
        return Err(Refusal::new(
            Code::UnknownChannel,
            format!("{payer} has no open channel with session key {signer} and keeper {keeper}: open one first"),
        ));
    }
    if facts.deposit.closing { Err(ledger::channel_closing()) } else { Ok(()) }
}

/// The order of a job, as it rests in the book.
pub(super) fn bid(job: &Job) -> Bid {
    Bid {
        job: job.id,
        needs: super::jobs::needs(job),
        max_price: job.order.order.max_price,
        units: job.order.order.max_units,
        expiry: job.order.order.expiry,
        sequence: job.sequence,
    }
}

fn taken(job: &Job) -> OrderTaken {
    OrderTaken { job: job.id, state: job.state, reason: job.reason.clone() }
}

fn missing_blob(what: &str, hash: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::MissingBlob, format!("{what} {hash} was not uploaded: PUT it to /v1/blobs/{hash} first"))
}
