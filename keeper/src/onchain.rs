//! What the keeper reads from the chain. Deposits count from the safe head, everything else from the newest block.

use crate::ledger::Deposit;
use alloy::contract::Error as ContractError;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::bindings::{catalog, registry, settlement};
use protocol::resource::{Resource, ResourceId, Unit};
use protocol::voucher::{BatchNumber, ChannelId};
use service::chain::{Chain, ChainError, Tag};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

type Result<T> = std::result::Result<T, ChainError>;

/// Blocks in one question for logs.
const LOG_BLOCKS: usize = 1_000;

/// A keeper's standing, as the contract numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Has no bond.
    None,
    /// Bonded.
    Active,
    /// Its owner wants the bond back.
    Retiring,
    /// Has its bond back.
    Closed,
    /// Was voided or lapsed.
    WoundDown,
}

impl Standing {
    fn of(status: u8) -> Result<Self> {
        Ok(match status {
            0 => Self::None,
            1 => Self::Active,
            2 => Self::Retiring,
            3 => Self::Closed,
            4 => Self::WoundDown,
            other => return Err(ChainError::Final(format!("Settlement knows a keeper status {other}: update Capa"))),
        })
    }

    /// Whether batches are settled.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }
}

/// A batch in its challenge window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Commitment to the root and sum of its earnings.
    pub earnings: B256,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Open challenges.
    pub challenges: u32,
}

/// What the chain keeps of a committed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Commitment to the root and sum of its earnings.
    pub earnings: B256,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// The keeper as the chain sees it at one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperView {
    /// Its standing.
    pub standing: Standing,
    /// First batch that is not final.
    pub current: BatchNumber,
    /// That batch, if it is committed.
    pub pending: Option<Pending>,
    /// Collected for the open batch.
    pub debits: Amount,
    /// When the chain began to wait for a commit.
    pub since: Timestamp,
    /// Fee rate of the first batch not committed.
    pub fee_bps: u16,
    /// Fee rate of the one after it.
    pub next_fee_bps: u16,
    /// The block's number.
    pub block: u64,
    /// The block's time.
    pub now: Timestamp,
}

impl KeeperView {
    /// First batch that is not committed.
    pub const fn uncommitted(&self) -> BatchNumber {
        self.current + if self.pending.is_some() { 1 } else { 0 }
    }

    /// The protocol's fee rate for a batch; `None` where the chain does not say it (any more, or yet).
    pub fn fee_bps_of(&self, number: BatchNumber) -> Option<u16> {
        match number.checked_sub(self.uncommitted())? {
            0 => Some(self.fee_bps),
            1 => Some(self.next_fee_bps),
            _ => None,
        }
    }
}

/// What is read of a channel for its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelFacts {
    /// What counts of its deposit.
    pub deposit: Deposit,
    /// Debited on chain so far.
    pub spent: Amount,
    /// Whether it was ever opened, as far as the newest block knows.
    pub exists: bool,
}

/// The contracts, read.
#[derive(Debug, Clone)]
pub struct Onchain {
    chain: Chain,
    settlement: settlement::SettlementInstance<DynProvider>,
    registry: registry::ProviderRegistryInstance<DynProvider>,
    catalog: catalog::ResourceCatalogInstance<DynProvider>,
}

impl Onchain {
    /// The contracts of a deployment.
    pub fn new(chain: Chain, book: &AddressBook) -> Self {
        let provider = chain.provider().clone();
        Self {
            settlement: settlement::SettlementInstance::new(book.settlement(), provider.clone()),
            registry: registry::ProviderRegistryInstance::new(book.registry(), provider.clone()),
            catalog: catalog::ResourceCatalogInstance::new(book.catalog(), provider),
            chain,
        }
    }

    /// The chain underneath.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The Settlement contract's address.
    pub const fn settlement(&self) -> Address {
        *self.settlement.address()
    }

    /// The token that Settlement uses.
    pub async fn token(&self) -> Result<Address> {
        self.settlement.token().call().await.map_err(failed)
    }

