//! The transaction manager.
//!
//! One nonce line, one transaction in flight: an intent is simulated, given a nonce, signed, **stored**, and only
//! then sent; it is watched under every hash it was ever signed with, sent again when nodes forget it, and replaced
//! at a higher price when it is stuck. What is stored without an outcome is finished before anything new begins, so
//! no nonce is ever skipped, and no intent is ever carried out twice.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, Bytes};
use alloy::signers::local::PrivateKeySigner;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::ChainError;
use super::client::Chain;

mod fees;
mod line;
mod store;
mod watch;

use line::Line;
pub use store::{Attempt, MemoryTransactions, Outcome, StoreError, StoredTransaction, TransactionStore};

/// A call that the caller wants carried out exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The caller's name for it, such as `commit:7`. The same name is the same intent, also after a restart.
    pub key: String,
    /// The contract to call.
    pub to: Address,
    /// Call data.
    pub data: Bytes,
}

/// How transactions are priced and watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SenderConfig {
    /// The most that is ever offered per gas, in gwei. A transaction that would need more waits for cheaper blocks.
    pub max_fee_gwei: u64,
    /// Milliseconds without progress after which a transaction is replaced at a higher price.
    pub bump_after_ms: u64,
    /// Blocks, its own included, after which a transaction counts as settled. At least 1.
    pub confirmations: u64,
    /// Gas added to the estimate, in percent: the state may change between the estimate and the block.
    pub gas_margin_percent: u64,
    /// The most gas of one transaction; 2^24 is Ethereum's own bound (EIP-7825).
    pub max_gas: u64,
    /// Milliseconds for which an unreachable chain is borne before the caller is told.
    pub patience_ms: u64,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            max_fee_gwei: 200,
            bump_after_ms: 15_000,
            confirmations: 1,
            gas_margin_percent: 25,
            max_gas: 1 << 24,
            patience_ms: 30_000,
        }
    }
}

/// Why an intent was not carried out, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The call reverts as the chain stands. Nothing was sent, no nonce was used, and the key is free.
    #[error("the call would revert with {data}; nothing was sent")]
    Reverted {
        /// What the contract returned: a selector and its arguments, or nothing.
        data: Bytes,
    },
    /// The transaction was mined and reverted; or, if no gas was used, its nonce was taken by another program and
    /// the call would revert by now. It is settled: a new attempt needs a new key.
    #[error("transaction {} failed at block {}, having used {} gas", outcome.hash, outcome.block, outcome.gas_used)]
    Failed {
        /// The settled transaction.
        outcome: Outcome,
    },
    /// The account cannot pay. The transaction stays open and is sent when the intent is tried again.
    #[error("{address} cannot pay for its transaction ({message}): fund it with the chain's own coin")]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// What the node said.
        message: String,
    },
    /// The key is stored already with another call.
    #[error("the key {key} already stands for another call: choose another key")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The call needs more gas than a transaction may have: split it.
    #[error("the call needs {gas} gas, more than the {limit} of one transaction: split it")]
    TooMuchGas {
        /// What the node estimates.
        gas: u64,
        /// The bound.
        limit: u64,
    },
    /// The private key is not one.
    #[error("the secret is not a private key: check the key file")]
    InvalidKey,
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Signing(String),
    /// The chain gave no usable answer. What was sent stays open; trying the intent again resumes it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store failed. Nothing is sent that is not stored; trying the intent again resumes it.
    #[error("the store of transactions failed: {0}")]
    Store(#[source] StoreError),
}

impl SendError {
    /// Whether trying the same intent again may succeed. It is always safe.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Chain(error) => error.is_retryable(),
            Self::Store(_) | Self::InsufficientFunds { .. } => true,
            Self::Reverted { .. }
            | Self::Failed { .. }
            | Self::KeyReused { .. }
            | Self::TooMuchGas { .. }
            | Self::InvalidKey
            | Self::Signing(_) => false,
        }
    }
}

/// The transaction manager of one account. Clones share the account's nonce line.
pub struct Sender<S> {
    address: Address,
    line: Arc<Mutex<Line<S>>>,
}

impl<S> Clone for Sender<S> {
    fn clone(&self) -> Self {
        Self { address: self.address, line: Arc::clone(&self.line) }
    }
}

impl<S: TransactionStore> Sender<S> {
    /// Takes the account of `secret` into use and sends again what the store holds without an outcome.
    ///
    /// The account must be used by nothing else, and the store by no other process.
    ///
    /// # Errors
    /// When the secret is not a key or the store cannot be read. An unreachable chain is not an error here: what is
    /// open is sent again with the next intent.
    pub async fn new(chain: Chain, secret: &[u8; 32], store: S, config: SenderConfig) -> Result<Self, SendError> {
        let signer = PrivateKeySigner::from_slice(secret).map_err(|_| SendError::InvalidKey)?;
        let address = signer.address();
        let line = Line::new(chain, signer, store, config);
        line.rebroadcast().await?;
        Ok(Self { address, line: Arc::new(Mutex::new(line)) })
    }

    /// The account that sends.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Carries out `intent` and waits until it is settled. Intents queue behind each other.
    ///
    /// Safe to drop half-way and to call again with the same key: a stored intent is resumed, and a settled one
    /// returns its outcome.
    ///
    /// # Errors
    /// See [`SendError`]. On every error either nothing was sent, or what was sent is stored.
    pub async fn send(&self, intent: Intent) -> Result<Outcome, SendError> {
        let mut line = self.line.lock().await;
        line.send(&intent).await
    }

    /// Looks whether the chain still holds what is settled by the store, and sends again what a reorganisation took back.
    /// An intent that is settled returns its outcome without a look at the chain: call this before sending one whose
    /// effect is missing.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn reconcile(&self) -> Result<(), SendError> {
        self.line.lock().await.next_nonce().await.map(drop)
    }

    /// Finishes what is open without sending anything new: for a service that starts and has nothing to send yet.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn settle_open(&self) -> Result<(), SendError> {
        self.line.lock().await.settle_open().await
    }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
