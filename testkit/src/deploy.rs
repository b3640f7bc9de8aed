//! Deploys the contracts on a local chain and seeds its accounts.

use crate::accounts::Accounts;
use crate::anvil::{Anvil, Call};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use anyhow::Context;
use deployment::{Deployment, periods};
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, NANO, Quantity};
use protocol::bindings::{catalog, registry, settlement, token};
use protocol::provider::worker_consent;
use protocol::resource::{Resource, ResourceId, Unit};
use protocol::signature::Domain;

/// What the local chain starts with.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// W: how long a batch can be challenged, in seconds.
    pub challenge: u32,
    /// R: how long a keeper has to answer.
    pub answer: u32,
    /// T: how long a keeper may be silent.
    pub heartbeat: u32,
    /// The protocol's fee rate.
    pub fee_bps: u16,
    /// What the client holds.
    pub client: Amount,
    /// What the keeper posts as its bond, which is also the minimum.
    pub bond: Amount,
}

impl Default for Stage {
    fn default() -> Self {
        let (client, bond) = (Amount(10_000 * NANO), Amount(1_000 * NANO));
        Self { challenge: 4, answer: 4, heartbeat: 60, fee_bps: 100, client, bond }
    }
}

/// Resource classes of a new chain: name, base unit, scale, weight in standard compute units.
pub const RESOURCES: [(&str, Unit, u64, u64); 17] = [
    ("gpu.h200", Unit::GpuMs, 3_600_000, 1_000_000),
    ("cpu.x86-64", Unit::CpuMs, 3_600_000, 1_000),
    ("memory", Unit::MemoryMibS, 3_686_400, 100),
    ("storage", Unit::MemoryMibS, 3_686_400, 1),
    ("egress", Unit::BytesOut, 1_073_741_824, 10),
    ("lease.h200", Unit::LeaseS, 3_600, 1_000_000),
    ("lease.x86-64", Unit::LeaseS, 3_600, 1_000),
    ("hashsearch.keccak256", Unit::Hash, 1_000_000_000, 10),
    ("gemm.bf16", Unit::Flop, 1_000_000_000_000_000, 37),
    ("gemm.fp16", Unit::Flop, 1_000_000_000_000_000, 37),
    ("gemm.int8", Unit::Flop, 1_000_000_000_000_000, 19),
    ("montecarlo.european", Unit::Path, 1_000_000_000_000, 550),
    ("montecarlo.asian", Unit::Path, 1_000_000_000_000, 800),
    ("sort.u32", Unit::Key, 1_000_000_000, 10),
    ("sort.u64", Unit::Key, 1_000_000_000, 40),
    ("reduce.u32", Unit::Key, 1_000_000_000_000, 28),
    ("reduce.u64", Unit::Key, 1_000_000_000_000, 56),
];

/// The resource class of that name, as [`deploy`] numbers it.
pub fn resource(name: &str) -> Option<Resource> {
    let index = RESOURCES.iter().position(|(known, ..)| *known == name)?;
    let (name, unit, scale, _) = RESOURCES[index];
    let id = ResourceId(u32::try_from(index).ok()? + 1);
    Some(Resource { id, name: name.into(), unit, scale: Quantity(scale) })
}

/// Deploys every contract, registers the provider with its worker, and posts the keeper's bond.
pub async fn deploy(anvil: &Anvil, accounts: &Accounts, stage: &Stage) -> anyhow::Result<AddressBook> {
    for sender in accounts.senders() {
        anvil.fund(sender).await?;
    }
    let deployment = Deployment {
        owner: accounts.owner.address(),
        treasury: accounts.treasury.address(),
        minimum_bond: stage.bond,
        fee_bps: stage.fee_bps,
        periods: periods(stage.challenge, stage.answer, stage.heartbeat),
        grants: vec![(accounts.client.address(), stage.client), (accounts.keeper.address(), stage.bond)],
    };
    let book = deployment.deploy(anvil.provider()).await.context("deploying the contracts")?;
    anvil.perform(&seeds(&book, accounts, stage)).await.context("seeding the accounts")?;
    Ok(book)
}

fn seeds(book: &AddressBook, accounts: &Accounts, stage: &Stage) -> Vec<Call> {
    let call = |name, from: Address, to: Address, data: Vec<u8>| Call { name, from, to: Some(to), data: data.into() };
    let (owner, keeper, provider) = (accounts.owner.address(), accounts.keeper.address(), accounts.provider.address());
    let mut calls: Vec<_> = RESOURCES
        .iter()
        .map(|(name, unit, scale, weight)| {
            let add = catalog::ResourceCatalog::addCall {
                name: (*name).into(),
                unit: unit.as_str().into(),
                scale: *scale,
                scuWeight: *weight,
            };
            call("adding a resource", owner, book.catalog(), add.abi_encode())
        })
        .collect();
    let approve = token::ComputeToken::approveCall { spender: book.settlement(), value: U256::from(stage.bond.get()) };
    calls.push(call("approving the bond", keeper, book.token(), approve.abi_encode()));
    let bond = settlement::Settlement::bondCall { amount: stage.bond.get(), owner: accounts.keeper_owner.address() };
    calls.push(call("posting the bond", keeper, book.settlement(), bond.abi_encode()));
    let register = registry::ProviderRegistry::registerCall {
        endpoint: String::new(),
        termsUri: String::new(),
        terms: B256::ZERO,
    };
    calls.push(call("registering the provider", provider, book.registry(), register.abi_encode()));
    let domain = Domain::new(crate::anvil::CHAIN_ID, book.registry());
    let digest = worker_consent(&domain, provider, accounts.worker.address());
    let add = registry::ProviderRegistry::addWorkerCall {
        worker: accounts.worker.address(),
        signature: accounts.worker.sign(digest).0.to_vec().into(),
    };
    calls.push(call("adding the worker", provider, book.registry(), add.abi_encode()));
    calls
}
