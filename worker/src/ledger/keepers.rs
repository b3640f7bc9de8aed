//! Where keepers are reached, this worker's present one and those from before.

use super::{Ledger, LedgerError, address};
use alloy::primitives::Address;
use url::Url;

impl Ledger {
    /// Remembers where a keeper was reached.
    pub async fn set_keeper(&self, keeper: Address, url: &Url) -> Result<(), LedgerError> {
        let (keeper, url) = (keeper.as_slice(), url.as_str());
        sqlx::query!(
            "INSERT INTO keepers (address, url) VALUES ($1, $2) ON CONFLICT (address) DO UPDATE SET url = excluded.url",
            keeper,
            url
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Every keeper that was ever reached.
    pub async fn keepers(&self) -> Result<Vec<(Address, Url)>, LedgerError> {
        let rows = sqlx::query!("SELECT address, url FROM keepers ORDER BY address").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let url = row.url.parse().map_err(|_| LedgerError::Corrupt(format!("keeper address {:?}", row.url)))?;
                Ok((address(&row.address)?, url))
            })
            .collect()
    }
}
