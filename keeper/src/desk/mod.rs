//! The desk: everything that happens between orders, workers and clients, in one serial order.
//!
//! What is decided is pure ([`crate::market`], [`crate::dispatch`], [`crate::ledger`]); what is written is one
//! transaction of the store; only then do the books in memory follow, and frames leave. Chain and blobs are asked
//! before the books are locked. After a restart the books are read back from the store and the chain.

mod books;
mod clients;
mod jobs;
mod load;
mod offers;
mod orders;
mod settlement;
mod sweep;
pub mod views;
mod vouchers;
mod workers;

pub use books::Books;
pub use settlement::Closing;
pub use vouchers::Answer;

use crate::Engine;
use crate::blobs::Blobs;
use crate::config::Config;
use crate::dispatch::Session;
use crate::error::DeskError;
use crate::onchain::Onchain;
use alloy::primitives::Address;
use protocol::amount::{Amount, Timestamp};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::Fees;
use protocol::wire::{Code, Refusal};
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

type Result<T> = std::result::Result<T, DeskError>;

/// Public lists that are read at a time. The store has more readers, so a flood of questions leaves some to the ledger.
const PUBLIC_READS: usize = 2;

/// What never changes while the keeper runs.
#[derive(Debug)]
pub struct Terms {
    /// Where signatures count.
    pub domain: Domain,
    /// The token that is paid with.
    pub token: Address,
    /// The keeper's key.
    pub key: SigningKey,
    /// The configuration.
    pub config: Config,
}

impl Terms {
    /// The keeper's address.
    pub const fn keeper(&self) -> Address {
        self.key.address()
    }

    fn fees(&self, protocol_bps: u16) -> Fees {
        let config = self.config.fees;
        Fees { protocol_bps, keeper_bps: config.keeper_bps, per_channel: config.per_channel }
    }
}

/// The desk. Shared by sockets, requests and settlement.
#[derive(Debug)]
pub struct Desk {
    terms: Terms,
    store: Engine,
    blobs: Blobs,
    onchain: Onchain,
    broken: Shutdown,
    books: Mutex<Books>,
    public_reads: Semaphore,
}

impl Desk {
    /// What never changes.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The ledger.
    pub const fn store(&self) -> &Engine {
        &self.store
    }

    /// The blobs.
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The chain.
    pub const fn onchain(&self) -> &Onchain {
        &self.onchain
    }

    /// Cancelled when the ledger failed: the process has to end, and to read everything back when it starts again.
    pub const fn broken(&self) -> &Shutdown {
        &self.broken
    }

    async fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().await
    }

    /// A turn to read what anyone may ask for.
    pub async fn public_read(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes the semaphore; without a turn the question would still be answered.
        self.public_reads.acquire().await.ok()
    }

    /// Carries a change out in a task of its own. A request is dropped when its sender goes away or time is up, and a
    /// change that stopped between the store and the books would leave them different.
    async fn whole<T, F>(self: &Arc<Self>, change: impl FnOnce(Arc<Self>) -> F) -> std::result::Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, Refusal>> + Send + 'static,
    {
        tokio::spawn(change(Arc::clone(self))).await.unwrap_or_else(|failure| {
            // It stopped half-way, so the books can only be trusted once they are read back.
            tracing::error!(%failure, "a change at the desk stopped half-way, the keeper stops");
            self.broken.cancel();
            Err(Refusal::new(Code::Internal, "the keeper failed and starts again: try again in a few seconds"))
        })
    }

    /// Passes a result on; where the ledger failed, ends the keeper. Its books may be ahead of what is stored.
    fn guard<T>(&self, what: &'static str, result: Result<T>) -> std::result::Result<T, Refusal> {
        result.map_err(|error| {
            if let DeskError::Store(failure) = &error {
                tracing::error!(%failure, "the ledger failed, the keeper stops");
                self.broken.cancel();
            }
            let refusal = error.into_refusal();
            crate::observe::refused(what, &refusal);
            refusal
        })
    }

    /// Whether new promises may be made: the keeper is in good standing and sees the chain.
    fn check_sight(&self, books: &Books) -> std::result::Result<(), Refusal> {
        let blind = Duration::from_millis(self.terms.config.settle.blind_ms);
        if books.seen_at.elapsed() > blind {
            return Err(Refusal::new(Code::Internal, "the keeper does not see the chain now: try again later"));
        }
        if !books.view.standing.is_live() {
            return Err(Refusal::new(
                Code::Unsupported,
                "this keeper is wound down or closed and accepts nothing any more: open a channel with another",
            ));
        }
        Ok(())
    }
}

/// Seconds since 1970 by this machine's clock.
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A socket as the desk knows it, to be handed back when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat<Who> {
    /// Worker key or channel.
    pub who: Who,
    /// Which of its sockets.
    pub session: Session,
}

/// What is reserved of a channel, with its own sum checked.
fn add(amounts: impl Iterator<Item = Amount>) -> Amount {
    Amount::sum(amounts).unwrap_or(Amount(u64::MAX))
}
