//! The chain's side: the real contracts on anvil, whose clock stands where the history says.

use crate::views::View;
use crate::{decode, encode};
use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::rpc::client::{ClientBuilder, RpcClient, Waiter};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolConstructor, SolValue};
use alloy::transports::{RpcError, TransportError};
use anyhow::{Context, bail};
use protocol::amount::{Amount, Timestamp};
use protocol::bindings::{settlement, token};
use protocol::model::history::{History, Probe};
use protocol::model::{Outcome, State, Step};
use protocol::signature::Domain;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tempfile::TempDir;
use testkit::accounts::Accounts;
use testkit::anvil::{Anvil, CHAIN_ID, Call, Mining};
use testkit::deploy::{Stage, deploy};
use testkit::layout::Reserved;

/// More than any step needs, and below the limit of a transaction (2^24).
const GAS: u64 = 16_000_000;

/// The contracts, deployed for a history.
pub(crate) struct Chain {
    anvil: Anvil,
    client: RpcClient,
    domain: Domain,
    pub(crate) token: Address,
    pub(crate) settlement: Address,
    /// Tokens that there were before the history burned any.
    pub(crate) supply: U256,
    _folder: TempDir,
    _ports: Reserved,
}

impl Chain {
    /// Deploys the contracts and endows the cast as `state` says.
    pub(crate) async fn start(history: &History, state: &State) -> anyhow::Result<Self> {
        let (folder, ports) = (tempfile::tempdir()?, Reserved::new()?);
        let anvil = Anvil::start(folder.path(), None, ports.ports.chain, Mining::Instant).await?;
        let accounts = Accounts::local();
        let endowments = state.tokens.balances.values().copied();
        let stage = Stage { client: Amount::sum(endowments)?, ..Stage::default() };
        let token = deploy(&anvil, &accounts, &stage).await?.token();
        let settlement = deploy_settlement(&anvil, accounts.owner.address(), token, state).await?;
        let domain = Domain::new(CHAIN_ID, settlement);
        let client = ClientBuilder::default().http(anvil.url().clone());
        let mut chain =
            Self { anvil, client, domain, token, settlement, supply: U256::ZERO, _folder: folder, _ports: ports };
        chain.raw("anvil_autoImpersonateAccount", json!([true])).await?;
        chain.raw("evm_setAutomine", json!([false])).await?;
        chain.endow(accounts.client.address(), history, state).await?;
        let supply = token::ComputeToken::totalSupplyCall {}.abi_encode();
        chain.supply = U256::from_be_slice(&chain.ask(token, supply, Timestamp(0)).await?);
        Ok(chain)
    }

    /// Ether and an approval for everybody, tokens for those who start with some.
    async fn endow(&self, bank: Address, history: &History, state: &State) -> anyhow::Result<()> {
        let approve = token::ComputeToken::approveCall { spender: self.settlement, value: U256::MAX }.abi_encode();
        for account in history.cast().everyone() {
            self.anvil.fund(account).await?;
            self.prepare(account, approve.clone()).await?;
        }
        for (account, amount) in state.tokens.balances.iter() {
            let value = U256::from(amount.get());
            let transfer = token::ComputeToken::transferCall { to: *account, value };
            self.prepare(bank, transfer.abi_encode()).await?;
        }
        Ok(())
    }

    /// A call of the token before the history begins.
    async fn prepare(&self, from: Address, data: Vec<u8>) -> anyhow::Result<()> {
        self.send(from, self.token, data).await?;
        self.raw("evm_mine", json!([])).await
    }

    /// Takes a step: a block of its own at its own time.
    pub(crate) async fn perform(&self, step: &Step, history: &History) -> anyhow::Result<Outcome> {
        let data = encode::calldata(&step.call, &self.domain, history.cast())?;
        self.send(step.caller, self.settlement, data.clone()).await?;
        self.raw("evm_mine", json!([{ "timestamp": step.now.get() }])).await?;
        let receipts: Vec<TransactionReceipt> = self.client.request("eth_getBlockReceipts", ("latest",)).await?;
        let [receipt] = receipts.as_slice() else { bail!("the block holds {} transactions", receipts.len()) };
        if receipt.status() {
            return Ok(Ok(decode::events(receipt.logs(), self.settlement)?));
        }
        // The reason of a refusal is not in the receipt; the same call again, at the same time, has it.
        let request = json!({ "from": step.caller, "to": self.settlement, "data": hex::encode_prefixed(data) });
        match self.call(request, step.now).await {
            Err(RpcError::ErrorResp(payload)) => {
                let reason = payload.as_revert_data().with_context(|| format!("no revert but {payload:?}"))?;
                Ok(Err(decode::refusal(&reason)?))
            }
            Err(other) => Err(other.into()),
            Ok(_) => bail!("a refused transaction succeeds when it is called again at the same time"),
        }
    }

