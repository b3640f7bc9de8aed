//! What travels between client, keeper and worker: REST bodies and WebSocket frames, all JSON.
//!
//! A worker that takes direct jobs speaks the client's half of this as well, so one client serves both.

use crate::amount::{Amount, Price, Quantity, Timestamp};
use crate::batch::Commitment;
use crate::job::{Blob, Kind};
use crate::order::{JobId, Offer, Order, SignedOffer, SignedOrder};
use crate::receipt::Receipt;
use crate::resource::{Resource, ResourceId, Usage};
use crate::signature::Signature;
use crate::tree::Proof;
use crate::voucher::{Accepted, Account, BatchNumber, ChannelId, Fees, SignedAcceptance, SignedVoucher};
use alloy::primitives::{Address, B256, eip191_hash_message};
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

/// What a worker can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// Kinds of programs.
    pub kinds: Vec<Kind>,
    /// Resources it serves.
    pub resources: Vec<ResourceId>,
    /// Jobs at a time.
    pub slots: u32,
    /// Largest memory limit of a job, in bytes.
    pub memory: Quantity,
    /// Toolchains, such as `wasmtime-48` and `nvrtc-13.0`.
    pub toolchains: Vec<String>,
    /// Name of the device, where there is one.
    pub device: Option<String>,
}

/// Why something was refused, for programs; every refusal carries a sentence for people as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The body or frame is not what this endpoint reads.
    MalformedRequest,
    /// Made by another key than it has to be.
    BadSignature,
    /// The signer is not a worker key of the provider.
    NotAWorker,
    /// The provider is not registered.
    UnknownProvider,
    /// No channel of this payer and session key is open with this keeper.
    UnknownChannel,
    /// The channel is closing and takes no new debits.
    ChannelClosing,
    /// The channel does not hold what would be reserved or debited.
    InsufficientFunds,
    /// Its expiry has passed.
    Expired,
    /// The resource is not traded here.
    UnknownResource,
    /// The price is zero or out of bounds.
    BadPrice,
    /// The quantity is zero or out of bounds.
    BadQuantity,
    /// The order's total cannot pay for a single unit.
    TotalTooSmall,
    /// The job envelope is not valid.
    BadEnvelope,
    /// A blob that is needed was not uploaded.
    MissingBlob,
    /// A blob hashes to something else than its name.
    WrongBlobHash,
    /// Larger than this endpoint takes.
    TooLarge,
    /// Nothing of that name.
    NotFound,
    /// Already taken, with other content.
    Conflict,
    /// The receipt breaks a rule.
    BadReceipt,
    /// The voucher breaks a rule.
    BadVoucher,
    /// The batch that the voucher names is closed: sign it again for the one being filled.
    BatchClosed,
    /// Over this endpoint's rate or size limits.
    Limited,
    /// The job cannot be run here.
    Unsupported,
    /// The program failed: a trap, an error code, a compile error.
    ProgramFailed,
    /// The program reached one of its limits.
    LimitReached,
    /// The node failed; nothing is billed for it.
    NodeFailed,
    /// The worker vanished.
    WorkerLost,
    /// Stopped by the client.
    Cancelled,
    /// A failure inside this service; the same request may succeed later.
    Internal,
}

