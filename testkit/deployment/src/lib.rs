//! The contracts on a local chain, created as on a public one: by CREATE2 through the deterministic deployer.
//!
//! For tests and the local network only: the node sends for any account, without its key.

#![warn(missing_docs)]

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, address, b256, keccak256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::sol_types::SolConstructor;
use anyhow::{Context, bail, ensure};
use protocol::address_book::{AddressBook, Contract, Contracts, Creation};
use protocol::amount::{Amount, NANO, Quantity};
use protocol::bindings::{catalog, registry, settlement, token};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The deterministic deployer, which anvil carries from its first block.
pub const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Permit2, at the address that it has on every chain.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");

const PERMIT2_CODE: &str = include_str!("../../../contracts/vendor/permit2/creation.hex");
const PERMIT2_SALT: B256 = b256!("0000000000000000000000000000000000000000d3af2663da51c10215000000");

/// What the owner can mint besides the grants: a tenth of the cap.
const EMISSION: Amount = Amount(100_000_000 * NANO);

/// More than any of the creations needs, and less than a transaction may have (2^24).
const CREATION_GAS: u64 = 12_000_000;

/// What differs between local deployments.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Owns the contracts, guards them, and may mint.
    pub owner: Address,
    /// Receives the protocol fees.
    pub treasury: Address,
    /// Least bond of a keeper.
    pub minimum_bond: Amount,
    /// The protocol's fee rate in basis points.
    pub fee_bps: u16,
    /// Settlement's times.
    pub periods: settlement::Periods,
    /// Who holds how much from the start.
    pub grants: Vec<(Address, Amount)>,
}

/// Settlement's times, in seconds: the three that matter as given, all others at the least that they require.
pub const fn periods(challenge: u32, answer: u32, heartbeat: u32) -> settlement::Periods {
    let (inclusion, reaction) = (1, 1);
    let thaw = 2 * (heartbeat + challenge + answer) + 3 * inclusion + reaction;
    settlement::Periods { challenge, answer, heartbeat, thaw, retirement: thaw, recovery: 600, inclusion, reaction }
}

impl Deployment {
    /// Creates Permit2 and every contract of ours, and returns their address book.
    pub async fn deploy(&self, provider: &DynProvider) -> anyhow::Result<AddressBook> {
        let node = Node { provider, sender: self.owner };
        node.permit2().await?;
        let (token, start_block) = node.create("ComputeToken", token::bytecode(), self.token()).await?;
        let (settlement, _) = node.create("Settlement", settlement::bytecode(), self.settlement(token.address)).await?;
        let (registry, _) = node.create("ProviderRegistry", registry::bytecode(), self.registry(token.address)).await?;
        let (catalog, _) = node.create("ResourceCatalog", catalog::bytecode(), self.catalog()).await?;
        Ok(AddressBook {
            chain_id: Quantity(provider.get_chain_id().await?),
            start_block: Quantity(start_block),
            deployer: DEPLOYER,
            salt: B256::ZERO,
            contracts: Contracts { token, settlement, registry, catalog, timelock: None },
        })
    }

    fn token(&self) -> Vec<u8> {
        let initial = self.grants.iter().map(|(to, amount)| token::Grant { to: *to, amount: amount.get() }).collect();
        // All of it may be minted at once.
        let emission_ = token::Emission { total: EMISSION.get(), start: 0, duration: 0 };
        token::ComputeToken::constructorCall { minter_: self.owner, initial, emission_ }.abi_encode()
    }

    fn settlement(&self, token: Address) -> Vec<u8> {
        let settings = settlement::Settings {
            owner: self.owner,
            guardian: self.owner,
            treasury: self.treasury,
            minimumBond: self.minimum_bond.get(),
            feeBps: self.fee_bps,
        };
        let call = settlement::Settlement::constructorCall { token_: token, periods_: self.periods.clone(), settings };
        call.abi_encode()
    }

    /// Without a slasher, with times and amounts fit for watching a stake come and go.
    fn registry(&self, token: Address) -> Vec<u8> {
        let given = registry::RegistrySettings {
            slasher: Address::ZERO,
            minimumStake: NANO,
            unstakeDelay: 120,
            slashEpoch: 60,
            slashCapBps: 1_000,
        };
        registry::ProviderRegistry::constructorCall { token_: token, owner: self.owner, given }.abi_encode()
    }

    fn catalog(&self) -> Vec<u8> {
        catalog::ResourceCatalog::constructorCall { owner: self.owner }.abi_encode()
    }
}

/// Writes an address book where a program's configuration can name it.
pub fn write(book: &AddressBook, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("address-book.json");
    std::fs::write(&path, serde_json::to_vec_pretty(book)?).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// A development node that sends for anyone.
struct Node<'a> {
    provider: &'a DynProvider,
    sender: Address,
}

impl Node<'_> {
    async fn permit2(&self) -> anyhow::Result<()> {
        if !self.provider.get_code_at(PERMIT2).await?.is_empty() {
            return Ok(());
        }
        let code: Bytes = PERMIT2_CODE.trim().parse().context("contracts/vendor/permit2/creation.hex")?;
        ensure!(DEPLOYER.create2(PERMIT2_SALT, keccak256(&code)) == PERMIT2, "the vendored code is not Permit2's");
        self.send("Permit2", [PERMIT2_SALT.as_slice(), &code].concat()).await.map(drop)
    }

    /// Creates a contract, and tells in which block.
    async fn create(&self, name: &str, code: Option<Bytes>, arguments: Vec<u8>) -> anyhow::Result<(Contract, u64)> {
        let code = code.context("this build has no bytecode: run `npm ci` and build again")?;
        let code = [code.as_ref(), &arguments].concat();
        let address = DEPLOYER.create2(B256::ZERO, keccak256(&code));
        let receipt = self.send(name, [B256::ZERO.as_slice(), &code].concat()).await?;
        let standing = self.provider.get_code_at(address).await?;
        ensure!(!standing.is_empty(), "{name} was not created: its constructor reverted");
        let creation = Creation { transaction: receipt.transaction_hash, arguments: arguments.into() };
        let contract = Contract { address, code_hash: keccak256(standing), creation: Some(creation) };
        Ok((contract, receipt.block_number.context("a receipt without a block")?))
    }

    /// Sends to the deployer, mines, and waits for success.
    async fn send(&self, name: &str, data: Vec<u8>) -> anyhow::Result<TransactionReceipt> {
        self.raw("anvil_setBalance", json!([self.sender, U256::from(10).pow(U256::from(21))])).await?;
        self.raw("anvil_impersonateAccount", json!([self.sender])).await?;
        let request = TransactionRequest {
            from: Some(self.sender),
            to: Some(TxKind::Call(DEPLOYER)),
            gas: Some(CREATION_GAS),
            input: Bytes::from(data).into(),
            ..TransactionRequest::default()
        };
        let hash: B256 = serde_json::from_value(self.raw("eth_sendTransaction", json!([request])).await?)?;
        self.raw("evm_mine", json!([])).await?;
        for _ in 0..400 {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await? {
                ensure!(receipt.status(), "creating {name} reverted");
                return Ok(receipt);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("the transaction that creates {name} was not mined within 10 s")
    }

    async fn raw(&self, method: &'static str, params: Value) -> anyhow::Result<Value> {
        self.provider.raw_request(method.into(), params).await.with_context(|| format!("{method} failed"))
    }
}
