//! What the transaction manager remembers, and where.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

/// Whatever went wrong inside a store.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// One signed form of a transaction. All forms share the nonce, so at most one of them is ever mined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The transaction hash.
    pub hash: B256,
    /// The signed bytes, ready to be sent again.
    pub raw: Bytes,
    /// Wei per gas at most.
    pub max_fee: u128,
    /// Wei per gas on top of the base fee at most.
    pub priority: u128,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The form that was mined, or the last one if none was.
    pub hash: B256,
    /// The block that holds it, or at which it was given up.
    pub block: u64,
    /// Whether it took effect; false if it was mined and reverted, or given up.
    pub success: bool,
    /// Gas used; 0 if it was given up, which happens only when another program took its nonce.
    pub gas_used: u64,
    /// Wei paid for it, with the data fee where a rollup states one.
    pub fee_paid: u128,
}

/// An intent with its nonce, everything that was signed for it, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTransaction {
    /// The caller's key.
    pub key: String,
    /// The sender's nonce.
    pub nonce: u64,
    /// The contract called.
    pub to: Address,
    /// Call data.
    pub data: Bytes,
    /// Gas limit of every attempt.
    pub gas_limit: u64,
    /// In the order in which they were signed.
    pub attempts: Vec<Attempt>,
    /// `None` while it is not known: an open transaction may still be mined.
    pub outcome: Option<Outcome>,
}

/// Durable memory of one sender's transactions. Only one process may use it at a time.
///
/// `put` must be durable when it returns: a transaction leaves only after it is stored, so that a crash can lose
/// neither the nonce nor the knowledge of what may be mined.
pub trait TransactionStore: Send + Sync + 'static {
    /// All transactions without an outcome, in any order.
    fn open(&self) -> impl Future<Output = Result<Vec<StoredTransaction>, StoreError>> + Send;

    /// The transaction of an intent.
    fn find(&self, key: &str) -> impl Future<Output = Result<Option<StoredTransaction>, StoreError>> + Send;

    /// Inserts or replaces by key.
    fn put(&self, transaction: &StoredTransaction) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// One more than the highest stored nonce; 0 if there is none.
    fn next_nonce_floor(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// All transactions with this nonce or a higher one, with or without an outcome, in any order.
    fn since(&self, nonce: u64) -> impl Future<Output = Result<Vec<StoredTransaction>, StoreError>> + Send;
}

/// A store that lasts as long as its clones: for tests and one-off tools.
#[derive(Clone, Debug, Default)]
pub struct MemoryTransactions {
    by_key: Arc<Mutex<BTreeMap<String, StoredTransaction>>>,
}

impl MemoryTransactions {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, StoredTransaction>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn select(&self, wanted: impl Fn(&StoredTransaction) -> bool) -> Vec<StoredTransaction> {
        self.lock().values().filter(|transaction| wanted(transaction)).cloned().collect()
    }
}

impl TransactionStore for MemoryTransactions {
    async fn open(&self) -> Result<Vec<StoredTransaction>, StoreError> {
        Ok(self.select(|transaction| transaction.outcome.is_none()))
    }

    async fn find(&self, key: &str) -> Result<Option<StoredTransaction>, StoreError> {
        Ok(self.lock().get(key).cloned())
    }

    async fn put(&self, transaction: &StoredTransaction) -> Result<(), StoreError> {
        self.lock().insert(transaction.key.clone(), transaction.clone());
        Ok(())
    }

    async fn next_nonce_floor(&self) -> Result<u64, StoreError> {
        let highest = self.lock().values().map(|transaction| transaction.nonce).max();
        Ok(highest.map_or(0, |nonce| nonce.saturating_add(1)))
    }

    async fn since(&self, nonce: u64) -> Result<Vec<StoredTransaction>, StoreError> {
        Ok(self.select(|transaction| transaction.nonce >= nonce))
    }
}

impl<S: TransactionStore> TransactionStore for Arc<S> {
    fn open(&self) -> impl Future<Output = Result<Vec<StoredTransaction>, StoreError>> + Send {
        self.as_ref().open()
    }

    fn find(&self, key: &str) -> impl Future<Output = Result<Option<StoredTransaction>, StoreError>> + Send {
        self.as_ref().find(key)
    }

    fn put(&self, transaction: &StoredTransaction) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.as_ref().put(transaction)
    }

    fn next_nonce_floor(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.as_ref().next_nonce_floor()
    }

    fn since(&self, nonce: u64) -> impl Future<Output = Result<Vec<StoredTransaction>, StoreError>> + Send {
        self.as_ref().since(nonce)
    }
}
