//! Vouchers of direct channels: money that only waits for its redemption.

use super::{Ledger, LedgerError, amount, column, decode, encode, hash};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::voucher::{ChannelId, SignedVoucher};

/// The newest voucher of a direct channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectRow {
    /// Which channel.
    pub channel: ChannelId,
    /// Its newest voucher.
    pub voucher: SignedVoucher,
    /// How much of its total is redeemed, by the newest block that was looked at.
    pub redeemed: Amount,
}

struct RawVoucher {
    channel: Vec<u8>,
    body: String,
    redeemed: i64,
}

impl TryFrom<RawVoucher> for DirectRow {
    type Error = LedgerError;
    fn try_from(raw: RawVoucher) -> Result<Self, LedgerError> {
        Ok(Self {
            channel: ChannelId(hash(&raw.channel)?),
            voucher: decode(&raw.body)?,
            redeemed: amount(raw.redeemed)?,
        })
    }
}

impl Ledger {
    /// Counts a direct voucher: `paid` is what it pays of the job all in all, `debit` what this one adds to the
    /// channel's debits. An older voucher never replaces a newer one.
    pub async fn credit_direct(
        &self,
        job: JobId,
        channel: ChannelId,
        voucher: &SignedVoucher,
        (paid, debit, last): (Amount, Amount, bool),
    ) -> Result<(), LedgerError> {
        let signed = &voucher.voucher;
        let row = self.job(job).await?.ok_or_else(|| LedgerError::Corrupt(format!("no job {job}")))?;
        let (id, channel) = (job.0.as_slice(), channel.0.as_slice());
        let (payer, signer) = (signed.payer.as_slice(), row.assignment.signer.as_slice());
        let (total, earned, body) =
            (column(signed.total.get())?, column(signed.latest.earned.get())?, encode(voucher)?);
        let (paid, debit) = (column(paid.get())?, column(debit.get())?);
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "INSERT INTO vouchers (channel, payer, signer, total, earned, body) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (channel) DO UPDATE
             SET total = excluded.total, earned = excluded.earned, body = excluded.body
             WHERE excluded.total >= total",
            channel,
            payer,
            signer,
            total,
            earned,
            body
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "UPDATE jobs SET paid = MAX(paid, $2), debited = debited + $3,
             state = CASE WHEN $4 THEN 'closed' ELSE state END WHERE id = $1",
            id,
            paid,
            debit,
            last
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The newest voucher of a direct channel.
    pub async fn direct_voucher(&self, channel: ChannelId) -> Result<Option<DirectRow>, LedgerError> {
        let channel = channel.0.as_slice();
        sqlx::query_as!(RawVoucher, "SELECT channel, body, redeemed FROM vouchers WHERE channel = $1", channel)
            .fetch_optional(&self.pool)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// All direct channels that owe more than is redeemed for good.
    pub async fn redeemable(&self) -> Result<Vec<DirectRow>, LedgerError> {
        let rows = sqlx::query_as!(
            RawVoucher,
            "SELECT channel, body, redeemed FROM vouchers WHERE total > safe ORDER BY channel"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Notes how much of a direct channel is redeemed on chain: at the newest block, and at the safe head.
    pub async fn set_redeemed(&self, channel: ChannelId, newest: Amount, safe: Amount) -> Result<(), LedgerError> {
        let (channel, newest, safe) = (channel.0.as_slice(), column(newest.get())?, column(safe.get())?);
        sqlx::query!(
            "UPDATE vouchers SET redeemed = MIN(total, $2), safe = MIN(total, $3) WHERE channel = $1",
            channel,
            newest,
            safe
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
