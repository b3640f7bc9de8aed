//! Providers: their records, workers, and what they earned.

use super::page;
use crate::codec::{to_address, to_hash, to_u64, to_u128};
use crate::fault::Fault;
use alloy::primitives::Address;
use indexer_store::fact::PaidBy;
use indexer_store::query::Position;
use indexer_store::row::{Page, ProviderRow, Totals};
use indexer_store::store::StoreError;
use indexer_store::trade::Scope;
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// Providers by address.
pub(crate) async fn providers(conn: &mut SqliteConnection, position: &Position) -> Result<Page<ProviderRow>, Fault> {
    let after = position.after.as_deref().unwrap_or_default();
    if !matches!(after.len(), 0 | 20) {
        return Err(StoreError::Cursor.into());
    }
    let limit = position.bounded();
    let fetched = i64::from(limit) + 1;
    let rows = sqlx::query!(
        r#"SELECT provider AS "provider!: Vec<u8>" FROM (
               SELECT DISTINCT provider FROM provider_records WHERE provider > $1 ORDER BY provider LIMIT $2)
           UNION SELECT provider FROM (
               SELECT DISTINCT provider FROM totals WHERE provider > $1 ORDER BY provider LIMIT $2)
           ORDER BY 1 LIMIT $2"#,
        after,
        fetched,
    )
    .fetch_all(&mut *conn)
    .await?;
    let listed = rows.iter().map(|row| to_address(&row.provider)).collect::<Result<Vec<_>, _>>()?;
    let rows = load(conn, &listed).await?;
    Ok(page(rows, limit, |row| row.address.to_vec()))
}

/// One provider.
pub(crate) async fn provider(conn: &mut SqliteConnection, address: Address) -> Result<Option<ProviderRow>, Fault> {
    let row = load(conn, &[address]).await?.pop();
    Ok(row.filter(|row| row.endpoint.is_some() || row.all.lines > 0 || row.payments != Default::default()))
}

/// Fills in providers listed in ascending order. Each query reads the range between the first and the last.
async fn load(conn: &mut SqliteConnection, listed: &[Address]) -> Result<Vec<ProviderRow>, Fault> {
    let (Some(first), Some(last)) = (listed.first(), listed.last()) else { return Ok(Vec::new()) };
    let range = (first.as_slice(), last.as_slice());
    let mut rows: BTreeMap<Address, ProviderRow> = listed
        .iter()
        .map(|address| {
            let row = ProviderRow {
                address: *address,
                endpoint: None,
                terms: None,
                workers: Vec::new(),
                proven: Totals::default(),
                all: Totals::default(),
                payments: Default::default(),
            };
            (*address, row)
        })
        .collect();
    load_records(conn, range, &mut rows).await?;
    load_workers(conn, range, &mut rows).await?;
    load_totals(conn, range, &mut rows).await?;
    load_payments(conn, range, &mut rows).await?;
    Ok(rows.into_values().collect())
}

type Rows = BTreeMap<Address, ProviderRow>;

async fn load_records(conn: &mut SqliteConnection, range: (&[u8], &[u8]), rows: &mut Rows) -> Result<(), Fault> {
    let found = sqlx::query!(
        "SELECT provider, endpoint, terms FROM provider_records WHERE provider BETWEEN $1 AND $2
         ORDER BY provider, block, log_index",
        range.0,
        range.1,
    )
    .fetch_all(conn)
    .await?;
    for record in found {
        if let Some(row) = rows.get_mut(&to_address(&record.provider)?) {
            row.endpoint = Some(record.endpoint);
            row.terms = Some(to_hash(&record.terms)?);
        }
    }
    Ok(())
}

async fn load_workers(conn: &mut SqliteConnection, range: (&[u8], &[u8]), rows: &mut Rows) -> Result<(), Fault> {
    let found = sqlx::query!(
        "SELECT w.provider, w.worker FROM worker_changes w WHERE w.provider BETWEEN $1 AND $2 AND w.added = 1
         AND NOT EXISTS (
             SELECT 1 FROM worker_changes n WHERE n.provider = w.provider AND n.worker = w.worker
             AND (n.block, n.log_index) > (w.block, w.log_index))
         ORDER BY w.provider, w.worker",
        range.0,
        range.1,
    )
    .fetch_all(conn)
    .await?;
    for record in found {
        if let Some(row) = rows.get_mut(&to_address(&record.provider)?) {
            row.workers.push(to_address(&record.worker)?);
        }
    }
    Ok(())
}

async fn load_totals(conn: &mut SqliteConnection, range: (&[u8], &[u8]), rows: &mut Rows) -> Result<(), Fault> {
    let found = sqlx::query!(
        "SELECT provider, scope, amount, lines, finished FROM totals WHERE provider BETWEEN $1 AND $2",
        range.0,
        range.1,
    )
    .fetch_all(conn)
    .await?;
    for record in found {
        if let Some(row) = rows.get_mut(&to_address(&record.provider)?) {
            let total = Totals {
                amount: to_u128(&record.amount)?,
                lines: to_u64(record.lines),
                finished: to_u64(record.finished),
            };
            match record.scope == Scope::All.code() {
                true => row.all = total,
                false => row.proven = total,
            }
        }
    }
    Ok(())
}

/// Halves are summed apart, because SQLite refuses a sum above 2^63.
async fn load_payments(conn: &mut SqliteConnection, range: (&[u8], &[u8]), rows: &mut Rows) -> Result<(), Fault> {
    let found = sqlx::query!(
        r#"SELECT provider, way, sum((amount >> 32) & 4294967295) AS "high!: i64",
                  sum(amount & 4294967295) AS "low!: i64"
           FROM payments WHERE provider BETWEEN $1 AND $2 GROUP BY provider, way"#,
        range.0,
        range.1,
    )
    .fetch_all(conn)
    .await?;
    for record in found {
        let Some(row) = rows.get_mut(&to_address(&record.provider)?) else { continue };
        let sum = (u128::from(to_u64(record.high)) << 32) + u128::from(to_u64(record.low));
        let payments = &mut row.payments;
        for (way, total) in [
            (PaidBy::Claim, &mut payments.claimed),
            (PaidBy::Recovery, &mut payments.recovered),
            (PaidBy::Redemption, &mut payments.redeemed),
        ] {
            if way.code() == record.way {
                *total = sum;
            }
        }
    }
    Ok(())
}
