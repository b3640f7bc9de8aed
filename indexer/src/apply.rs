//! From a chain log to a fact. Pure: the same log always gives the same fact, and no log needs another.

use alloy::primitives::Address;
use alloy::rpc::types::Log;
use alloy::sol_types::{self, SolEvent};
use indexer_store::fact::{BatchId, Class, Fact, Located, PaidBy};
use protocol::amount::{Amount, Quantity};
use protocol::batch::Commitment;
use protocol::bindings::{catalog, registry, settlement};
use protocol::resource::ResourceId;

/// Which contracts speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// Settlement.
    pub settlement: Address,
    /// ProviderRegistry.
    pub registry: Address,
    /// ResourceCatalog.
    pub catalog: Address,
}

/// A log that bears the name of a known event and is not one.
#[derive(Debug, thiserror::Error)]
#[error("log {log_index} of block {block} cannot be read: {reason}; update this indexer")]
pub struct Unreadable {
    block: u64,
    log_index: u64,
    reason: String,
}

/// The fact that a log states; `None` for events that an indexer does not keep.
pub fn fact(contracts: &Contracts, log: &Log) -> Result<Option<Located>, Unreadable> {
    let address = log.address();
    let found = if address == contracts.settlement {
        from_settlement(log)
    } else if address == contracts.registry {
        from_registry(log)
    } else if address == contracts.catalog {
        from_catalog(log)
    } else {
        Ok(None)
    };
    let log_index = log.log_index.unwrap_or_default();
    match found {
        Ok(fact) => Ok(fact.map(|fact| Located {
            log_index,
            transaction: log.transaction_hash.unwrap_or_default(),
            fact,
        })),
        Err(error) => {
            Err(Unreadable { block: log.block_number.unwrap_or_default(), log_index, reason: error.to_string() })
        }
    }
}

fn read<E: SolEvent>(log: &Log) -> sol_types::Result<E> {
    E::decode_log(&log.inner).map(|log| log.data)
}

fn from_settlement(log: &Log) -> sol_types::Result<Option<Fact>> {
    let Some(topic) = log.topic0() else { return Ok(None) };
    let fact = match *topic {
        settlement::Settlement::BatchCommitted::SIGNATURE_HASH => committed(&read(log)?),
        settlement::Settlement::Challenged::SIGNATURE_HASH => {
            let event = read::<settlement::Settlement::Challenged>(log)?;
            let batch = BatchId { keeper: event.keeper, number: event.batch };
            Fact::Challenged { batch, provider: event.provider }
        }
        settlement::Settlement::Answered::SIGNATURE_HASH => {
            let event = read::<settlement::Settlement::Answered>(log)?;
            let batch = BatchId { keeper: event.keeper, number: event.batch };
            Fact::Answered { batch, provider: event.provider }
        }
        settlement::Settlement::BatchVoided::SIGNATURE_HASH => {
            let event = read::<settlement::Settlement::BatchVoided>(log)?;
            Fact::BatchVoided { batch: BatchId { keeper: event.keeper, number: event.batch } }
        }
        settlement::Settlement::Claimed::SIGNATURE_HASH => {
            let event = read::<settlement::Settlement::Claimed>(log)?;
            Fact::Paid { provider: event.provider, amount: Amount(event.amount), way: PaidBy::Claim }
        }
        settlement::Settlement::Recovered::SIGNATURE_HASH => {
            let event = read::<settlement::Settlement::Recovered>(log)?;
            Fact::Paid { provider: event.provider, amount: Amount(event.amount), way: PaidBy::Recovery }
        }
        settlement::Settlement::Redeemed::SIGNATURE_HASH => {
            // In a direct channel the keeper is the provider.
            let event = read::<settlement::Settlement::Redeemed>(log)?;
            Fact::Paid { provider: event.keeper, amount: Amount(event.amount), way: PaidBy::Redemption }
        }
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn committed(event: &settlement::Settlement::BatchCommitted) -> Fact {
    Fact::BatchCommitted {
        batch: BatchId { keeper: event.keeper, number: event.batch },
        commitment: Commitment {
            root: event.root,
            sum: Amount(event.sum),
            fee: Amount(event.fee),
            lines_root: event.linesRoot,
            lines_sum: Amount(event.linesSum),
            line_count: event.lineCount,
            data_hash: event.dataHash,
        },
    }
}

fn from_registry(log: &Log) -> sol_types::Result<Option<Fact>> {
    let Some(topic) = log.topic0() else { return Ok(None) };
    let fact = match *topic {
        registry::ProviderRegistry::ProviderRegistered::SIGNATURE_HASH => {
            let event = read::<registry::ProviderRegistry::ProviderRegistered>(log)?;
            Fact::ProviderRecorded { provider: event.provider, endpoint: event.endpoint, terms: event.terms }
        }
        registry::ProviderRegistry::ProviderUpdated::SIGNATURE_HASH => {
            let event = read::<registry::ProviderRegistry::ProviderUpdated>(log)?;
            Fact::ProviderRecorded { provider: event.provider, endpoint: event.endpoint, terms: event.terms }
        }
        registry::ProviderRegistry::WorkerAdded::SIGNATURE_HASH => {
            let event = read::<registry::ProviderRegistry::WorkerAdded>(log)?;
            Fact::WorkerChanged { provider: event.provider, worker: event.worker, added: true }
        }
        registry::ProviderRegistry::WorkerRemoved::SIGNATURE_HASH => {
            let event = read::<registry::ProviderRegistry::WorkerRemoved>(log)?;
            Fact::WorkerChanged { provider: event.provider, worker: event.worker, added: false }
        }
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn from_catalog(log: &Log) -> sol_types::Result<Option<Fact>> {
    if log.topic0() != Some(&catalog::ResourceCatalog::ResourceAdded::SIGNATURE_HASH) {
        return Ok(None);
    }
    let event = read::<catalog::ResourceCatalog::ResourceAdded>(log)?;
    Ok(Some(Fact::ResourceAdded(Class {
        id: ResourceId(event.id),
        name: event.name,
        unit: event.unit,
        scale: Quantity(event.scale),
        scu_weight: Quantity(event.scuWeight),
    })))
}
