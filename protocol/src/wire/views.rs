//! Bodies of the REST API.

use crate::amount::{Amount, Price, Quantity, Timestamp};
use crate::batch::Commitment;
use crate::job::{Blob, Kind};
use crate::order::{JobId, Offer, Order};
use crate::resource::{Resource, ResourceId, Usage};
use crate::tree::Proof;
use crate::voucher::{Accepted, Account, BatchNumber, ChannelId, Fees};
use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// `GET /v1/info`: who this is and on which terms it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The keeper's address; of a worker's direct endpoint, its provider's.
    pub keeper: Address,
    /// EIP-155 chain id.
    pub chain_id: Quantity,
    /// The Settlement contract.
    pub settlement: Address,
    /// The token it settles in.
    pub token: Address,
    /// Batch being filled; 0 at a direct endpoint.
    pub batch: BatchNumber,
    /// Fees of vouchers for that batch.
    pub fees: Fees,
    /// Resources traded here.
    pub resources: Vec<Resource>,
    /// How often a running job is billed, in milliseconds.
    pub interval_ms: Quantity,
    /// Largest blob taken, in bytes.
    pub max_blob: Quantity,
}

impl Info {
    /// Whether this endpoint is a provider's own, paid by direct vouchers.
    pub const fn is_direct(&self) -> bool {
        self.batch == 0
    }
}

/// States of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for an offer, or for a free worker.
    Queued,
    /// A worker has it.
    Running,
    /// The worker has finished and its last receipt waits for a voucher.
    Delivered,
    /// Finished and paid.
    Done,
    /// Ended without a result; what was paid until then stays paid.
    Failed,
    /// Nothing matched before its order expired.
    Expired,
    /// Stopped by the client.
    Cancelled,
}

impl JobState {
    /// Whether the job will never change again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Expired | Self::Cancelled)
    }
}

/// `GET /v1/jobs/{id}`: a job as its keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Hash of its order.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The order.
    pub order: Order,
    /// Which channel pays.
    pub channel: ChannelId,
    /// Kind of program.
    pub kind: Kind,
    /// Price at which it was matched.
    pub price: Option<Price>,
    /// With whom.
    pub provider: Option<Address>,
    /// Worker key that runs it.
    pub worker: Option<Address>,
    /// Used so far.
    pub usage: Usage,
    /// Earned by the provider so far, by the newest receipt.
    pub amount: Amount,
    /// Earned by the provider so far and covered by accepted vouchers.
    pub paid: Amount,
    /// Debited from the channel for this job so far, fees included.
    pub debited: Amount,
    /// Result hash once delivered.
    pub result: Option<B256>,
    /// The outputs behind it, to be fetched as blobs.
    pub outputs: Vec<Blob>,
    /// Why it failed, was refused, or still waits.
    pub reason: Option<String>,
    /// When the order came in.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Answer to `POST /v1/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderTaken {
    /// The job.
    pub job: JobId,
    /// Where it stands at once.
    pub state: JobState,
    /// If it waits: why, such as how many offers fit in every respect but one.
    pub reason: Option<String>,
}

/// Answer to `POST /v1/offers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferTaken {
    /// Struct hash of the offer.
    pub offer: B256,
}

/// An offer that rests in the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// Struct hash of the offer.
    pub id: B256,
    /// What is offered.
    pub offer: Offer,
    /// What is left of its capacity.
    pub remaining: Quantity,
}

/// `GET /v1/book/{resource}`: price levels, best first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Book {
    /// Which resource.
    pub resource: ResourceId,
    /// Sellers, cheapest first.
    pub asks: Vec<Level>,
    /// Buyers, dearest first.
    pub bids: Vec<Level>,
}

/// All that rests at one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// The price.
    pub price: Price,
    /// Base units at this price.
    pub quantity: Quantity,
    /// Number of offers or orders.
    pub count: u32,
}

/// `GET /v1/vouchers/{channel}`: the keeper's account of a channel, with the newest voucher as its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Which channel.
    pub channel: ChannelId,
    /// Who funded it.
    pub payer: Address,
    /// Its session key.
    pub signer: Address,
    /// What the chain holds for it, as far as this keeper counts it.
    pub deposit: Amount,
    /// Whether it is closing.
    pub closing: bool,
    /// Sum of its vouchers.
    pub account: Account,
    /// Reserved for jobs that wait or run.
    pub reserved: Amount,
    /// The newest voucher, with its acceptance.
    pub newest: Option<Accepted>,
}

/// States of a batch at its keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Takes vouchers.
    Filling,
    /// Takes none any more; waits to be collected and committed.
    Closed,
    /// On chain, in its challenge window.
    Committed,
    /// Payable.
    Final,
    /// Voided or lapsed: only `recover` pays.
    Void,
}

/// `GET /v1/batches/{n}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// Counts from 1.
    pub number: BatchNumber,
    /// Where it stands.
    pub state: BatchState,
    /// All that clients are debited in it.
    pub debits: Amount,
    /// What is or will be on chain; `None` while it fills.
    pub commitment: Option<Commitment>,
    /// The transaction of its commit.
    pub transaction: Option<B256>,
    /// Gas of all its collects and its commit.
    pub gas: Option<Quantity>,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
}

/// `GET /v1/batches/{n}/proofs/{provider}`: all that a claim needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofView {
    /// Which batch.
    pub batch: BatchNumber,
    /// Whose leaf.
    pub provider: Address,
    /// Its amount.
    pub amount: Amount,
    /// Where it stands.
    pub proof: Proof,
}
