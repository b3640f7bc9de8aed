//! Trades, newest first.

use super::page;
use crate::codec::{TradeRecord, to_finality};
use crate::fault::Fault;
use indexer_store::fact::BatchId;
use indexer_store::query::{Position, TradeFilter};
use indexer_store::row::{Page, TradeRow};
use indexer_store::store::StoreError;
use indexer_store::trade::KEY_BYTES;
use sqlx::SqliteConnection;

/// Sorts after every key.
const BEYOND: [u8; KEY_BYTES + 1] = [0xff; KEY_BYTES + 1];

/// `SELECT` of trades through the index that leads with the most selective filter given. The remaining filters are
/// checked row by row. `CROSS JOIN` keeps SQLite from starting with the batches.
macro_rules! select_trades {
    ($index:tt, $a:ident, $lead:tt) => {
        sqlx::query_as!(
            TradeRecord,
            "SELECT t.key, t.line, t.counted, t.related, b.finality FROM trades t "
                + $index
                + " CROSS JOIN batches b ON b.keeper = t.keeper AND b.number = t.number
                   WHERE t.key < $1 AND "
                + $lead
                + " AND ($3 IS NULL OR t.resource = $3) AND ($4 IS NULL OR t.provider = $4)
                   AND ($5 IS NULL OR t.payer = $5) AND ($6 IS NULL OR t.job = $6)
                   ORDER BY t.key DESC LIMIT $2",
            $a.after,
            $a.limit,
            $a.resource,
            $a.provider,
            $a.payer,
            $a.job,
        )
    };
}

/// What the queries are given.
struct Arguments<'a> {
    after: &'a [u8],
    limit: i64,
    resource: Option<i64>,
    provider: Option<&'a [u8]>,
    payer: Option<&'a [u8]>,
    job: Option<&'a [u8]>,
}

/// Trades that match every filter given.
pub(crate) async fn trades(
    conn: &mut SqliteConnection,
    filter: TradeFilter,
    position: &Position,
) -> Result<Page<TradeRow>, Fault> {
    let limit = position.bounded();
    let a = Arguments {
        after: after(position)?,
        limit: i64::from(limit) + 1,
        resource: filter.resource.map(|resource| i64::from(resource.0)),
        provider: filter.provider.as_ref().map(|address| address.as_slice()),
        payer: filter.payer.as_ref().map(|address| address.as_slice()),
        job: filter.job.as_ref().map(|hash| hash.as_slice()),
    };
    let records = if a.job.is_some() {
        select_trades!("INDEXED BY trades_by_job", a, "t.job = $6").fetch_all(conn).await?
    } else if a.payer.is_some() {
        select_trades!("INDEXED BY trades_by_payer", a, "t.payer = $5").fetch_all(conn).await?
    } else if a.provider.is_some() {
        select_trades!("INDEXED BY trades_by_provider", a, "t.provider = $4").fetch_all(conn).await?
    } else if a.resource.is_some() {
        select_trades!("INDEXED BY trades_by_resource", a, "t.resource = $3").fetch_all(conn).await?
    } else {
        select_trades!("", a, "true").fetch_all(conn).await?
    };
    let rows = rows(&records)?;
    Ok(page(rows, limit, |row| row.trade.key.to_bytes().to_vec()))
}

fn after(position: &Position) -> Result<&[u8], Fault> {
    match position.after.as_deref() {
        None => Ok(&BEYOND),
        Some(key) if key.len() == KEY_BYTES => Ok(key),
        Some(_) => Err(StoreError::Cursor.into()),
    }
}

/// The trades of one batch, in the order of its lines.
pub(crate) async fn trades_of(
    conn: &mut SqliteConnection,
    id: BatchId,
    index: u32,
    limit: u32,
) -> Result<Vec<TradeRow>, Fault> {
    let (keeper, number, index) = (id.keeper.as_slice(), i64::from(id.number), i64::from(index));
    let records = sqlx::query_as!(
        TradeRecord,
        "SELECT t.key, t.line, t.counted, t.related, b.finality FROM trades t INDEXED BY trades_by_batch
         CROSS JOIN batches b ON b.keeper = t.keeper AND b.number = t.number
         WHERE t.keeper = $1 AND t.number = $2 AND t.idx >= $3 ORDER BY t.idx LIMIT $4",
        keeper,
        number,
        index,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows(&records)
}

fn rows(records: &[TradeRecord]) -> Result<Vec<TradeRow>, Fault> {
    records
        .iter()
        .map(|record| Ok(TradeRow { trade: record.trade()?, finality: to_finality(record.finality)? }))
        .collect()
}
