//! Offers that were signed and may still be matched.

use super::{Ledger, LedgerError, column, decode, encode};
use protocol::amount::Timestamp;
use protocol::order::SignedOffer;

impl Ledger {
    /// Writes an offer down before it is sent: until it expires, it binds.
    pub async fn add_offer(&self, signed: &SignedOffer, now: Timestamp) -> Result<(), LedgerError> {
        let hash = signed.offer.hash();
        let (hash, expiry) = (hash.as_slice(), column(signed.offer.expiry.get())?);
        let (body, now) = (encode(signed)?, column(now.get())?);
        let mut transaction = self.pool.begin().await?;
        sqlx::query!("DELETE FROM offers WHERE expiry < $1", now).execute(&mut *transaction).await?;
        sqlx::query!(
            "INSERT INTO offers (hash, expiry, body) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING",
            hash,
            expiry,
            body
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// All offers that have not expired.
    pub async fn live_offers(&self, now: Timestamp) -> Result<Vec<SignedOffer>, LedgerError> {
        let now = column(now.get())?;
        let rows = sqlx::query!("SELECT body FROM offers WHERE expiry >= $1 ORDER BY expiry, hash", now)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| decode(&row.body)).collect()
    }
}
