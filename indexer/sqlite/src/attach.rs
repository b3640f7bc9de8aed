//! Lines: from a verified file to trades that count.

use crate::codec::{to_i64, to_u64};
use crate::count;
use crate::fault::Fault;
use crate::read;
use crate::write::record_change;
use indexer_store::fact::BatchId;
use indexer_store::row::{BatchRow, ChangeKind, LinesState};
use indexer_store::store::Scheme;
use indexer_store::trade::{Scale, Trade, Window};
use protocol::batch::{Line, Lines};
use protocol::resource::ResourceId;
use sqlx::SqliteConnection;

/// Trades written by one statement.
const CHUNK: usize = 2_000;

/// Keeps the file and counts its lines for the batch that commits to it.
pub(crate) async fn attach(
    conn: &mut SqliteConnection,
    scheme: &Scheme,
    id: BatchId,
    lines: &Lines,
) -> Result<bool, Fault> {
    let Some(batch) = read::batch(conn, id).await? else { return Ok(false) };
    let root = lines.root();
    let count = u64::try_from(lines.lines().len()).unwrap_or(u64::MAX);
    let committed = &batch.commitment;
    let same = committed.data_hash == lines.data_hash()
        && committed.lines_root == root.hash
        && committed.lines_sum == root.sum
        && u64::from(committed.line_count) == count;
    if !same {
        return Ok(false);
    }
    if batch.lines == LinesState::Verified {
        return Ok(true);
    }
    let (hash, bytes) = (lines.data_hash(), lines.to_bytes());
    let hash = hash.as_slice();
    sqlx::query!("INSERT INTO files (data_hash, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING", hash, bytes)
        .execute(&mut *conn)
        .await?;
    insert(conn, scheme, &batch, lines.lines()).await?;
    Ok(true)
}

/// Counts the lines of a batch at once if they are known from before, as they are when a block comes back.
pub(crate) async fn attach_known(conn: &mut SqliteConnection, scheme: &Scheme, batch: &BatchRow) -> Result<(), Fault> {
    if batch.commitment.line_count == 0 {
        return insert(conn, scheme, batch, &[]).await;
    }
    let Some(bytes) = read::file(conn, batch.commitment.data_hash).await? else { return Ok(()) };
    match Lines::verify(&bytes, &batch.commitment) {
        Ok(lines) => insert(conn, scheme, batch, lines.lines()).await,
        Err(error) => complain(conn, batch.id, &error.to_string(), true).await,
    }
}

async fn insert(conn: &mut SqliteConnection, scheme: &Scheme, batch: &BatchRow, lines: &[Line]) -> Result<(), Fault> {
    let scales = scales(conn, batch.block).await?;
    let window = Window::of(batch.committed_at, scheme.lateness);
    let trades: Vec<Trade> = lines
        .iter()
        .zip(0u32..)
        .map(|(line, index)| Trade::from_line(*line, batch.id, index, window, &scales))
        .collect();
    for chunk in trades.chunks(CHUNK) {
        insert_trades(conn, batch.id, chunk).await?;
    }
    for scope in batch.finality.scopes() {
        count::add(conn, &trades, *scope).await?;
    }
    let (keeper, number) = (batch.id.keeper.as_slice(), i64::from(batch.id.number));
    sqlx::query!("UPDATE batches SET lines = 2, problem = NULL WHERE keeper = $1 AND number = $2", keeper, number)
        .execute(&mut *conn)
        .await?;
    record_change(conn, ChangeKind::Verified, batch.id).await
}

/// The classes known in the batch's own block, so that a later one never changes what was counted.
async fn scales(conn: &mut SqliteConnection, block: u64) -> Result<Vec<Scale>, Fault> {
    let block = to_i64(block);
    let rows =
        sqlx::query!("SELECT id, scale FROM resources WHERE block <= $1 ORDER BY id", block).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| Ok(Scale { resource: ResourceId(crate::codec::to_u32(row.id)?), units: to_u64(row.scale) }))
        .collect()
}

/// Many rows by one statement: one statement a row is ten times slower.
async fn insert_trades(conn: &mut SqliteConnection, id: BatchId, trades: &[Trade]) -> Result<(), Fault> {
    let rows: Vec<_> = trades
        .iter()
        .map(|trade| {
            serde_json::json!([
                hex::encode(trade.key.to_bytes()),
                trade.key.index,
                hex::encode(trade.line.to_bytes()),
                trade.line.resource.0,
                i64::from(trade.counted),
                i64::from(trade.related),
            ])
        })
        .collect();
    let rows = serde_json::Value::Array(rows).to_string();
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    sqlx::query!(
        "INSERT INTO trades (key, keeper, number, idx, line, job, payer, provider, resource, counted, related)
         SELECT unhex(value ->> 0), $1, $2, value ->> 1, unhex(value ->> 2),
                substr(unhex(value ->> 2), 1, 32), substr(unhex(value ->> 2), 33, 20),
                substr(unhex(value ->> 2), 53, 20), value ->> 3, value ->> 4, value ->> 5
         FROM json_each($3) WHERE true ON CONFLICT DO NOTHING",
        keeper,
        number,
        rows,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Remembers why a batch's lines do not count. Lines that are verified already stay so.
pub(crate) async fn complain(
    conn: &mut SqliteConnection,
    id: BatchId,
    problem: &str,
    mismatch: bool,
) -> Result<(), Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    let state = i64::from(mismatch);
    sqlx::query!(
        "UPDATE batches SET lines = $1, problem = $2 WHERE keeper = $3 AND number = $4 AND lines < 2",
        state,
        problem,
        keeper,
        number,
    )
    .execute(conn)
    .await?;
    Ok(())
}
