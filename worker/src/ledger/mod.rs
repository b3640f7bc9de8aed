//! The ledger: every job, receipt and promise of payment, in one SQLite file.
//!
//! What is written here is on the disk before anyone hears of it (`synchronous = FULL`), so a worker that is killed at
//! any instant starts again with everything it was promised. There is one connection: a worker's load is far below
//! what one writer takes, and one connection needs no locks of its own.

mod jobs;
mod ends;
mod acceptances;
mod vouchers;
mod batches;
mod offers;
mod keepers;
mod transactions;
mod summary;
mod earnings;

pub use acceptances::Credit;
pub use batches::{BatchRow, BatchStage};
pub use earnings::{BatchEarnings, DirectEarnings, Earnings, KeeperEarnings};
pub use jobs::{Assignment, JobRow, JobStage};
pub use summary::{Summary, Unsettled};
pub use vouchers::DirectRow;

use alloy::primitives::{Address, B256};
use protocol::amount::Amount;
use protocol::order::JobId;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The file that is locked as long as a process writes to the ledger.
const LOCK: &str = "ledger.lock";
/// How long a process that is just ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database failed, or its disk.
    #[error("the ledger cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the ledger's schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not what this version writes.
    #[error("the ledger holds something that this version cannot read ({0}): restore it from a backup")]
    Corrupt(String),
    /// A value does not fit its column.
    #[error("{0} does not fit a 64-bit column")]
    TooLarge(u64),
    /// There is no ledger yet.
    #[error("there is no ledger in {0}: start the worker once, or correct `data` in the configuration")]
    Missing(String),
    /// The job has ended, so nothing more can be written for it.
    #[error("job {0} has ended already")]
    Ended(JobId),
    /// Another process uses the ledger; two would send each other's transactions twice.
    #[error("another worker uses the data folder {0}: stop it first, or give this one a folder of its own")]
    InUse(String),
    /// The data folder cannot be made.
    #[error("the data folder cannot be made: {0}")]
    Folder(#[from] std::io::Error),
}

impl LedgerError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)))
    }
}

/// The open ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: SqlitePool,
    /// Locked as long as this process writes; `None` where it only reads.
    lock: Option<Arc<File>>,
}

impl Ledger {
    /// Opens the ledger in `folder`, making it where there is none.
    pub async fn open(folder: &Path) -> Result<Self, LedgerError> {
        // What others of this machine's users may not see: vouchers, and the blobs of clients.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = lock(folder).await?;
        let options = SqliteConnectOptions::new()
            .filename(folder.join("ledger.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { pool, lock: Some(Arc::new(lock)) })
    }

    /// Closes the file; what is written stays.
    pub async fn close(&self) {
        self.pool.close().await;
        if let Some(lock) = &self.lock
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(%error, "the ledger's lock is only released when this process ends");
        }
    }
}

/// Whether a process writes to the ledger in `folder`.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let locked = File::options().write(true).open(folder.join(LOCK)).map(|file| file.try_lock());
    matches!(locked, Ok(Err(TryLockError::WouldBlock)))
}

/// Takes the folder for this process alone.
async fn lock(folder: &Path) -> Result<File, LedgerError> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse(folder.display().to_string())),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

fn column(value: u64) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| LedgerError::TooLarge(value))
}

fn unsigned(value: i64) -> Result<u64, LedgerError> {
    u64::try_from(value).map_err(|_| LedgerError::Corrupt(format!("negative number {value}")))
}

fn amount(value: i64) -> Result<Amount, LedgerError> {
    unsigned(value).map(Amount)
}

fn hash(bytes: &[u8]) -> Result<B256, LedgerError> {
    B256::try_from(bytes).map_err(|_| LedgerError::Corrupt(format!("a hash of {} bytes", bytes.len())))
}

fn address(bytes: &[u8]) -> Result<Address, LedgerError> {
    Address::try_from(bytes).map_err(|_| LedgerError::Corrupt(format!("an address of {} bytes", bytes.len())))
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests;