impl Code {
    /// Its text in JSON.
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A refusal: a reason for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{detail}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

impl Refusal {
    /// A refusal from its parts.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The digest that a worker or session key signs to open its socket (EIP-191, version 0x45).
pub fn login_digest(keeper: Address, nonce: B256) -> B256 {
    eip191_hash_message(format!("Log in to Capa\nkeeper: {keeper}\nnonce: {nonce}"))
}

/// Keeper to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToWorker {
    /// First frame: sign [`login_digest`] of this nonce.
    Challenge {
        /// Fresh for every socket.
        nonce: B256,
    },
    /// The login was taken.
    Welcome {
        /// The keeper's terms.
        info: Info,
    },
    /// An offer rests in the book.
    OfferTaken {
        /// Struct hash of the offer.
        offer: B256,
    },
    /// An offer was refused.
    OfferRefused {
        /// Struct hash of the offer.
        offer: B256,
        /// Why.
        refusal: Refusal,
    },
    /// Run this job.
    Assign {
        /// The client's order; the envelope is the blob named by its `spec`.
        order: SignedOrder,
        /// Session key's channel.
        channel: ChannelId,
        /// Price of the match.
        price: Price,
        /// Most that the provider may bill in all: what the order's total leaves after fees.
        cap: Amount,
    },
    /// A receipt is paid: count it, and work on.
    Accepted {
        /// The job paid for.
        job: JobId,
        /// Voucher and acceptance.
        accepted: Accepted,
    },
    /// A receipt was refused; the job is over unless the worker sends a right one.
    ReceiptRefused {
        /// The job.
        job: JobId,
        /// The receipt's sequence.
        #[serde(with = "crate::amount::text")]
        sequence: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Stop the job and send its last receipt for what was delivered.
    Stop {
        /// The job.
        job: JobId,
        /// Why.
        refusal: Refusal,
    },
    /// The terms changed, such as the batch being filled.
    Info {
        /// The new terms.
        info: Info,
    },
}

/// Worker to keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FromWorker {
    /// Answer to the challenge; the signer is the worker key.
    Hello {
        /// Whose worker this is.
        provider: Address,
        /// What it can run.
        capabilities: Capabilities,
        /// Jobs that it holds from before, still running or with receipts not yet accepted.
        jobs: Vec<JobId>,
        /// Over [`login_digest`].
        signature: Signature,
    },
    /// Puts an offer into the book.
    Offer {
        /// The offer.
        offer: SignedOffer,
    },
    /// Something was delivered. The same receipt may be sent again.
    Receipt {
        /// What and how much.
        receipt: Receipt,
        /// The outputs, with the last receipt; they are uploaded as blobs before it is sent.
        outputs: Vec<Blob>,
    },
    /// The job ended without a result.
    Failed {
        /// The job.
        job: JobId,
        /// Why.
        refusal: Refusal,
    },
}

/// Keeper (or a worker's direct endpoint) to client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToClient {
    /// First frame: sign [`login_digest`] of this nonce with the session key.
    Challenge {
        /// Fresh for every socket.
        nonce: B256,
    },
    /// The login was taken.
    Welcome {
        /// The keeper's terms.
        info: Info,
        /// The channel's account.
        channel: ChannelView,
    },
    /// A job of this channel changed.
    Job {
        /// As it stands now.
        job: Box<JobView>,
    },
    /// A receipt that waits for a voucher. The same one is sent again after a reconnect.
    Receipt {
        /// The receipt.
        receipt: Receipt,
        /// Price of the match.
        price: Price,
        /// Worker key that signed it.
        worker: Address,
    },
    /// A voucher is accepted and stored.
    Accepted {
        /// The job paid for.
        job: JobId,
        /// Struct hash of the voucher.
        voucher: B256,
        /// The keeper's promise; `None` in a direct channel, where the voucher alone is enough.
        acceptance: Option<SignedAcceptance>,
    },
    /// A voucher was not taken.
    Refused {
        /// The job to be paid for.
        job: JobId,
        /// Struct hash of the voucher.
        voucher: B256,
        /// Why.
        refusal: Refusal,
    },
    /// The terms changed, such as the batch being filled.
    Info {
        /// The new terms.
        info: Info,
    },
}

/// Client to keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FromClient {
    /// Answer to the challenge; the signer is the session key.
    Hello {
        /// Who funded the channel.
        payer: Address,
        /// Over [`login_digest`].
        signature: Signature,
    },
    /// Pays for a receipt.
    Voucher {
        /// The job paid for.
        job: JobId,
        /// The voucher.
        voucher: SignedVoucher,
    },
    /// Stops a job; what was delivered until then is billed.
    Cancel {
        /// The job.
        job: JobId,
    },
}
