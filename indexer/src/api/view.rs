//! What the APIs answer with. REST and GraphQL share these types, so they cannot disagree.

use crate::network::Network;
use alloy::primitives::Address;
use async_graphql::{Enum, SimpleObject};
use indexer_store::candle::Interval as StoredInterval;
use indexer_store::fact::Block;
use indexer_store::row::{BatchRow, CandleRow, Counts, LinesState, ProviderRow, ResourceRow, TradeRow};
use indexer_store::trade::{Finality as StoredFinality, Scope as StoredScope};
use protocol::amount::Price;
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

/// A class of compute that is traded.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    /// Its number in the catalog.
    id: u32,
    /// Its name.
    #[schema(example = "gpu.h200")]
    name: String,
    /// What is counted.
    #[schema(example = "GPU-ms")]
    unit: String,
    /// Base units in the human unit that prices are for.
    #[schema(example = "3600000")]
    scale: String,
    /// Weight in standard compute units.
    scu_weight: String,
    /// The newest price that counts, if there is one.
    last: Option<LastPrice>,
}

/// The newest price of a resource.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct LastPrice {
    /// Nano CAPA per human unit.
    price: String,
    /// When, in seconds since 1970.
    at: u64,
    /// How certain it is.
    finality: Finality,
}

impl From<ResourceRow> for Resource {
    fn from(row: ResourceRow) -> Self {
        Self {
            id: row.class.id.0,
            name: row.class.name,
            unit: row.class.unit,
            scale: row.class.scale.to_string(),
            scu_weight: row.class.scu_weight.to_string(),
            last: row.last.map(|last| LastPrice {
                price: last.price.to_string(),
                at: last.at,
                finality: last.finality.into(),
            }),
        }
    }
}

/// Candles of one resource, oldest first. A stretch of time without a trade has no candle.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct Candles {
    /// Number of the resource.
    pub(super) resource: u32,
    /// How long each is.
    pub(super) interval: Interval,
    /// Which trades are in them.
    pub(super) finality: Scope,
    /// The candles.
    pub(super) candles: Vec<Candle>,
}

/// What was traded in a stretch of time. Prices are in nano CAPA per human unit.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct Candle {
    /// Its first second, in seconds since 1970.
    start: u64,
    /// The first second after it.
    end: u64,
    /// First price.
    open: String,
    /// Highest price.
    high: String,
    /// Lowest price.
    low: String,
    /// Last price.
    close: String,
    /// Sum of the quantities, in base units.
    volume: String,
    /// Sum of price times quantity, exact: divided by `volume` it is the volume-weighted average price.
    quote: String,
    /// That average, rounded down.
    vwap: String,
    /// Sum of the amounts paid, in nano CAPA.
    amount: String,
    /// Number of trades.
    trades: u64,
    /// Whether its time is over.
    closed: bool,
    /// Whether no trade can be added to it any more.
    pub(super) settled: bool,
}

impl Candle {
    pub(super) fn new(row: &CandleRow, interval: Interval, scope: Scope, settled_before: u64, now: u64) -> Self {
        let (candle, end) = (&row.candle, row.start + StoredInterval::from(interval).seconds());
        let text = |price: Price| price.to_string();
        Self {
            start: row.start,
            end,
            open: text(candle.open.price),
            high: text(candle.high),
            low: text(candle.low),
            close: text(candle.close.price),
            volume: candle.volume.to_string(),
            quote: candle.quote.to_string(),
            vwap: candle.average_price_down().to_string(),
            amount: candle.amount.to_string(),
            trades: candle.trades,
            closed: end <= now,
            settled: scope == Scope::Proven && end <= settled_before,
        }
    }
}

