//! Blocks: applying one, and taking it back.

use crate::attach::attach_known;
use crate::codec::{to_address, to_finality, to_hash, to_i64, to_u32, to_u64};
use crate::count::{self, Step};
use crate::fault::Fault;
use crate::plain;
use crate::read;
use indexer_store::candle::Place;
use indexer_store::fact::{BatchId, Block, Fact, Located};
use indexer_store::row::ChangeKind;
use indexer_store::store::{Scheme, StoreError};
use indexer_store::trade::{Finality, Scope};
use protocol::batch::Commitment;
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks kept to find where a chain that reorganised still agrees.
const KEPT_BLOCKS: i64 = 1_024;

/// Adds a block, its facts, and what its clock makes final.
pub(crate) async fn apply(
    conn: &mut SqliteConnection,
    scheme: &Scheme,
    block: Block,
    facts: &[Located],
) -> Result<(), Fault> {
    if is_known(conn, block).await? {
        return Ok(());
    }
    let (number, hash, timestamp) = (to_i64(block.number), block.hash, to_i64(block.timestamp));
    let hash = hash.as_slice();
    sqlx::query!("INSERT INTO blocks (number, hash, timestamp) VALUES ($1, $2, $3)", number, hash, timestamp)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "DELETE FROM blocks WHERE number < (SELECT number FROM blocks ORDER BY number DESC LIMIT 1 OFFSET $1)",
        KEPT_BLOCKS,
    )
    .execute(&mut *conn)
    .await?;
    for located in facts {
        apply_fact(conn, scheme, block, located).await?;
    }
    finalise(conn, scheme, block).await
}

/// Whether the block is the newest one already; an error where it fits nowhere.
async fn is_known(conn: &mut SqliteConnection, block: Block) -> Result<bool, Fault> {
    let row = sqlx::query!("SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1").fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(false) };
    let newest = to_u64(row.number);
    if block.number > newest {
        return Ok(false);
    }
    if block.number == newest && to_hash(&row.hash)? == block.hash {
        return Ok(true);
    }
    Err(StoreError::Order { newest, got: block.number }.into())
}

async fn apply_fact(
    conn: &mut SqliteConnection,
    scheme: &Scheme,
    block: Block,
    located: &Located,
) -> Result<(), Fault> {
    match &located.fact {
        Fact::BatchCommitted { batch, commitment } => commit(conn, scheme, block, located, *batch, commitment).await,
        Fact::Challenged { batch, provider } => {
            challenge(conn, block, located, *batch, provider.as_slice(), true).await
        }
        Fact::Answered { batch, provider } => challenge(conn, block, located, *batch, provider.as_slice(), false).await,
        Fact::BatchVoided { batch } => void(conn, block, *batch).await,
        Fact::ProviderRecorded { provider, endpoint, terms } => {
            plain::provider(conn, block, located.log_index, provider, endpoint, terms).await
        }
        Fact::WorkerChanged { provider, worker, added } => {
            plain::worker(conn, block, located.log_index, provider, worker, *added).await
        }
        Fact::ResourceAdded(class) => plain::resource(conn, block, class).await,
        Fact::Paid { provider, amount, way } => {
            plain::payment(conn, block, located.log_index, provider, *amount, *way).await
        }
    }
}

async fn commit(
    conn: &mut SqliteConnection,
    scheme: &Scheme,
    block: Block,
    located: &Located,
    id: BatchId,
    commitment: &Commitment,
) -> Result<(), Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    let (at, log_index) = (to_i64(block.number), to_i64(located.log_index));
    let (tx, committed_at) = (located.transaction.as_slice(), to_i64(block.timestamp));
    let [root, lines_root, data_hash] =
        [&commitment.root, &commitment.lines_root, &commitment.data_hash].map(|hash| hash.as_slice());
    let [sum, fee, lines_sum] =
        [commitment.sum, commitment.fee, commitment.lines_sum].map(|amount| to_i64(amount.get()));
    let line_count = i64::from(commitment.line_count);
    let done = sqlx::query!(
        "INSERT INTO batches (keeper, number, block, log_index, tx, committed_at, root, sum, fee, lines_root,
             lines_sum, line_count, data_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
        keeper,
        number,
        at,
        log_index,
        tx,
        committed_at,
        root,
        sum,
        fee,
        lines_root,
        lines_sum,
        line_count,
        data_hash,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    record_change(conn, ChangeKind::Committed, id).await?;
    match read::batch(conn, id).await? {
        Some(batch) => attach_known(conn, scheme, &batch).await,
        None => Ok(()),
    }
}

