//! Where the index stands.

use crate::codec::{to_address, to_hash, to_u32, to_u64};
use crate::fault::{Fault, damaged};
use indexer_store::fact::{BatchId, Block};
use indexer_store::row::{Change, ChangeKind};
use indexer_store::store::StoreError;
use sqlx::SqliteConnection;

/// The newest block applied.
pub(crate) async fn as_of(conn: &mut SqliteConnection) -> Result<Block, Fault> {
    let row = sqlx::query!("SELECT number, hash, timestamp FROM blocks ORDER BY number DESC LIMIT 1")
        .fetch_optional(conn)
        .await?
        .ok_or(StoreError::Empty)?;
    Ok(Block { number: to_u64(row.number), hash: to_hash(&row.hash)?, timestamp: to_u64(row.timestamp) })
}

/// The blocks kept, oldest first.
pub(crate) async fn recent(conn: &mut SqliteConnection) -> Result<Vec<Block>, Fault> {
    let rows = sqlx::query!("SELECT number, hash, timestamp FROM blocks ORDER BY number").fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Block { number: to_u64(row.number), hash: to_hash(&row.hash)?, timestamp: to_u64(row.timestamp) })
        })
        .collect()
}

/// What happened after `after`, oldest first.
pub(crate) async fn changes(conn: &mut SqliteConnection, after: i64, limit: u32) -> Result<Vec<Change>, Fault> {
    let rows =
        sqlx::query!("SELECT id, kind, keeper, number FROM changes WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Change {
                id: row.id,
                kind: ChangeKind::from_code(row.kind).ok_or_else(|| damaged("a change"))?,
                batch: BatchId { keeper: to_address(&row.keeper)?, number: to_u32(row.number)? },
            })
        })
        .collect()
}

/// Number of the newest change.
pub(crate) async fn newest_change(conn: &mut SqliteConnection) -> Result<i64, Fault> {
    let row = sqlx::query!(r#"SELECT coalesce(max(id), 0) AS "id!: i64" FROM changes"#).fetch_one(conn).await?;
    Ok(row.id)
}
