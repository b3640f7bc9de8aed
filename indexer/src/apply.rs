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
        Ok(fact) => {
            Ok(fact.map(|fact| Located { log_index, transaction: log.transaction_hash.unwrap_or_default(), fact }))
        }
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
        settlement::BatchCommitted::SIGNATURE_HASH => committed(&read(log)?),
        settlement::Challenged::SIGNATURE_HASH => {
            let event = read::<settlement::Challenged>(log)?;
            let batch = BatchId { keeper: event.keeper, number: event.batch };
            Fact::Challenged { batch, provider: event.provider }
        }
        settlement::Answered::SIGNATURE_HASH => {
            let event = read::<settlement::Answered>(log)?;
            let batch = BatchId { keeper: event.keeper, number: event.batch };
            Fact::Answered { batch, provider: event.provider }
        }
        settlement::BatchVoided::SIGNATURE_HASH => {
            let event = read::<settlement::BatchVoided>(log)?;
            Fact::BatchVoided { batch: BatchId { keeper: event.keeper, number: event.batch } }
        }
        settlement::Claimed::SIGNATURE_HASH => {
            let event = read::<settlement::Claimed>(log)?;
            Fact::Paid { provider: event.provider, amount: Amount(event.amount), way: PaidBy::Claim }
        }
        settlement::Recovered::SIGNATURE_HASH => {
            let event = read::<settlement::Recovered>(log)?;
            Fact::Paid { provider: event.provider, amount: Amount(event.amount), way: PaidBy::Recovery }
        }
        settlement::Redeemed::SIGNATURE_HASH => {
            // In a direct channel the keeper is the provider.
            let event = read::<settlement::Redeemed>(log)?;
            Fact::Paid { provider: event.keeper, amount: Amount(event.amount), way: PaidBy::Redemption }
        }
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn committed(event: &settlement::BatchCommitted) -> Fact {
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
        registry::ProviderRegistered::SIGNATURE_HASH => {
            let event = read::<registry::ProviderRegistered>(log)?;
            Fact::ProviderRecorded { provider: event.provider, endpoint: event.endpoint, terms: event.terms }
        }
        registry::ProviderUpdated::SIGNATURE_HASH => {
            let event = read::<registry::ProviderUpdated>(log)?;
            Fact::ProviderRecorded { provider: event.provider, endpoint: event.endpoint, terms: event.terms }
        }
        registry::WorkerAdded::SIGNATURE_HASH => {
            let event = read::<registry::WorkerAdded>(log)?;
            Fact::WorkerChanged { provider: event.provider, worker: event.worker, added: true }
        }
        registry::WorkerRemoved::SIGNATURE_HASH => {
            let event = read::<registry::WorkerRemoved>(log)?;
            Fact::WorkerChanged { provider: event.provider, worker: event.worker, added: false }
        }
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn from_catalog(log: &Log) -> sol_types::Result<Option<Fact>> {
    if log.topic0() != Some(&catalog::ResourceAdded::SIGNATURE_HASH) {
        return Ok(None);
    }
    let event = read::<catalog::ResourceAdded>(log)?;
    Ok(Some(Fact::ResourceAdded(Class {
        id: ResourceId(event.id),
        name: event.name,
        unit: event.unit,
        scale: Quantity(event.scale),
        scu_weight: Quantity(event.scuWeight),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{B256, Bytes, LogData};

    const CONTRACTS: Contracts = Contracts {
        settlement: Address::repeat_byte(1),
        registry: Address::repeat_byte(2),
        catalog: Address::repeat_byte(3),
    };
    const KEEPER: Address = Address::repeat_byte(0x30);
    const PROVIDER: Address = Address::repeat_byte(0x10);

    fn log(address: Address, data: LogData) -> Log {
        Log {
            inner: alloy::primitives::Log { address, data },
            block_number: Some(9),
            log_index: Some(4),
            transaction_hash: Some(B256::repeat_byte(7)),
            ..Log::default()
        }
    }

    fn read_one<E: SolEvent>(address: Address, event: &E) -> Option<Fact> {
        let located = fact(&CONTRACTS, &log(address, event.encode_log_data())).unwrap()?;
        assert_eq!((located.log_index, located.transaction), (4, B256::repeat_byte(7)));
        Some(located.fact)
    }

    #[test]
    fn a_commit_keeps_all_that_lines_are_checked_against() {
        let event = settlement::BatchCommitted {
            keeper: KEEPER,
            batch: 8,
            root: B256::repeat_byte(1),
            sum: 100,
            fee: 2,
            linesRoot: B256::repeat_byte(3),
            linesSum: 90,
            lineCount: 5,
            dataHash: B256::repeat_byte(4),
        };
        let commitment = Commitment {
            root: B256::repeat_byte(1),
            sum: Amount(100),
            fee: Amount(2),
            lines_root: B256::repeat_byte(3),
            lines_sum: Amount(90),
            line_count: 5,
            data_hash: B256::repeat_byte(4),
        };
        let batch = BatchId { keeper: KEEPER, number: 8 };
        assert_eq!(read_one(CONTRACTS.settlement, &event), Some(Fact::BatchCommitted { batch, commitment }));
    }

    #[test]
    fn challenges_open_and_close_and_void() {
        let batch = BatchId { keeper: KEEPER, number: 8 };
        let challenged = settlement::Challenged { keeper: KEEPER, batch: 8, provider: PROVIDER, owed: 5, deadline: 6 };
        let answered = settlement::Answered { keeper: KEEPER, batch: 8, provider: PROVIDER };
        let voided = settlement::BatchVoided { keeper: KEEPER, batch: 8, provider: PROVIDER, burned: 1 };
        let at = CONTRACTS.settlement;
        assert_eq!(read_one(at, &challenged), Some(Fact::Challenged { batch, provider: PROVIDER }));
        assert_eq!(read_one(at, &answered), Some(Fact::Answered { batch, provider: PROVIDER }));
        assert_eq!(read_one(at, &voided), Some(Fact::BatchVoided { batch }));
    }

    #[test]
    fn payments_name_who_was_paid_and_how() {
        let at = CONTRACTS.settlement;
        let paid = |provider, way| Some(Fact::Paid { provider, amount: Amount(5), way });
        let claimed = settlement::Claimed { keeper: KEEPER, provider: PROVIDER, amount: 5, payments: vec![] };
        let recovered = settlement::Recovered { channelId: B256::ZERO, provider: PROVIDER, batch: 1, amount: 5 };
        let redeemed = settlement::Redeemed { channelId: B256::ZERO, keeper: KEEPER, amount: 5, fee: 1 };
        assert_eq!(read_one(at, &claimed), paid(PROVIDER, PaidBy::Claim));
        assert_eq!(read_one(at, &recovered), paid(PROVIDER, PaidBy::Recovery));
        assert_eq!(
            read_one(at, &redeemed),
            paid(KEEPER, PaidBy::Redemption),
            "a direct channel's keeper is the provider"
        );
    }

    #[test]
    fn providers_workers_and_classes() {
        let worker = Address::repeat_byte(0x50);
        let updated = registry::ProviderUpdated {
            provider: PROVIDER,
            endpoint: "x".into(),
            termsUri: "y".into(),
            terms: B256::ZERO,
        };
        let recorded = Fact::ProviderRecorded { provider: PROVIDER, endpoint: "x".into(), terms: B256::ZERO };
        assert_eq!(read_one(CONTRACTS.registry, &updated), Some(recorded));
        let removed = registry::WorkerRemoved { provider: PROVIDER, worker };
        let changed = Fact::WorkerChanged { provider: PROVIDER, worker, added: false };
        assert_eq!(read_one(CONTRACTS.registry, &removed), Some(changed));
        let added = catalog::ResourceAdded { id: 3, name: "n".into(), unit: "u".into(), scale: 6, scuWeight: 7 };
        let class = Class {
            id: ResourceId(3),
            name: "n".into(),
            unit: "u".into(),
            scale: Quantity(6),
            scu_weight: Quantity(7),
        };
        assert_eq!(read_one(CONTRACTS.catalog, &added), Some(Fact::ResourceAdded(class)));
    }

    #[test]
    fn what_another_contract_says_is_no_fact() {
        let claimed = settlement::Claimed { keeper: KEEPER, provider: PROVIDER, amount: 5, payments: vec![] };
        assert_eq!(read_one(Address::repeat_byte(9), &claimed), None);
        assert_eq!(read_one(CONTRACTS.registry, &claimed), None);
        let finalized = settlement::BatchFinalized { keeper: KEEPER, batch: 1 };
        assert_eq!(read_one(CONTRACTS.settlement, &finalized), None, "finality goes by the clock");
    }

    #[test]
    fn a_known_event_with_other_data_is_reported() {
        let topics = vec![settlement::Claimed::SIGNATURE_HASH];
        let broken = log(CONTRACTS.settlement, LogData::new_unchecked(topics, Bytes::from_static(&[1])));
        let error = fact(&CONTRACTS, &broken).unwrap_err().to_string();
        assert!(error.contains("log 4 of block 9"), "{error}");
    }
}
