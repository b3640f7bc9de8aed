//! Random histories.

use alloy::primitives::{Address, B256};
use indexer_store::query::TradeFilter;
use indexer_store::store::Scheme;
use proptest::prelude::*;
use protocol::resource::ResourceId;

/// W of the model.
pub(crate) const CHALLENGE_PERIOD: u64 = 50;
/// How late a line may be.
pub(crate) const LATENESS: u64 = 400;
/// Resources that lines name; the last is not in the catalog.
pub(crate) const RESOURCES: u32 = 3;

pub(crate) fn scheme() -> Scheme {
    Scheme {
        chain_id: 51_866,
        settlement: Address::repeat_byte(0x5e),
        challenge_period: CHALLENGE_PERIOD,
        lateness: LATENESS,
    }
}

/// One block: how much later it is, and what may happen in it, if the protocol's rules allow it then.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) seconds: u64,
    pub(crate) actions: Vec<Action>,
    pub(crate) attach: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Commit { keeper: u8, lines: Vec<LineSeed> },
    Challenge { keeper: u8, provider: u8 },
    Answer { keeper: u8, provider: u8 },
    Void { keeper: u8 },
    Register { provider: u8 },
    Worker { provider: u8, worker: u8, added: bool },
    Pay { provider: u8, amount: u64 },
}

#[derive(Debug, Clone)]
pub(crate) struct LineSeed {
    pub(crate) party: u8,
    pub(crate) resource: u32,
    pub(crate) quantity: u64,
    pub(crate) price: u64,
    pub(crate) age: u64,
    pub(crate) is_priced: bool,
    pub(crate) is_finished: bool,
}

impl Step {
    pub(crate) fn empty() -> Self {
        Self { seconds: 1, actions: vec![], attach: false }
    }

    pub(crate) fn commit(lines: u64) -> Self {
        let line = |n| LineSeed {
            party: 1,
            resource: 1,
            quantity: 100 + n,
            price: 7,
            age: n,
            is_priced: true,
            is_finished: true,
        };
        let action = Action::Commit { keeper: 0, lines: (0..lines).map(line).collect() };
        Self { seconds: 1, actions: vec![action], attach: false }
    }
}

fn line() -> impl Strategy<Value = LineSeed> {
    (0u8..4, 1..=RESOURCES, 1u64..5_000, 1u64..500, 0u64..900, prop::bool::weighted(0.8), any::<bool>()).prop_map(
        |(party, resource, quantity, price, age, is_priced, is_finished)| LineSeed {
            party,
            resource,
            quantity,
            price,
            age,
            is_priced,
            is_finished,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let keeper = 0u8..2;
    prop_oneof![
        4 => (keeper.clone(), prop::collection::vec(line(), 0..5))
            .prop_map(|(keeper, lines)| Action::Commit { keeper, lines }),
        2 => (keeper.clone(), 0u8..2).prop_map(|(keeper, provider)| Action::Challenge { keeper, provider }),
        2 => (keeper.clone(), 0u8..2).prop_map(|(keeper, provider)| Action::Answer { keeper, provider }),
        1 => keeper.prop_map(|keeper| Action::Void { keeper }),
        1 => (0u8..3).prop_map(|provider| Action::Register { provider }),
        1 => (0u8..3, 0u8..2, any::<bool>())
            .prop_map(|(provider, worker, added)| Action::Worker { provider, worker, added }),
        1 => (0u8..3, 1u64..1 << 60).prop_map(|(provider, amount)| Action::Pay { provider, amount }),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u64..40, prop::collection::vec(action(), 0..4), prop::bool::weighted(0.4))
        .prop_map(|(seconds, actions, attach)| Step { seconds, actions, attach });
    prop::collection::vec(step, 2..18)
}

pub(crate) fn provider(n: u8) -> Address {
    Address::repeat_byte(0x10 + n)
}

pub(crate) fn payer(n: u8) -> Address {
    Address::repeat_byte(0x20 + n)
}

pub(crate) fn keeper(n: u8) -> Address {
    Address::repeat_byte(0x30 + n)
}

pub(crate) fn job(n: u8) -> B256 {
    B256::repeat_byte(0x40 + n)
}

/// One of the ways to filter trades.
pub(crate) fn filter(n: usize) -> TradeFilter {
    let none = TradeFilter::default();
    match n {
        0 => none,
        1 => TradeFilter { resource: Some(ResourceId(1)), ..none },
        2 => TradeFilter { provider: Some(provider(1)), ..none },
        3 => TradeFilter { payer: Some(payer(1)), resource: Some(ResourceId(2)), ..none },
        _ => TradeFilter { job: Some(job(1)), provider: Some(provider(1)), ..none },
    }
}
