//! Batches and their lines files.

use super::page;
use crate::codec::{to_address, to_finality, to_hash, to_i64, to_u32, to_u64};
use crate::fault::{Fault, damaged};
use alloy::primitives::{Address, B256};
use indexer_store::fact::BatchId;
use indexer_store::query::Position;
use indexer_store::row::{BatchRow, Counts, LinesState, Page, Wanted};
use protocol::amount::Amount;
use protocol::batch::Commitment;
use sqlx::SqliteConnection;

/// Most batches whose lines are asked for in one round.
const WANTED: i64 = 100;

/// The stored columns of a batch, with its open challenges counted.
#[derive(Debug)]
struct BatchRecord {
    keeper: Vec<u8>,
    number: i64,
    block: i64,
    log_index: i64,
    tx: Vec<u8>,
    committed_at: i64,
    root: Vec<u8>,
    sum: i64,
    fee: i64,
    lines_root: Vec<u8>,
    lines_sum: i64,
    line_count: i64,
    data_hash: Vec<u8>,
    finality: i64,
    lines: i64,
    problem: Option<String>,
    open_challenges: i64,
}

/// `SELECT` of [`BatchRecord`], completed by the clauses given. A provider's challenge is open if it was opened later
/// than it was last answered.
macro_rules! select_batches {
    ($clauses:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BatchRecord,
            r#"SELECT b.keeper AS "keeper!", b.number AS "number!", b.block AS "block!",
                   b.log_index AS "log_index!", b.tx AS "tx!", b.committed_at AS "committed_at!",
                   b.root AS "root!", b.sum AS "sum!", b.fee AS "fee!", b.lines_root AS "lines_root!",
                   b.lines_sum AS "lines_sum!", b.line_count AS "line_count!",
                   b.data_hash AS "data_hash!", b.finality AS "finality!", b.lines AS "lines!",
                   b.problem AS "problem?",
                   (SELECT count(*) FROM challenges c
                    WHERE c.keeper = b.keeper AND c.number = b.number AND c.opened = 1
                    AND NOT EXISTS (
                        SELECT 1 FROM challenges d WHERE d.keeper = c.keeper AND d.number = c.number
                        AND d.provider = c.provider AND (d.block, d.log_index) > (c.block, c.log_index))
                   ) AS "open_challenges!: i64"
               FROM batches b "# + $clauses
            $(, $argument)*
        )
    };
}

impl BatchRecord {
    fn commitment(&self) -> Result<Commitment, Fault> {
        Ok(Commitment {
            root: to_hash(&self.root)?,
            sum: Amount(to_u64(self.sum)),
            fee: Amount(to_u64(self.fee)),
            lines_root: to_hash(&self.lines_root)?,
            lines_sum: Amount(to_u64(self.lines_sum)),
            line_count: to_u32(self.line_count)?,
            data_hash: to_hash(&self.data_hash)?,
        })
    }

    fn id(&self) -> Result<BatchId, Fault> {
        Ok(BatchId { keeper: to_address(&self.keeper)?, number: to_u32(self.number)? })
    }

    fn row(self) -> Result<BatchRow, Fault> {
        let (id, commitment) = (self.id()?, self.commitment()?);
        let lines = match (self.lines, self.problem) {
            (0, problem) => LinesState::Missing(problem),
            (1, problem) => LinesState::Mismatch(problem.unwrap_or_default()),
            (2, _) => LinesState::Verified,
            _ => return Err(damaged("the state of a batch's lines")),
        };
        Ok(BatchRow {
            id,
            commitment,
            block: to_u64(self.block),
            log_index: to_u64(self.log_index),
            transaction: to_hash(&self.tx)?,
            committed_at: to_u64(self.committed_at),
            finality: to_finality(self.finality)?,
            open_challenges: to_u32(self.open_challenges)?,
            lines,
        })
    }
}

/// One batch.
pub(crate) async fn batch(conn: &mut SqliteConnection, id: BatchId) -> Result<Option<BatchRow>, Fault> {
    let (keeper, number) = (id.keeper.as_slice(), i64::from(id.number));
    select_batches!("WHERE b.keeper = $1 AND b.number = $2", keeper, number)
        .fetch_optional(conn)
        .await?
        .map(BatchRecord::row)
        .transpose()
}

/// Batches, newest first; a position is the block and log of a commit.
pub(crate) async fn batches(
    conn: &mut SqliteConnection,
    keeper: Option<Address>,
    position: &Position,
) -> Result<Page<BatchRow>, Fault> {
    let (block, log_index) = position.after.as_deref().map_or(Ok((i64::MAX, i64::MAX)), unpack)?;
    let limit = position.bounded();
    let fetched = i64::from(limit) + 1;
    let records = match keeper {
        None => {
            select_batches!(
                "WHERE (b.block, b.log_index) < ($1, $2) ORDER BY b.block DESC, b.log_index DESC LIMIT $3",
                block,
                log_index,
                fetched,
            )
            .fetch_all(conn)
            .await?
        }
        Some(keeper) => {
            let keeper = keeper.as_slice();
            select_batches!(
                "WHERE b.keeper = $4 AND (b.block, b.log_index) < ($1, $2)
                 ORDER BY b.block DESC, b.log_index DESC LIMIT $3",
                block,
                log_index,
                fetched,
                keeper,
            )
            .fetch_all(conn)
            .await?
        }
    };
    let rows = records.into_iter().map(BatchRecord::row).collect::<Result<Vec<_>, _>>()?;
    Ok(page(rows, limit, BatchRow::key))
}

fn unpack(key: &[u8]) -> Result<(i64, i64), Fault> {
    let (words, rest) = key.as_chunks::<8>();
    match (words, rest) {
        ([block, log_index], []) => Ok((to_i64(u64::from_be_bytes(*block)), to_i64(u64::from_be_bytes(*log_index)))),
        _ => Err(indexer_store::store::StoreError::Cursor.into()),
    }
}

/// A keeper's batches whose lines are not known and may count.
pub(crate) async fn wanted(conn: &mut SqliteConnection, keeper: Address) -> Result<Vec<Wanted>, Fault> {
    let keeper = keeper.as_slice();
    let records = select_batches!(
        "INDEXED BY batches_without_lines WHERE b.keeper = $1 AND b.lines < 2 AND b.finality < 2
         ORDER BY b.block, b.log_index LIMIT $2",
        keeper,
        WANTED,
    )
    .fetch_all(conn)
    .await?;
    records.into_iter().map(|record| Ok(Wanted { id: record.id()?, commitment: record.commitment()? })).collect()
}

/// The verified lines file of that hash.
pub(crate) async fn file(conn: &mut SqliteConnection, data_hash: B256) -> Result<Option<Vec<u8>>, Fault> {
    let hash = data_hash.as_slice();
    let row = sqlx::query!("SELECT bytes FROM files WHERE data_hash = $1", hash).fetch_optional(conn).await?;
    Ok(row.map(|row| row.bytes))
}

/// How many batches stand where.
pub(crate) async fn counts(conn: &mut SqliteConnection) -> Result<Counts, Fault> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE finality = 0) AS "pending!: i64",
                  count(*) FILTER (WHERE finality = 1) AS "proven!: i64",
                  count(*) FILTER (WHERE finality = 2) AS "void!: i64",
                  count(*) FILTER (WHERE finality < 2 AND lines < 2) AS "lines_missing!: i64"
           FROM batches"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Counts {
        pending: to_u64(row.pending),
        proven: to_u64(row.proven),
        void: to_u64(row.void),
        lines_missing: to_u64(row.lines_missing),
    })
}
