//! What a client believes only from the chain: rates, prices' units, worker keys, its own channel.
//!
//! A keeper states most of this in its terms as well. It could lie, so the session asks here before it signs.

use alloy::eips::BlockId;
use alloy::primitives::Address;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::bindings::catalog::ResourceCatalogInstance;
use protocol::bindings::registry::ProviderRegistryInstance;
use protocol::bindings::settlement::SettlementInstance;
use protocol::resource::{Resource, ResourceId};
use protocol::voucher::{BatchNumber, ChannelId};
use serde::{Deserialize, Serialize};
use service::chain::{Chain, ChainError, Tag};
use std::future::Future;

/// The chain gave no answer, or one that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The same question may be answered later.
    #[error("the chain cannot be asked right now: {0}")]
    Retryable(String),
    /// Asking again will not help: wrong addresses, or another contract behind them.
    #[error("the chain does not answer as Capa's contracts do: {0}. Check the address book and the RPC endpoint")]
    Final(String),
}

impl AnchorError {
    /// Whether the same question may be answered later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable(_))
    }
}

impl From<ChainError> for AnchorError {
    fn from(error: ChainError) -> Self {
        if error.is_retryable() { Self::Retryable(error.to_string()) } else { Self::Final(error.to_string()) }
    }
}

impl From<alloy::contract::Error> for AnchorError {
    fn from(error: alloy::contract::Error) -> Self {
        match error {
            alloy::contract::Error::TransportError(error) => ChainError::from(error).into(),
            other => Self::Final(other.to_string()),
        }
    }
}

/// Where a keeper stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeeperStatus {
    /// Never posted a bond: an address for direct channels.
    None,
    /// Takes channels and settles.
    Active,
    /// Settles what it has and takes no new channels.
    Retiring,
    /// Gone, in good order.
    Closed,
    /// Broke a promise: providers recover from the channels themselves.
    WoundDown,
}

impl KeeperStatus {
    fn from_number(number: u8) -> Result<Self, AnchorError> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Active,
            2 => Self::Retiring,
            3 => Self::Closed,
            4 => Self::WoundDown,
            other => return Err(AnchorError::Final(format!("keeper status {other} is unknown"))),
        })
    }

    /// Whether it can still settle a voucher.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }
}

/// A keeper as the chain knows it, at one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperTerms {
    /// Where it stands.
    pub status: KeeperStatus,
    /// Its first batch that is not final.
    pub current: BatchNumber,
    /// Whether that batch is committed and only waits for its challenge window.
    pub committed: bool,
    /// Protocol rate of the batch being collected.
    pub fee_bps: u16,
    /// Protocol rate of the batch after it.
    pub next_fee_bps: u16,
}

/// How vouchers of a channel are settled, and at which protocol rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// In the keeper's batches.
    Netted(KeeperTerms),
    /// One by one, by the provider.
    Direct {
        /// Current protocol rate.
        fee_bps: u16,
    },
}

/// A channel as the chain knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// Deposited and not withdrawn.
    pub deposit: Amount,
    /// Highest total that reached the chain.
    pub spent: Amount,
    /// Part of it that has left the channel.
    pub settled: Amount,
    /// Batch of the last debit.
    pub batch: BatchNumber,
    /// When a closing channel can be withdrawn; `None` while it is not closing.
    pub thaw_at: Option<Timestamp>,
}

/// The questions that a session asks the chain.
pub trait Anchor: Send + Sync + 'static {
    /// How vouchers to `keeper` are settled right now.
    fn settling(&self, keeper: Address) -> impl Future<Output = Result<Settling, AnchorError>> + Send;
    /// A channel, at the newest block.
    fn channel(&self, id: ChannelId) -> impl Future<Output = Result<ChannelState, AnchorError>> + Send;
    /// The provider that a worker key signs for; `None` for a stranger.
    fn provider_of(&self, worker: Address) -> impl Future<Output = Result<Option<Address>, AnchorError>> + Send;
    /// Every resource class that this version can meter.
    fn resources(&self) -> impl Future<Output = Result<Vec<Resource>, AnchorError>> + Send;
}

/// The chain itself.
#[derive(Clone)]
pub struct ChainAnchor {
    chain: Chain,
    book: AddressBook,
}

impl ChainAnchor {
    /// Asks `chain` about the contracts of `book`.
    pub const fn new(chain: Chain, book: AddressBook) -> Self {
        Self { chain, book }
    }

    /// The address book in use.
    pub const fn book(&self) -> &AddressBook {
        &self.book
    }
}

impl Anchor for ChainAnchor {
    async fn settling(&self, keeper: Address) -> Result<Settling, AnchorError> {
        // All reads are of one block: a commit between two of them would pair a batch with the wrong rate.
        let block = BlockId::from(self.chain.head(Tag::Latest).await?.number);
        let contract = SettlementInstance::new(self.book.settlement(), self.chain.provider());
        let state = contract.keeper(keeper).block(block).call().await?;
        let status = KeeperStatus::from_number(state.status)?;
        if status == KeeperStatus::None {
            return Ok(Settling::Direct { fee_bps: contract.feeBps().block(block).call().await? });
        }
        let current = contract.currentBatch(keeper).block(block).call().await?;
        let batch = contract.batch(keeper, current).block(block).call().await?;
        Ok(Settling::Netted(KeeperTerms {
            status,
            current,
            committed: batch.committedAt != 0,
            fee_bps: state.feeBps,
            next_fee_bps: state.nextFeeBps,
        }))
    }

    async fn channel(&self, id: ChannelId) -> Result<ChannelState, AnchorError> {
        let contract = SettlementInstance::new(self.book.settlement(), self.chain.provider());
        let stored = contract.channel(id.0).call().await?;
        Ok(ChannelState {
            deposit: Amount(stored.deposit),
            spent: Amount(stored.spent),
            settled: Amount(stored.settled),
            batch: stored.batch,
            thaw_at: (stored.thawAt != 0).then(|| Timestamp(u64::from(stored.thawAt))),
        })
    }

    async fn provider_of(&self, worker: Address) -> Result<Option<Address>, AnchorError> {
        let contract = ProviderRegistryInstance::new(self.book.registry(), self.chain.provider());
        let provider = contract.providerOf(worker).call().await?;
        Ok((provider != Address::ZERO).then_some(provider))
    }

    async fn resources(&self) -> Result<Vec<Resource>, AnchorError> {
        let contract = ResourceCatalogInstance::new(self.book.catalog(), self.chain.provider());
        let classes = contract.classes().call().await?;
        // A class in a unit that is not known here cannot be checked, so it cannot be bought either.
        Ok(classes
            .into_iter()
            .filter_map(|class| {
                let unit = class.unit.parse().ok()?;
                let scale = Quantity(class.scale);
                Some(Resource { id: ResourceId(class.id), name: class.name, unit, scale })
            })
            .collect())
    }
}