    /// Compares what the views say at `now` with what `state` says.
    pub(crate) async fn compare(&self, views: &BTreeSet<View>, state: &State, now: Timestamp) -> anyhow::Result<()> {
        let views: Vec<_> = views.iter().collect();
        for part in views.chunks(100) {
            let mut batch = self.client.new_batch();
            let mut waiters: Vec<Waiter<Bytes>> = Vec::with_capacity(part.len());
            for view in part {
                let (to, data) = view.question(self);
                let request = json!({ "to": to, "data": hex::encode_prefixed(data) });
                waiters.push(batch.add_call("eth_call", &at(request, now))?);
            }
            batch.send().await?;
            for (view, waiter) in part.iter().zip(waiters) {
                let found = waiter.await.with_context(|| format!("{view:?}"))?;
                let expected = view.answer(state, now, self);
                if found[..] != expected[..] {
                    bail!("{view:?}\nthe model says {}\nthe chain says {}", words(&expected), words(&found));
                }
            }
        }
        Ok(())
    }

    /// What `verifyLine` says.
    pub(crate) async fn verify_line(&self, probe: &Probe, now: Timestamp) -> anyhow::Result<bool> {
        let call = settlement::Settlement::verifyLineCall {
            keeper: probe.keeper,
            number: probe.batch,
            line: probe.line.to_bytes().to_vec().into(),
            index: probe.proof.index,
            proof: probe.proof.to_bytes().into(),
        };
        let answer = self.ask(self.settlement, call.abi_encode(), now).await?;
        Ok(bool::abi_decode(&answer)?)
    }

    async fn ask(&self, to: Address, data: Vec<u8>, now: Timestamp) -> anyhow::Result<Bytes> {
        Ok(self.call(json!({ "to": to, "data": hex::encode_prefixed(data) }), now).await?)
    }

    async fn call(&self, request: Value, now: Timestamp) -> Result<Bytes, TransportError> {
        self.client.request("eth_call", at(request, now)).await
    }

    async fn send(&self, from: Address, to: Address, data: Vec<u8>) -> anyhow::Result<B256> {
        let data = hex::encode_prefixed(data);
        let request = json!([{ "from": from, "to": to, "gas": format!("{GAS:#x}"), "data": data }]);
        Ok(self.client.request("eth_sendTransaction", request).await?)
    }

    async fn raw(&self, method: &'static str, parameters: Value) -> anyhow::Result<()> {
        let _: Value = self.client.request(method, parameters).await.context(method)?;
        Ok(())
    }
}

/// A call on the newest state, in a block of that time.
fn at(request: Value, now: Timestamp) -> Value {
    if now == Timestamp::ZERO {
        return json!([request, "latest"]);
    }
    json!([request, "latest", null, { "time": format!("{:#x}", now.get()) }])
}

/// Words of an answer, for a person who looks for the one that differs.
fn words(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes.chunks(32).map(|word| U256::from_be_slice(word).to_string()).collect();
    words.join(" ")
}

async fn deploy_settlement(anvil: &Anvil, from: Address, token: Address, state: &State) -> anyhow::Result<Address> {
    let periods = state.periods;
    let arguments = settlement::Settlement::constructorCall {
        token_: token,
        periods_: settlement::Periods {
            challenge: periods.challenge,
            answer: periods.answer,
            heartbeat: periods.heartbeat,
            thaw: periods.thaw,
            retirement: periods.retirement,
            recovery: periods.recovery,
            inclusion: periods.inclusion,
            reaction: periods.reaction,
        },
        settings: settlement::Settings {
            owner: state.governor,
            guardian: state.guardian,
            treasury: state.treasury,
            minimumBond: state.minimum_bond.get(),
            feeBps: state.fee_bps,
        },
    };
    let code = settlement::bytecode().context("this build has no bytecode: run `npm ci` and build again")?;
    let data = [code.as_ref(), &arguments.abi_encode()].concat().into();
    let receipts = anvil.perform(&[Call { name: "deploying Settlement", from, to: None, data }]).await?;
    receipts.first().and_then(|receipt| receipt.contract_address).context("a deployment has an address")
}
