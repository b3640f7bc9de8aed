//! What the worker reads from the chain: keepers, channels, resources. Reads are cached for a moment.

mod cache;

use crate::accept::{ChannelFacts, KeeperFacts};
use crate::gas::Quote;
use alloy::eips::BlockId;
use alloy::primitives::Address;
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use cache::Cache;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Quantity};
use protocol::bindings::{catalog, registry, settlement};
use protocol::resource::{Resource, ResourceId};
use protocol::voucher::{BatchNumber, ChannelId};
use service::chain::{Chain, ChainError, Tag};
use std::time::Duration;

/// `KeeperStatus` of the contract: it has never bonded.
const STATUS_NONE: u8 = 0;
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

/// What the chain says of a provider's challenge in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChallengeFacts {
    /// The highest amount that a proof was demanded for; zero where none was.
    pub owed: Amount,
    /// Until when it has to be answered; 0 where nothing is open.
    pub deadline: u64,
}

/// A provider as the registry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProviderFacts {
    /// When it registered; 0 for a stranger.
    pub registered_at: u64,
    /// What it has at stake.
    pub staked: Amount,
    /// Least stake of a provider that stakes at all.
    pub minimum_stake: Amount,
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
    start_block: u64,
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
            start_block: book.start_block.get(),
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

    /// For reads that have no typed call.
    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The block before which none of the contracts was there.
    pub(crate) const fn start_block(&self) -> u64 {
        self.start_block
    }

    /// The contract that holds channels, bonds and batches.
    pub(crate) const fn settlement(&self) -> Address {
        *self.settlement.address()
    }

    /// What a call to the settlement contract would cost now.
    pub(crate) async fn quote(&self, from: Address, data: Vec<u8>) -> Result<Quote, ChainError> {
        let call = TransactionRequest::default().from(from).to(self.settlement()).input(data.into());
        let provider = self.chain.provider();
        let (gas, wei_per_gas) =
            tokio::try_join!(async { provider.estimate_gas(call).await.map_err(ChainError::from) }, async {
                provider.get_gas_price().await.map_err(ChainError::from)
            },)?;
        Ok(Quote { gas, wei_per_gas })
    }

    /// Coins that an account has for gas, in wei.
    pub(crate) async fn balance(&self, account: Address) -> Result<alloy::primitives::U256, ReadError> {
        Ok(self.chain.provider().get_balance(account).await.map_err(ChainError::from)?)
    }

    /// A provider's record and stake.
    pub(crate) async fn provider(&self, provider: Address) -> Result<ProviderFacts, ReadError> {
        let (record, stake, settings) = tokio::try_join!(
            async { self.registry.call_builder(&registry::providerCall { account: provider }).call().await },
            async { self.registry.stakeOf(provider).call().await },
            async { self.registry.settings().call().await },
        )?;
        Ok(ProviderFacts {
            registered_at: u64::from(record.registeredAt),
            staked: Amount(stake.staked),
            minimum_stake: Amount(settings.minimumStake),
        })
    }

    /// Whether an address has ever bonded: from then on only that address itself can redeem its direct vouchers.
    pub(crate) async fn keeps_batches(&self, account: Address) -> Result<bool, ReadError> {
        Ok(self.settlement.keeper(account).call().await?.status != STATUS_NONE)
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

    /// A channel with `keeper`, or as it was a moment ago.
    pub(crate) async fn channel(&self, keeper: Address, channel: ChannelId) -> Result<ChannelFacts, ReadError> {
        if let Some(facts) = self.channels.get(&channel) {
            return Ok(facts);
        }
        let facts = self.read_channel(keeper, channel).await?;
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

    /// What a provider was paid of a batch at a block; everything where the whole batch was distributed.
    pub(crate) async fn paid(
        &self,
        keeper: Address,
        provider: Address,
        number: BatchNumber,
        at: BlockId,
    ) -> Result<Amount, ReadError> {
        if before_deployment(self.settlement.distributed(keeper, number).block(at).call().await)?.unwrap_or_default() {
            return Ok(Amount(u64::MAX));
        }
        let paid = self.settlement.paid(keeper, provider, number).block(at).call().await;
        Ok(Amount(before_deployment(paid)?.unwrap_or_default()))
    }

    /// A provider's challenge in a batch, at the newest block.
    pub(crate) async fn challenge(
        &self,
        keeper: Address,
        number: BatchNumber,
        provider: Address,
    ) -> Result<ChallengeFacts, ReadError> {
        let challenge = self.settlement.challenged(keeper, number, provider).call().await?;
        Ok(ChallengeFacts { owed: Amount(challenge.owed), deadline: challenge.deadline.into() })
    }

    /// When the recovery from a keeper ends; `None` for one that is not wound down.
    pub(crate) async fn recovery_end(&self, keeper: Address) -> Result<Option<u64>, ReadError> {
        let state = self.settlement.keeper(keeper).call().await?;
        let is_wound_down = state.status == STATUS_WOUND_DOWN;
        Ok(is_wound_down.then(|| u64::from(state.endedAt).saturating_add(self.periods.recovery)))
    }

    /// What `recover` has paid a provider from a channel for a batch, at a block.
    pub(crate) async fn recovered(
        &self,
        channel: ChannelId,
        provider: Address,
        number: BatchNumber,
        at: BlockId,
    ) -> Result<Amount, ReadError> {
        let recovered = self.settlement.recovered(channel.0, provider, number).block(at).call().await;
        Ok(Amount(before_deployment(recovered)?.unwrap_or_default()))
    }

    async fn read_keeper(&self, keeper: Address) -> Result<KeeperFacts, ReadError> {
        let (state, safe, open, now) = tokio::try_join!(
            async { Ok::<_, ReadError>(self.settlement.keeper(keeper).call().await?) },
            async {
                let safe = self.settlement.keeper(keeper).block(BlockId::safe()).call().await;
                Ok(before_deployment(safe)?)
            },
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
            // A bond counts from the safe head, the end of a keeper from the newest block.
            active: state.status == STATUS_ACTIVE && safe.is_some_and(|safe| safe.status == STATUS_ACTIVE),
            late: committed_at == 0 && now > since.saturating_add(self.periods.heartbeat),
            batch: open,
            committed: committed_at != 0,
        })
    }

    async fn read_channel(&self, keeper: Address, channel: ChannelId) -> Result<ChannelFacts, ReadError> {
        let (newest, open, safe) = tokio::try_join!(
            async { Ok::<_, ReadError>(self.settlement.channel(channel.0).call().await?) },
            async { Ok(self.settlement.currentBatch(keeper).call().await?) },
            async {
                let safe = self.settlement.channel(channel.0).block(BlockId::safe()).call().await;
                Ok(before_deployment(safe)?)
            },
        )?;
        let (safe_deposit, safe_spent, was_closing) =
            safe.map_or((0, 0, false), |safe| (safe.deposit, safe.spent, safe.thawAt != 0));
        Ok(ChannelFacts {
            deposit: Amount(safe_deposit.min(newest.deposit)),
            held: Amount(newest.deposit),
            spent: Amount(newest.spent),
            safe_spent: Amount(safe_spent),
            // What was debited in batches before the open one has been paid out.
            settled: Amount(if newest.batch < open { newest.spent } else { newest.settled }),
            // A top-up that ends a close counts from the safe head, as every deposit does.
            closing: newest.thawAt != 0 || was_closing,
        })
    }
}

/// A read at the safe head. Before the contracts' own block there is nothing to read.
fn before_deployment<T>(read: Result<T, alloy::contract::Error>) -> Result<Option<T>, alloy::contract::Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(alloy::contract::Error::ZeroData(..)) => Ok(None),
        Err(error) => Err(error),
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
}
