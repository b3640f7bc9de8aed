//! Settlement: from a closed batch to a final one.
//!
//! Each step looks at the chain and the ledger, does what is due, and can be killed at any point: the next round
//! starts from the same two. What is sent has a name (`collect:7:0`, `commit:7`), and a name is never sent twice.

mod challenges;
mod claims;
mod collect;
mod commit;

use crate::Engine;
use crate::batch::Heartbeat;
use crate::desk::{Closing, Desk};
use crate::error::DeskError;
use crate::observe;
use crate::onchain::{KeeperView, Standing};
use crate::publish::Publisher;
use alloy::primitives::Bytes;
use keeper_store::{Batch, Store, StoreError};
use protocol::voucher::BatchNumber;
use protocol::wire::{BatchState, Refusal};
use service::chain::{ChainError, Intent, Outcome, SendError, Sender, StoredTransaction, TransactionStore};
use service::health::Health;
use service::shutdown::Shutdown;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Batches that a round looks back at.
const LOOK_BACK: u32 = 256;
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a round of settlement did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The ledger, the chain or the blobs failed.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A transaction was not sent or did not succeed.
    #[error("{key}: {source}")]
    Send {
        /// Its name.
        key: String,
        /// Why.
        source: SendError,
    },
    /// The chain and the ledger say different things; a person has to look.
    #[error("the chain and the ledger disagree: {0}")]
    Disagree(String),
}

impl From<ChainError> for SettleError {
    fn from(error: ChainError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<StoreError> for SettleError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<Refusal> for SettleError {
    fn from(refusal: Refusal) -> Self {
        Self::Desk(refusal.into())
    }
}

type Result<T> = std::result::Result<T, SettleError>;

/// What settles the desk's batches.
pub struct Settler {
    desk: Arc<Desk>,
    sender: Sender<Engine>,
    publisher: Publisher,
    heartbeat_period: u64,
    challenge_period: u64,
    claimed: Mutex<BTreeSet<BatchNumber>>,
}

impl Settler {
    /// Settlement with the periods of the deployed contract.
    pub fn new(
        desk: Arc<Desk>,
        sender: Sender<Engine>,
        publisher: Publisher,
        heartbeat_period: u64,
        challenge_period: u64,
    ) -> Self {
        Self { desk, sender, publisher, heartbeat_period, challenge_period, claimed: Mutex::default() }
    }

    /// Settles until `shutdown`. The chain is looked at all the while, also while a transaction waits to be mined.
    pub async fn run(self, health: Health, shutdown: Shutdown) {
        let both = async { tokio::join!(self.watch_standing(), self.keep_settling(&health)) };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = both => {}
        }
    }

    async fn watch_standing(&self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the chain was not seen");
            }
            tokio::time::sleep(self.desk.onchain().chain().poll()).await;
        }
    }

    async fn keep_settling(&self, health: &Health) {
        let poll = self.desk.onchain().chain().poll();
        let mut pause = poll;
        loop {
            tokio::time::sleep(pause).await;
            let round = self.round().await;
            pause = match &round {
                Ok(()) => poll,
                Err(error) => {
                    tracing::error!(%error, "settlement did not get on; it is tried again");
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
            health.set("settlement", round.map_err(|error| error.to_string()));
        }
    }

    /// One look at the chain, and everything that is due.
    pub async fn round(&self) -> Result<()> {
        let view = self.look().await?;
        if !view.standing.is_live() {
            if view.standing == Standing::WoundDown {
                self.desk.wind_down(&view).await?;
            }
            return Err(SettleError::Disagree(format!(
                "the keeper is {:?} on chain: it settles nothing any more, providers use recover",
                view.standing
            )));
        }
        self.finalize(&view).await?;
        self.answer(&view).await?;
        self.close(&view).await?;
        self.settle_closed(&view).await?;
        self.pay_out(&view).await
    }

    /// The chain's newest view, given to the desk as well.
    pub async fn look(&self) -> Result<KeeperView> {
        let view = self.desk.onchain().keeper(self.desk.terms().keeper(), self.challenge_period).await?;
        self.desk.see(view).await;
        Ok(view)
    }

    /// Marks what became final by time, and what the chain has forgotten again.
    pub async fn finalize(&self, view: &KeeperView) -> Result<()> {
        let store = self.desk.store();
        for mut batch in store.batches(LOOK_BACK).await? {
            if batch.state != BatchState::Committed {
                continue;
            }
            if batch.number < view.current {
                batch.state = BatchState::Final;
                store.put_batch(&batch).await?;
                observe::batch_final(batch.number);
            } else if batch.number == view.uncommitted() {
                batch.state = BatchState::Closed;
                store.put_batch(&batch).await?;
                observe::commit_lost(batch.number);
            }
        }
        Ok(())
    }

    /// Closes the batch being filled, if it is due.
    pub async fn close(&self, view: &KeeperView) -> Result<Option<BatchNumber>> {
        let heartbeat = Heartbeat { since: view.since, period: self.heartbeat_period, now: view.now };
        Ok(self.desk.close_batch(view, Closing { heartbeat }).await?)
    }

    /// Collects and commits the batch that is closed, if the chain has it open.
    pub async fn settle_closed(&self, view: &KeeperView) -> Result<()> {
        let Some(batch) = self.closed().await? else { return Ok(()) };
        if view.current < batch.number {
            // The batch before it is still in its window.
            return Ok(());
        }
        self.collect(batch.number).await?;
        let batch = self.prepare(batch).await?;
        self.commit(batch).await
    }

    /// The batch that waits to be committed; there is at most one.
    pub async fn closed(&self) -> Result<Option<Batch>> {
        let batches = self.desk.store().batches(3).await?;
        Ok(batches.into_iter().find(|batch| batch.state == BatchState::Closed))
    }

    /// Carries a call out under its name. A name that is stored already is resumed with what was stored.
    async fn send(&self, key: String, data: Vec<u8>) -> Result<Outcome> {
        let intent = match self.stored(&key).await? {
            Some(stored) => Intent { key: key.clone(), to: stored.to, data: stored.data },
            None => Intent { key: key.clone(), to: self.desk.onchain().settlement(), data: Bytes::from(data) },
        };
        self.sender.send(intent).await.map_err(|source| SettleError::Send { key, source })
    }

    async fn stored(&self, key: &str) -> Result<Option<StoredTransaction>> {
        let stored = self.desk.store().find(key).await;
        stored.map_err(|error| SettleError::Send { key: key.to_owned(), source: SendError::Store(error) })
    }

    async fn is_stored(&self, key: &str) -> Result<bool> {
        Ok(self.stored(key).await?.is_some())
    }

    /// Gas that a name has used, as far as it was settled.
    async fn gas(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.stored(key).await?.and_then(|stored| stored.outcome).map(|outcome| outcome.gas_used))
    }
}
