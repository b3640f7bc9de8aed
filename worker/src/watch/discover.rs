//! Earnings that this worker knows nothing of: accepted while it was away, by other workers of the provider, or before
//! it lost its ledger. The keepers' proofs are enough to claim them.

use super::{Watch, WatchError};
use crate::keeper_api::{KeeperApi, LinkError};
use crate::observe;
use crate::prove::{ProveError, proven_leaf};
use alloy::primitives::Address;

/// How many committed batches a worker looks back at its start.
const LOOK_BACK: u32 = 32;

impl Watch {
    /// Asks each keeper once for the provider's leaf of every committed batch.
    pub(super) async fn discover(&mut self) -> Result<(), WatchError> {
        let mut result = Ok(());
        let keepers: Vec<_> = self.keepers.iter().map(|(keeper, api)| (*keeper, api.clone())).collect();
        for (keeper, api) in keepers {
            result = result.and(self.discover_at(keeper, &api).await);
        }
        result
    }

    async fn discover_at(&mut self, keeper: Address, api: &KeeperApi) -> Result<(), WatchError> {
        let facts = self.market.keeper(keeper).await?;
        let newest = if facts.committed { facts.batch } else { facts.batch.saturating_sub(1) };
        let seen = *self.discovered.entry(keeper).or_insert(newest.saturating_sub(LOOK_BACK));
        for batch in seen.saturating_add(1)..=newest {
            match proven_leaf(&self.market, api, (keeper, self.provider()), batch).await {
                Ok(view) => {
                    if self.ledger.add_batch(keeper, batch).await? {
                        self.ledger.set_proof(keeper, batch, view.amount, &view.proof).await?;
                        observe::proof_stored(batch, view.amount);
                    }
                }
                // Nobody paid this provider in that batch, or it will never be final.
                Err(ProveError::Link(LinkError::NotFound(_)) | ProveError::NotCommitted(_)) => {}
                // A keeper that is gone owes nothing that its ledger here does not know of.
                Err(ProveError::Link(LinkError::Unreachable(reason))) => {
                    tracing::debug!(%keeper, batch, reason, "the keeper cannot be asked for older earnings");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            self.discovered.insert(keeper, batch);
        }
        Ok(())
    }
}
