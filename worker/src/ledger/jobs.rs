//! Jobs and the receipts written for them.

use super::{Ledger, LedgerError, amount, column, decode, encode, hash, unsigned};
use alloy::primitives::Address;
use protocol::amount::{Amount, Price, Timestamp};
use protocol::job::{Blob, Kind};
use protocol::order::{JobId, SignedOrder};
use protocol::receipt::Receipt;
use protocol::voucher::ChannelId;
use protocol::wire::Refusal;
use serde::{Deserialize, Serialize};

/// A job as it was matched with this worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assignment {
    /// Who keeps its channel; of a direct job the provider itself.
    pub keeper: Address,
    /// The client's order.
    pub order: SignedOrder,
    /// The session key that signed it.
    pub signer: Address,
    /// The channel that pays.
    pub channel: ChannelId,
    /// Price of the match.
    pub price: Price,
    /// Most that may be billed in all.
    pub cap: Amount,
}

impl Assignment {
    /// The job's id.
    pub fn job(&self) -> JobId {
        self.order.order.id()
    }
}

/// Where a job stands at its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStage {
    /// Waits for a free slot (direct jobs only; a keeper queues its own).
    Queued,
    /// Runs.
    Running,
    /// Has its result; the last receipt waits for its payment.
    Delivered,
    /// Ended without a result.
    Failed,
    /// Nothing more will happen.
    Closed,
}

impl JobStage {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// Every one, in the order in which a job goes through them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Delivered, Self::Failed, Self::Closed];

    fn from_text(text: &str) -> Result<Self, LedgerError> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| LedgerError::Corrupt(format!("job state {text:?}")))
    }
}

/// A job with everything but its receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// As matched.
    pub assignment: Assignment,
    /// Kind of program, once the envelope is read.
    pub kind: Option<Kind>,
    /// Where it stands.
    pub stage: JobStage,
    /// What was paid of it, by vouchers that count.
    pub paid: Amount,
    /// What the channel was debited for it, fees included (direct jobs only).
    pub debited: Amount,
    /// Its outputs, once delivered.
    pub outputs: Vec<Blob>,
    /// Why it failed.
    pub refusal: Option<Refusal>,
    /// Whether its keeper was told that it failed.
    pub reported: bool,
    /// When it came in.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

