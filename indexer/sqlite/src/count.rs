//! Sums over trades: candles and providers' totals.
//!
//! Adding folds new trades into what is stored. Taking away cannot be folded (a highest price has no inverse), so the
//! minutes touched are made again from their trades, and every longer candle from the shorter ones inside it.

use crate::codec::{TradeRecord, to_i64, to_key, to_u64, to_u128};
use crate::fault::Fault;
use alloy::primitives::Address;
use indexer_store::candle::{Candle, Interval, Mark, Place, fold, lengthen};
use indexer_store::fact::BatchId;
use indexer_store::row::Totals;
use indexer_store::trade::{Scope, Trade};
use protocol::amount::{Overflow, Price};
use protocol::resource::ResourceId;
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Whether trades start or cease to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Add,
    Remove,
}

/// The stored trades of a batch, in the order of its lines.
pub(crate) async fn trades_of(conn: &mut SqliteConnection, id: BatchId) -> Result<Vec<Trade>, Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    let records = sqlx::query_as!(
        TradeRecord,
        r#"SELECT key, line, counted, related, 0 AS "finality!: i64" FROM trades
           WHERE keeper = $1 AND number = $2 ORDER BY idx"#,
        keeper,
        number,
    )
    .fetch_all(conn)
    .await?;
    records.iter().map(TradeRecord::trade).collect()
}

/// Folds trades into the candles and totals of a scope that they were not part of.
pub(crate) async fn add(conn: &mut SqliteConnection, trades: &[Trade], scope: Scope) -> Result<(), Fault> {
    adjust_totals(conn, trades, scope, Step::Add).await?;
    let mut candles = fold(trades, Interval::Minute)?;
    for interval in Interval::EVERY {
        candles = lengthen(&candles, interval)?;
        for (place, candle) in &candles {
            let merged = match load(conn, interval, scope, *place).await? {
                Some(stored) => stored.merge(candle)?,
                None => *candle,
            };
            save(conn, interval, scope, *place, &merged).await?;
        }
    }
    Ok(())
}

/// The minutes that trades count in.
pub(crate) fn minutes(trades: &[Trade]) -> impl Iterator<Item = Place> {
    trades
        .iter()
        .filter(|trade| trade.counted)
        .map(|trade| (trade.line.resource, Interval::Minute.start_of(trade.key.at)))
}

/// Makes the candles that contain the given minutes again, after trades in them ceased or came back to count.
pub(crate) async fn rebuild(conn: &mut SqliteConnection, minutes: &BTreeSet<Place>, scope: Scope) -> Result<(), Fault> {
    for interval in Interval::EVERY {
        let places: BTreeSet<Place> =
            minutes.iter().map(|(resource, minute)| (*resource, interval.start_of(*minute))).collect();
        for place in places {
            let candle = match interval.shorter() {
                None => minute_from_trades(conn, place, scope).await?,
                Some(shorter) => from_shorter(conn, place, shorter, interval, scope).await?,
            };
            match candle {
                Some(candle) => save(conn, interval, scope, place, &candle).await?,
                None => remove(conn, interval, scope, place).await?,
            }
        }
    }
    Ok(())
}

async fn minute_from_trades(conn: &mut SqliteConnection, place: Place, scope: Scope) -> Result<Option<Candle>, Fault> {
    let (resource, start) = place;
    let (from, until) = (start.to_be_bytes(), (start + Interval::Minute.seconds()).to_be_bytes());
    let (from, until) = (from.as_slice(), until.as_slice());
    let (resource, scope) = (i64::from(resource.0), scope.code());
    let records = sqlx::query_as!(
        TradeRecord,
        r#"SELECT t.key, t.line, t.counted, t.related, b.finality
           FROM trades t INDEXED BY trades_by_resource
           CROSS JOIN batches b ON b.keeper = t.keeper AND b.number = t.number
           WHERE t.resource = $1 AND t.key >= $2 AND t.key < $3
             AND (b.finality = 1 OR (b.finality = 0 AND $4 = 0))"#,
        resource,
        from,
        until,
        scope,
    )
    .fetch_all(conn)
    .await?;
    let trades = records.iter().map(TradeRecord::trade).collect::<Result<Vec<_>, _>>()?;
    Ok(fold(&trades, Interval::Minute)?.into_values().next())
}

