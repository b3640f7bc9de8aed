//! What can be asked of a store.

use crate::candle::Interval;
use crate::trade::Scope;
use alloy::primitives::{Address, B256};
use protocol::resource::ResourceId;

/// Most items of one answer.
pub const MAX_LIMIT: u32 = 1_000;

/// Which trades, newest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TradeFilter {
    /// Of this resource.
    pub resource: Option<ResourceId>,
    /// Earned by this provider.
    pub provider: Option<Address>,
    /// Paid by this client.
    pub payer: Option<Address>,
    /// Of this job.
    pub job: Option<B256>,
}

/// Where in a list to start, and how far to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Key of the last item already seen; `None` to start at the beginning.
    pub after: Option<Vec<u8>>,
    /// Most items, at least 1 and at most [`MAX_LIMIT`].
    pub limit: u32,
}

impl Position {
    /// The limit kept in its bounds.
    pub fn bounded(&self) -> u32 {
        self.limit.clamp(1, MAX_LIMIT)
    }
}

/// Which candles: those that start in `start..end`, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleQuery {
    /// Of which resource.
    pub resource: ResourceId,
    /// How long.
    pub interval: Interval,
    /// Made of what.
    pub scope: Scope,
    /// First start.
    pub start: u64,
    /// First start left out.
    pub end: u64,
    /// Most candles.
    pub limit: u32,
    /// Whether the limit keeps the newest candles instead of the oldest.
    pub newest: bool,
}
