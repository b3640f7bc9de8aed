//! Batches and what they are settled from.

use crate::column::{self, from_json, from_word, integer, to_json, to_word, unavailable, unsigned};
use alloy::primitives::Address;
use keeper_store::{Batch, Prepared, StoreError};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{Commitment, Line};
use protocol::order::{JobId, SignedOrder};
use protocol::voucher::{Accepted, BatchNumber, ChannelId, SignedVoucher};
use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqlitePool};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, StoreError>;

#[derive(Serialize, Deserialize)]
struct PreparedText {
    debits: Amount,
    fee_bps: u16,
    commitment: Commitment,
}

struct Row {
    number: i64,
    state: String,
    debits: i64,
    vouchers: i64,
    first_at: Option<i64>,
    prepared: Option<String>,
    transaction: Option<Vec<u8>>,
    gas: Option<i64>,
    committed_at: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Batch> {
        let prepared = self.prepared.as_deref().map(from_json::<PreparedText>).transpose()?;
        Ok(Batch {
            number: number(self.number)?,
            state: from_word(&self.state)?,
            debits: Amount(unsigned(self.debits)?),
            vouchers: unsigned(self.vouchers)?,
            first_at: self.first_at.map(unsigned).transpose()?.map(Timestamp),
            prepared: prepared.map(|PreparedText { debits, fee_bps, commitment }| Prepared {
                debits,
                fee_bps,
                commitment,
            }),
            transaction: self.transaction.as_deref().map(column::hash).transpose()?,
            gas: self.gas.map(unsigned).transpose()?,
            committed_at: self.committed_at.map(unsigned).transpose()?.map(Timestamp),
        })
    }
}

pub(crate) fn number(value: i64) -> Result<BatchNumber> {
    BatchNumber::try_from(value).map_err(|_| StoreError::corrupt(format!("{value} is no batch number")))
}

pub(crate) async fn put(connection: &mut SqliteConnection, batch: &Batch) -> Result<()> {
    let state = to_word(&batch.state)?;
    let debits = integer(batch.debits.get(), "an amount")?;
    let vouchers = integer(batch.vouchers, "a count")?;
    let first_at = batch.first_at.map(|at| integer(at.get(), "a time")).transpose()?;
    let prepared = batch
        .prepared
        .map(|Prepared { debits, fee_bps, commitment }| to_json(&PreparedText { debits, fee_bps, commitment }))
        .transpose()?;
    let transaction = batch.transaction.map(|hash| hash.to_vec());
    let gas = batch.gas.map(|gas| integer(gas, "gas")).transpose()?;
    let committed_at = batch.committed_at.map(|at| integer(at.get(), "a time")).transpose()?;
    sqlx::query!(
        r#"INSERT INTO batches (number, state, debits, vouchers, first_at, prepared, "transaction", gas, committed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (number) DO UPDATE SET state = excluded.state, debits = excluded.debits,
            vouchers = excluded.vouchers, first_at = excluded.first_at, prepared = excluded.prepared,
            "transaction" = excluded."transaction", gas = excluded.gas, committed_at = excluded.committed_at"#,
        batch.number,
        state,
        debits,
        vouchers,
        first_at,
        prepared,
        transaction,
        gas,
        committed_at
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn one(pool: &SqlitePool, number: BatchNumber) -> Result<Option<Batch>> {
    sqlx::query_as!(
        Row,
        r#"SELECT number, state, debits, vouchers, first_at, prepared, "transaction", gas, committed_at
         FROM batches WHERE number = $1"#,
        number
    )
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?
    .map(Row::read)
    .transpose()
}

pub(crate) async fn newest(pool: &SqlitePool, limit: u32) -> Result<Vec<Batch>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT number, state, debits, vouchers, first_at, prepared, "transaction", gas, committed_at
         FROM batches ORDER BY number DESC LIMIT $1"#,
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(Row::read).collect()
}

pub(crate) async fn debits(pool: &SqlitePool, number: BatchNumber) -> Result<Vec<(ChannelId, SignedVoucher)>> {
    let rows = sqlx::query!(
        "SELECT n.channel, v.accepted FROM newest_vouchers n JOIN vouchers v ON v.id = n.voucher
         WHERE n.batch = $1 ORDER BY n.channel",
        number
    )
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.into_iter()
        .map(|row| {
            let accepted: Accepted = from_json(&row.accepted)?;
            Ok((ChannelId(column::hash(&row.channel)?), accepted.voucher))
        })
        .collect()
}

pub(crate) async fn owed(pool: &SqlitePool, number: BatchNumber) -> Result<BTreeMap<Address, Amount>> {
    let rows = sqlx::query!("SELECT provider, amount FROM owed WHERE batch = $1", number)
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(|row| Ok((column::address(&row.provider)?, Amount(unsigned(row.amount)?)))).collect()
}

pub(crate) async fn lines(pool: &SqlitePool, number: BatchNumber) -> Result<Vec<Line>> {
    let rows = sqlx::query!(
        r#"SELECT j.id, j.signed, j.provider AS "provider!", j.price AS "price!", l.quantity, l.amount, l.ended_at,
            l.result
         FROM lines l JOIN jobs j ON j.sequence = l.job WHERE l.batch = $1 ORDER BY l.job"#,
        number
    )
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.into_iter()
        .map(|row| {
            let order = from_json::<SignedOrder>(&row.signed)?.order;
            Ok(Line {
                job: JobId(column::hash(&row.id)?),
                payer: order.payer,
                provider: column::address(&row.provider)?,
                resource: order.resource,
                quantity: Quantity(unsigned(row.quantity)?),
                price: Price(unsigned(row.price)?),
                amount: Amount(unsigned(row.amount)?),
                ended_at: Timestamp(unsigned(row.ended_at)?),
                result: column::hash(&row.result)?,
            })
        })
        .collect()
}
