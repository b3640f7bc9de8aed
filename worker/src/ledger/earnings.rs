//! Where the provider's money stands, as far as this worker knows.

use super::batches::number;
use super::{BatchStage, Ledger, LedgerError, address, amount};
use alloy::primitives::Address;
use protocol::amount::{Amount, Overflow};
use protocol::voucher::BatchNumber;
use serde::Serialize;

/// A batch in which something was earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchEarnings {
    /// Its number.
    pub batch: BatchNumber,
    /// Where it stands: `open`, `proven`, `final`, `claimed`, `void` or `recovered`.
    pub state: &'static str,
    /// What this worker's accepted vouchers add up to.
    pub accepted: Amount,
    /// The provider's proven leaf, over all its workers; zero while there is none.
    pub leaf: Amount,
    /// What was recovered from the channels of a void batch.
    pub recovered: Amount,
}

/// What one keeper has accepted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeeperEarnings {
    /// The keeper.
    pub keeper: Address,
    /// Billed, and nobody has accepted to pay it yet.
    pub unaccepted: Amount,
    /// Accepted in batches that are not final.
    pub accepted: Amount,
    /// Final and not claimed.
    pub unclaimed: Amount,
    /// Claimed.
    pub claimed: Amount,
    /// Accepted in batches that are void, and not recovered yet.
    pub void: Amount,
    /// Recovered from the channels of void batches.
    pub recovered: Amount,
    /// Each batch that is not claimed, and the newest claimed ones.
    pub batches: Vec<BatchEarnings>,
}

/// What direct clients owe and have paid. Totals of vouchers include the protocol's fee, which redemption takes off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectEarnings {
    /// Billed, and no voucher pays it yet.
    pub unaccepted: Amount,
    /// Vouchers that are not redeemed.
    pub unredeemed: Amount,
    /// Vouchers that are redeemed.
    pub redeemed: Amount,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Earnings {
    /// Through keepers.
    pub keepers: Vec<KeeperEarnings>,
    /// Without.
    pub direct: DirectEarnings,
}

/// Claimed batches that are listed for each keeper; the sums are over all of them.
const CLAIMED_SHOWN: usize = 20;

impl KeeperEarnings {
    fn of(keeper: Address, unaccepted: Amount, batches: Vec<BatchEarnings>) -> Result<Self, Overflow> {
        let sum = |states: &[BatchStage], part: fn(&BatchEarnings) -> Amount| {
            let of_states = |batch: &&BatchEarnings| states.iter().any(|stage| stage.as_str() == batch.state);
            Amount::sum(batches.iter().filter(of_states).map(part))
        };
        let missing = |batch: &BatchEarnings| Amount(batch.accepted.get().saturating_sub(batch.recovered.get()));
        let (accepted, unclaimed, claimed, void, recovered) = (
            sum(&[BatchStage::Open, BatchStage::Proven], |batch| batch.accepted)?,
            sum(&[BatchStage::Final], |batch| batch.leaf.max(batch.accepted))?,
            sum(&[BatchStage::Claimed], |batch| batch.leaf)?,
            sum(&[BatchStage::Void], missing)?,
            sum(&[BatchStage::Void, BatchStage::Recovered], |batch| batch.recovered)?,
        );
        let is_claimed = |batch: &BatchEarnings| batch.state == BatchStage::Claimed.as_str();
        let settled = batches.iter().filter(|batch| is_claimed(batch)).count();
        let mut left_out = settled.saturating_sub(CLAIMED_SHOWN);
        let mut shown = batches;
        shown.retain(|batch| {
            let leave_out = is_claimed(batch) && left_out > 0;
            left_out -= usize::from(leave_out);
            !leave_out
        });
        Ok(Self { keeper, unaccepted, accepted, unclaimed, claimed, void, recovered, batches: shown })
    }
}

impl Ledger {
    /// Where the provider's money stands. `provider` tells direct jobs from a keeper's.
    pub async fn earnings(&self, provider: Address) -> Result<Earnings, LedgerError> {
        let mut keepers: Vec<Address> = Vec::new();
        let rows = sqlx::query!("SELECT keeper FROM batches UNION SELECT keeper FROM jobs ORDER BY keeper")
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            keepers.push(address(&row.keeper)?);
        }
        let too_much = |error: Overflow| LedgerError::Corrupt(error.to_string());
        let mut found = Vec::new();
        for keeper in keepers.into_iter().filter(|keeper| *keeper != provider) {
            let (unaccepted, batches) = (self.unaccepted(keeper).await?, self.batch_earnings(keeper).await?);
            found.push(KeeperEarnings::of(keeper, unaccepted, batches).map_err(too_much)?);
        }
        let vouchers = sqlx::query!(
            r#"SELECT COALESCE(SUM(total - redeemed), 0) AS "unredeemed!: i64",
               COALESCE(SUM(redeemed), 0) AS "redeemed!: i64" FROM vouchers"#
        )
        .fetch_one(&self.pool)
        .await?;
        let direct = DirectEarnings {
            unaccepted: self.unaccepted(provider).await?,
            unredeemed: amount(vouchers.unredeemed)?,
            redeemed: amount(vouchers.redeemed)?,
        };
        Ok(Earnings { keepers: found, direct })
    }

    /// What all jobs of a keeper that are not closed have billed, and nobody has accepted to pay.
    pub async fn unaccepted(&self, keeper: Address) -> Result<Amount, LedgerError> {
        let keeper = keeper.as_slice();
        let row = sqlx::query!(
            r#"SELECT COALESCE(SUM(MAX(0, (SELECT COALESCE(MAX(r.amount), 0) FROM receipts r WHERE r.job = j.id) - j.paid)), 0)
               AS "sum!: i64" FROM jobs j WHERE j.keeper = $1 AND j.state <> 'closed'"#,
            keeper
        )
        .fetch_one(&self.pool)
        .await?;
        amount(row.sum)
    }

    async fn batch_earnings(&self, keeper: Address) -> Result<Vec<BatchEarnings>, LedgerError> {
        let keeper = keeper.as_slice();
        let rows = sqlx::query!(
            r#"SELECT b.number AS "number!: i64", b.state AS "state!", b.amount AS "leaf!", b.recovered AS "recovered!",
               COALESCE(SUM(a.earned), 0) AS "accepted!: i64"
               FROM batches b LEFT JOIN acceptances a ON a.keeper = b.keeper AND a.batch = b.number
               WHERE b.keeper = $1 GROUP BY b.number ORDER BY b.number"#,
            keeper
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(BatchEarnings {
                    batch: number(row.number)?,
                    state: BatchStage::from_text(&row.state)?.as_str(),
                    accepted: amount(row.accepted)?,
                    leaf: amount(row.leaf)?,
                    recovered: amount(row.recovered)?,
                })
            })
            .collect()
    }
}
