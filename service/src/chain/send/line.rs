//! The nonce line of one account: the steps that an intent takes.

use std::time::Instant;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;

use super::fees::{self, Fees};
use super::store::{Attempt, Outcome, StoredTransaction, TransactionStore};
use super::{Intent, SendError, SenderConfig, millis};
use crate::chain::ChainError;
use crate::chain::client::{Chain, Header, Tag};

const GWEI: u128 = 1_000_000_000;

pub(super) struct Line<S> {
    pub(super) chain: Chain,
    pub(super) signer: PrivateKeySigner,
    pub(super) store: S,
    pub(super) config: SenderConfig,
    /// The newest block that holds a settled transaction: simulations must not be asked of an older state.
    pub(super) settled_at: u64,
}

impl<S: TransactionStore> Line<S> {
    pub(super) fn new(chain: Chain, signer: PrivateKeySigner, store: S, config: SenderConfig) -> Self {
        Self { chain, signer, store, config, settled_at: 0 }
    }

    /// Sends the newest attempt of everything open once, without waiting for what becomes of it.
    pub(super) async fn rebroadcast(&self) -> Result<(), SendError> {
        for transaction in self.open().await? {
            tracing::info!(key = %transaction.key, nonce = transaction.nonce, "sending an open transaction again");
            if let Some(attempt) = transaction.attempts.last()
                && let Err(error) = self.broadcast(attempt).await
            {
                tracing::warn!(key = %transaction.key, %error, "an open transaction could not be sent yet");
            }
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, intent: &Intent) -> Result<Outcome, SendError> {
        if let Some(outcome) = self.outcome_of(intent).await? {
            return settled(outcome);
        }
        let nonce = self.next_nonce().await?;
        // What was open is settled now, and this intent may have been part of it.
        if let Some(outcome) = self.outcome_of(intent).await? {
            return settled(outcome);
        }
        self.prepare(intent, nonce).await?;
        self.settle_open().await?;
        let lost = || SendError::Store(format!("it does not hold the transaction of {}", intent.key).into());
        settled(self.outcome_of(intent).await?.ok_or_else(lost)?)
    }

    /// Settles everything open, in the order of the nonces.
    pub(super) async fn settle_open(&mut self) -> Result<(), SendError> {
        // Read anew each time, because a transaction may have been signed for a later nonce.
        while let Some(transaction) = self.open().await?.into_iter().next() {
            self.watch(transaction).await?;
        }
        Ok(())
    }

    /// Simulates, signs and stores an intent: from here on it is carried out, whatever happens to this process.
    async fn prepare(&self, intent: &Intent, nonce: u64) -> Result<(), SendError> {
        let mut transaction = StoredTransaction {
            key: intent.key.clone(),
            nonce,
            to: intent.to,
            data: intent.data.clone(),
            gas_limit: 0,
            attempts: Vec::new(),
            outcome: None,
        };
        transaction.gas_limit = self.simulate(&transaction).await?;
        let head = self.chain.header(Tag::Latest).await?;
        let fees = self.market(&head).await?;
        self.sign(&mut transaction, fees).await
    }

    async fn open(&self) -> Result<Vec<StoredTransaction>, SendError> {
        let mut open = self.store.open().await.map_err(SendError::Store)?;
        open.sort_by_key(|transaction| transaction.nonce);
        Ok(open)
    }

    /// The outcome of a stored intent; nothing if it is open or not stored.
    async fn outcome_of(&self, intent: &Intent) -> Result<Option<Outcome>, SendError> {
        let Some(stored) = self.store.find(&intent.key).await.map_err(SendError::Store)? else {
            return Ok(None);
        };
        if stored.to != intent.to || stored.data != intent.data {
            return Err(SendError::KeyReused { key: intent.key.clone() });
        }
        Ok(stored.outcome)
    }

    /// Settles everything open and returns the nonce after it.
    pub(super) async fn next_nonce(&mut self) -> Result<u64, SendError> {
        let began = Instant::now();
        loop {
            self.settle_open().await?;
            let count = self.transaction_count().await?;
            let floor = self.store.next_nonce_floor().await.map_err(SendError::Store)?;
            if count >= floor {
                return Ok(count);
            }
            // Either the node is behind, or a reorganisation undid what had settled. The latter lasts.
            if began.elapsed() >= millis(self.config.bump_after_ms) {
                self.reopen(count).await?;
            } else {
                tokio::time::sleep(self.chain.poll()).await;
            }
        }
    }

    /// Takes back the outcomes of transactions that the chain no longer holds, so that they are sent again.
    pub(super) async fn reopen(&mut self, count: u64) -> Result<(), SendError> {
        let stored = self.store.since(count).await.map_err(SendError::Store)?;
        let gap = stored.iter().all(|transaction| transaction.nonce != count);
        for mut transaction in stored.into_iter().filter(|transaction| transaction.outcome.is_some()) {
            tracing::warn!(key = %transaction.key, nonce = transaction.nonce, "a settled transaction is gone");
            transaction.outcome = None;
            self.put(&transaction).await?;
        }
        // The block that held the newest of them need not come again.
        self.settled_at = 0;
        if gap { self.fill(count).await } else { Ok(()) }
    }

    /// Uses a nonce that a stranger's transaction had used until it was undone: nothing after it could be mined.
    async fn fill(&self, nonce: u64) -> Result<(), SendError> {
        tracing::warn!(nonce, "a nonce below an open transaction is free: filling it with an empty transaction");
        let head = self.chain.head(Tag::Latest).await?;
        let key = format!("gap:{nonce}:{}", head.number);
        self.prepare(&Intent { key, to: self.signer.address(), data: Bytes::new() }, nonce).await
    }

    /// Estimates the gas on a state that has seen everything settled. A revert is found here, before it costs.
    pub(super) async fn simulate(&self, transaction: &StoredTransaction) -> Result<u64, SendError> {
        let began = Instant::now();
        while self.chain.header(Tag::Latest).await?.number < self.settled_at {
            if began.elapsed() >= millis(self.config.patience_ms) {
                let what = format!("the node has not come to block {} again", self.settled_at);
                return Err(ChainError::Retryable(what).into());
            }
            tokio::time::sleep(self.chain.poll()).await;
        }
        // Without prices in it, since nodes would check the balance against the highest price and another base fee.
        let call = TransactionRequest::default()
            .from(self.signer.address())
            .to(transaction.to)
            .input(transaction.data.clone().into());
        let gas = match self.chain.provider().estimate_gas(call).await.map_err(ChainError::from) {
            Ok(gas) => gas,
            Err(ChainError::Reverted { data }) => return Err(SendError::Reverted { data }),
            Err(error) => return Err(error.into()),
        };
        let limit = self.config.max_gas;
        if gas > limit {
            return Err(SendError::TooMuchGas { gas, limit });
        }
        let margin = gas.saturating_mul(self.config.gas_margin_percent) / 100;
        Ok(gas.saturating_add(margin).min(limit))
    }

    pub(super) async fn market(&self, head: &Header) -> Result<Fees, SendError> {
        let priority = match self.chain.provider().get_max_priority_fee_per_gas().await.map_err(ChainError::from) {
            Ok(priority) => priority,
            // Not every rollup has the method; there a tip buys nothing.
            Err(ChainError::Refused { .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(fees::initial(head.base_fee_per_gas.unwrap_or_default(), priority, self.cap()))
    }

    pub(super) fn cap(&self) -> u128 {
        u128::from(self.config.max_fee_gwei) * GWEI
    }

    /// Signs a new attempt and stores it. Only what is stored may be sent.
    pub(super) async fn sign(&self, transaction: &mut StoredTransaction, fees: Fees) -> Result<(), SendError> {
        let mut unsigned = TxEip1559 {
            chain_id: self.chain.chain_id(),
            nonce: transaction.nonce,
            gas_limit: transaction.gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.priority,
            to: TxKind::Call(transaction.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: transaction.data.clone(),
        };
        let signature =
            self.signer.sign_transaction_sync(&mut unsigned).map_err(|error| SendError::Signing(error.to_string()))?;
        let signed = unsigned.into_signed(signature);
        let hash = *signed.hash();
        let raw = Bytes::from(TxEnvelope::from(signed).encoded_2718());
        transaction.attempts.push(Attempt { hash, raw, max_fee: fees.max_fee, priority: fees.priority });
        self.put(transaction).await
    }

    pub(super) async fn put(&self, transaction: &StoredTransaction) -> Result<(), SendError> {
        self.store.put(transaction).await.map_err(SendError::Store)
    }
}

fn settled(outcome: Outcome) -> Result<Outcome, SendError> {
    if outcome.success { Ok(outcome) } else { Err(SendError::Failed { outcome }) }
}
