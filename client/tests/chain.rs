//! Channels, providers and bonds against the real contracts on a real node.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::sol_types::SolCall;
use client::anchor::{Anchor, ChainAnchor, KeeperStatus, Settling};
use client::provider::{consent, record};
use client::wallet::{Wallet, WalletError, balance};
use deployment::{Deployment, periods};
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, NANO};
use protocol::bindings::{catalog, settlement};
use protocol::resource::Unit;
use protocol::signature::SigningKey;
use protocol::voucher::ChannelId;
use serde_json::{Value, json};
use service::chain::{Chain, ChainConfig};
use std::borrow::Cow;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CHAIN_ID: u64 = 51866;
/// THAW of the test deployment, in seconds.
const THAW: u32 = 140;

struct Node {
    child: Child,
    chain: Chain,
    book: AddressBook,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

async fn rpc(provider: &DynProvider, method: &'static str, params: Value) -> Value {
    provider.raw_request(Cow::Borrowed(method), params).await.unwrap()
}

async fn send(provider: &DynProvider, from: Address, to: Address, data: Vec<u8>) {
    let call = json!({ "from": from, "to": to, "data": Bytes::from(data) });
    let hash: B256 = serde_json::from_value(rpc(provider, "eth_sendTransaction", json!([call])).await).unwrap();
    for _ in 0..200 {
        if let Some(receipt) = provider.get_transaction_receipt(hash).await.unwrap() {
            assert!(receipt.status(), "{call} reverted");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{call} was not mined");
}

fn binary() -> std::path::PathBuf {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let path = format!("../node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Node {
    async fn start() -> Self {
        let mut child = Command::new(binary())
            .args(["--port", "0", "--chain-id", "51866"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil is installed: run `npm ci` first");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).unwrap();
        // A full pipe would stop the node.
        std::thread::spawn(move || lines.for_each(drop));
        let endpoints = vec![format!("http://{address}").parse().unwrap()];
        let config = ChainConfig { endpoints, chain_id: CHAIN_ID, timeout_ms: 5_000, poll_ms: 20 };
        let chain = Chain::connect(&config).await.unwrap();
        let book = deploy(chain.provider()).await;
        Self { child, chain, book }
    }

    async fn wallet(&self, key: SigningKey) -> Wallet {
        Wallet::new(self.chain.clone(), self.book.clone(), key).await.unwrap()
    }

    fn anchor(&self) -> ChainAnchor {
        ChainAnchor::new(self.chain.clone(), self.book.clone())
    }
}

/// Deploys the contracts; keys 1 (client) and 2 (keeper) hold 1000 CAPA each.
async fn deploy(provider: &DynProvider) -> AddressBook {
    let accounts: Vec<Address> = serde_json::from_value(rpc(provider, "eth_accounts", json!([])).await).unwrap();
    let owner = accounts[0];
    for byte in 1..=3 {
        let funds = U256::from(10).pow(U256::from(18));
        rpc(provider, "anvil_setBalance", json!([key(byte).address(), funds])).await;
    }
    let deployment = Deployment {
        owner,
        treasury: owner,
        minimum_bond: Amount(100 * NANO),
        fee_bps: 100,
        periods: settlement::Periods { thaw: THAW, retirement: THAW, recovery: 100, ..periods(20, 20, 20) },
        grants: [1, 2].map(|byte| (key(byte).address(), Amount(1_000 * NANO))).to_vec(),
    };
    let book = deployment.deploy(provider).await.unwrap();
    for (name, unit) in [("cpu.x86-64", "vCPU-ms"), ("qpu.future", "qubit-ms")] {
        let add = catalog::addCall { name: name.into(), unit: unit.into(), scale: 3_600_000, scuWeight: 1 };
        send(provider, owner, book.catalog(), add.abi_encode()).await;
    }
    book
}

#[tokio::test]
async fn a_channel_from_permit_to_withdrawal() {
    let node = Node::start().await;
    let wallet = node.wallet(key(1)).await;
    let (signer, provider) = (key(9).address(), key(3).address());
    wallet.open_channel(signer, provider, Amount(40 * NANO)).await.unwrap();
    wallet.open_channel(signer, provider, Amount(2 * NANO)).await.unwrap();
    let state = wallet.channel(signer, provider).await.unwrap();
    assert_eq!((state.deposit, state.spent, state.thaw_at), (Amount(42 * NANO), Amount(0), None));
    assert_eq!(wallet.balance().await.unwrap(), Amount(958 * NANO));

    let error = wallet.open_channel(signer, provider, Amount(959 * NANO)).await.unwrap_err();
    assert!(matches!(error, WalletError::Poor { .. }) && !error.is_retryable(), "{error}");
    let error = wallet.withdraw_channel(signer, provider).await.unwrap_err();
    assert!(error.to_string().contains("close the channel first"), "{error}");

    wallet.close_channel(signer, provider).await.unwrap();
    let thaw = wallet.channel(signer, provider).await.unwrap().thaw_at;
    assert!(thaw.is_some());
    let error = wallet.withdraw_channel(signer, provider).await.unwrap_err();
    assert!(error.to_string().contains("from Unix time"), "{error}");
    rpc(node.chain.provider(), "evm_increaseTime", json!([THAW + 1])).await;
    rpc(node.chain.provider(), "evm_mine", json!([])).await;
    wallet.withdraw_channel(signer, provider).await.unwrap();
    assert_eq!(balance(&node.chain, &node.book, key(1).address()).await.unwrap(), Amount(1_000 * NANO));
}

#[tokio::test]
async fn a_bond_makes_a_keeper() {
    let node = Node::start().await;
    let (keeper, anchor) = (node.wallet(key(2)).await, node.anchor());
    let address = keeper.address();
    assert_eq!(anchor.settling(address).await.unwrap(), Settling::Direct { fee_bps: 100 });
    let owner = Address::repeat_byte(7);
    let error = keeper.bond(Amount(99 * NANO), owner).await.unwrap_err();
    assert!(error.to_string().contains("at least 100.000000000 CAPA"), "{error}");
    keeper.bond(Amount(100 * NANO), owner).await.unwrap();
    let Settling::Netted(terms) = anchor.settling(address).await.unwrap() else { panic!("no keeper") };
    assert_eq!((terms.status, terms.current, terms.committed), (KeeperStatus::Active, 1, false));
    assert_eq!((terms.fee_bps, terms.next_fee_bps), (100, 100));

    let client = node.wallet(key(1)).await;
    client.open_channel(key(9).address(), address, Amount(NANO)).await.unwrap();
    let id = ChannelId::of(client.address(), key(9).address(), address);
    assert_eq!(anchor.channel(id).await.unwrap().deposit, Amount(NANO));
}

#[tokio::test]
async fn a_provider_and_its_worker_keys() {
    let node = Node::start().await;
    let (provider, anchor) = (node.wallet(key(3)).await, node.anchor());
    let (worker, registry) = (key(5), node.book.registry());
    let signed = consent(CHAIN_ID, registry, provider.address(), &worker);
    let error = provider.add_worker(worker.address(), &signed).await.unwrap_err();
    assert!(error.to_string().contains("register first"), "{error}");
    provider.register_provider("https://one.example", "", B256::ZERO).await.unwrap();
    let stranger = consent(CHAIN_ID, registry, provider.address(), &key(6));
    let error = provider.add_worker(worker.address(), &stranger).await.unwrap_err();
    assert!(error.to_string().contains("must be signed by the worker key"), "{error}");
    provider.add_worker(worker.address(), &signed).await.unwrap();
    assert_eq!(anchor.provider_of(worker.address()).await.unwrap(), Some(provider.address()));
    provider.register_provider("https://two.example", "ipfs://terms", B256::repeat_byte(1)).await.unwrap();
    let found = record(&node.chain, &node.book, provider.address()).await.unwrap();
    assert_eq!((found.endpoint.as_str(), found.workers), ("https://two.example", 1));
    assert_eq!((found.terms_uri.as_str(), found.terms), ("ipfs://terms", B256::repeat_byte(1)));
    provider.remove_worker(worker.address()).await.unwrap();
    assert_eq!(anchor.provider_of(worker.address()).await.unwrap(), None);
}

#[tokio::test]
async fn only_what_can_be_metered_can_be_bought() {
    let node = Node::start().await;
    let resources = node.anchor().resources().await.unwrap();
    assert_eq!(resources.len(), 1, "a unit that this version does not know is left out");
    assert_eq!((resources[0].name.as_str(), resources[0].unit), ("cpu.x86-64", Unit::CpuMs));
}
