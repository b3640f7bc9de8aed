//! What the walk found, as one JSON document.

use alloy::primitives::B256;
use protocol::amount::{Amount, Price, Quantity};
use protocol::job::Kind;
use protocol::order::JobId;
use serde::Serialize;

/// The document of `cargo xtask dev --once --json`. Amounts are nano CAPA in decimal strings.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The jobs of the walk.
    pub jobs: Vec<JobReport>,
    /// The batch that settled the last of them.
    pub batch: BatchReport,
    /// All batches that settled them.
    pub batches: Vec<BatchReport>,
    /// What the provider was paid on chain.
    pub claim: ClaimReport,
    /// The client's channel afterwards.
    pub channel: ChannelReport,
    /// The token's total supply.
    pub supply: Pair,
    /// Who held what.
    pub balances: Vec<BalanceReport>,
    /// What the clients paid, and to whom it went.
    pub accounting: Accounting,
    /// First candle of every resource traded.
    pub candles: Vec<CandleReport>,
    /// How long each part took, in seconds.
    pub timings: Timings,
}

/// A job, done and verified.
#[derive(Debug, Clone, Serialize)]
pub struct JobReport {
    /// Hash of its order.
    pub id: JobId,
    /// Name of the sample.
    pub name: String,
    /// Kind of program.
    pub kind: Kind,
    /// Name of the resource billed.
    pub resource: String,
    /// Billed quantity, in base units.
    pub quantity: Quantity,
    /// Price of the match, per human unit.
    pub price: Price,
    /// What the provider earned.
    pub amount: Amount,
    /// Hash of what came out.
    pub result: B256,
    /// Hash of what had to come out.
    pub expected: B256,
}

/// A batch, final.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchReport {
    /// Counts from 1.
    pub number: u32,
    /// Root of the earnings tree.
    pub root: B256,
    /// What is paid out of it.
    pub sum: Amount,
    /// What clients were debited.
    pub debits: Amount,
    /// The protocol's part.
    pub fee: Amount,
    /// Root of the usage lines.
    pub lines_root: B256,
    /// Number of usage lines.
    pub line_count: u32,
    /// Gas of collecting and committing.
    pub gas: Quantity,
    /// The transaction that committed it.
    pub transaction: B256,
}

/// The provider's payout.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimReport {
    /// What it received.
    pub amount: Amount,
    /// Gas of the transactions that paid it.
    pub gas: Quantity,
}

/// The client's channel.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelReport {
    /// What was put in.
    pub deposit: Amount,
    /// What was debited.
    pub spent: Amount,
}

/// A figure before the first job and after the last payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Before.
    pub before: Amount,
    /// After.
    pub after: Amount,
}

/// Who held how much.
#[derive(Debug, Clone, Serialize)]
pub struct BalanceReport {
    /// Role of the account.
    pub account: &'static str,
    /// Its balance.
    #[serde(flatten)]
    pub balance: Pair,
}

/// `debited = provider + keeper + protocol`, to the nano.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accounting {
    /// From the client's channel.
    pub debited: Amount,
    /// To the provider.
    pub provider: Amount,
    /// To the keeper.
    pub keeper: Amount,
    /// To the protocol.
    pub protocol: Amount,
}

/// Price history.
#[derive(Debug, Clone, Serialize)]
pub struct CandleReport {
    /// Name of the resource.
    pub resource: String,
    /// First price.
    pub open: Price,
    /// Highest.
    pub high: Price,
    /// Lowest.
    pub low: Price,
    /// Last.
    pub close: Price,
    /// Quantity traded, in base units.
    pub volume: Quantity,
}

/// Seconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    /// Starting the chain.
    pub chain: f64,
    /// Deploying and seeding.
    pub deploy: f64,
    /// Starting keeper, indexer and worker.
    pub services: f64,
    /// Opening the channel and running the jobs.
    pub jobs: f64,
    /// From the last job to the payout and the first candle.
    pub settle: f64,
    /// All of it.
    pub total: f64,
}
