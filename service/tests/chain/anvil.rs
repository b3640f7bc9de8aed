//! A real anvil on a free port, ended with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy::primitives::{Address, B256, Bytes, address};
use serde_json::{Value, json};
use service::chain::{Chain, ChainConfig};

/// A chain id that is not any node's default.
pub(crate) const CHAIN_ID: u64 = 51866;
/// The first account of anvil's well-known mnemonic, which the node funds.
pub(crate) const KEY: [u8; 32] =
    alloy::primitives::hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
/// Where the tests put a contract that emits one empty log a call.
pub(crate) const LOGGER: Address = address!("00000000000000000000000000000000000c0de1");
/// `LOG0` of nothing.
pub(crate) const LOGGER_CODE: &str = "0x60006000a000";
/// Reverts with the four bytes `deadbeef`.
pub(crate) const REVERTER_CODE: &str = "0x63deadbeef60e01b60005260046000fd";

pub(crate) struct Anvil {
    child: Child,
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Anvil {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let chain_id = CHAIN_ID.to_string();
        let mut child = Command::new(binary())
            .args(["--port", "0", "--chain-id", &chain_id])
            .args(arguments)
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
        let anvil = Self { child, url: format!("http://{address}"), http: reqwest::Client::new() };
        anvil.rpc("anvil_setCode", json!([LOGGER, LOGGER_CODE])).await;
        anvil
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self.http.post(&self.url).json(&request).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    /// Mines a block with one log of [`LOGGER`], sent by the node's second account.
    pub(crate) async fn log(&self) {
        let from = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        let call = json!([{ "from": from, "to": LOGGER, "gas": "0x20000" }]);
        let hash = self.rpc("eth_sendTransaction", call).await;
        // The node answers before it has mined.
        while self.rpc("eth_getTransactionReceipt", json!([hash])).await.is_null() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn number(&self) -> u64 {
        quantity(&self.rpc("eth_blockNumber", json!([])).await)
    }

    pub(crate) async fn nonce(&self, account: Address) -> u64 {
        quantity(&self.rpc("eth_getTransactionCount", json!([account, "latest"])).await)
    }

    /// How often [`LOGGER`] was called.
    pub(crate) async fn logs(&self) -> usize {
        let filter = json!([{ "address": LOGGER, "fromBlock": "0x0", "toBlock": "latest" }]);
        self.rpc("eth_getLogs", filter).await.as_array().unwrap().len()
    }

    pub(crate) async fn chain(&self) -> Chain {
        Chain::connect(&config(&[&self.url])).await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Both fail only if the node has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn config(urls: &[&str]) -> ChainConfig {
    ChainConfig {
        endpoints: urls.iter().map(|url| url.parse().unwrap()).collect(),
        chain_id: CHAIN_ID,
        timeout_ms: 2000,
        poll_ms: 20,
    }
}

pub(crate) fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

pub(crate) fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

pub(crate) fn bytes(value: &str) -> Bytes {
    value.parse().unwrap()
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