async fn challenge(
    conn: &mut SqliteConnection,
    block: Block,
    located: &Located,
    id: BatchId,
    provider: &[u8],
    opened: bool,
) -> Result<(), Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    let (block, log_index) = (to_i64(block.number), to_i64(located.log_index));
    sqlx::query!(
        "INSERT INTO challenges (block, log_index, keeper, number, provider, opened) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
        block,
        log_index,
        keeper,
        number,
        provider,
        opened,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn void(conn: &mut SqliteConnection, block: Block, id: BatchId) -> Result<(), Fault> {
    if !settle(conn, block, id, Finality::Void).await? {
        return Ok(());
    }
    let trades = count::trades_of(conn, id).await?;
    count::adjust_totals(conn, &trades, Scope::All, Step::Remove).await?;
    count::rebuild(conn, &count::minutes(&trades).collect(), Scope::All).await
}

/// Makes every batch final whose window is over by the block's clock and that has no open challenge.
async fn finalise(conn: &mut SqliteConnection, scheme: &Scheme, block: Block) -> Result<(), Fault> {
    let (now, period) = (to_i64(block.timestamp), to_i64(scheme.challenge_period));
    let due = sqlx::query!(
        r#"SELECT b.keeper AS "keeper!", b.number AS "number!" FROM batches b
         WHERE b.finality = 0 AND b.committed_at + $1 <= $2
         AND NOT EXISTS (
             SELECT 1 FROM challenges c WHERE c.keeper = b.keeper AND c.number = b.number AND c.opened = 1
             AND NOT EXISTS (
                 SELECT 1 FROM challenges d WHERE d.keeper = c.keeper AND d.number = c.number
                 AND d.provider = c.provider AND (d.block, d.log_index) > (c.block, c.log_index)))
         ORDER BY b.keeper, b.number"#,
        period,
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in due {
        let id = BatchId { keeper: to_address(&row.keeper)?, number: to_u32(row.number)? };
        if settle(conn, block, id, Finality::Proven).await? {
            let trades = count::trades_of(conn, id).await?;
            count::add(conn, &trades, Scope::Proven).await?;
        }
    }
    Ok(())
}

/// Moves a pending batch to where it stays. `false` if it was there before.
async fn settle(conn: &mut SqliteConnection, block: Block, id: BatchId, finality: Finality) -> Result<bool, Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    let (code, at) = (finality.code(), to_i64(block.number));
    let done = sqlx::query!(
        "UPDATE batches SET finality = $1, finality_block = $2 WHERE keeper = $3 AND number = $4 AND finality = 0",
        code,
        at,
        keeper,
        number,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let kind = if finality == Finality::Void { ChangeKind::Voided } else { ChangeKind::Proven };
    record_change(conn, kind, id).await?;
    Ok(true)
}

/// Adds a row to what streams read.
pub(crate) async fn record_change(conn: &mut SqliteConnection, kind: ChangeKind, id: BatchId) -> Result<(), Fault> {
    let (keeper, number, kind) = (id.keeper.as_slice(), i64::from(id.number), kind.code());
    sqlx::query!("INSERT INTO changes (kind, keeper, number) VALUES ($1, $2, $3)", kind, keeper, number)
        .execute(conn)
        .await?;
    Ok(())
}

/// A batch that a block gave its present standing.
struct Affected {
    id: BatchId,
    before: &'static [Scope],
    after: &'static [Scope],
    is_deleted: bool,
}

/// Takes back the block `from` and all above it.
pub(crate) async fn undo(conn: &mut SqliteConnection, from: u64) -> Result<(), Fault> {
    let affected = affected(conn, from).await?;
    let mut minutes = BTreeMap::<Scope, BTreeSet<Place>>::new();
    for batch in &affected {
        let trades = count::trades_of(conn, batch.id).await?;
        for scope in Scope::EVERY {
            let step = match (batch.before.contains(&scope), batch.after.contains(&scope)) {
                (true, false) => Step::Remove,
                (false, true) => Step::Add,
                _ => continue,
            };
            count::adjust_totals(conn, &trades, scope, step).await?;
            minutes.entry(scope).or_default().extend(count::minutes(&trades));
        }
        if batch.is_deleted {
            let (keeper, number) = (batch.id.keeper.as_slice(), i64::from(batch.id.number));
            sqlx::query!("DELETE FROM trades WHERE keeper = $1 AND number = $2", keeper, number)
                .execute(&mut *conn)
                .await?;
        }
        record_change(conn, ChangeKind::Reverted, batch.id).await?;
    }
    delete_from(conn, to_i64(from)).await?;
    for (scope, minutes) in &minutes {
        count::rebuild(conn, minutes, *scope).await?;
    }
    Ok(())
}

/// Batches that were committed, made final or voided in `from` or above.
async fn affected(conn: &mut SqliteConnection, from: u64) -> Result<Vec<Affected>, Fault> {
    let at = to_i64(from);
    let rows = sqlx::query!(
        r#"SELECT keeper AS "keeper!", number AS "number!: i64", block AS "block!: i64", finality AS "finality!: i64"
           FROM batches WHERE block >= $1
           UNION
           SELECT keeper, number, block, finality FROM batches WHERE finality_block >= $1"#,
        at,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let is_deleted = to_u64(row.block) >= from;
            Ok(Affected {
                id: BatchId { keeper: to_address(&row.keeper)?, number: to_u32(row.number)? },
                before: to_finality(row.finality)?.scopes(),
                after: if is_deleted { &[] } else { Finality::Pending.scopes() },
                is_deleted,
            })
        })
        .collect()
}

async fn delete_from(conn: &mut SqliteConnection, from: i64) -> Result<(), Fault> {
    sqlx::query!("DELETE FROM batches WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("UPDATE batches SET finality = 0, finality_block = NULL WHERE finality_block >= $1", from)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM challenges WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM provider_records WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM worker_changes WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM resources WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM payments WHERE block >= $1", from).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM blocks WHERE number >= $1", from).execute(&mut *conn).await?;
    Ok(())
}
