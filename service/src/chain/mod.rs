//! The chain: reading it, following it, writing to it.

use alloy::primitives::{Address, B256, Bytes};
use alloy::transports::{RpcError, TransportError, TransportErrorKind};
use serde::{Deserialize, Serialize};

pub mod client;
pub mod follow;
pub mod send;

mod deployment;
mod endpoints;

pub use client::{Chain, ChainConfig, Tag};
pub use follow::{Change, Follow};
pub use send::{
    Attempt, Intent, MemoryTransactions, Outcome, SendError, Sender, SenderConfig, StoreError, StoredTransaction,
    TransactionStore,
};

/// A block, by everything that later checks need to recognise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Identity: two blocks of one height differ in it.
    pub hash: B256,
    /// Seconds since 1970, as the block states them.
    pub timestamp: u64,
}

/// Why the chain gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered, or the answer was not yet consistent. Asking again later may help.
    #[error("the chain gave no usable answer: {0}")]
    Retryable(String),
    /// A node understood the request and refused it.
    #[error("the node refused the request: {message} (code {code})")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// What the node said.
        message: String,
    },
    /// The call would revert.
    #[error("the call reverts with {data}")]
    Reverted {
        /// What the contract returned: a selector and its arguments, or nothing.
        data: Bytes,
    },
    /// The address book is of another chain.
    #[error(
        "the address book is of chain {recorded}, but chain {configured} is configured: name the book of that chain in \
         `address_book`, or correct `chain_id`"
    )]
    WrongChain {
        /// The book's chain.
        recorded: u64,
        /// The configured one.
        configured: u64,
    },
    /// A contract is not the one that the address book describes.
    #[error(
        "`{name}` at {address} on chain {chain_id} has {found}, the address book says code {recorded}: take the book \
         that was written when these contracts were deployed, and check that `endpoints` are of that chain"
    )]
    WrongCode {
        /// The contract's key in the book.
        name: &'static str,
        /// Where it should be.
        address: Address,
        /// On which chain.
        chain_id: u64,
        /// Hash of the code according to the book.
        recorded: B256,
        /// What is there instead, in words.
        found: String,
    },
    /// Asking again cannot help.
    #[error("{0}")]
    Final(String),
}

impl ChainError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Retryable(_) => true,
            // The method does not exist there; anything else a node refuses may be its momentary state.
            Self::Refused { code, .. } => *code != METHOD_NOT_FOUND,
            Self::Reverted { .. } | Self::WrongChain { .. } | Self::WrongCode { .. } | Self::Final(_) => false,
        }
    }
}

/// JSON-RPC's code for a method that the node does not know.
const METHOD_NOT_FOUND: i64 = -32601;

impl From<TransportError> for ChainError {
    fn from(error: TransportError) -> Self {
        match error {
            RpcError::ErrorResp(payload) => {
                let data = payload.as_revert_data();
                if data.is_some() || payload.message.contains("revert") {
                    return Self::Reverted { data: data.unwrap_or_default() };
                }
                Self::Refused { code: payload.code, message: payload.message.into_owned() }
            }
            RpcError::NullResp => Self::Retryable("the node does not know the object yet".into()),
            RpcError::DeserError { err, .. } => Self::Retryable(format!("the node's answer cannot be read: {err}")),
            RpcError::Transport(TransportErrorKind::NonRetryable(error)) => Self::Final(error.to_string()),
            RpcError::Transport(kind) => Self::Retryable(kind.to_string()),
            other => Self::Final(other.to_string()),
        }
    }
}
