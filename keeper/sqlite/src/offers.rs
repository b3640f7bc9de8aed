//! Offers.

use crate::column::{self, from_json, integer, to_json, unavailable, unsigned};
use alloy::primitives::B256;
use keeper_store::{StoreError, StoredOffer};
use protocol::amount::{Quantity, Timestamp};
use sqlx::{SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, StoreError>;

pub(crate) async fn last_sequence(pool: &SqlitePool) -> Result<u64> {
    let row = sqlx::query!(
        r#"SELECT MAX(
            (SELECT COALESCE(MAX(sequence), 0) FROM offers),
            (SELECT COALESCE(MAX(sequence), 0) FROM jobs)
        ) AS "last!: i64""#
    )
    .fetch_one(pool)
    .await
    .map_err(unavailable)?;
    unsigned(row.last)
}

pub(crate) async fn put(connection: &mut SqliteConnection, offer: &StoredOffer) -> Result<()> {
    let sequence = integer(offer.sequence, "a sequence")?;
    let id = offer.id.as_slice();
    let signed = to_json(&offer.signed)?;
    let remaining = integer(offer.remaining.get(), "a capacity")?;
    let expiry = integer(offer.signed.offer.expiry.get(), "an expiry")?;
    sqlx::query!(
        "INSERT INTO offers (sequence, id, signed, remaining, expiry) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        sequence,
        id,
        signed,
        remaining,
        expiry
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn put_remaining(connection: &mut SqliteConnection, id: B256, remaining: Quantity) -> Result<()> {
    let id = id.as_slice();
    let remaining = integer(remaining.get(), "a capacity")?;
    sqlx::query!("UPDATE offers SET remaining = $2 WHERE id = $1", id, remaining)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn drop_before(pool: &SqlitePool, now: Timestamp) -> Result<()> {
    let now = integer(now.get(), "the time")?;
    sqlx::query!("DELETE FROM offers WHERE expiry < $1", now).execute(pool).await.map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn all(pool: &SqlitePool) -> Result<Vec<StoredOffer>> {
    let rows = sqlx::query!("SELECT sequence, id, signed, remaining FROM offers ORDER BY sequence")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredOffer {
                sequence: unsigned(row.sequence)?,
                id: column::hash(&row.id)?,
                signed: from_json(&row.signed)?,
                remaining: Quantity(unsigned(row.remaining)?),
            })
        })
        .collect()
}
