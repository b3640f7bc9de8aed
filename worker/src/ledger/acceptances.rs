//! Accepted vouchers of a keeper: the newest of each channel and batch.

use super::{Ledger, LedgerError, amount, column, decode, encode};
use alloy::primitives::Address;
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::voucher::{Accepted, BatchNumber, ChannelId};

/// An acceptance that passed every check, and what it pays for.
#[derive(Debug, Clone, Copy)]
pub struct Credit<'a> {
    /// The job.
    pub job: JobId,
    /// The channel that pays.
    pub channel: ChannelId,
    /// What is paid of the job, all in all.
    pub paid: Amount,
    /// Whether that is the job's last receipt.
    pub last: bool,
    /// Voucher and acceptance.
    pub accepted: &'a Accepted,
}

impl Ledger {
    /// Counts an acceptance. Older pairs never replace newer ones; a job that has its last receipt paid is closed.
    pub async fn credit(&self, credit: &Credit<'_>) -> Result<(), LedgerError> {
        let voucher = &credit.accepted.voucher.voucher;
        let owed = column(credit.accepted.acceptance.acceptance.owed.get())?;
        let (keeper, channel, batch) = (voucher.keeper.as_slice(), credit.channel.0.as_slice(), voucher.batch);
        let (earned, total) = (column(voucher.latest.earned.get())?, column(voucher.total.get())?);
        let body = encode(credit.accepted)?;
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "INSERT INTO acceptances (keeper, batch, channel, earned, owed, total, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (keeper, batch, channel) DO UPDATE
             SET earned = excluded.earned, owed = excluded.owed, total = excluded.total, body = excluded.body
             WHERE excluded.earned > earned OR (excluded.earned = earned AND excluded.owed > owed)",
            keeper,
            batch,
            channel,
            earned,
            owed,
            total,
            body
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "INSERT INTO batches (keeper, number) VALUES ($1, $2) ON CONFLICT (keeper, number) DO NOTHING",
            keeper,
            batch
        )
        .execute(&mut *transaction)
        .await?;
        let (job, paid, last) = (credit.job.0.as_slice(), column(credit.paid.get())?, credit.last);
        sqlx::query!(
            "UPDATE jobs SET paid = MAX(paid, $2), state = CASE WHEN $3 THEN 'closed' ELSE state END WHERE id = $1",
            job,
            paid,
            last
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The newest accepted voucher of a channel in a batch.
    pub async fn newest_accepted(
        &self,
        keeper: Address,
        batch: BatchNumber,
        channel: ChannelId,
    ) -> Result<Option<Accepted>, LedgerError> {
        let (keeper, channel) = (keeper.as_slice(), channel.0.as_slice());
        let row = sqlx::query!(
            "SELECT body FROM acceptances WHERE keeper = $1 AND batch = $2 AND channel = $3",
            keeper,
            batch,
            channel
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| decode(&row.body)).transpose()
    }

    /// The sum of the newest `earned` of all channels in a batch.
    pub async fn earned_in(&self, keeper: Address, batch: BatchNumber) -> Result<Amount, LedgerError> {
        let keeper = keeper.as_slice();
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(earned), 0) AS "sum!: i64" FROM acceptances WHERE keeper = $1 AND batch = $2"#,
            keeper,
            batch
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    /// What a channel has earned for this provider in the batches from `first` up to the one before `batch`.
    pub async fn earned_before(
        &self,
        keeper: Address,
        channel: ChannelId,
        first: BatchNumber,
        batch: BatchNumber,
    ) -> Result<Amount, LedgerError> {
        let (keeper, channel) = (keeper.as_slice(), channel.0.as_slice());
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(earned), 0) AS "sum!: i64" FROM acceptances
               WHERE keeper = $1 AND channel = $2 AND batch >= $3 AND batch < $4"#,
            keeper,
            channel,
            first,
            batch
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    /// What a keeper owes in batches that are not final: its own word of each batch, which covers the provider's
    /// other workers as well.
    pub async fn keeper_exposure(&self, keeper: Address) -> Result<Amount, LedgerError> {
        let keeper = keeper.as_slice();
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(highest), 0) AS "sum!: i64" FROM
               (SELECT MAX(a.owed) AS highest FROM acceptances a
                JOIN batches b ON b.keeper = a.keeper AND b.number = a.batch
                WHERE a.keeper = $1 AND b.state IN ('open', 'proven') GROUP BY a.batch)"#,
            keeper
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    /// What a channel owes in batches that are not final.
    pub async fn channel_exposure(&self, channel: ChannelId) -> Result<Amount, LedgerError> {
        let channel = channel.0.as_slice();
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(a.earned), 0) AS "sum!: i64" FROM acceptances a
               JOIN batches b ON b.keeper = a.keeper AND b.number = a.batch
               WHERE a.channel = $1 AND b.state IN ('open', 'proven')"#,
            channel
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    /// The acceptance with the highest `owed` of a batch: the one to challenge with.
    pub async fn highest_owed(&self, keeper: Address, batch: BatchNumber) -> Result<Option<Accepted>, LedgerError> {
        let keeper = keeper.as_slice();
        let row = sqlx::query!(
            "SELECT body FROM acceptances WHERE keeper = $1 AND batch = $2 ORDER BY owed DESC LIMIT 1",
            keeper,
            batch
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| decode(&row.body)).transpose()
    }

    /// Every accepted voucher of the batches that are void or were recovered and may have to be again.
    pub async fn recoverable(&self, keeper: Address) -> Result<Vec<Accepted>, LedgerError> {
        let keeper = keeper.as_slice();
        let rows = sqlx::query!(
            "SELECT a.body FROM acceptances a JOIN batches b ON b.keeper = a.keeper AND b.number = a.batch
             WHERE a.keeper = $1 AND b.state IN ('void', 'recovered') AND b.safe = 0 ORDER BY a.channel, a.batch",
            keeper
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| decode(&row.body)).collect()
    }
}