/// A trade: one usage line that its keeper committed to, checked against the chain.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trade {
    /// The keeper that states it.
    keeper: String,
    /// Its batch.
    batch: u32,
    /// Its place in the batch's lines.
    index: u32,
    /// The job: hash of the client's order.
    job: String,
    /// Who paid.
    payer: String,
    /// Who earned.
    provider: String,
    /// What was used.
    resource: u32,
    /// How much, in base units.
    quantity: String,
    /// Nano CAPA per human unit.
    price: String,
    /// Nano CAPA earned.
    amount: String,
    /// When it counts, in seconds since 1970: `endedAt`, kept within what the protocol's periods allow.
    at: u64,
    /// When it ended, as the keeper states it.
    ended_at: String,
    /// Hash of the job's result, if it finished here.
    result: Option<String>,
    /// How certain it is.
    finality: Finality,
    /// Whether it is part of candles: its amount must be its quantity at its price.
    counted: bool,
    /// Whether payer, provider and keeper are not three different parties.
    related: bool,
}

impl From<&TradeRow> for Trade {
    fn from(row: &TradeRow) -> Self {
        let (key, line) = (&row.trade.key, &row.trade.line);
        Self {
            keeper: key.batch.keeper.to_string(),
            batch: key.batch.number,
            index: key.index,
            job: line.job.to_string(),
            payer: line.payer.to_string(),
            provider: line.provider.to_string(),
            resource: line.resource.0,
            quantity: line.quantity.to_string(),
            price: line.price.to_string(),
            amount: line.amount.to_string(),
            at: key.at,
            ended_at: line.ended_at.to_string(),
            result: (!line.result.is_zero()).then(|| line.result.to_string()),
            finality: row.finality.into(),
            counted: row.trade.counted,
            related: row.trade.related,
        }
    }
}

/// All that `verifyLine` of the Settlement contract takes.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineProof {
    /// The keeper.
    pub(super) keeper: String,
    /// Its batch.
    pub(super) batch: u32,
    /// The packed line, 140 bytes.
    pub(super) line: String,
    /// Its place in the tree.
    pub(super) index: u32,
    /// The siblings from the leaf up, packed: hash 32, sum 8.
    pub(super) proof: String,
    /// The root that it leads to.
    pub(super) lines_root: String,
    /// The sum that it leads to.
    pub(super) lines_sum: String,
    /// Where the batch stands. The contract answers `true` once it is proven.
    pub(super) finality: Finality,
}

/// Whether the lines of a batch are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(super) enum LinesStatus {
    /// Not had yet.
    Missing,
    /// The keeper published others than it committed to.
    Mismatch,
    /// They are the committed ones.
    Verified,
}

/// A batch that a keeper committed.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    /// The keeper.
    keeper: String,
    /// Counts from 1.
    number: u32,
    /// Where it stands.
    finality: Finality,
    /// When it was committed, in seconds since 1970.
    committed_at: u64,
    /// When it becomes final if no challenge is open then.
    final_at: u64,
    /// Challenges that the keeper has not answered.
    open_challenges: u32,
    /// Block of the commit.
    block: u64,
    /// Transaction of the commit.
    transaction: String,
    /// Root of the earnings tree.
    root: String,
    /// What it pays out, in nano CAPA.
    sum: String,
    /// The protocol fee, in nano CAPA.
    fee: String,
    /// Root of the lines tree.
    lines_root: String,
    /// What the lines add up to, in nano CAPA.
    lines_sum: String,
    /// Number of lines.
    line_count: u32,
    /// keccak256 of the lines file.
    data_hash: String,
    /// Whether the lines are known; until then none of them is a trade.
    lines: LinesStatus,
    /// Why they are not.
    lines_problem: Option<String>,
}

impl Batch {
    pub(super) fn new(row: BatchRow, network: &Network) -> Self {
        let commitment = &row.commitment;
        let (lines, lines_problem) = match row.lines {
            LinesState::Missing(problem) => (LinesStatus::Missing, problem),
            LinesState::Mismatch(problem) => (LinesStatus::Mismatch, Some(problem)),
            LinesState::Verified => (LinesStatus::Verified, None),
        };
        let is_known = network.keepers.iter().any(|keeper| keeper.address == row.id.keeper);
        let unknown = (lines != LinesStatus::Verified && !is_known)
            .then(|| "this indexer is not told where that keeper publishes its lines".to_owned());
        Self {
            keeper: row.id.keeper.to_string(),
            number: row.id.number,
            finality: row.finality.into(),
            committed_at: row.committed_at,
            final_at: row.committed_at.saturating_add(network.challenge_period),
            open_challenges: row.open_challenges,
            block: row.block,
            transaction: row.transaction.to_string(),
            root: commitment.root.to_string(),
            sum: commitment.sum.to_string(),
            fee: commitment.fee.to_string(),
            lines_root: commitment.lines_root.to_string(),
            lines_sum: commitment.lines_sum.to_string(),
            line_count: commitment.line_count,
            data_hash: commitment.data_hash.to_string(),
            lines,
            lines_problem: lines_problem.or(unknown),
        }
    }
}

