//! Frames of the two sockets, and what opens them.

use super::{ChannelView, Info, JobView, Refusal};
use crate::amount::{Amount, Price, Quantity};
use crate::job::{Blob, Kind};
use crate::order::{JobId, SignedOffer, SignedOrder};
use crate::receipt::Receipt;
use crate::resource::ResourceId;
use crate::signature::Signature;
use crate::voucher::{Accepted, ChannelId, SignedAcceptance, SignedVoucher};
use alloy::primitives::{Address, B256, eip191_hash_message};
use serde::{Deserialize, Serialize};

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
    /// How many GPUs one job can have.
    pub devices: u32,
    /// What separates a job from the machine and from other jobs.
    pub isolation: Isolation,
}

/// How well jobs are separated, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IsolationLevel {
    /// A process of its own with resource limits, killed at its end.
    #[default]
    Process,
    /// And without access to files (Landlock) and to system calls that it does not need (seccomp).
    Confined,
    /// And with a user and a network of its own, and a control group that limits its memory.
    Isolated,
}

/// What is in force around a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Resource limits of the process.
    pub rlimits: bool,
    /// No files but those that the job needs: by Landlock, or for a container by a root file system of its own.
    pub landlock: bool,
    /// seccomp: no system calls but those that the job needs.
    pub seccomp: bool,
    /// A user id that nothing else has.
    pub user: bool,
    /// A network namespace without interfaces.
    pub network: bool,
    /// A control group: its version, 1 or 2; 0 where there is none.
    pub cgroup: u8,
}

impl Isolation {
    /// The level that this adds up to.
    pub const fn level(&self) -> IsolationLevel {
        match (self.rlimits && self.landlock && self.seccomp, self.user && self.network && self.cgroup > 0) {
            (true, true) => IsolationLevel::Isolated,
            (true, false) => IsolationLevel::Confined,
            (false, _) => IsolationLevel::Process,
        }
    }

    /// What holds in both.
    #[must_use]
    pub fn weaker(self, other: Self) -> Self {
        Self {
            rlimits: self.rlimits && other.rlimits,
            landlock: self.landlock && other.landlock,
            seccomp: self.seccomp && other.seccomp,
            user: self.user && other.user,
            network: self.network && other.network,
            cgroup: self.cgroup.min(other.cgroup),
        }
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
    /// What it can run changed: it lost a device, or it drains and takes no more jobs (no slots).
    Changed {
        /// What it can run now.
        capabilities: Capabilities,
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
#[expect(clippy::large_enum_variant, reason = "a frame is read, handled and dropped; boxing would only move it")]
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
