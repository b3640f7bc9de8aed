//! Batches of a keeper in which something is owed, from acceptance to payout.

use super::{Ledger, LedgerError, address, amount, column, decode, encode};
use alloy::primitives::Address;
use protocol::amount::Amount;
use protocol::tree::Proof;
use protocol::voucher::BatchNumber;

/// Where a batch stands, as far as this worker is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStage {
    /// No proof of it is stored yet.
    Open,
    /// A proof that covers everything owed is stored; the batch is not final.
    Proven,
    /// Payable.
    Final,
    /// Paid.
    Claimed,
    /// Voided or lapsed: only `recover` pays.
    Void,
    /// Recovered from the channels, as far as they held it.
    Recovered,
}

impl BatchStage {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Proven => "proven",
            Self::Final => "final",
            Self::Claimed => "claimed",
            Self::Void => "void",
            Self::Recovered => "recovered",
        }
    }

    pub(super) fn from_text(text: &str) -> Result<Self, LedgerError> {
        [Self::Open, Self::Proven, Self::Final, Self::Claimed, Self::Void, Self::Recovered]
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| LedgerError::Corrupt(format!("batch state {text:?}")))
    }
}

/// A batch in which something is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// Its number.
    pub number: BatchNumber,
    /// Where it stands.
    pub stage: BatchStage,
    /// The highest `owed` accepted in it.
    pub owed: Amount,
    /// Amount of the proven leaf.
    pub amount: Amount,
    /// Its proof.
    pub proof: Option<Proof>,
}

impl Ledger {
    /// All batches of a keeper of which something is still to come, or that a reorganisation may still unsettle, oldest
    /// first.
    pub async fn unsettled_batches(&self, keeper: Address) -> Result<Vec<BatchRow>, LedgerError> {
        let keeper = keeper.as_slice();
        let rows = sqlx::query!(
            r#"SELECT b.number AS "number!: i64", b.state AS "state!", b.amount AS "amount!", b.proof,
               COALESCE(MAX(a.owed), 0) AS "owed!: i64"
               FROM batches b LEFT JOIN acceptances a ON a.keeper = b.keeper AND a.batch = b.number
               WHERE b.keeper = $1 AND NOT (b.state IN ('claimed', 'recovered') AND b.safe = 1)
               GROUP BY b.number ORDER BY b.number"#,
            keeper
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(BatchRow {
                    number: number(row.number)?,
                    stage: BatchStage::from_text(&row.state)?,
                    owed: amount(row.owed)?,
                    amount: amount(row.amount)?,
                    proof: row.proof.as_deref().map(decode).transpose()?,
                })
            })
            .collect()
    }

    /// Keepers that still owe something; more than one after the worker changed its keeper.
    pub async fn owing_keepers(&self) -> Result<Vec<Address>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT DISTINCT keeper FROM batches WHERE NOT (state IN ('claimed', 'recovered') AND safe = 1)"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| address(&row.keeper)).collect()
    }

    /// Stores a proof that was checked against the chain.
    pub async fn set_proof(
        &self,
        keeper: Address,
        batch: BatchNumber,
        leaf: Amount,
        proof: &Proof,
    ) -> Result<(), LedgerError> {
        let (keeper, leaf, proof) = (keeper.as_slice(), column(leaf.get())?, encode(proof)?);
        sqlx::query!(
            "UPDATE batches SET amount = $3, proof = $4, state = CASE state WHEN 'open' THEN 'proven' ELSE state END
             WHERE keeper = $1 AND number = $2",
            keeper,
            batch,
            leaf,
            proof
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes a batch in which nothing was accepted here, but of which the keeper has a leaf for the provider. Returns
    /// whether it was unknown.
    pub async fn add_batch(&self, keeper: Address, batch: BatchNumber) -> Result<bool, LedgerError> {
        let keeper = keeper.as_slice();
        let done = sqlx::query!(
            "INSERT INTO batches (keeper, number) VALUES ($1, $2) ON CONFLICT (keeper, number) DO NOTHING",
            keeper,
            batch
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Moves a batch on, or back where the chain went back.
    pub async fn set_stage(&self, keeper: Address, batch: BatchNumber, stage: BatchStage) -> Result<(), LedgerError> {
        let (keeper, stage) = (keeper.as_slice(), stage.as_str());
        sqlx::query!(
            "UPDATE batches SET state = $3, safe = 0 WHERE keeper = $1 AND number = $2 AND state <> $3",
            keeper,
            batch,
            stage
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that a batch is paid, as the chain's safe head shows: it is not looked at again.
    pub async fn set_safe(&self, keeper: Address, batch: BatchNumber) -> Result<(), LedgerError> {
        let keeper = keeper.as_slice();
        sqlx::query!(
            "UPDATE batches SET safe = 1 WHERE keeper = $1 AND number = $2 AND state IN ('claimed', 'recovered')",
            keeper,
            batch
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes what `recover` has paid of a batch.
    pub async fn set_recovered(&self, keeper: Address, batch: BatchNumber, paid: Amount) -> Result<(), LedgerError> {
        let (keeper, paid) = (keeper.as_slice(), column(paid.get())?);
        sqlx::query!("UPDATE batches SET recovered = $3 WHERE keeper = $1 AND number = $2", keeper, batch, paid)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

pub(super) fn number(value: i64) -> Result<BatchNumber, LedgerError> {
    BatchNumber::try_from(value).map_err(|_| LedgerError::Corrupt(format!("batch number {value}")))
}
