//! Jobs and their receipts.

use crate::column::{self, from_json, from_word, integer, to_json, to_word, unavailable, unsigned};
use alloy::primitives::B256;
use keeper_store::{Job, JobFilter, Matched, Paid, StoreError};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::ChannelId;
use sqlx::{SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, StoreError>;

struct Row {
    sequence: i64,
    id: Vec<u8>,
    signed: String,
    signer: Vec<u8>,
    channel: Vec<u8>,
    kind: String,
    memory: i64,
    devices: i64,
    cap: i64,
    state: String,
    offer: Option<Vec<u8>>,
    price: Option<i64>,
    provider: Option<Vec<u8>>,
    worker: Option<Vec<u8>>,
    newest: Option<String>,
    outputs: String,
    paid_sequence: i64,
    paid_amount: i64,
    paid_quantity: i64,
    debited: i64,
    failure: Option<String>,
    reason: Option<String>,
    created_at: i64,
    ended_at: Option<i64>,
}

impl Row {
    fn matched(&self) -> Result<Option<Matched>> {
        let (Some(offer), Some(price), Some(provider), Some(worker)) =
            (&self.offer, self.price, &self.provider, &self.worker)
        else {
            return Ok(None);
        };
        Ok(Some(Matched {
            offer: column::hash(offer)?,
            price: Price(unsigned(price)?),
            provider: column::address(provider)?,
            worker: column::address(worker)?,
        }))
    }

    fn read(self) -> Result<Job> {
        Ok(Job {
            sequence: unsigned(self.sequence)?,
            id: JobId(column::hash(&self.id)?),
            order: from_json(&self.signed)?,
            channel: ChannelId(column::hash(&self.channel)?),
            signer: column::address(&self.signer)?,
            kind: from_word(&self.kind)?,
            memory: Quantity(unsigned(self.memory)?),
            devices: u32::try_from(self.devices)
                .map_err(|_| StoreError::Corrupt(format!("{} devices", self.devices)))?,
            cap: Amount(unsigned(self.cap)?),
            state: from_word(&self.state)?,
            matched: self.matched()?,
            newest: self.newest.as_deref().map(from_json).transpose()?,
            outputs: from_json(&self.outputs)?,
            paid: Paid {
                sequence: unsigned(self.paid_sequence)?,
                amount: Amount(unsigned(self.paid_amount)?),
                quantity: Quantity(unsigned(self.paid_quantity)?),
                debited: Amount(unsigned(self.debited)?),
            },
            failure: self.failure.as_deref().map(from_json).transpose()?,
            reason: self.reason,
            created_at: Timestamp(unsigned(self.created_at)?),
            ended_at: self.ended_at.map(unsigned).transpose()?.map(Timestamp),
        })
    }
}

pub(crate) async fn put(connection: &mut SqliteConnection, job: &Job) -> Result<()> {
    let known = update(connection, job).await?;
    if known { Ok(()) } else { insert(connection, job).await }
}

/// Writes what changes in a job's life; false where the job is new.
async fn update(connection: &mut SqliteConnection, job: &Job) -> Result<bool> {
    let sequence = integer(job.sequence, "a sequence")?;
    let state = to_word(&job.state)?;
    let terminal = job.state.is_terminal();
    let offer = job.matched.map(|m| m.offer.to_vec());
    let price = job.matched.map(|m| integer(m.price.get(), "a price")).transpose()?;
    let provider = job.matched.map(|m| m.provider.to_vec());
    let worker = job.matched.map(|m| m.worker.to_vec());
    let newest = job.newest.as_ref().map(to_json).transpose()?;
    let outputs = to_json(&job.outputs)?;
    let paid_sequence = integer(job.paid.sequence, "a sequence")?;
    let paid_amount = integer(job.paid.amount.get(), "an amount")?;
    let paid_quantity = integer(job.paid.quantity.get(), "a quantity")?;
    let debited = integer(job.paid.debited.get(), "an amount")?;
    let failure = job.failure.as_ref().map(to_json).transpose()?;
    let ended_at = job.ended_at.map(|at| integer(at.get(), "a time")).transpose()?;
    let done = sqlx::query!(
        "UPDATE jobs SET state = $2, terminal = $3, offer = $4, price = $5, provider = $6, worker = $7, newest = $8,
            outputs = $9, paid_sequence = $10, paid_amount = $11, paid_quantity = $12, debited = $13, failure = $14,
            reason = $15, ended_at = $16
         WHERE sequence = $1",
        sequence,
        state,
        terminal,
        offer,
        price,
        provider,
        worker,
        newest,
        outputs,
        paid_sequence,
        paid_amount,
        paid_quantity,
        debited,
        failure,
        job.reason,
        ended_at
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected() == 1)
}

async fn insert(connection: &mut SqliteConnection, job: &Job) -> Result<()> {
    let sequence = integer(job.sequence, "a sequence")?;
    let (id, channel) = (job.id.0.as_slice(), job.channel.0.as_slice());
    let signed = to_json(&job.order)?;
    let (payer, signer) = (job.order.order.payer.as_slice(), job.signer.as_slice());
    let kind = to_word(&job.kind)?;
    let memory = integer(job.memory.get(), "a memory limit")?;
    let cap = integer(job.cap.get(), "an amount")?;
    let state = to_word(&job.state)?;
    let terminal = job.state.is_terminal();
    let outputs = to_json(&job.outputs)?;
    let created_at = integer(job.created_at.get(), "a time")?;
    sqlx::query!(
        "INSERT INTO jobs (sequence, id, signed, payer, signer, channel, kind, memory, cap, state, terminal, outputs,
            paid_sequence, paid_amount, paid_quantity, debited, reason, created_at, devices)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, 0, 0, $13, $14, $15)",
        sequence,
        id,
        signed,
        payer,
        signer,
        channel,
        kind,
        memory,
        cap,
        state,
        terminal,
        outputs,
        job.reason,
        created_at,
        job.devices
    )
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    // A job that is written with more than its beginning, as after a match in the same step.
    update(connection, job).await.map(|_| ())
}

