//! Channels, vouchers and acceptances.

use crate::column::{self, from_json, integer, to_json, unavailable, unsigned};
use crate::{batches, jobs};
use keeper_store::{Channel, Entry, StoreError};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::voucher::{Accepted, Account, ChannelId};
use sqlx::{SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, StoreError>;

pub(crate) async fn channel(pool: &SqlitePool, id: ChannelId) -> Result<Option<Channel>> {
    let key = id.0.as_slice();
    let row = sqlx::query!("SELECT payer, signer, total, batch, earned FROM channels WHERE id = $1", key)
        .fetch_optional(pool)
        .await
        .map_err(unavailable)?;
    row.map(|row| {
        Ok(Channel {
            id,
            payer: column::address(&row.payer)?,
            signer: column::address(&row.signer)?,
            account: Account {
                total: Amount(unsigned(row.total)?),
                batch: batches::number(row.batch)?,
                earned: from_json(&row.earned)?,
            },
        })
    })
    .transpose()
}

pub(crate) async fn put_channel(connection: &mut SqliteConnection, channel: &Channel) -> Result<()> {
    let (id, payer, signer) = (channel.id.0.as_slice(), channel.payer.as_slice(), channel.signer.as_slice());
    let total = integer(channel.account.total.get(), "an amount")?;
    let batch = channel.account.batch;
    let earned = to_json(&channel.account.earned)?;
    sqlx::query!(
        "INSERT INTO channels (id, payer, signer, total, batch, earned) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET total = excluded.total, batch = excluded.batch, earned = excluded.earned",
        id,
        payer,
        signer,
        total,
        batch,
        earned
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn accept(connection: &mut SqliteConnection, entry: &Entry) -> Result<()> {
    put_channel(connection, &entry.channel).await?;
    jobs::put(connection, &entry.job).await?;
    batches::put(connection, &entry.batch).await?;
    put_voucher(connection, entry).await?;
    put_owed(connection, entry).await?;
    put_line(connection, entry).await
}

async fn put_voucher(connection: &mut SqliteConnection, entry: &Entry) -> Result<()> {
    let batch = entry.batch.number;
    let channel = entry.channel.id.0.as_slice();
    let job = integer(entry.job.sequence, "a sequence")?;
    let debit = integer(entry.debit.get(), "an amount")?;
    let total = integer(entry.accepted.voucher.voucher.total.get(), "an amount")?;
    let accepted = to_json(&entry.accepted)?;
    let inserted = sqlx::query!(
        "INSERT INTO vouchers (batch, channel, job, debit, total, accepted) VALUES ($1, $2, $3, $4, $5, $6)",
        batch,
        channel,
        job,
        debit,
        total,
        accepted
    )
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    let voucher = inserted.last_insert_rowid();
    sqlx::query!(
        "INSERT INTO newest_vouchers (batch, channel, voucher) VALUES ($1, $2, $3)
         ON CONFLICT (batch, channel) DO UPDATE SET voucher = excluded.voucher",
        batch,
        channel,
        voucher
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

async fn put_owed(connection: &mut SqliteConnection, entry: &Entry) -> Result<()> {
    let promise = &entry.accepted.acceptance.acceptance;
    let batch = promise.batch;
    let provider = promise.provider.as_slice();
    let amount = integer(promise.owed.get(), "an amount")?;
    sqlx::query!(
        "INSERT INTO owed (batch, provider, amount) VALUES ($1, $2, $3)
         ON CONFLICT (batch, provider) DO UPDATE SET amount = excluded.amount",
        batch,
        provider,
        amount
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

async fn put_line(connection: &mut SqliteConnection, entry: &Entry) -> Result<()> {
    let batch = entry.batch.number;
    let job = integer(entry.job.sequence, "a sequence")?;
    let quantity = integer(entry.line.quantity.get(), "a quantity")?;
    let amount = integer(entry.line.amount.get(), "an amount")?;
    let ended_at = integer(entry.line.ended_at.get(), "a time")?;
    let result = entry.line.result.as_slice();
    sqlx::query!(
        "INSERT INTO lines (batch, job, quantity, amount, ended_at, result) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (batch, job) DO UPDATE SET quantity = excluded.quantity, amount = excluded.amount,
            ended_at = excluded.ended_at, result = excluded.result",
        batch,
        job,
        quantity,
        amount,
        ended_at,
        result
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn newest_accepted(pool: &SqlitePool, channel: ChannelId) -> Result<Option<Accepted>> {
    let channel = channel.0.as_slice();
    sqlx::query!(
        "SELECT v.accepted FROM newest_vouchers n JOIN vouchers v ON v.id = n.voucher
         WHERE n.channel = $1 ORDER BY n.batch DESC LIMIT 1",
        channel
    )
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?
    .map(|row| from_json(&row.accepted))
    .transpose()
}

pub(crate) async fn accepted_for(pool: &SqlitePool, job: JobId) -> Result<Option<Accepted>> {
    let job = job.0.as_slice();
    sqlx::query!(
        "SELECT accepted FROM vouchers WHERE job = (SELECT sequence FROM jobs WHERE id = $1)
         ORDER BY id DESC LIMIT 1",
        job
    )
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?
    .map(|row| from_json(&row.accepted))
    .transpose()
}
