//! Receipts, and how a job ends.
//!
//! A job leaves `queued` or `running` exactly once, by whoever is first, together with its last receipt in one
//! transaction. So a job has at most one receipt that carries its result, whatever crashes, panics or comes twice, and
//! what is sent after a restart is the very receipt that was written before it.

use super::{Ledger, LedgerError, column, decode, encode};
use alloy::primitives::B256;
use protocol::amount::Timestamp;
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::wire::Refusal;

impl Ledger {
    /// Writes a receipt of a running job down, before it is sent.
    pub async fn add_receipt(&self, receipt: &Receipt) -> Result<(), LedgerError> {
        let mut transaction = self.pool.begin().await?;
        insert_receipt(&mut transaction, receipt).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a running job with its result: writes its last receipt down, together with its outputs.
    pub async fn deliver(&self, receipt: &Receipt, outputs: &[Blob], now: Timestamp) -> Result<(), LedgerError> {
        let mut transaction = self.pool.begin().await?;
        let job = receipt.statement.job;
        let (outputs, now) = (encode(&outputs)?, column(now.get())?);
        let id = job.0.as_slice();
        let done = sqlx::query!(
            "UPDATE jobs SET state = 'delivered', outputs = $2, ended_at = $3 WHERE id = $1 AND state = 'running'",
            id,
            outputs,
            now
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(LedgerError::Ended(job));
        }
        insert_receipt(&mut transaction, receipt).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a job without a result, with the receipt of what it had used until then. Nothing changes where it has
    /// ended already: the first end stays.
    pub async fn fail(
        &self,
        job: JobId,
        last: Option<&Receipt>,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.pool.begin().await?;
        let (id, refusal, now) = (job.0.as_slice(), encode(refusal)?, column(now.get())?);
        let done = sqlx::query!(
            "UPDATE jobs SET state = 'failed', refusal = $2, ended_at = $3
             WHERE id = $1 AND state IN ('queued', 'running')",
            id,
            refusal,
            now
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        if let Some(receipt) = last {
            insert_receipt(&mut transaction, receipt).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A delivered job that will not be paid: what is unpaid counts against its channel from now on. `reported` tells
    /// whether its keeper knows.
    pub async fn give_up(&self, job: JobId, refusal: &Refusal, reported: bool) -> Result<(), LedgerError> {
        let (id, refusal) = (job.0.as_slice(), encode(refusal)?);
        sqlx::query!(
            "UPDATE jobs SET state = 'failed', refusal = $2, reported = $3 WHERE id = $1 AND state = 'delivered'",
            id,
            refusal,
            reported
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// After a restart: every job that was running has failed with its process, and is billed no more than the
    /// receipts that were written for it. Returns how many.
    pub async fn fail_interrupted(&self, refusal: &Refusal, now: Timestamp) -> Result<u64, LedgerError> {
        let (refusal, now) = (encode(refusal)?, column(now.get())?);
        let done = sqlx::query!(
            "UPDATE jobs SET state = 'failed', refusal = $1, ended_at = $2 WHERE state = 'running'",
            refusal,
            now
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Notes whether the keeper was told of a failure.
    pub async fn set_reported(&self, job: JobId, reported: bool) -> Result<(), LedgerError> {
        let id = job.0.as_slice();
        sqlx::query!("UPDATE jobs SET reported = $2 WHERE id = $1", id, reported).execute(&self.pool).await?;
        Ok(())
    }

    /// Closes a job that has ended and owes nothing more; `false` where it runs, is unpaid, or is closed already.
    pub async fn close_settled(&self, job: JobId) -> Result<bool, LedgerError> {
        let id = job.0.as_slice();
        let done = sqlx::query!(
            "UPDATE jobs SET state = 'closed' WHERE id = $1 AND state IN ('delivered', 'failed')
             AND paid >= (SELECT COALESCE(MAX(amount), 0) FROM receipts WHERE job = $1)",
            id
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Nothing more will happen to this job.
    pub async fn close_job(&self, job: JobId) -> Result<(), LedgerError> {
        let id = job.0.as_slice();
        sqlx::query!("UPDATE jobs SET state = 'closed' WHERE id = $1", id).execute(&self.pool).await?;
        Ok(())
    }

    /// The newest receipt of a job.
    pub async fn newest_receipt(&self, job: JobId) -> Result<Option<Receipt>, LedgerError> {
        let id = job.0.as_slice();
        let row = sqlx::query!("SELECT body FROM receipts WHERE job = $1 ORDER BY sequence DESC LIMIT 1", id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| decode(&row.body)).transpose()
    }

    /// The receipt of a job with this struct hash.
    pub async fn receipt_of(&self, job: JobId, hash: B256) -> Result<Option<Receipt>, LedgerError> {
        let (id, hash) = (job.0.as_slice(), hash.as_slice());
        let row = sqlx::query!("SELECT body FROM receipts WHERE job = $1 AND hash = $2", id, hash)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| decode(&row.body)).transpose()
    }
}

async fn insert_receipt(connection: &mut sqlx::SqliteConnection, receipt: &Receipt) -> Result<(), LedgerError> {
    let statement = &receipt.statement;
    let hash = statement.hash();
    let (id, hash) = (statement.job.0.as_slice(), hash.as_slice());
    let (sequence, amount, body) = (column(statement.sequence)?, column(statement.amount.get())?, encode(receipt)?);
    let is_final = statement.is_final();
    sqlx::query!(
        "INSERT INTO receipts (job, sequence, hash, amount, body, final) VALUES ($1, $2, $3, $4, $5, $6)",
        id,
        sequence,
        hash,
        amount,
        body,
        is_final
    )
    .execute(connection)
    .await?;
    Ok(())
}