pub(crate) async fn put_receipt(connection: &mut SqliteConnection, job: u64, receipt: &Receipt) -> Result<()> {
    let job = integer(job, "a sequence")?;
    let sequence = integer(receipt.statement.sequence, "a sequence")?;
    let hash = receipt.statement.hash();
    let hash = hash.as_slice();
    let text = to_json(receipt)?;
    sqlx::query!(
        "INSERT INTO receipts (job, sequence, hash, receipt) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        job,
        sequence,
        hash,
        text
    )
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(crate) async fn one(pool: &SqlitePool, id: JobId) -> Result<Option<Job>> {
    let id = id.0.as_slice();
    sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs WHERE id = $1",
        id
    )
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?
    .map(Row::read)
    .transpose()
}

pub(crate) async fn open(pool: &SqlitePool) -> Result<Vec<Job>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs WHERE terminal = 0 ORDER BY sequence"
    )
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(Row::read).collect()
}

/// Jobs, newest first. One statement per filter, so that each walks its index and stops at the limit.
pub(crate) async fn list(pool: &SqlitePool, filter: JobFilter, limit: u32) -> Result<Vec<Job>> {
    let rows = match (filter.payer, filter.signer) {
        (None, None) => newest(pool, limit).await,
        (Some(payer), None) => by_payer(pool, payer.as_slice(), limit).await,
        (None, Some(signer)) => by_signer(pool, signer.as_slice(), limit).await,
        (Some(payer), Some(signer)) => by_both(pool, payer.as_slice(), signer.as_slice(), limit).await,
    };
    rows.map_err(unavailable)?.into_iter().map(Row::read).collect()
}

async fn newest(pool: &SqlitePool, limit: u32) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs ORDER BY sequence DESC LIMIT $1",
        limit
    )
    .fetch_all(pool)
    .await
}

async fn by_payer(pool: &SqlitePool, payer: &[u8], limit: u32) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs WHERE payer = $1 ORDER BY sequence DESC LIMIT $2",
        payer,
        limit
    )
    .fetch_all(pool)
    .await
}

async fn by_signer(pool: &SqlitePool, signer: &[u8], limit: u32) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs WHERE signer = $1 ORDER BY sequence DESC LIMIT $2",
        signer,
        limit
    )
    .fetch_all(pool)
    .await
}

async fn by_both(pool: &SqlitePool, payer: &[u8], signer: &[u8], limit: u32) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT sequence, id, signed, signer, channel, kind, memory, devices, cap, state, offer, price, provider, worker,
            newest, outputs, paid_sequence, paid_amount, paid_quantity, debited, failure, reason, created_at, ended_at
         FROM jobs WHERE payer = $1 AND signer = $2 ORDER BY sequence DESC LIMIT $3",
        payer,
        signer,
        limit
    )
    .fetch_all(pool)
    .await
}

pub(crate) async fn receipt(pool: &SqlitePool, job: JobId, hash: B256) -> Result<Option<Receipt>> {
    let (job, hash) = (job.0.as_slice(), hash.as_slice());
    sqlx::query!(
        "SELECT receipt FROM receipts WHERE job = (SELECT sequence FROM jobs WHERE id = $1) AND hash = $2",
        job,
        hash
    )
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?
    .map(|row| from_json(&row.receipt))
    .transpose()
}
