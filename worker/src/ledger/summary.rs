//! Figures for the operator.

use super::{Ledger, LedgerError, amount, unsigned};
use protocol::amount::{Amount, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use std::collections::BTreeMap;
use std::path::Path;

/// Figures of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Number of jobs by state.
    pub jobs: BTreeMap<String, u64>,
    /// Owed by keepers and not claimed yet.
    pub owed: Amount,
    /// Claimed so far.
    pub claimed: Amount,
    /// Total of direct vouchers not redeemed yet, fees included.
    pub unredeemed: Amount,
}

/// What is billed and waits to be paid, over all jobs that still can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// Jobs whose newest receipt is not paid in full.
    pub jobs: u64,
    /// What they are short of.
    pub amount: Amount,
    /// For how many seconds the oldest of them has been known.
    pub age_s: u64,
}

impl Ledger {
    /// Opens the ledger beside a running worker; it must exist.
    pub async fn open_for_reading(folder: &Path) -> Result<Self, LedgerError> {
        let file = folder.join("ledger.sqlite");
        if !file.exists() {
            return Err(LedgerError::Missing(folder.display().to_string()));
        }
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        Ok(Self { pool, lock: None })
    }

    /// Figures for the operator.
    pub async fn summary(&self) -> Result<Summary, LedgerError> {
        let rows = sqlx::query!(r#"SELECT state, COUNT(*) AS "count!: i64" FROM jobs GROUP BY state"#)
            .fetch_all(&self.pool)
            .await?;
        let jobs =
            rows.into_iter().map(|row| Ok((row.state, unsigned(row.count)?))).collect::<Result<_, LedgerError>>()?;
        let owed = sqlx::query!(
            r#"SELECT COALESCE(SUM(a.earned), 0) AS "sum!: i64" FROM acceptances a
               JOIN batches b ON b.keeper = a.keeper AND b.number = a.batch WHERE b.state NOT IN ('claimed', 'recovered')"#
        )
        .fetch_one(&self.pool)
        .await?;
        let claimed =
            sqlx::query!(r#"SELECT COALESCE(SUM(amount), 0) AS "sum!: i64" FROM batches WHERE state = 'claimed'"#)
                .fetch_one(&self.pool)
                .await?;
        let unredeemed = sqlx::query!(r#"SELECT COALESCE(SUM(total - redeemed), 0) AS "sum!: i64" FROM vouchers"#)
            .fetch_one(&self.pool)
            .await?;
        Ok(Summary {
            jobs,
            owed: amount(owed.sum)?,
            claimed: amount(claimed.sum)?,
            unredeemed: amount(unredeemed.sum)?,
        })
    }

    /// What waits to be paid now.
    pub async fn unsettled(&self, now: Timestamp) -> Result<Unsettled, LedgerError> {
        let row = sqlx::query!(
            r#"SELECT COUNT(*) AS "jobs!: i64", COALESCE(SUM(billed - paid), 0) AS "amount!: i64",
                      MIN(created_at) AS "since: i64"
               FROM (SELECT j.paid AS paid, j.created_at AS created_at, MAX(r.amount) AS billed
                     FROM jobs j JOIN receipts r ON r.job = j.id WHERE j.state <> 'closed' GROUP BY j.id)
               WHERE billed > paid"#
        )
        .fetch_one(&self.pool)
        .await?;
        let since = row.since.map(unsigned).transpose()?;
        Ok(Unsettled {
            jobs: unsigned(row.jobs)?,
            amount: amount(row.amount)?,
            age_s: since.map_or(0, |since| now.get().saturating_sub(since)),
        })
    }
}
