//! Why something was refused, for programs and for people.

use serde::{Deserialize, Serialize};

/// Most bytes of a refusal's sentence. It may quote what somebody sent, and must fit into a frame in any escaping.
const MAX_DETAIL: usize = 16 << 10;

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
#[serde(rename_all = "camelCase", from = "Parts")]
#[error("{detail}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

/// A refusal as somebody else wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    code: Code,
    detail: String,
}

impl From<Parts> for Refusal {
    fn from(Parts { code, detail }: Parts) -> Self {
        Self::new(code, detail)
    }
}

impl Refusal {
    /// A refusal from its parts. What could move a reader's cursor is taken out of the sentence, which is cut to
    /// 16 KiB.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if detail.len() > MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
            detail.push('…');
        }
        let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        if !detail.chars().all(is_plain) {
            detail = detail.chars().map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
        }
        Self { code, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Envelope, MAX_ENVELOPE_BYTES};
    use crate::order::JobId;
    use crate::wire::FromWorker;
    use alloy::primitives::{B256, keccak256};

    #[test]
    fn a_refusal_that_quotes_an_envelope_fits_into_a_frame() {
        // Quoted for people, a character that cannot be seen takes three times the room.
        let text = format!("{{\"version\":\"{}\"}}", "\u{200b}".repeat((MAX_ENVELOPE_BYTES - 16) / 3));
        let error = Envelope::from_bytes(text.as_bytes(), keccak256(&text)).unwrap_err().to_string();
        assert!(error.len() > 2 * MAX_ENVELOPE_BYTES, "{} bytes", error.len());
        let refusal = Refusal::new(Code::BadEnvelope, error);
        let frame = serde_json::to_string(&FromWorker::Failed { job: JobId(B256::ZERO), refusal }).unwrap();
        assert!(frame.len() < 64 << 10, "{} bytes", frame.len());
    }

    #[test]
    fn a_refusal_moves_nobodys_cursor() {
        let refusal = Refusal::new(Code::ProgramFailed, "a\u{1b}[2Jb\r\nc\td\u{9b}1m");
        assert_eq!(refusal.detail, "a\u{fffd}[2Jb\u{fffd}\nc\td\u{fffd}1m");
        let of_another = r#"{"code":"program_failed","detail":"a\u001b[2Jb"}"#;
        assert_eq!(serde_json::from_str::<Refusal>(of_another).unwrap().detail, "a\u{fffd}[2Jb");
        let long = Refusal::new(Code::ProgramFailed, "ä".repeat(MAX_DETAIL));
        assert!(long.detail.ends_with('…') && long.detail.len() <= MAX_DETAIL + 3);
    }
}