async fn from_shorter(
    conn: &mut SqliteConnection,
    (resource, start): Place,
    shorter: Interval,
    interval: Interval,
    scope: Scope,
) -> Result<Option<Candle>, Fault> {
    let parts = range(conn, resource, shorter, scope, start..start + interval.seconds(), i64::MAX).await?;
    let mut parts = parts.into_iter().map(|(_, candle)| candle);
    let Some(mut whole) = parts.next() else { return Ok(None) };
    for part in parts {
        whole = whole.merge(&part)?;
    }
    Ok(Some(whole))
}

/// The stored columns of a candle.
#[derive(Debug)]
pub(crate) struct CandleRecord {
    pub(crate) start: i64,
    pub(crate) open_key: Vec<u8>,
    pub(crate) open_price: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close_key: Vec<u8>,
    pub(crate) close_price: i64,
    pub(crate) volume: String,
    pub(crate) quote: String,
    pub(crate) amount: String,
    pub(crate) trades: i64,
}

impl CandleRecord {
    pub(crate) fn candle(&self) -> Result<Candle, Fault> {
        let price = |value| Price(to_u64(value));
        Ok(Candle {
            open: Mark { key: to_key(&self.open_key)?, price: price(self.open_price) },
            high: price(self.high),
            low: price(self.low),
            close: Mark { key: to_key(&self.close_key)?, price: price(self.close_price) },
            volume: to_u128(&self.volume)?,
            quote: to_u128(&self.quote)?,
            amount: to_u128(&self.amount)?,
            trades: to_u64(self.trades),
        })
    }
}

/// Candles that start in `starts`, oldest first.
pub(crate) async fn range(
    conn: &mut SqliteConnection,
    resource: ResourceId,
    interval: Interval,
    scope: Scope,
    starts: std::ops::Range<u64>,
    limit: i64,
) -> Result<Vec<(u64, Candle)>, Fault> {
    let (resource, seconds, scope) = (i64::from(resource.0), to_i64(interval.seconds()), scope.code());
    let (from, until) = (to_i64(starts.start), to_i64(starts.end));
    let records = sqlx::query_as!(
        CandleRecord,
        "SELECT start, open_key, open_price, high, low, close_key, close_price, volume, quote, amount, trades
         FROM candles WHERE resource = $1 AND seconds = $2 AND scope = $3 AND start >= $4 AND start < $5
         ORDER BY start LIMIT $6",
        resource,
        seconds,
        scope,
        from,
        until,
        limit,
    )
    .fetch_all(conn)
    .await?;
    records.iter().map(|record| Ok((to_u64(record.start), record.candle()?))).collect()
}

async fn load(
    conn: &mut SqliteConnection,
    interval: Interval,
    scope: Scope,
    (resource, start): Place,
) -> Result<Option<Candle>, Fault> {
    let found = range(conn, resource, interval, scope, start..start + 1, 1).await?;
    Ok(found.into_iter().next().map(|(_, candle)| candle))
}