    /// How long the chain waits for a commit, and how long a batch may be challenged, in seconds.
    pub async fn heartbeat_and_challenge(&self) -> Result<(u64, u64)> {
        let periods = self.settlement.periods().call().await.map_err(failed)?;
        Ok((u64::from(periods.heartbeat), u64::from(periods.challenge)))
    }

    /// The keeper, all read at one block.
    pub async fn keeper(&self, keeper: Address, challenge_period: u64) -> Result<KeeperView> {
        let head = self.chain.head(Tag::Latest).await?;
        let at = BlockId::from(head.number);
        let state = self.settlement.keeper(keeper).block(at).call().await.map_err(failed)?;
        let current = self.settlement.currentBatch(keeper).block(at).call().await.map_err(failed)?;
        let batch = self.settlement.batch(keeper, current).block(at).call().await.map_err(failed)?;
        let mut since = u64::from(state.since);
        if current > state.batch {
            // The batch in storage became final by time alone: the contract will count from that moment.
            let done = self.settlement.batch(keeper, state.batch).block(at).call().await.map_err(failed)?;
            since = since.max(u64::from(done.committedAt).saturating_add(challenge_period));
        }
        Ok(KeeperView {
            standing: Standing::of(state.status)?,
            current,
            pending: (batch.committedAt != 0).then(|| Pending {
                earnings: batch.earnings,
                committed_at: Timestamp(u64::from(batch.committedAt)),
                challenges: if current == state.batch { state.open.to() } else { 0 },
            }),
            debits: Amount(state.debits),
            since: Timestamp(since),
            fee_bps: state.feeBps,
            next_fee_bps: state.nextFeeBps,
            block: head.number,
            now: Timestamp(head.timestamp),
        })
    }

    /// A channel: its deposit at the safe head, its close at the newest block.
    pub async fn channel(&self, id: ChannelId) -> Result<ChannelFacts> {
        let newest = self.settlement.channel(id.0).call().await.map_err(failed)?;
        let safe = match self.settlement.channel(id.0).block(BlockNumberOrTag::Safe.into()).call().await {
            Ok(channel) => channel.deposit,
            // At the safe head of a young chain the contract may not be there yet.
            Err(ContractError::ZeroData(..)) => 0,
            Err(error) => return Err(failed(error)),
        };
        Ok(ChannelFacts {
            // A withdrawal lowers the deposit before the safe head knows of it.
            deposit: Deposit { amount: Amount(newest.deposit.min(safe)), closing: newest.thawAt != 0 },
            spent: Amount(newest.spent),
            exists: newest.deposit > 0,
        })
    }

    /// What the chain has collected of a channel.
    pub async fn spent(&self, id: ChannelId) -> Result<Amount> {
        Ok(Amount(self.settlement.channel(id.0).call().await.map_err(failed)?.spent))
    }

    /// A committed batch's root and time; `None` where it is not committed.
    pub async fn committed(&self, keeper: Address, number: BatchNumber) -> Result<Option<Committed>> {
        let batch = self.settlement.batch(keeper, number).call().await.map_err(failed)?;
        Ok((batch.committedAt != 0)
            .then(|| Committed { earnings: batch.earnings, committed_at: Timestamp(u64::from(batch.committedAt)) }))
    }

    /// What a provider was paid of a batch.
    pub async fn paid(&self, keeper: Address, provider: Address, number: BatchNumber) -> Result<Amount> {
        Ok(Amount(self.settlement.paid(keeper, provider, number).call().await.map_err(failed)?))
    }

    /// Whether a batch was paid out as a whole.
    pub async fn is_distributed(&self, keeper: Address, number: BatchNumber) -> Result<bool> {
        self.settlement.distributed(keeper, number).call().await.map_err(failed)
    }

