//! Watching a stored transaction until its end is known.

use std::time::Instant;

use alloy::primitives::B256;
use alloy::providers::Provider;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fees::{self, Fees};
use super::line::Line;
use super::store::{Attempt, Outcome, StoredTransaction, TransactionStore};
use super::{SendError, millis};
use crate::chain::ChainError;
use crate::chain::client::{Header, Tag};

/// Blocks beyond the confirmations after which a nonce taken by a stranger's transaction counts as lost: receipts
/// of our own may come later than the nonce.
const BURIED: u64 = 3;

/// What is known about a transaction while it is being watched.
struct Watch {
    /// Whether it is yet to be sent by this process.
    fresh: bool,
    /// When it was last signed, or taken up again.
    signed_at: Instant,
    /// When the chain last gave an answer.
    answered_at: Instant,
    /// The block at which its nonce was first seen to be used, though none of its attempts was found.
    taken_at: Option<u64>,
    /// When a nonce below its own was first seen to be free.
    gap_at: Option<Instant>,
}

/// What one look found.
enum Sight {
    /// Its end is known.
    Settled(Outcome),
    /// It has to queue again: its nonce has changed, or another has to come first.
    Moved,
    /// Nothing yet.
    Waiting,
}

impl<S: TransactionStore> Line<S> {
    /// Watches a stored transaction until it is settled or signed for another nonce, and stores how it ended.
    pub(super) async fn watch(&mut self, mut transaction: StoredTransaction) -> Result<(), SendError> {
        let now = Instant::now();
        let mut watch = Watch { fresh: true, signed_at: now, answered_at: now, taken_at: None, gap_at: None };
        loop {
            match self.look(&mut transaction, &mut watch).await {
                Ok(Sight::Settled(outcome)) => {
                    transaction.outcome = Some(outcome.clone());
                    self.put(&transaction).await?;
                    self.settled_at = self.settled_at.max(outcome.block);
                    observe_settled(&transaction, &outcome);
                    return Ok(());
                }
                Ok(Sight::Moved) => return Ok(()),
                Ok(Sight::Waiting) => watch.answered_at = Instant::now(),
                Err(SendError::Chain(error)) if error.is_retryable() && self.bears(&watch) => {
                    tracing::warn!(key = %transaction.key, %error, "waiting for the chain");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(self.chain.poll()).await;
        }
    }

    fn bears(&self, watch: &Watch) -> bool {
        watch.answered_at.elapsed() < millis(self.config.patience_ms)
    }

    /// Looks once: settled, waiting, or in need of something.
    async fn look(&mut self, transaction: &mut StoredTransaction, watch: &mut Watch) -> Result<Sight, SendError> {
        if std::mem::take(&mut watch.fresh) {
            self.broadcast_newest(transaction).await?;
        }
        let head = self.chain.header(Tag::Latest).await?;
        if let Some(outcome) = self.mined(transaction).await? {
            watch.taken_at = None;
            let depth = head.number.saturating_add(1).saturating_sub(outcome.block);
            let deep = depth >= self.config.confirmations.max(1);
            return Ok(if deep { Sight::Settled(outcome) } else { Sight::Waiting });
        }
        let count = self.transaction_count().await?;
        if count > transaction.nonce {
            return self.nonce_is_taken(transaction, watch, &head).await;
        }
        watch.taken_at = None;
        if count < transaction.nonce {
            return self.nonce_is_early(watch, count).await;
        }
        watch.gap_at = None;
        self.keep_alive(transaction, watch, &head).await?;
        Ok(Sight::Waiting)
    }

    /// Asks for every attempt, the newest first: an earlier one may be mined after it was replaced.
    async fn mined(&self, transaction: &StoredTransaction) -> Result<Option<Outcome>, SendError> {
        for attempt in transaction.attempts.iter().rev() {
            let client = self.chain.provider().client();
            let receipt: Option<Receipt> =
                client.request("eth_getTransactionReceipt", (attempt.hash,)).await.map_err(ChainError::from)?;
            if let Some(receipt) = receipt {
                return Ok(Some(receipt.outcome(attempt.hash)));
            }
        }
        Ok(None)
    }

    /// Sends a forgotten transaction again; replaces one that is stuck, or priced below the base fee.
    async fn keep_alive(
        &self,
        transaction: &mut StoredTransaction,
        watch: &mut Watch,
        head: &Header,
    ) -> Result<(), SendError> {
        let Some(last) = transaction.attempts.last().cloned() else {
            return Ok(());
        };
        let stuck = watch.signed_at.elapsed() >= millis(self.config.bump_after_ms);
        if stuck || last.max_fee < head.base_fee_per_gas.unwrap_or_default() {
            let market = self.market(head).await?;
            let fees = Fees { max_fee: last.max_fee, priority: last.priority };
            if let Some(fees) = fees::bumped(fees, market, self.cap()) {
                self.sign(transaction, fees).await?;
                watch.signed_at = Instant::now();
                metrics::counter!("chain_transactions_replaced_total").increment(1);
                tracing::info!(key = %transaction.key, max_fee = fees.max_fee, "replacing a stuck transaction");
                return self.broadcast_newest(transaction).await;
            }
            if stuck {
                watch.signed_at = Instant::now();
                tracing::warn!(
                    key = %transaction.key,
                    max_fee_gwei = self.config.max_fee_gwei,
                    "a transaction is stuck at the highest allowed price: raise `max_fee_gwei` or wait"
                );
            }
        }
        if !self.known(last.hash).await? {
            return self.broadcast(&last).await;
        }
        Ok(())
    }

    /// A lower nonce is free, so a higher price would not help. Either the node is behind, or a reorganisation undid
    /// what had settled. The latter lasts.
    async fn nonce_is_early(&mut self, watch: &mut Watch, count: u64) -> Result<Sight, SendError> {
        let since = watch.gap_at.get_or_insert_with(Instant::now);
        if since.elapsed() < millis(self.config.bump_after_ms) {
            return Ok(Sight::Waiting);
        }
        self.reopen(count).await?;
        Ok(Sight::Moved)
    }

    /// The nonce is used, but by none of our attempts. Once that is buried, the intent is signed for a new nonce.
    async fn nonce_is_taken(
        &self,
        transaction: &mut StoredTransaction,
        watch: &mut Watch,
        head: &Header,
    ) -> Result<Sight, SendError> {
        for attempt in &transaction.attempts {
            if self.known(attempt.hash).await? {
                return Ok(Sight::Waiting);
            }
        }
        let since = *watch.taken_at.get_or_insert(head.number);
        if head.number < since.saturating_add(self.config.confirmations).saturating_add(BURIED) {
            return Ok(Sight::Waiting);
        }
        tracing::error!(
            key = %transaction.key,
            nonce = transaction.nonce,
            "another program uses this account: stop it; signing the transaction for a new nonce"
        );
        match self.simulate(transaction).await {
            Ok(gas_limit) => transaction.gas_limit = gas_limit,
            // It can no longer be mined, and must not be sent as things stand: that settles it.
            Err(error @ (SendError::Reverted { .. } | SendError::TooMuchGas { .. })) => {
                tracing::error!(key = %transaction.key, %error, "the transaction is given up");
                return Ok(Sight::Settled(given_up(transaction, head)));
            }
            Err(error) => return Err(error),
        }
        let floor = self.store.next_nonce_floor().await.map_err(SendError::Store)?;
        transaction.nonce = self.transaction_count().await?.max(floor);
        let fees = self.market(head).await?;
        self.sign(transaction, fees).await?;
        Ok(Sight::Moved)
    }

    async fn known(&self, hash: B256) -> Result<bool, SendError> {
        let client = self.chain.provider().client();
        let found: Option<IgnoredAny> =
            client.request("eth_getTransactionByHash", (hash,)).await.map_err(ChainError::from)?;
        Ok(found.is_some())
    }

    pub(super) async fn transaction_count(&self) -> Result<u64, SendError> {
        let count = self.chain.provider().get_transaction_count(self.signer.address()).await;
        Ok(count.map_err(ChainError::from)?)
    }

    async fn broadcast_newest(&self, transaction: &StoredTransaction) -> Result<(), SendError> {
        match transaction.attempts.last() {
            Some(attempt) => self.broadcast(attempt).await,
            None => Ok(()),
        }
    }

    /// Sends an attempt. A refusal that later looks can clear up is not an error: only they know what was mined.
    pub(super) async fn broadcast(&self, attempt: &Attempt) -> Result<(), SendError> {
        let sent = self.chain.provider().send_raw_transaction(&attempt.raw).await;
        let (code, message) = match sent.map(|_| ()).map_err(ChainError::from) {
            Ok(()) => return Ok(()),
            Err(ChainError::Refused { code, message }) => (code, message),
            Err(error) => return Err(error.into()),
        };
        let text = message.to_lowercase();
        if text.contains("insufficient funds") {
            return Err(SendError::InsufficientFunds { address: self.signer.address(), message });
        }
        if CLEARS_UP.iter().any(|phrase| text.contains(phrase)) {
            tracing::debug!(hash = %attempt.hash, %message, "a node did not take the transaction");
            return Ok(());
        }
        Err(ChainError::Refused { code, message }.into())
    }
}

/// Refusals of a transaction that is known already, mined already, or too cheap for the moment.
const CLEARS_UP: [&str; 8] = [
    "already known",
    "already imported",
    "known transaction",
    "nonce too low",
    "nonce too high",
    "underpriced",
    "less than block base fee",
    "fee too low",
];

fn given_up(transaction: &StoredTransaction, head: &Header) -> Outcome {
    let hash = transaction.attempts.last().map_or(B256::ZERO, |attempt| attempt.hash);
    Outcome { hash, block: head.number, success: false, gas_used: 0, fee_paid: 0 }
}

fn observe_settled(transaction: &StoredTransaction, outcome: &Outcome) {
    let result = if outcome.success { "success" } else { "reverted" };
    metrics::counter!("chain_transactions_settled_total", "result" => result).increment(1);
    tracing::info!(
        key = %transaction.key,
        hash = %outcome.hash,
        block = outcome.block,
        gas_used = outcome.gas_used,
        result,
        "transaction settled"
    );
}

/// A receipt, read leniently: rollups add the fee for publishing the data, which gas does not cover.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    #[serde(with = "alloy::serde::quantity")]
    block_number: u64,
    #[serde(with = "alloy::serde::quantity")]
    status: u8,
    #[serde(with = "alloy::serde::quantity")]
    gas_used: u64,
    #[serde(with = "alloy::serde::quantity")]
    effective_gas_price: u128,
    #[serde(default, with = "alloy::serde::quantity::opt")]
    l1_fee: Option<u128>,
}

impl Receipt {
    fn outcome(&self, hash: B256) -> Outcome {
        let execution = u128::from(self.gas_used).saturating_mul(self.effective_gas_price);
        Outcome {
            hash,
            block: self.block_number,
            success: self.status == 1,
            gas_used: self.gas_used,
            fee_paid: execution.saturating_add(self.l1_fee.unwrap_or_default()),
        }
    }
}