async fn save(
    conn: &mut SqliteConnection,
    interval: Interval,
    scope: Scope,
    (resource, start): Place,
    candle: &Candle,
) -> Result<(), Fault> {
    let (resource, seconds, scope) = (i64::from(resource.0), to_i64(interval.seconds()), scope.code());
    let (open_key, close_key) = (candle.open.key.to_bytes(), candle.close.key.to_bytes());
    let (open_key, close_key) = (open_key.as_slice(), close_key.as_slice());
    let [open, high, low, close] =
        [candle.open.price, candle.high, candle.low, candle.close.price].map(|price| to_i64(price.get()));
    let [volume, quote, amount] = [candle.volume, candle.quote, candle.amount].map(|sum| sum.to_string());
    let (start, trades) = (to_i64(start), to_i64(candle.trades));
    sqlx::query!(
        "INSERT OR REPLACE INTO candles (resource, seconds, scope, start, open_key, open_price, high, low, close_key,
             close_price, volume, quote, amount, trades)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        resource,
        seconds,
        scope,
        start,
        open_key,
        open,
        high,
        low,
        close_key,
        close,
        volume,
        quote,
        amount,
        trades,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn remove(
    conn: &mut SqliteConnection,
    interval: Interval,
    scope: Scope,
    (resource, start): Place,
) -> Result<(), Fault> {
    let (resource, seconds, scope) = (i64::from(resource.0), to_i64(interval.seconds()), scope.code());
    let start = to_i64(start);
    sqlx::query!(
        "DELETE FROM candles WHERE resource = $1 AND seconds = $2 AND scope = $3 AND start = $4",
        resource,
        seconds,
        scope,
        start,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds trades to, or takes them from, their providers' totals.
pub(crate) async fn adjust_totals(
    conn: &mut SqliteConnection,
    trades: &[Trade],
    scope: Scope,
    step: Step,
) -> Result<(), Fault> {
    let mut changes = BTreeMap::<Address, Totals>::new();
    for trade in trades {
        let change = changes.entry(trade.line.provider).or_default();
        change.amount = sum(change.amount, u128::from(trade.line.amount.get()), Step::Add)?;
        change.lines += 1;
        change.finished += u64::from(!trade.line.result.is_zero());
    }
    for (provider, change) in changes {
        let stored = total(conn, provider, scope).await?;
        let count = |a: u64, b: u64| match step {
            Step::Add => a.saturating_add(b),
            Step::Remove => a.saturating_sub(b),
        };
        let total = Totals {
            amount: sum(stored.amount, change.amount, step)?,
            lines: count(stored.lines, change.lines),
            finished: count(stored.finished, change.finished),
        };
        save_total(conn, provider, scope, &total).await?;
    }
    Ok(())
}

fn sum(a: u128, b: u128, step: Step) -> Result<u128, Overflow> {
    match step {
        Step::Add => a.checked_add(b),
        Step::Remove => a.checked_sub(b),
    }
    .ok_or(Overflow { operation: "adding up a provider's lines" })
}

async fn total(conn: &mut SqliteConnection, provider: Address, scope: Scope) -> Result<Totals, Fault> {
    let (provider, scope) = (provider.as_slice(), scope.code());
    let found =
        sqlx::query!("SELECT amount, lines, finished FROM totals WHERE provider = $1 AND scope = $2", provider, scope)
            .fetch_optional(conn)
            .await?;
    let Some(row) = found else { return Ok(Totals::default()) };
    Ok(Totals { amount: to_u128(&row.amount)?, lines: to_u64(row.lines), finished: to_u64(row.finished) })
}

async fn save_total(conn: &mut SqliteConnection, provider: Address, scope: Scope, total: &Totals) -> Result<(), Fault> {
    let (provider, scope) = (provider.as_slice(), scope.code());
    if total.lines == 0 {
        sqlx::query!("DELETE FROM totals WHERE provider = $1 AND scope = $2", provider, scope).execute(conn).await?;
        return Ok(());
    }
    let (amount, lines, finished) = (total.amount.to_string(), to_i64(total.lines), to_i64(total.finished));
    sqlx::query!(
        "INSERT OR REPLACE INTO totals (provider, scope, amount, lines, finished) VALUES ($1, $2, $3, $4, $5)",
        provider,
        scope,
        amount,
        lines,
        finished,
    )
    .execute(conn)
    .await?;
    Ok(())
}
