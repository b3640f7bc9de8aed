//! Why something was refused, for programs and for people.

use serde::{Deserialize, Serialize};

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
