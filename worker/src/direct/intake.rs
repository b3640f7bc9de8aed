//! Takes orders of direct clients: the price is the provider's own, the queue is the slots'.

use super::{Direct, DirectError, is_expired};
use crate::drain;
use crate::ledger::{Assignment, JobRow, JobStage};
use crate::node::now;
use protocol::amount::{Amount, Overflow, Quantity};
use protocol::job::{Envelope, MAX_ENVELOPE_BYTES};
use protocol::order::SignedOrder;
use protocol::voucher::{ChannelId, most_vouchers};
use protocol::wire::{Code, JobState, OrderTaken, Refusal};
use std::sync::Arc;

/// Jobs that may wait for a slot.
const QUEUE: usize = 256;

impl Direct {
    /// Takes an order, or tells what to change. The same order again answers the same job.
    pub(crate) async fn take_order(self: &Arc<Self>, order: SignedOrder) -> Result<OrderTaken, DirectError> {
        let job = order.order.id();
        let _books = self.books.lock().await;
        if let Some(row) = self.node.ledger.job(job).await? {
            if row.assignment.order != order {
                return Err(Refusal::new(Code::Conflict, "the order is known with another signature").into());
            }
            let state = self.state_of(&row);
            if row.stage == JobStage::Queued {
                // Whoever sent it first may have hung up after it was written down and before it was queued.
                self.enqueue(row.assignment);
            }
            return Ok(OrderTaken { job, state, reason: None });
        }
        if self.node.drain.is_cancelled() {
            return Err(drain::refusal().into());
        }
        let mut assignment = self.match_order(order)?;
        let envelope = self.check_envelope(&assignment).await?;
        assignment.cap = self.cap(&assignment, envelope.limits.wall_ms.get())?;
        self.check_funds(&assignment).await?;
        let waiting = self.node.ledger.open_jobs(self.provider()).await?;
        if waiting.iter().filter(|row| row.stage == JobStage::Queued).count() >= QUEUE {
            return Err(Refusal::new(Code::Limited, "too many jobs wait here: try again later").into());
        }
        self.node.ledger.add_job(&assignment, JobStage::Queued, now()).await?;
        self.node.ledger.set_kind(job, envelope.program.kind()).await?;
        let free = self.node.slots.available_permits() > 0;
        self.enqueue(assignment);
        let reason = (!free).then(|| "all slots are taken; the job starts as soon as one is free".to_owned());
        Ok(OrderTaken { job, state: JobState::Queued, reason })
    }

    /// The order as a job at this provider's price, checked as far as no chain is needed.
    fn match_order(&self, order: SignedOrder) -> Result<Assignment, Refusal> {
        let terms = &order.order;
        if is_expired(terms.expiry) {
            return Err(Refusal::new(Code::Expired, "the order has expired: sign a new one"));
        }
        let resource = self.node.resource(terms.resource);
        let price = resource.and_then(|resource| self.node.least_price(resource)).ok_or_else(|| {
            Refusal::new(Code::UnknownResource, format!("resource {} is not sold here", terms.resource))
        })?;
        if terms.max_units == Quantity::ZERO {
            return Err(Refusal::new(Code::BadQuantity, "maxUnits must be above zero"));
        }
        let signer = order
            .signer(&self.node.domain)
            .map_err(|error| Refusal::new(Code::BadSignature, format!("the order: {error}")))?;
        let assignment = Assignment {
            keeper: self.provider(),
            signer,
            channel: ChannelId::of(terms.payer, signer, self.provider()),
            price,
            cap: terms.max_total,
            order,
        };
        self.node.check_match(&assignment)?;
        Ok(assignment)
    }

    /// Most that the job may bill: every voucher for it rounds its fee up, and all of them together must fit the
    /// order's total, or the client could not sign the last one.
    fn cap(&self, assignment: &Assignment, wall_ms: u64) -> Result<Amount, Refusal> {
        let run = wall_ms.saturating_add(self.node.config.sandbox.grace_ms);
        let vouchers = most_vouchers(run, self.config.interval_ms);
        let cap = self.fees().cap(assignment.order.order.max_total, vouchers, 0);
        let resource = self.node.check_match(assignment)?;
        if resource.affordable(cap, assignment.price) == Quantity::ZERO {
            let text = format!(
                "maxTotal leaves {cap} nano after the fees of as many vouchers as limits.wallMs has room for, which does \
                 not pay for a single unit: raise maxTotal"
            );
            return Err(Refusal::new(Code::TotalTooSmall, text));
        }
        Ok(cap)
    }

