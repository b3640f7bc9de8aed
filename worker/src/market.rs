//! What the worker reads from the chain: keepers, channels, resources. Reads are cached for a moment.

use crate::accept::{ChannelFacts, KeeperFacts};
use alloy::eips::BlockId;
use alloy::primitives::Address;
use alloy::providers::DynProvider;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Quantity};
use protocol::bindings::{catalog, registry, settlement};
use protocol::resource::{Resource, ResourceId};
use protocol::voucher::{BatchNumber, ChannelId};
use service::chain::{Chain, ChainError, Tag};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// `KeeperStatus` of the contract: bonded, and not at its end.
const STATUS_ACTIVE: u8 = 1;
/// `KeeperStatus` of the contract: a promise was broken.
const STATUS_WOUND_DOWN: u8 = 4;

/// The chain could not be read; the same call may succeed later.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A contract call failed.
    #[error("a contract cannot be read: {0}")]
    Contract(#[from] alloy::contract::Error),
    /// The node failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The node is too far behind for its answers to be acted on.
    #[error("the newest block of the chain's node is {0} s old: nothing is decided by it until the node catches up")]
    Stale(u64),
}

/// Below this age a block is never stale: a chain with very short periods may simply be quiet.
const LEAST_STALE_SECONDS: u64 = 600;

/// How old the newest block is, where that is more than the slowest reaction that the protocol allows for.
fn staleness(block: u64, clock: u64, reaction: u64) -> Option<u64> {
    let age = clock.saturating_sub(block);
    (age > reaction.max(LEAST_STALE_SECONDS)).then_some(age)
}

/// Where one batch stands on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchFacts {
    /// Commitment to the root and sum of its earnings.
    pub earnings: alloy::primitives::B256,
    /// When it was committed; 0 while it is not.
    pub committed_at: u64,
    /// Whether it can be claimed now.
    pub is_final: bool,
    /// Whether its keeper is wound down and the batch will never be final.
    pub is_void: bool,
}

/// The protocol's times that a worker needs, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Periods {
    /// W: how long a committed batch can be challenged.
    pub challenge: u64,
    /// T: how long a keeper may stay without a commit.
    pub heartbeat: u64,
    /// X: how long providers can recover from a keeper that was wound down.
    pub recovery: u64,
    /// D: the slowest reaction that a party may need.
    pub reaction: u64,
}

/// The contracts, read through a short cache.
#[derive(Debug)]
pub(crate) struct Market {
    chain: Chain,
    settlement: settlement::SettlementInstance<DynProvider>,
    registry: registry::ProviderRegistryInstance<DynProvider>,
    catalog: catalog::ResourceCatalogInstance<DynProvider>,
    periods: Periods,
    keepers: Cache<Address, KeeperFacts>,
    channels: Cache<ChannelId, ChannelFacts>,
}

impl Market {
    /// Opens the contracts and reads what never changes.
    pub(crate) async fn open(chain: Chain, book: &AddressBook, max_age: Duration) -> Result<Self, ReadError> {
        let provider = chain.provider().clone();
        let settlement = settlement::SettlementInstance::new(book.settlement(), provider.clone());
        let periods = settlement.periods().call().await?;
        Ok(Self {
            registry: registry::ProviderRegistryInstance::new(book.registry(), provider.clone()),
            catalog: catalog::ResourceCatalogInstance::new(book.catalog(), provider),
            settlement,
            chain,
            periods: Periods {
                challenge: periods.challenge.into(),
                heartbeat: periods.heartbeat.into(),
                recovery: periods.recovery.into(),
                reaction: periods.reaction.into(),
            },
            keepers: Cache::new(max_age),
            channels: Cache::new(max_age),
        })
    }

    /// The protocol's times.
    pub(crate) const fn periods(&self) -> Periods {
        self.periods
    }

    /// Time of the newest block.
    pub(crate) async fn now(&self) -> Result<u64, ReadError> {
        Ok(self.chain.head(Tag::Latest).await?.timestamp)
    }

    /// The token that everything is paid in.
    pub(crate) async fn token(&self) -> Result<Address, ReadError> {
        Ok(self.settlement.token().call().await?)
    }

    /// The protocol's fee rate for direct payments, in basis points.
    pub(crate) async fn direct_fee(&self) -> Result<u16, ReadError> {
        Ok(self.settlement.feeBps().call().await?)
    }

    /// The provider that a worker key signs for; the zero address if none.
    pub(crate) async fn provider_of(&self, worker: Address) -> Result<Address, ReadError> {
        Ok(self.registry.providerOf(worker).call().await?)
    }

    /// All resource classes that this version can meter.
    pub(crate) async fn resources(&self) -> Result<Vec<Resource>, ReadError> {
        let classes = self.catalog.classes().call().await?;
        Ok(classes
            .into_iter()
            .filter_map(|class| match class.unit.parse() {
                Ok(unit) => {
                    Some(Resource { id: ResourceId(class.id), name: class.name, unit, scale: Quantity(class.scale) })
                }
                Err(error) => {
                    tracing::info!(resource = class.name, %error, "a resource is left out");
                    None
                }
            })
            .collect())
    }

    /// A keeper at the newest block, or as it was a moment ago.
    pub(crate) async fn keeper(&self, keeper: Address) -> Result<KeeperFacts, ReadError> {
        if let Some(facts) = self.keepers.get(&keeper) {
            return Ok(facts);
        }
        let facts = self.read_keeper(keeper).await?;
        self.keepers.put(keeper, facts);
        Ok(facts)
    }

    /// A channel, or as it was a moment ago.
    pub(crate) async fn channel(&self, channel: ChannelId) -> Result<ChannelFacts, ReadError> {
        if let Some(facts) = self.channels.get(&channel) {
            return Ok(facts);
        }
        let facts = self.read_channel(channel).await?;
        self.channels.put(channel, facts);
        Ok(facts)
    }