struct RawJob {
    assignment: String,
    kind: String,
    state: String,
    paid: i64,
    debited: i64,
    outputs: String,
    refusal: Option<String>,
    reported: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<RawJob> for JobRow {
    type Error = LedgerError;
    fn try_from(raw: RawJob) -> Result<Self, LedgerError> {
        let kind = match raw.kind.as_str() {
            "" => None,
            text => Some(decode(&format!("{text:?}"))?),
        };
        Ok(Self {
            assignment: decode(&raw.assignment)?,
            kind,
            stage: JobStage::from_text(&raw.state)?,
            paid: amount(raw.paid)?,
            debited: amount(raw.debited)?,
            outputs: decode(&raw.outputs)?,
            refusal: raw.refusal.as_deref().map(decode).transpose()?,
            reported: raw.reported != 0,
            created_at: Timestamp(unsigned(raw.created_at)?),
            ended_at: raw.ended_at.map(unsigned).transpose()?.map(Timestamp),
        })
    }
}

impl Ledger {
    /// Writes a new job down; `false` where it is known already, and then nothing changes.
    pub async fn add_job(&self, assignment: &Assignment, stage: JobStage, now: Timestamp) -> Result<bool, LedgerError> {
        let id = assignment.job().0;
        let (id, keeper, channel) = (id.as_slice(), assignment.keeper.as_slice(), assignment.channel.0.as_slice());
        let (payer, signer) = (assignment.order.order.payer.as_slice(), assignment.signer.as_slice());
        let (body, state, created) = (encode(assignment)?, stage.as_str(), column(now.get())?);
        let done = sqlx::query!(
            "INSERT INTO jobs (id, keeper, channel, payer, signer, assignment, state, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
            id,
            keeper,
            channel,
            payer,
            signer,
            body,
            state,
            created
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Moves a queued job to its slot; `false` where it does not wait any more.
    pub async fn start_job(&self, job: JobId) -> Result<bool, LedgerError> {
        let id = job.0.as_slice();
        let done = sqlx::query!("UPDATE jobs SET state = 'running' WHERE id = $1 AND state = 'queued'", id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes what kind of program a job is.
    pub async fn set_kind(&self, job: JobId, kind: Kind) -> Result<(), LedgerError> {
        let (id, kind) = (job.0.as_slice(), kind.to_string());
        sqlx::query!("UPDATE jobs SET kind = $2 WHERE id = $1", id, kind).execute(&self.pool).await?;
        Ok(())
    }

    /// A job.
    pub async fn job(&self, job: JobId) -> Result<Option<JobRow>, LedgerError> {
        let id = job.0.as_slice();
        sqlx::query_as!(
            RawJob,
            "SELECT assignment, kind, state, paid, debited, outputs, refusal, reported, created_at, ended_at
             FROM jobs WHERE id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// A job and all its receipts, both as of one moment: how it ended and its last receipt are written together.
    pub async fn job_and_receipts(&self, job: JobId) -> Result<Option<(JobRow, Vec<Receipt>)>, LedgerError> {
        let id = job.0.as_slice();
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query_as!(
            RawJob,
            "SELECT assignment, kind, state, paid, debited, outputs, refusal, reported, created_at, ended_at
             FROM jobs WHERE id = $1",
            id
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let receipts = sqlx::query!("SELECT body FROM receipts WHERE job = $1 ORDER BY sequence", id)
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let receipts = receipts.iter().map(|row| decode(&row.body)).collect::<Result<_, _>>()?;
        Ok(Some((row.try_into()?, receipts)))
    }

    /// All jobs of a keeper that are not closed, oldest first.
    pub async fn open_jobs(&self, keeper: Address) -> Result<Vec<JobRow>, LedgerError> {
        let keeper = keeper.as_slice();
        let rows = sqlx::query_as!(
            RawJob,
            "SELECT assignment, kind, state, paid, debited, outputs, refusal, reported, created_at, ended_at
             FROM jobs WHERE keeper = $1 AND state <> 'closed' ORDER BY created_at, id",
            keeper
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Every job that is running by the ledger.
    pub async fn running_jobs(&self) -> Result<Vec<JobId>, LedgerError> {
        let rows = sqlx::query!("SELECT id FROM jobs WHERE state = 'running'").fetch_all(&self.pool).await?;
        rows.iter().map(|row| hash(&row.id).map(JobId)).collect()
    }

    /// The newest jobs, of one state or of all, newest first; each with what it was billed.
    pub async fn newest_jobs(&self, stage: Option<JobStage>, limit: u32) -> Result<Vec<(JobRow, Amount)>, LedgerError> {
        let (state, limit) = (stage.map(JobStage::as_str), i64::from(limit));
        let ids = sqlx::query!(
            r#"SELECT id, (SELECT COALESCE(MAX(r.amount), 0) FROM receipts r WHERE r.job = j.id) AS "billed!: i64"
               FROM jobs j WHERE $1 IS NULL OR state = $1 ORDER BY created_at DESC, id LIMIT $2"#,
            state,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        let mut jobs = Vec::with_capacity(ids.len());
        for row in ids {
            if let Some(job) = self.job(JobId(hash(&row.id)?)).await? {
                jobs.push((job, amount(row.billed)?));
            }
        }
        Ok(jobs)
    }

    /// The newest jobs of a channel, newest first.
    pub async fn channel_jobs(&self, channel: ChannelId, limit: u32) -> Result<Vec<JobRow>, LedgerError> {
        let (channel, limit) = (channel.0.as_slice(), i64::from(limit));
        let rows = sqlx::query_as!(
            RawJob,
            "SELECT assignment, kind, state, paid, debited, outputs, refusal, reported, created_at, ended_at
             FROM jobs WHERE channel = $1 ORDER BY created_at DESC, id LIMIT $2",
            channel,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The newest jobs that a session key ordered from a keeper, newest first.
    pub async fn jobs_by_signer(
        &self,
        keeper: Address,
        signer: Address,
        limit: u32,
    ) -> Result<Vec<JobRow>, LedgerError> {
        let (keeper, signer, limit) = (keeper.as_slice(), signer.as_slice(), i64::from(limit));
        let rows = sqlx::query_as!(
            RawJob,
            "SELECT assignment, kind, state, paid, debited, outputs, refusal, reported, created_at, ended_at
             FROM jobs WHERE keeper = $1 AND signer = $2 ORDER BY created_at DESC, id LIMIT $3",
            keeper,
            signer,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// What a channel's ended jobs have billed and nobody has paid.
    pub async fn unpaid(&self, channel: ChannelId) -> Result<Amount, LedgerError> {
        let channel = channel.0.as_slice();
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(MAX(0, (SELECT COALESCE(MAX(r.amount), 0) FROM receipts r WHERE r.job = j.id) - j.paid)), 0)
               AS "sum!: i64" FROM jobs j WHERE j.channel = $1 AND j.state IN ('delivered', 'failed')"#,
            channel
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    /// How many jobs ended since `since` and are not confirmed: unpaid, or failed without their keeper knowing. Direct
    /// jobs are those of `provider`, whose clients read how they ended.
    pub async fn unsettled_jobs(&self, provider: Address, since: Timestamp) -> Result<u64, LedgerError> {
        let (provider, since) = (provider.as_slice(), column(since.get())?);
        let row = sqlx::query!(
            r#"SELECT COUNT(*) AS "count!: i64" FROM jobs j
               WHERE j.state IN ('delivered', 'failed') AND j.ended_at >= $2
               AND (j.state = 'delivered' OR (j.reported = 0 AND j.keeper <> $1)
                    OR j.paid < (SELECT COALESCE(MAX(r.amount), 0) FROM receipts r WHERE r.job = j.id))"#,
            provider,
            since
        )
        .fetch_one(&self.pool)
        .await?;
        unsigned(row.count)
    }

    /// Closes jobs of a keeper that ended before `before`, paid or not.
    pub async fn close_ended(&self, keeper: Address, before: Timestamp) -> Result<u64, LedgerError> {
        let (keeper, before) = (keeper.as_slice(), column(before.get())?);
        let done = sqlx::query!(
            "UPDATE jobs SET state = 'closed' WHERE keeper = $1 AND state IN ('delivered', 'failed') AND ended_at < $2",
            keeper,
            before
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
