//! What the APIs answer with. REST and GraphQL share these types, so they cannot disagree.

mod market;
mod settlement;
mod status;

pub(super) use market::{Candle, Candles, LineProof, Resource, Trade};
pub(super) use settlement::{Batch, Provider};
pub(super) use status::Status;

use async_graphql::{Enum, SimpleObject};
use indexer_store::candle::Interval as StoredInterval;
use indexer_store::fact::Block;
use indexer_store::trade::{Finality as StoredFinality, Scope as StoredScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A block.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct AsOf {
    /// Height.
    block: u64,
    /// Hash.
    hash: String,
    /// Time, in seconds since 1970: the clock by which batches become final.
    timestamp: u64,
}

impl From<Block> for AsOf {
    fn from(block: Block) -> Self {
        Self { block: block.number, hash: block.hash.to_string(), timestamp: block.timestamp }
    }
}

/// How certain something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finality {
    /// Committed on chain; its batch can still be challenged.
    Pending,
    /// Its batch is final on chain.
    Proven,
    /// Its batch was voided: it does not count.
    Void,
}

impl From<StoredFinality> for Finality {
    fn from(finality: StoredFinality) -> Self {
        match finality {
            StoredFinality::Pending => Self::Pending,
            StoredFinality::Proven => Self::Proven,
            StoredFinality::Void => Self::Void,
        }
    }
}

/// Which trades are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    /// Proven trades only.
    #[default]
    Proven,
    /// Pending and proven trades.
    All,
}

impl Scope {
    /// Its text in REST.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::All => "all",
        }
    }
}

impl From<Scope> for StoredScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Proven => Self::Proven,
        }
    }
}

/// Length of a candle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
pub(super) enum Interval {
    /// One minute.
    #[default]
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// Fifteen minutes.
    #[serde(rename = "15m")]
    QuarterHour,
    /// One hour.
    #[serde(rename = "1h")]
    Hour,
    /// Four hours.
    #[serde(rename = "4h")]
    FourHours,
    /// One day, in UTC.
    #[serde(rename = "1d")]
    Day,
}

impl Interval {
    /// Its text in REST.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::FourHours => "4h",
            Self::Day => "1d",
        }
    }
}

impl From<Interval> for StoredInterval {
    fn from(interval: Interval) -> Self {
        match interval {
            Interval::Minute => Self::Minute,
            Interval::FiveMinutes => Self::FiveMinutes,
            Interval::QuarterHour => Self::QuarterHour,
            Interval::Hour => Self::Hour,
            Interval::FourHours => Self::FourHours,
            Interval::Day => Self::Day,
        }
    }
}
