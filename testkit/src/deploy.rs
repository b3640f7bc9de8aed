//! Deploys the contracts on a local chain and seeds its accounts.

use crate::accounts::Accounts;
use crate::anvil::{Anvil, Call};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolConstructor};
use anyhow::Context;
use client::network::Network;
use protocol::amount::{Amount, NANO, Quantity};
use protocol::bindings::{catalog, registry, settlement, token};
use protocol::provider::worker_consent;
use protocol::resource::{Resource, ResourceId, Unit};
use protocol::signature::Domain;

/// Periods of the local chain, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Periods {
    /// W: how long a batch can be challenged.
    pub challenge: u32,
    /// R: how long a keeper has to answer.
    pub answer: u32,
    /// T: how long a keeper may be silent.
    pub heartbeat: u32,
}

impl Default for Periods {
    fn default() -> Self {
        Self { challenge: 4, answer: 4, heartbeat: 60 }
    }
}

impl Periods {
    const INCLUSION: u32 = 1;
    const REACTION: u32 = 1;

    /// All constants, the dependent ones at the least that section 6 of the protocol allows.
    fn constants(self) -> settlement::Periods {
        let thaw = 2 * (self.heartbeat + self.challenge + self.answer) + 3 * Self::INCLUSION + Self::REACTION;
        settlement::Periods {
            challenge: self.challenge,
            answer: self.answer,
            heartbeat: self.heartbeat,
            thaw,
            retirement: thaw,
            recovery: 600,
            inclusion: Self::INCLUSION,
            reaction: Self::REACTION,
        }
    }
}

/// What the local chain starts with.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// The contracts' periods.
    pub periods: Periods,
    /// The protocol's fee rate.
    pub fee_bps: u16,
    /// What the client holds.
    pub client: Amount,
    /// What the keeper posts as its bond, which is also the minimum.
    pub bond: Amount,
}

impl Default for Stage {
    fn default() -> Self {
        Self { periods: Periods::default(), fee_bps: 100, client: Amount(10_000 * NANO), bond: Amount(1_000 * NANO) }
    }
}

/// Resource classes of a new chain: name, base unit, scale, weight in standard compute units.
pub const RESOURCES: [(&str, Unit, u64, u64); 5] = [
    ("gpu.h200", Unit::GpuMs, 3_600_000, 1_000_000),
    ("cpu.x86-64", Unit::CpuMs, 3_600_000, 1_000),
    ("memory", Unit::MemoryMibS, 3_686_400, 100),
    ("storage", Unit::MemoryMibS, 3_686_400, 1),
    ("egress", Unit::BytesOut, 1_073_741_824, 10),
];

/// The resource class of that name, as [`deploy`] numbers it.
pub fn resource(name: &str) -> Option<Resource> {
    let index = RESOURCES.iter().position(|(known, ..)| *known == name)?;
    let (name, unit, scale, _) = RESOURCES[index];
    let id = ResourceId(u32::try_from(index).ok()? + 1);
    Some(Resource { id, name: name.into(), unit, scale: Quantity(scale) })
}

/// Deploys every contract, registers the provider with its worker, and posts the keeper's bond.
pub async fn deploy(anvil: &Anvil, accounts: &Accounts, stage: &Stage) -> anyhow::Result<Network> {
    for sender in accounts.senders() {
        anvil.fund(sender).await?;
    }
    let owner = accounts.owner.address();
    let address = |nonce: u64| owner.create(nonce);
    let network = Network {
        chain_id: Quantity(crate::anvil::CHAIN_ID),
        token: address(0),
        settlement: address(1),
        registry: address(2),
        catalog: address(3),
        start_block: Quantity(0),
    };
    anvil.perform(&deployments(&network, accounts, stage)?).await.context("deploying the contracts")?;
    anvil.perform(&seeds(&network, accounts, stage)).await.context("seeding the accounts")?;
    Ok(network)
}

fn deployments(network: &Network, accounts: &Accounts, stage: &Stage) -> anyhow::Result<Vec<Call>> {
    let owner = accounts.owner.address();
    let grant = |to: Address, amount: Amount| token::Grant { to, amount: amount.get() };
    let token = token::ComputeToken::constructorCall {
        minter_: owner,
        initial: vec![grant(accounts.client.address(), stage.client), grant(accounts.keeper.address(), stage.bond)],
    };
    let settlement = settlement::Settlement::constructorCall {
        token_: network.token,
        periods_: stage.periods.constants(),
        settings: settlement::Settings {
            owner,
            guardian: owner,
            treasury: accounts.treasury.address(),
            minimumBond: stage.bond.get(),
            feeBps: stage.fee_bps,
        },
    };
    let catalog = catalog::ResourceCatalog::constructorCall { owner };
    let create = |name: &'static str, code: Option<Bytes>, arguments: Vec<u8>| {
        let code = code.context("this build has no bytecode: run `npm ci` and build again")?;
        Ok(Call { name, from: owner, to: None, data: [code.as_ref(), &arguments].concat().into() })
    };
    [
        create("deploying ComputeToken", token::bytecode(), token.abi_encode()),
        create("deploying Settlement", settlement::bytecode(), settlement.abi_encode()),
        create("deploying ProviderRegistry", registry::bytecode(), Vec::new()),
        create("deploying ResourceCatalog", catalog::bytecode(), catalog.abi_encode()),
    ]
    .into_iter()
    .collect()
}

fn seeds(network: &Network, accounts: &Accounts, stage: &Stage) -> Vec<Call> {
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
            call("adding a resource", owner, network.catalog, add.abi_encode())
        })
        .collect();
    let approve = token::ComputeToken::approveCall { spender: network.settlement, value: U256::from(stage.bond.get()) };
    calls.push(call("approving the bond", keeper, network.token, approve.abi_encode()));
    let bond = settlement::Settlement::bondCall { amount: stage.bond.get(), owner: accounts.keeper_owner.address() };
    calls.push(call("posting the bond", keeper, network.settlement, bond.abi_encode()));
    let register = registry::ProviderRegistry::registerCall { endpoint: String::new(), terms: B256::ZERO };
    calls.push(call("registering the provider", provider, network.registry, register.abi_encode()));
    let domain = Domain::new(crate::anvil::CHAIN_ID, network.registry);
    let digest = worker_consent(&domain, provider, accounts.worker.address());
    let add = registry::ProviderRegistry::addWorkerCall {
        worker: accounts.worker.address(),
        signature: accounts.worker.sign(digest).0.to_vec().into(),
    };
    calls.push(call("adding the worker", provider, network.registry, add.abi_encode()));
    calls
}
