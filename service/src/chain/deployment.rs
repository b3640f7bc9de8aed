//! Whether the chain carries the contracts that a program was told to rely on.

use alloy::primitives::{Address, B256, KECCAK256_EMPTY};
use futures::future::try_join_all;

use super::{Chain, ChainError};

impl Chain {
    /// Compares the code on this chain with the record of a deployment: its chain id, and for each contract its name,
    /// its address and the hash of its code. Call it before anything is signed for these contracts.
    ///
    /// # Errors
    /// [`ChainError::WrongChain`] or [`ChainError::WrongCode`] where they differ; otherwise why the chain cannot be read.
    pub async fn verify_deployment(
        &self,
        chain_id: u64,
        contracts: impl IntoIterator<Item = (&'static str, Address, B256)>,
    ) -> Result<(), ChainError> {
        if chain_id != self.chain_id() {
            return Err(ChainError::WrongChain { recorded: chain_id, configured: self.chain_id() });
        }
        let checks = contracts.into_iter().map(|(name, address, recorded)| async move {
            let found = self.code_hash(address).await?;
            if found != recorded {
                return Err(ChainError::WrongCode { name, address, chain_id, recorded, found: found_code(found) });
            }
            Ok(())
        });
        try_join_all(checks).await.map(drop)
    }
}

/// A hash in words: that of no code is better called by its meaning.
fn found_code(hash: B256) -> String {
    if hash == KECCAK256_EMPTY { "no code".into() } else { format!("code {hash}") }
}