    /// Forgets what was read of a keeper and a channel, so that the next look is at the chain itself.
    pub(crate) fn refresh(&self, keeper: Address, channel: ChannelId) {
        self.keepers.forget(&keeper);
        self.channels.forget(&channel);
    }

    /// A batch at the newest block.
    pub(crate) async fn batch(&self, keeper: Address, number: BatchNumber) -> Result<BatchFacts, ReadError> {
        let (batch, is_final, state) = tokio::try_join!(
            async { self.settlement.batch(keeper, number).call().await },
            async { self.settlement.isFinal(keeper, number).call().await },
            async { self.settlement.keeper(keeper).call().await },
        )?;
        Ok(BatchFacts {
            earnings: batch.earnings,
            committed_at: batch.committedAt.into(),
            is_final,
            is_void: !is_final && state.status == STATUS_WOUND_DOWN && number >= state.batch,
        })
    }

    /// What a provider was paid of a batch; everything where the whole batch was distributed.
    pub(crate) async fn paid(
        &self,
        keeper: Address,
        provider: Address,
        number: BatchNumber,
    ) -> Result<Amount, ReadError> {
        if self.settlement.distributed(keeper, number).call().await? {
            return Ok(Amount(u64::MAX));
        }
        Ok(Amount(self.settlement.paid(keeper, provider, number).call().await?))
    }

    /// When a provider's challenge in a batch has to be answered; 0 where none is open.
    pub(crate) async fn challenge_deadline(
        &self,
        keeper: Address,
        number: BatchNumber,
        provider: Address,
    ) -> Result<u64, ReadError> {
        Ok(self.settlement.challenged(keeper, number, provider).call().await?.deadline.into())
    }

    /// When the recovery from a keeper ends; `None` for one that is not wound down.
    pub(crate) async fn recovery_end(&self, keeper: Address) -> Result<Option<u64>, ReadError> {
        let state = self.settlement.keeper(keeper).call().await?;
        let is_wound_down = state.status == STATUS_WOUND_DOWN;
        Ok(is_wound_down.then(|| u64::from(state.endedAt).saturating_add(self.periods.recovery)))
    }

    /// What `recover` has paid a provider from a channel for a batch.
    pub(crate) async fn recovered(
        &self,
        channel: ChannelId,
        provider: Address,
        number: BatchNumber,
    ) -> Result<Amount, ReadError> {
        Ok(Amount(self.settlement.recovered(channel.0, provider, number).call().await?))
    }

    async fn read_keeper(&self, keeper: Address) -> Result<KeeperFacts, ReadError> {
        let (state, open, now) = tokio::try_join!(
            async { Ok::<_, ReadError>(self.settlement.keeper(keeper).call().await?) },
            async { Ok(self.settlement.currentBatch(keeper).call().await?) },
            self.now(),
        )?;
        if let Some(age) = staleness(now, crate::node::now().get(), self.periods.reaction) {
            return Err(ReadError::Stale(age));
        }
        let committed_at: u64 = self.settlement.batch(keeper, open).call().await?.committedAt.into();
        let mut since: u64 = state.since.into();
        if open > state.batch {
            // The batch became final, but nobody has touched the keeper since: the heartbeat counts from then.
            let last = self.settlement.batch(keeper, state.batch).call().await?;
            since = since.max(u64::from(last.committedAt).saturating_add(self.periods.challenge));
        }
        Ok(KeeperFacts {
            active: state.status == STATUS_ACTIVE,
            late: committed_at == 0 && now > since.saturating_add(self.periods.heartbeat),
            batch: open,
            committed: committed_at != 0,
        })
    }

    async fn read_channel(&self, channel: ChannelId) -> Result<ChannelFacts, ReadError> {
        let newest = self.settlement.channel(channel.0).call().await?;
        let safe = match self.settlement.channel(channel.0).block(BlockId::safe()).call().await {
            Ok(channel) => channel.deposit,
            // Before the contract's own block there is no channel.
            Err(alloy::contract::Error::ZeroData(..)) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(ChannelFacts {
            deposit: Amount(safe.min(newest.deposit)),
            spent: Amount(newest.spent),
            closing: newest.thawAt != 0,
        })
    }
}

/// Values that are good for a moment.
#[derive(Debug)]
struct Cache<K, V> {
    max_age: Duration,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Copy> Cache<K, V> {
    fn new(max_age: Duration) -> Self {
        Self { max_age, entries: Mutex::default() }
    }

    fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.get(key).filter(|(at, _)| at.elapsed() < self.max_age).map(|(_, value)| *value)
    }

    fn put(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.retain(|_, (at, _)| at.elapsed() < self.max_age);
        entries.insert(key, (Instant::now(), value));
    }

    fn forget(&self, key: &K) {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_chain_view_is_not_acted_on() {
        const D: u64 = 12 * 3_600;
        assert_eq!(staleness(1_000_000, 1_000_000 + D, D), None);
        assert_eq!(staleness(1_000_000, 1_000_001 + D, D), Some(D + 1));
        assert_eq!(staleness(1_000_000, 900_000, D), None, "a clock that is behind");
        assert_eq!(staleness(1_000_000, 1_000_500, 2), None, "a quiet local chain");
    }

    #[test]
    fn the_cache_forgets() {
        let cache = Cache::new(Duration::from_secs(60));
        cache.put(1, 'a');
        assert_eq!(cache.get(&1), Some('a'));
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
        let stale = Cache::new(Duration::ZERO);
        stale.put(1, 'a');
        assert_eq!(stale.get(&1), None);
    }
}
