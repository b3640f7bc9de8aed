//! A node on a free port, ended with the test. It takes transactions from anyone without a key.

use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const CHAIN_ID: u64 = 51866;

pub(crate) struct Anvil {
    child: Child,
    pub(crate) url: String,
    pub(crate) provider: DynProvider,
}

impl Anvil {
    pub(crate) fn start() -> Self {
        let system = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("macos", "aarch64") => "darwin-arm64",
            ("macos", _) => "darwin-amd64",
            (_, "aarch64") => "linux-arm64",
            _ => "linux-amd64",
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node_modules/@foundry-rs");
        let mut child = Command::new(root.join(format!("anvil-{system}/bin/anvil")))
            .args(["--port", "0", "--chain-id", "51866", "--block-time", "1", "--slots-in-an-epoch", "1"])
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
        let url = format!("http://{address}");
        let provider = ProviderBuilder::new().connect_http(url.parse().unwrap()).erased();
        Self { child, url, provider }
    }

    pub(crate) async fn raw(&self, method: &'static str, params: serde_json::Value) -> serde_json::Value {
        let answer: Result<serde_json::Value, _> = self.provider.raw_request(method.into(), params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends a call as anyone, waits until it is mined, and tells whether it succeeded.
    pub(crate) async fn try_send(
        &self,
        from: Address,
        to: Option<Address>,
        data: impl Into<Bytes>,
    ) -> Result<u64, String> {
        self.raw("anvil_setBalance", serde_json::json!([from, U256::from(10).pow(U256::from(20))])).await;
        self.raw("anvil_impersonateAccount", serde_json::json!([from])).await;
        let request = TransactionRequest {
            from: Some(from),
            to: Some(to.map_or(TxKind::Create, TxKind::Call)),
            gas: Some(12_000_000),
            input: data.into().into(),
            ..TransactionRequest::default()
        };
        let hash = self.raw("eth_sendTransaction", serde_json::json!([request])).await;
        self.raw("evm_mine", serde_json::json!([])).await;
        let hash = hash.as_str().unwrap().parse().unwrap();
        for _ in 0..100 {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                if receipt.status() {
                    return Ok(receipt.gas_used);
                }
                return Err(self
                    .provider
                    .call(request)
                    .await
                    .map(|_| "no reason".into())
                    .unwrap_or_else(|e| e.to_string()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a transaction was not mined")
    }

    pub(crate) async fn send(&self, from: Address, to: Option<Address>, data: impl Into<Bytes>) -> u64 {
        self.try_send(from, to, data).await.unwrap_or_else(|reason| panic!("reverted: {reason}"))
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.raw("evm_increaseTime", serde_json::json!([seconds])).await;
        self.mine(1).await;
    }

    pub(crate) async fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.raw("evm_mine", serde_json::json!([])).await;
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Both fail only if the node has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
