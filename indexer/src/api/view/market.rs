//! Resources, candles and trades.

use super::{Finality, Interval, Scope};
use async_graphql::SimpleObject;
use indexer_store::candle::Interval as StoredInterval;
use indexer_store::row::{CandleRow, ResourceRow, TradeRow};
use protocol::amount::Price;
use serde::Serialize;
use utoipa::ToSchema;

/// A class of compute that is traded.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Resource {
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
pub(in crate::api) struct LastPrice {
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
pub(in crate::api) struct Candles {
    /// Number of the resource.
    pub(in crate::api) resource: u32,
    /// How long each is.
    pub(in crate::api) interval: Interval,
    /// Which trades are in them.
    pub(in crate::api) finality: Scope,
    /// The candles.
    pub(in crate::api) candles: Vec<Candle>,
}

/// What was traded in a stretch of time. Prices are in nano CAPA per human unit.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(in crate::api) struct Candle {
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
    /// Whether no trade can be added to it any more, so that all of it is proven.
    settled: bool,
}

impl Candle {
    pub(in crate::api) fn new(row: &CandleRow, interval: Interval, settled_before: u64, now: u64) -> Self {
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
            settled: end <= settled_before,
        }
    }
}

/// A trade: one usage line that its keeper committed to, checked against the chain.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Trade {
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
pub(in crate::api) struct LineProof {
    /// The keeper.
    pub(in crate::api) keeper: String,
    /// Its batch.
    pub(in crate::api) batch: u32,
    /// The packed line, 140 bytes.
    pub(in crate::api) line: String,
    /// Its place in the tree.
    pub(in crate::api) index: u32,
    /// The siblings from the leaf up, packed: hash 32, sum 8.
    pub(in crate::api) proof: String,
    /// The root that it leads to.
    pub(in crate::api) lines_root: String,
    /// The sum that it leads to.
    pub(in crate::api) lines_sum: String,
    /// Where the batch stands. The contract answers `true` once it is proven.
    pub(in crate::api) finality: Finality,
}
