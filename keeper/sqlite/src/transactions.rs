//! The memory of the transaction manager, in the same file as the ledger.

use crate::SqliteStore;
use crate::column::{from_json, integer, to_json, unavailable, unsigned};
use service::chain::{StoreError, StoredTransaction, TransactionStore};

type Result<T> = std::result::Result<T, StoreError>;

impl TransactionStore for SqliteStore {
    async fn open(&self) -> Result<Vec<StoredTransaction>> {
        let rows = sqlx::query!("SELECT stored FROM transactions WHERE open = 1 ORDER BY nonce")
            .fetch_all(&self.reader)
            .await
            .map_err(unavailable)?;
        rows.iter().map(|row| Ok(from_json(&row.stored)?)).collect()
    }

    async fn find(&self, key: &str) -> Result<Option<StoredTransaction>> {
        let row = sqlx::query!("SELECT stored FROM transactions WHERE key = $1", key)
            .fetch_optional(&self.reader)
            .await
            .map_err(unavailable)?;
        Ok(row.map(|row| from_json(&row.stored)).transpose()?)
    }

    async fn put(&self, transaction: &StoredTransaction) -> Result<()> {
        let nonce = integer(transaction.nonce, "a nonce")?;
        let open = transaction.outcome.is_none();
        let stored = to_json(transaction)?;
        sqlx::query!(
            "INSERT INTO transactions (key, nonce, open, stored) VALUES ($1, $2, $3, $4)
             ON CONFLICT (key) DO UPDATE SET nonce = excluded.nonce, open = excluded.open, stored = excluded.stored",
            transaction.key,
            nonce,
            open,
            stored
        )
        .execute(&self.writer)
        .await
        .map_err(unavailable)?;
        Ok(())
    }

    async fn next_nonce_floor(&self) -> Result<u64> {
        let row = sqlx::query!(r#"SELECT COALESCE(MAX(nonce) + 1, 0) AS "next!: i64" FROM transactions"#)
            .fetch_one(&self.reader)
            .await
            .map_err(unavailable)?;
        Ok(unsigned(row.next)?)
    }

    async fn since(&self, nonce: u64) -> Result<Vec<StoredTransaction>> {
        let nonce = integer(nonce, "a nonce")?;
        let rows = sqlx::query!("SELECT stored FROM transactions WHERE nonce >= $1 ORDER BY nonce", nonce)
            .fetch_all(&self.reader)
            .await
            .map_err(unavailable)?;
        rows.iter().map(|row| Ok(from_json(&row.stored)?)).collect()
    }
}