/// A sum over proven lines, and over pending and proven ones.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct Both {
    /// Of proven lines.
    proven: String,
    /// Of pending and proven lines.
    all: String,
}

/// A provider.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provider {
    /// Its address, to which it is paid.
    address: String,
    /// Where it can be asked; absent if it earned without being registered.
    endpoint: Option<String>,
    /// Hash of its terms.
    terms: Option<String>,
    /// Keys that sign for it.
    workers: Vec<String>,
    /// Nano CAPA earned, by its keepers' lines.
    earned: Both,
    /// Jobs finished.
    jobs: Both,
    /// Usage lines.
    lines: Both,
    /// What reached it by calls that name it, in nano CAPA. A batch paid out as a whole is not among them.
    paid: Paid,
}

/// What reached a provider, in nano CAPA.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct Paid {
    /// From final batches, by `claim`.
    claimed: String,
    /// From channels of keepers that were wound down, by `recover`.
    recovered: String,
    /// From direct channels, by `redeem`.
    redeemed: String,
}

impl From<ProviderRow> for Provider {
    fn from(row: ProviderRow) -> Self {
        let both = |proven: String, all: String| Both { proven, all };
        Self {
            address: row.address.to_string(),
            endpoint: row.endpoint,
            terms: row.terms.map(|terms| terms.to_string()),
            workers: row.workers.iter().map(Address::to_string).collect(),
            earned: both(row.proven.amount.to_string(), row.all.amount.to_string()),
            jobs: both(row.proven.finished.to_string(), row.all.finished.to_string()),
            lines: both(row.proven.lines.to_string(), row.all.lines.to_string()),
            paid: Paid {
                claimed: row.payments.claimed.to_string(),
                recovered: row.payments.recovered.to_string(),
                redeemed: row.payments.redeemed.to_string(),
            },
        }
    }
}

/// What is indexed, and how far.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// EIP-155 chain id.
    chain_id: u64,
    /// The Settlement contract.
    settlement: String,
    /// The ProviderRegistry contract.
    registry: String,
    /// The ResourceCatalog contract.
    catalog: String,
    /// Where indexing started.
    start_block: u64,
    /// Seconds after its commit at which a batch without open challenges is final.
    challenge_period: u64,
    /// Whether the index has reached the chain's head.
    ready: bool,
    /// Keepers whose lines are fetched.
    keepers: Vec<KnownKeeper>,
    /// Batches, by where they stand.
    batches: BatchCounts,
}

/// A keeper whose lines are fetched.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(super) struct KnownKeeper {
    /// Its address.
    address: String,
    /// Where it publishes.
    url: String,
}

/// Number of batches.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchCounts {
    /// In their challenge window.
    pending: u64,
    /// Final.
    proven: u64,
    /// Voided.
    void: u64,
    /// Pending or final, and their lines are not known.
    lines_missing: u64,
}

impl Status {
    pub(super) fn new(network: &Network, counts: &Counts, ready: bool) -> Self {
        Self {
            chain_id: network.chain_id,
            settlement: network.settlement.to_string(),
            registry: network.registry.to_string(),
            catalog: network.catalog.to_string(),
            start_block: network.start_block,
            challenge_period: network.challenge_period,
            ready,
            keepers: network
                .keepers
                .iter()
                .map(|keeper| KnownKeeper { address: keeper.address.to_string(), url: keeper.url.to_string() })
                .collect(),
            batches: BatchCounts {
                pending: counts.pending,
                proven: counts.proven,
                void: counts.void,
                lines_missing: counts.lines_missing,
            },
        }
    }
}