    /// Providers with an open challenge against a batch. Challenges are read from the blocks that may hold one; each is
    /// then asked for again, because it may have been answered. Nodes bound the width of a question for logs, and an
    /// answer that is late costs the bond, so the blocks are read in ranges that every node takes.
    pub async fn challenged(
        &self,
        keeper: Address,
        number: BatchNumber,
        blocks: RangeInclusive<u64>,
    ) -> Result<Vec<Address>> {
        let filter = Filter::new()
            .address(self.settlement())
            .event_signature(settlement::Challenged::SIGNATURE_HASH)
            .topic1(keeper.into_word())
            .topic2(B256::left_padding_from(&number.to_be_bytes()));
        let mut challengers = BTreeSet::new();
        for from in blocks.clone().step_by(LOG_BLOCKS) {
            let to = from.saturating_add(LOG_BLOCKS as u64 - 1).min(*blocks.end());
            let logs = self.chain.provider().get_logs(&filter.clone().from_block(from).to_block(to)).await?;
            challengers
                .extend(logs.iter().filter_map(|log| log.topics().get(3)).map(|topic| Address::from_word(*topic)));
        }
        let mut open = Vec::new();
        for provider in challengers {
            let challenge = self.settlement.challenged(keeper, number, provider).call().await.map_err(failed)?;
            if challenge.deadline != 0 {
                open.push(provider);
            }
        }
        Ok(open)
    }

    /// When a block was made.
    pub async fn time_of(&self, number: u64) -> Result<u64> {
        let block = self.chain.provider().get_block_by_number(number.into()).await?;
        let block = block.ok_or_else(|| ChainError::Retryable(format!("the node has no block {number} yet")))?;
        Ok(block.header.timestamp)
    }

    /// Whether a provider is registered.
    pub async fn is_provider(&self, provider: Address) -> Result<bool> {
        // The binding's own method of this name is the connection that it calls through.
        let call = self.registry.call_builder(&registry::providerCall { account: provider });
        Ok(call.call().await.map_err(failed)?.registeredAt != 0)
    }

    /// Whose worker a key is; zero for nobody's.
    pub async fn provider_of(&self, worker: Address) -> Result<Address> {
        self.registry.providerOf(worker).call().await.map_err(failed)
    }

    /// The resources that this version can meter.
    pub async fn resources(&self) -> Result<Vec<Resource>> {
        let classes = self.catalog.classes().call().await.map_err(failed)?;
        let mut resources = Vec::with_capacity(classes.len());
        for class in classes {
            match class.unit.parse::<Unit>() {
                Ok(unit) => resources.push(Resource {
                    id: ResourceId(class.id),
                    name: class.name,
                    unit,
                    scale: Quantity(class.scale),
                }),
                Err(error) => tracing::warn!(resource = class.name, %error, "resource left out"),
            }
        }
        Ok(resources)
    }
}

fn failed(error: ContractError) -> ChainError {
    match error {
        ContractError::TransportError(error) => error.into(),
        ContractError::ZeroData(function, _) => ChainError::Final(format!(
            "{function} answers nothing: there is no such contract at the configured address on this chain"
        )),
        other => ChainError::Retryable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(current: BatchNumber, pending: bool) -> KeeperView {
        let batch = Pending { earnings: B256::ZERO, committed_at: Timestamp(0), challenges: 0 };
        KeeperView {
            standing: Standing::Active,
            current,
            pending: pending.then_some(batch),
            debits: Amount(0),
            since: Timestamp(0),
            fee_bps: 100,
            next_fee_bps: 200,
            block: 1,
            now: Timestamp(0),
        }
    }

    #[test]
    fn the_fee_rate_belongs_to_the_first_batch_not_committed() {
        let open = view(4, false);
        assert_eq!([3, 4, 5, 6].map(|n| open.fee_bps_of(n)), [None, Some(100), Some(200), None]);
        let pending = view(4, true);
        assert_eq!([4, 5, 6, 7].map(|n| pending.fee_bps_of(n)), [None, Some(100), Some(200), None]);
    }
}
