//! The transaction manager's memory, in the same file as everything it pays for.

use super::{Ledger, LedgerError, column, decode, encode, unsigned};
use service::chain::{StoreError, StoredTransaction, TransactionStore};

impl TransactionStore for Ledger {
    async fn open(&self) -> Result<Vec<StoredTransaction>, StoreError> {
        let rows =
            sqlx::query!("SELECT body FROM transactions WHERE done = 0 ORDER BY nonce").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| decode(&row.body)).collect::<Result<_, _>>()?)
    }

    async fn find(&self, key: &str) -> Result<Option<StoredTransaction>, StoreError> {
        let row = sqlx::query!("SELECT body FROM transactions WHERE key = $1", key).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| decode(&row.body)).transpose()?)
    }

    async fn put(&self, transaction: &StoredTransaction) -> Result<(), StoreError> {
        let (nonce, body) = (column(transaction.nonce)?, encode(transaction)?);
        let done = transaction.outcome.is_some();
        sqlx::query!(
            "INSERT INTO transactions (key, nonce, done, body) VALUES ($1, $2, $3, $4)
             ON CONFLICT (key) DO UPDATE SET nonce = excluded.nonce, done = excluded.done, body = excluded.body",
            transaction.key,
            nonce,
            done,
            body
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn next_nonce_floor(&self) -> Result<u64, StoreError> {
        let row = sqlx::query!(r#"SELECT MAX(nonce) AS "nonce: i64" FROM transactions"#).fetch_one(&self.pool).await?;
        let next = row.nonce.map(unsigned).transpose()?.map_or(0, |nonce| nonce.saturating_add(1));
        Ok(next)
    }

    async fn since(&self, nonce: u64) -> Result<Vec<StoredTransaction>, StoreError> {
        let nonce = column(nonce)?;
        let rows = sqlx::query!("SELECT body FROM transactions WHERE nonce >= $1 ORDER BY nonce", nonce)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(|row| decode(&row.body)).collect::<Result<Vec<_>, LedgerError>>()?)
    }
}
