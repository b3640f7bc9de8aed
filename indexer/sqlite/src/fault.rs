//! What goes wrong inside, and what it means outside.

use indexer_store::store::StoreError;
use protocol::amount::Overflow;

/// Either side's error, so that `?` works on both.
#[derive(Debug)]
pub(crate) enum Fault {
    Database(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Overflow> for Fault {
    fn from(error: Overflow) -> Self {
        Self::Store(error.into())
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error,
            Fault::Database(error) if is_passing(&error) => Self::Unavailable(error.to_string()),
            Fault::Database(error) => Self::Damaged(error.to_string()),
        }
    }
}

/// Busy, locked, out of space or out of connections: the file itself is sound.
fn is_passing(error: &sqlx::Error) -> bool {
    const PRIMARY: i32 = 0xff;
    const BUSY_LOCKED_NOMEM_INTERRUPT_IO_FULL: [i32; 6] = [5, 6, 7, 9, 10, 13];
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(inner) => inner
            .code()
            .and_then(|code| code.parse::<i32>().ok())
            .is_some_and(|code| BUSY_LOCKED_NOMEM_INTERRUPT_IO_FULL.contains(&(code & PRIMARY))),
        _ => false,
    }
}

/// A row that this program never writes.
pub(crate) fn damaged(what: &str) -> Fault {
    Fault::Store(StoreError::Damaged(format!("{what} is malformed")))
}
