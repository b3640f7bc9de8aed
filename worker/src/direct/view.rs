//! What direct clients are shown of jobs and channels.

use super::intake::reserved;
use super::{Direct, DirectError};
use crate::ledger::{JobRow, JobStage, LedgerError};
use alloy::primitives::Address;
use protocol::job::Kind;
use protocol::order::{JobId, Offer};
use protocol::voucher::ChannelId;
use protocol::wire::{ChannelView, Code, JobState, JobView, OfferView, Refusal};

/// Jobs of a channel that are listed.
const JOBS: u32 = 200;

impl Direct {
    /// Where a job stands, in the words of the wire.
    pub(crate) fn state_of(&self, row: &JobRow) -> JobState {
        state(row)
    }

    /// A job as its client sees it.
    pub(crate) async fn job_view(&self, row: JobRow) -> Result<JobView, LedgerError> {
        let newest = self.node.ledger.newest_receipt(row.assignment.job()).await?.map(|receipt| receipt.statement);
        Ok(JobView {
            id: row.assignment.job(),
            state: state(&row),
            channel: row.assignment.channel,
            // The kind is written down when the order is taken; only a crash in between leaves it out.
            kind: row.kind.unwrap_or(Kind::Wasm),
            price: Some(row.assignment.price),
            provider: Some(self.provider()),
            worker: (row.stage != JobStage::Queued).then(|| self.node.key.address()),
            usage: newest.as_ref().map(|statement| statement.usage).unwrap_or_default(),
            amount: newest.as_ref().map(|statement| statement.amount).unwrap_or_default(),
            paid: row.paid,
            debited: row.debited,
            result: newest.filter(|statement| statement.is_final()).map(|statement| statement.result),
            outputs: row.outputs,
            reason: row.refusal.map(|refusal| refusal.detail),
            created_at: row.created_at,
            ended_at: row.ended_at,
            order: row.assignment.order.order,
        })
    }

    /// A job by its id.
    pub(crate) async fn job(&self, job: JobId) -> Result<JobView, DirectError> {
        let row = self.node.ledger.job(job).await?.filter(|row| row.assignment.keeper == self.provider());
        let row = row.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no job {job} here")))?;
        Ok(self.job_view(row).await?)
    }

    /// The newest jobs that a session key ordered.
    pub(crate) async fn jobs_of(&self, signer: Address) -> Result<Vec<JobView>, DirectError> {
        let mut views = Vec::new();
        for row in self.node.ledger.jobs_by_signer(self.provider(), signer, JOBS).await? {
            views.push(self.job_view(row).await?);
        }
        Ok(views)
    }

    /// A channel by the parties that make it up.
    pub(crate) async fn channel_view(&self, payer: Address, signer: Address) -> Result<ChannelView, DirectError> {
        let channel = ChannelId::of(payer, signer, self.provider());
        let facts = self.node.market.channel(self.provider(), channel).await?;
        let rows = self.node.ledger.open_jobs(self.provider()).await?;
        let reserved = reserved(rows.iter().filter(|row| row.assignment.channel == channel))
            .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        Ok(ChannelView {
            channel,
            payer,
            signer,
            deposit: facts.deposit,
            closing: facts.closing,
            account: self.account(channel, &facts).await?,
            reserved,
            // A direct voucher has no acceptance; the account says what the newest one was.
            newest: None,
        })
    }

    /// A channel by its id; only channels that ordered or paid here are known by it.
    pub(crate) async fn channel_by_id(&self, channel: ChannelId) -> Result<ChannelView, DirectError> {
        let rows = self.node.ledger.channel_jobs(channel, 1).await?;
        let row = rows.first().filter(|row| row.assignment.keeper == self.provider());
        let row = row.ok_or_else(|| Refusal::new(Code::UnknownChannel, "this channel has ordered nothing here"))?;
        self.channel_view(row.assignment.order.order.payer, row.assignment.signer).await
    }

    /// What is sold here, at which price. These are not signed: the client's order and its price are.
    pub(crate) fn offers(&self) -> Vec<OfferView> {
        let node = &self.node;
        if node.drain.is_cancelled() {
            return Vec::new();
        }
        let offer = |config: &crate::config::OfferConfig| {
            let resource = node.resources.iter().find(|resource| resource.name == config.resource)?;
            let offer = Offer {
                provider: self.provider(),
                resource: resource.id,
                price: config.price,
                capacity: config.capacity,
                terms: Default::default(),
                expiry: protocol::amount::Timestamp(crate::node::now().get().saturating_add(config.lifetime)),
                salt: Default::default(),
            };
            Some(OfferView { id: offer.hash(), remaining: offer.capacity, offer })
        };
        node.config.offers.iter().filter_map(offer).collect()
    }
}

/// Where a job stands, in the words of the wire.
fn state(row: &JobRow) -> JobState {
    match (&row.refusal, row.stage) {
        (_, JobStage::Queued) => JobState::Queued,
        (_, JobStage::Running) => JobState::Running,
        (Some(refusal), _) if refusal.code == Code::Cancelled => JobState::Cancelled,
        (Some(refusal), _) if refusal.code == Code::Expired => JobState::Expired,
        (Some(_), _) | (None, JobStage::Failed) => JobState::Failed,
        (None, JobStage::Delivered) => JobState::Delivered,
        (None, JobStage::Closed) => JobState::Done,
    }
}
