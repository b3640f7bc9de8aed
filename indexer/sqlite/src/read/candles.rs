//! Resources and their candles.

use crate::codec::{TradeRecord, to_finality, to_i64, to_u32, to_u64};
use crate::count;
use crate::fault::Fault;
use indexer_store::fact::Class;
use indexer_store::query::{CandleQuery, MAX_LIMIT};
use indexer_store::row::{CandleRow, CandleRows, LastPrice, ResourceRow};
use indexer_store::store::Scheme;
use protocol::amount::Quantity;
use protocol::resource::ResourceId;
use sqlx::SqliteConnection;

/// Candles of one resource, interval and scope.
pub(crate) async fn candles(
    conn: &mut SqliteConnection,
    scheme: &Scheme,
    query: CandleQuery,
) -> Result<CandleRows, Fault> {
    let limit = query.limit.clamp(1, MAX_LIMIT) as usize;
    // SQLite's integers end at 2^63, which is beyond all times that a block can have.
    let last = i64::MAX.cast_unsigned();
    let mut starts = query.start.min(last)..query.end.min(last);
    if query.newest {
        starts.start = first_of_newest(conn, &query, limit).await?.max(starts.start);
    }
    let fetched = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut found = count::range(conn, query.resource, query.interval, query.scope, starts, fetched).await?;
    let next_start = found.get(limit).map(|(start, _)| *start);
    found.truncate(limit);
    Ok(CandleRows {
        rows: found.into_iter().map(|(start, candle)| CandleRow { start, candle }).collect(),
        settled_before: settled_before(conn, scheme).await?,
        next_start,
    })
}

/// Where the newest `limit` candles before the query's end begin.
async fn first_of_newest(conn: &mut SqliteConnection, query: &CandleQuery, limit: usize) -> Result<u64, Fault> {
    let (resource, seconds) = (i64::from(query.resource.0), to_i64(query.interval.seconds()));
    let (scope, end) = (query.scope.code(), to_i64(query.end.min(i64::MAX.cast_unsigned())));
    let skipped = i64::try_from(limit.saturating_sub(1)).unwrap_or(i64::MAX);
    let row = sqlx::query!(
        "SELECT start FROM candles WHERE resource = $1 AND seconds = $2 AND scope = $3 AND start < $4
         ORDER BY start DESC LIMIT 1 OFFSET $5",
        resource,
        seconds,
        scope,
        end,
        skipped,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or(0, |row| to_u64(row.start)))
}

/// The time before which no trade can be added to the proven ones any more: not by a batch still to be committed, nor
/// by one that is pending or whose lines are not known.
async fn settled_before(conn: &mut SqliteConnection, scheme: &Scheme) -> Result<u64, Fault> {
    let now = super::as_of(conn).await?.timestamp;
    let pending =
        sqlx::query!(r#"SELECT min(committed_at) AS "at: i64" FROM batches WHERE finality = 0"#).fetch_one(&mut *conn);
    let pending = pending.await?.at;
    let missing = sqlx::query!(
        r#"SELECT min(committed_at) AS "at: i64" FROM batches INDEXED BY batches_without_lines
               WHERE lines < 2 AND finality < 2"#
    )
    .fetch_one(&mut *conn)
    .await?
    .at;
    let open = pending.into_iter().chain(missing).map(to_u64).min().unwrap_or(now);
    Ok(open.min(now).saturating_sub(scheme.lateness))
}

/// All classes with their newest price.
pub(crate) async fn resources(conn: &mut SqliteConnection) -> Result<Vec<ResourceRow>, Fault> {
    let rows = sqlx::query!("SELECT id, name, unit, scale, scu_weight FROM resources ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    let mut resources = Vec::with_capacity(rows.len());
    for row in rows {
        let id = ResourceId(to_u32(row.id)?);
        resources.push(ResourceRow {
            class: Class {
                id,
                name: row.name,
                unit: row.unit,
                scale: Quantity(to_u64(row.scale)),
                scu_weight: Quantity(to_u64(row.scu_weight)),
            },
            last: last_price(conn, id).await?,
        });
    }
    Ok(resources)
}

async fn last_price(conn: &mut SqliteConnection, resource: ResourceId) -> Result<Option<LastPrice>, Fault> {
    let resource = i64::from(resource.0);
    let record = sqlx::query_as!(
        TradeRecord,
        "SELECT t.key, t.line, t.counted, t.related, b.finality FROM trades t INDEXED BY trades_by_resource
         CROSS JOIN batches b ON b.keeper = t.keeper AND b.number = t.number
         WHERE t.resource = $1 AND t.counted = 1 AND b.finality < 2 ORDER BY t.key DESC LIMIT 1",
        resource,
    )
    .fetch_optional(conn)
    .await?;
    let Some(record) = record else { return Ok(None) };
    let trade = record.trade()?;
    Ok(Some(LastPrice { price: trade.line.price, at: trade.key.at, finality: to_finality(record.finality)? }))
}
