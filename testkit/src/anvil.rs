//! The embedded chain: anvil as a child process.

use crate::tools::{self, Process};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use url::Url;

/// Chain id of the local chain: one that no wallet knows, because wallets warn about 31337.
pub const CHAIN_ID: u64 = 51866;

/// How the chain makes blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// One block a second.
    EverySecond,
    /// One block per transaction, at once; only the newest states can be asked for.
    Instant,
}

/// A running anvil; it ends with this value.
#[derive(Debug)]
pub struct Anvil {
    process: Process,
    log: PathBuf,
    url: Url,
    provider: DynProvider,
}

impl Anvil {
    /// Starts a chain on `port`, with its log in `folder`.
    pub async fn start(folder: &Path, guard: Option<&Path>, port: u16, mining: Mining) -> anyhow::Result<Self> {
        let mut command = vec![tools::foundry("anvil")?.display().to_string()];
        for argument in ["--chain-id", &CHAIN_ID.to_string(), "--port", &port.to_string(), "--silent"] {
            command.push(argument.to_owned());
        }
        // One slot an epoch, so that `safe` and `finalized` trail the newest block as they do on a real chain.
        command.extend(["--slots-in-an-epoch".into(), "1".into()]);
        command.push("--enable-tx-gas-limit".into());
        match mining {
            Mining::EverySecond => command.extend(["--block-time".into(), "1".into()]),
            // The state of every block would go to disk: gigabytes after some thousand.
            Mining::Instant => command.extend(["--prune-history".into(), "8".into()]),
        }
        let log = folder.join("anvil.log");
        let process = Process::spawn("anvil", guard, &command, &log)?;
        let url: Url = format!("http://127.0.0.1:{port}/").parse()?;
        let provider = ProviderBuilder::new().connect_http(url.clone()).erased();
        let mut anvil = Self { process, log, url, provider };
        anvil.wait_until_up().await?;
        Ok(anvil)
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.process.check(&self.log)?;
            if let Ok(found) = self.provider.get_chain_id().await {
                if found != CHAIN_ID {
                    bail!("{} is another chain ({found}): something else listens there", self.url);
                }
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("anvil did not answer at {} within 30 s; its log is {}", self.url, self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where it answers.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// A provider without a signer.
    pub const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// Gives an account ether.
    pub async fn fund(&self, account: Address) -> anyhow::Result<()> {
        let balance = U256::from(1_000) * U256::from(10).pow(U256::from(18));
        self.raw("anvil_setBalance", (account, balance)).await
    }

    /// Mines one block now.
    pub async fn mine(&self) -> anyhow::Result<()> {
        self.raw("anvil_mine", (U256::from(1),)).await
    }

    /// Moves the clock on by some seconds and mines a block there.
    pub async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        let _: serde_json::Value = self.provider.raw_request("evm_increaseTime".into(), (U256::from(seconds),)).await?;
        self.mine().await
    }

    async fn raw<P: alloy::rpc::json_rpc::RpcSend + 'static>(
        &self,
        method: &'static str,
        params: P,
    ) -> anyhow::Result<()> {
        let _: serde_json::Value =
            self.provider.raw_request(method.into(), params).await.with_context(|| format!("{method} failed"))?;
        Ok(())
    }

    /// Sends calls as their senders, without their keys, mines them, and checks that every one succeeded.
    ///
    /// Only a development chain does this. It sets the stage; everything that the product does signs for itself.
    pub async fn perform(&self, calls: &[Call]) -> anyhow::Result<Vec<TransactionReceipt>> {
        let mut hashes = Vec::with_capacity(calls.len());
        for call in calls {
            self.raw("anvil_impersonateAccount", (call.from,)).await?;
            let request = TransactionRequest {
                from: Some(call.from),
                to: Some(call.to.map_or(alloy::primitives::TxKind::Create, Into::into)),
                gas: Some(12_000_000),
                input: call.data.clone().into(),
                ..TransactionRequest::default()
            };
            let hash: B256 = self
                .provider
                .raw_request("eth_sendTransaction".into(), (request,))
                .await
                .with_context(|| format!("{} was not taken", call.name))?;
            hashes.push(hash);
        }
        self.mine().await?;
        let mut receipts = Vec::with_capacity(calls.len());
        for (call, hash) in calls.iter().zip(hashes) {
            let receipt = self.receipt(hash).await.with_context(|| format!("{} was not mined", call.name))?;
            if !receipt.status() {
                bail!("{} reverted: {}", call.name, self.why(call).await);
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    /// The receipt of a transaction, waited for.
    pub async fn receipt(&self, hash: B256) -> anyhow::Result<TransactionReceipt> {
        for _ in 0..200 {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await? {
                return Ok(receipt);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("transaction {hash} was not mined within 10 s")
    }

    async fn why(&self, call: &Call) -> String {
        let request = TransactionRequest {
            from: Some(call.from),
            to: Some(call.to.map_or(alloy::primitives::TxKind::Create, Into::into)),
            input: call.data.clone().into(),
            ..TransactionRequest::default()
        };
        match self.provider.call(request).await {
            Ok(_) => "it succeeds when called again".into(),
            Err(error) => error.to_string(),
        }
    }
}

/// A transaction of the stage.
#[derive(Debug, Clone)]
pub struct Call {
    /// For messages.
    pub name: &'static str,
    /// Who sends it.
    pub from: Address,
    /// The contract; `None` deploys.
    pub to: Option<Address>,
    /// Calldata or creation code.
    pub data: Bytes,
}