    async fn check_envelope(&self, assignment: &Assignment) -> Result<Envelope, DirectError> {
        let spec = assignment.order.order.spec;
        let bytes = self.blobs.get(spec, MAX_ENVELOPE_BYTES as u64).await?;
        let envelope =
            Envelope::from_bytes(&bytes, spec).map_err(|error| Refusal::new(Code::BadEnvelope, error.to_string()))?;
        let resource = self.node.check_match(assignment)?;
        envelope.program.check_resource(&resource).map_err(|text| Refusal::new(Code::Unsupported, text))?;
        self.node.check_job(&envelope, assignment.order.order.payer)?;
        let outputs = envelope.outputs.iter().map(|output| output.length.get()).fold(0, u64::saturating_add);
        let most = self.config.max_store.get();
        if outputs > most {
            let text = format!("its outputs have {outputs} bytes together, this endpoint keeps at most {most}");
            return Err(Refusal::new(Code::TooLarge, text).into());
        }
        let missing = envelope.blobs().find(|blob| !self.blobs.has(blob.hash));
        if let Some(missing) = missing {
            let text = format!("blob {} is missing: upload it, then send the order again", missing.hash);
            return Err(Refusal::new(Code::MissingBlob, text).into());
        }
        Ok(envelope)
    }

    /// Whether the channel holds this order's total beside everything that runs or waits.
    async fn check_funds(&self, assignment: &Assignment) -> Result<(), DirectError> {
        let channel = self.node.market.channel(self.provider(), assignment.channel).await?;
        if channel.deposit == Amount::ZERO {
            let text = "no channel of this payer and session key with this provider is safe on chain yet";
            return Err(Refusal::new(Code::UnknownChannel, text).into());
        }
        if channel.closing {
            return Err(Refusal::new(Code::ChannelClosing, "the channel is closing").into());
        }
        self.node.check_unaccepted(assignment).await?;
        if self.node.market.keeps_batches(self.provider()).await? {
            let text = "this provider's address keeps batches as well, so it takes no direct jobs";
            return Err(Refusal::new(Code::Unsupported, text).into());
        }
        let account = self.account(assignment.channel, &channel).await?;
        let rows = self.node.ledger.open_jobs(self.provider()).await?;
        let reserved = reserved(rows.iter().filter(|row| row.assignment.channel == assignment.channel))
            .map_err(|error| Refusal::new(Code::BadQuantity, error.to_string()))?;
        let used = account.total.get().saturating_add(reserved.get());
        let free = Amount(channel.deposit.get().saturating_sub(used));
        if assignment.order.order.max_total > free {
            let text = format!(
                "the order may cost {} nano, the channel has {free} left: top it up or lower maxTotal",
                assignment.order.order.max_total
            );
            return Err(Refusal::new(Code::InsufficientFunds, text).into());
        }
        Ok(())
    }
}

/// What jobs may still debit.
pub(crate) fn reserved<'a>(rows: impl Iterator<Item = &'a JobRow>) -> Result<Amount, Overflow> {
    Amount::sum(
        rows.filter(|row| matches!(row.stage, JobStage::Queued | JobStage::Running | JobStage::Delivered))
            .map(|row| Amount(row.assignment.order.order.max_total.get().saturating_sub(row.debited.get()))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use protocol::amount::Timestamp;

    #[test]
    fn what_ended_reserves_nothing() {
        let row = |stage, debited| JobRow {
            assignment: fixture::assignment(1),
            kind: None,
            stage,
            paid: Amount(0),
            debited: Amount(debited),
            outputs: vec![],
            refusal: None,
            reported: false,
            created_at: Timestamp(1),
            ended_at: None,
        };
        let rows = [
            row(JobStage::Queued, 0),
            row(JobStage::Running, 1_000),
            row(JobStage::Delivered, 4_999),
            row(JobStage::Failed, 10),
            row(JobStage::Closed, 10),
        ];
        assert_eq!(reserved(rows.iter()).unwrap(), Amount(5_000 + 4_000 + 1));
    }
}
