//! A real anvil with the contracts, ended with the test.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::DynProvider;
use deployment::{Deployment, periods};
use protocol::address_book::AddressBook;
use protocol::amount::Amount;
use protocol::bindings::{catalog, registry, settlement, token};
use serde_json::{Value, json};
use service::chain::{Chain, ChainConfig};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const CHAIN_ID: u64 = 51_866;
/// W of the test chain, in seconds.
pub(crate) const CHALLENGE: u32 = 100;
/// T of the test chain, in seconds.
pub(crate) const HEARTBEAT: u32 = 1_000;
const CAPA: u64 = 1_000_000_000;
/// The keeper's bond.
pub(crate) const BOND: u64 = CAPA;

pub(crate) struct World {
    child: Child,
    url: String,
    http: reqwest::Client,
    pub(crate) book: AddressBook,
    pub(crate) token: token::ComputeTokenInstance<DynProvider>,
    pub(crate) settlement: settlement::SettlementInstance<DynProvider>,
    pub(crate) registry: registry::ProviderRegistryInstance<DynProvider>,
    pub(crate) catalog: catalog::ResourceCatalogInstance<DynProvider>,
}

impl World {
    /// A chain on which `rich` hold a thousand CAPA each and `cpu.x86-64` is traded.
    pub(crate) async fn start(rich: &[Address]) -> Self {
        let (child, url) = spawn();
        let provider = Chain::connect(&config(&url)).await.unwrap().provider().clone();
        let owner = Address::repeat_byte(0xd0);
        let deployment = Deployment {
            owner,
            treasury: Address::repeat_byte(0xfe),
            minimum_bond: Amount(BOND),
            fee_bps: 100,
            periods: settlement::Periods {
                thaw: 5_000,
                retirement: 5_000,
                recovery: 1_000,
                reaction: 2,
                ..periods(CHALLENGE, CHALLENGE, HEARTBEAT)
            },
            grants: rich.iter().map(|holder| (*holder, Amount(1_000 * CAPA))).collect(),
        };
        let book = deployment.deploy(&provider).await.unwrap();
        let world = Self {
            child,
            url,
            http: reqwest::Client::new(),
            token: token::ComputeTokenInstance::new(book.token(), provider.clone()),
            settlement: settlement::SettlementInstance::new(book.settlement(), provider.clone()),
            registry: registry::ProviderRegistryInstance::new(book.registry(), provider.clone()),
            catalog: catalog::ResourceCatalogInstance::new(book.catalog(), provider),
            book,
        };
        let add = world.catalog.add("cpu.x86-64".into(), "vCPU-ms".into(), 3_600_000, 1).calldata().clone();
        world.send(owner, *world.catalog.address(), add).await;
        world
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self.http.post(&self.url).json(&request).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends as any account, whose key nobody needs to know.
    pub(crate) async fn send(&self, from: Address, to: Address, data: Bytes) {
        let receipt = self.transact(from, to, data).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }

    async fn transact(&self, from: Address, to: Address, data: Bytes) -> Value {
        self.fund(from).await;
        self.rpc("anvil_impersonateAccount", json!([from])).await;
        let call = json!({ "from": from, "to": to, "data": data, "gas": "0xf00000" });
        let hash = self.rpc("eth_sendTransaction", json!([call])).await;
        for _ in 0..500 {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{hash} is not mined");
    }

    /// Gives an account coins for gas.
    pub(crate) async fn fund(&self, account: Address) {
        self.rpc("anvil_setBalance", json!([account, "0x56bc75e2d63100000"])).await;
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    pub(crate) async fn pass(&self, seconds: u32) {
        self.rpc("evm_increaseTime", json!([seconds])).await;
        self.mine(1).await;
    }

    /// Opens a channel, and waits until it is safe.
    pub(crate) async fn open_channel(&self, payer: Address, session: Address, keeper: Address, amount: u64) {
        self.open_unsafe_channel(payer, session, keeper, amount).await;
        self.mine(3).await;
    }

    /// Opens a channel that only the newest block knows of.
    pub(crate) async fn open_unsafe_channel(&self, payer: Address, session: Address, keeper: Address, amount: u64) {
        let settlement = *self.settlement.address();
        self.approve(payer, amount).await;
        self.send(payer, settlement, self.settlement.open(session, keeper, amount).calldata().clone()).await;
    }

    /// Hands tokens over.
    pub(crate) async fn give(&self, from: Address, to: Address, amount: u64) {
        let call = self.token.transfer(to, U256::from(amount)).calldata().clone();
        self.send(from, *self.token.address(), call).await;
    }

    pub(crate) async fn bond(&self, keeper: Address) {
        self.approve(keeper, BOND).await;
        let call = self.settlement.bond(BOND, keeper).calldata().clone();
        self.send(keeper, *self.settlement.address(), call).await;
    }

    async fn approve(&self, owner: Address, amount: u64) {
        let call = self.token.approve(*self.settlement.address(), U256::from(amount)).calldata().clone();
        self.send(owner, *self.token.address(), call).await;
    }

    /// Registers a provider and its worker key.
    pub(crate) async fn register(&self, provider: Address, worker: &protocol::signature::SigningKey) {
        let registry = *self.registry.address();
        self.send(
            provider,
            registry,
            self.registry.register(String::new(), String::new(), B256::ZERO).calldata().clone(),
        )
        .await;
        let digest = self.registry.consentDigest(provider, worker.address()).call().await.unwrap();
        let consent = Bytes::copy_from_slice(&worker.sign(digest).0);
        self.send(provider, registry, self.registry.addWorker(worker.address(), consent).calldata().clone()).await;
        self.fund(worker.address()).await;
    }

    pub(crate) async fn balance(&self, account: Address) -> u64 {
        self.token.balanceOf(account).call().await.unwrap().to()
    }

    pub(crate) fn chain_config(&self) -> ChainConfig {
        config(&self.url)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Both fail only if the node has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(url: &str) -> ChainConfig {
    ChainConfig { endpoints: vec![url.parse().unwrap()], chain_id: CHAIN_ID, timeout_ms: 5_000, poll_ms: 20 }
}

fn spawn() -> (Child, String) {
    let mut child = Command::new(binary())
        .args(["--port", "0", "--chain-id", &CHAIN_ID.to_string(), "--slots-in-an-epoch", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("anvil is installed: run `npm ci` first");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
        .expect("anvil prints where it listens");
    // A full pipe would stop the node.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (child, format!("http://{address}"))
}

/// npm's wrapper hides the exit status, so the native binary is called; where there is none, the one on `PATH`.
fn binary() -> PathBuf {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "darwin-arm64",
        ("macos", _) => "darwin-amd64",
        (_, "aarch64") => "linux-arm64",
        _ => "linux-amd64",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node_modules/@foundry-rs");
    let native = root.join(format!("anvil-{platform}/bin/anvil"));
    if native.exists() { native } else { PathBuf::from("anvil") }
}
