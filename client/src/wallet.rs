//! A key that holds CAPA and sends transactions: a client's, a provider's, or a keeper owner's.

use crate::anchor::{AnchorError, ChainAnchor, KeeperStatus};
use crate::revert;
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolCall;
use protocol::address_book::AddressBook;
use protocol::amount::Amount;
use protocol::bindings::token::ComputeTokenInstance;
use protocol::signature::SigningKey;
use serde::Serialize;
use service::chain::{Chain, Intent, MemoryTransactions, Outcome, SendError, Sender, SenderConfig};
use std::sync::atomic::{AtomicU64, Ordering};

/// A transaction was not made, or not known to have succeeded.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The chain gave no answer.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The transaction manager.
    #[error(transparent)]
    Send(SendError),
    /// The contract said no. Nothing was sent.
    #[error("{0}. Nothing was sent")]
    Reverted(String),
    /// The transaction was mined and failed: something changed between the check and the block.
    #[error("transaction {0} was mined but failed: look at the state again, then repeat")]
    Failed(alloy::primitives::B256),
    /// The wallet does not hold enough.
    #[error("{owner} holds {} CAPA, {} are needed: send it more, or take a smaller amount", has.to_capa(), needs.to_capa())]
    Poor {
        /// Whose wallet.
        owner: Address,
        /// What it holds.
        has: Amount,
        /// What is needed.
        needs: Amount,
    },
    /// The other side takes no channels.
    #[error("keeper {keeper} is {status:?} and takes no new channels: choose another one")]
    KeeperGone {
        /// Which keeper.
        keeper: Address,
        /// Where it stands.
        status: KeeperStatus,
    },
    /// The token is not the one of the address book.
    #[error("the token at {0} signs permits in an unexpected domain: check the address book")]
    StrangeToken(Address),
}

impl WalletError {
    /// Whether the same call may succeed later. Repeating it is always safe where this is true.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Anchor(error) => error.is_retryable(),
            Self::Send(error) => error.is_retryable(),
            Self::Reverted(_)
            | Self::Failed(_)
            | Self::Poor { .. }
            | Self::KeeperGone { .. }
            | Self::StrangeToken(_) => false,
        }
    }
}

impl From<alloy::contract::Error> for WalletError {
    fn from(error: alloy::contract::Error) -> Self {
        Self::Anchor(error.into())
    }
}

impl From<SendError> for WalletError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Reverted { data } => Self::Reverted(revert::explain(&data)),
            SendError::Failed { outcome } => Self::Failed(outcome.hash),
            other => Self::Send(other),
        }
    }
}

/// A settled transaction, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Its hash.
    pub transaction: alloy::primitives::B256,
    /// Its block.
    pub block: u64,
    /// What it cost in gas.
    pub gas: u64,
}

impl From<Outcome> for Receipt {
    fn from(outcome: Outcome) -> Self {
        Self { transaction: outcome.hash, block: outcome.block, gas: outcome.gas_used }
    }
}

/// A key with its transaction manager on one deployment.
pub struct Wallet {
    pub(crate) chain: Chain,
    pub(crate) book: AddressBook,
    pub(crate) key: SigningKey,
    pub(crate) anchor: ChainAnchor,
    sender: Sender<MemoryTransactions>,
    count: AtomicU64,
}

impl Wallet {
    /// Takes a key into use. Nothing else may send with it meanwhile.
    pub async fn new(chain: Chain, book: AddressBook, key: SigningKey) -> Result<Self, WalletError> {
        let secret = key.to_bytes();
        let sender = Sender::new(chain.clone(), &secret, MemoryTransactions::new(), SenderConfig::default()).await?;
        let anchor = ChainAnchor::new(chain.clone(), book.clone());
        Ok(Self { chain, book, key, anchor, sender, count: AtomicU64::new(0) })
    }

    /// Its address.
    pub const fn address(&self) -> Address {
        self.key.address()
    }

    /// The CAPA it holds.
    pub async fn balance(&self) -> Result<Amount, WalletError> {
        balance(&self.chain, &self.book, self.address()).await
    }

    /// Sends one call and waits until it is mined.
    pub(crate) async fn call<C: SolCall>(&self, name: &str, to: Address, call: &C) -> Result<Receipt, WalletError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let intent = Intent { key: format!("{name}:{number}"), to, data: Bytes::from(call.abi_encode()) };
        let outcome = self.sender.send(intent).await?;
        if outcome.success { Ok(outcome.into()) } else { Err(WalletError::Failed(outcome.hash)) }
    }

    /// Fails with the exact shortfall before anything is signed.
    pub(crate) async fn needs(&self, amount: Amount) -> Result<(), WalletError> {
        let has = self.balance().await?;
        if has >= amount { Ok(()) } else { Err(WalletError::Poor { owner: self.address(), has, needs: amount }) }
    }
}

/// The CAPA that an address holds.
pub async fn balance(chain: &Chain, book: &AddressBook, owner: Address) -> Result<Amount, WalletError> {
    let token = ComputeTokenInstance::new(book.token(), chain.provider());
    let balance: U256 = token.balanceOf(owner).call().await?;
    // The cap is 1e18 nano, so only a foreign token exceeds 64 bits.
    u64::try_from(balance).map(Amount).map_err(|_| WalletError::StrangeToken(book.token()))
}
