//! Earnings that this worker knows nothing of: accepted while it was away, by other workers of the provider, or before
//! it lost its ledger. The keeper's proofs are enough to claim them.

use super::{Watch, WatchError};
use crate::link::LinkError;
use crate::observe;
use crate::prove::{ProveError, proven_leaf};
use std::sync::Arc;

/// How many committed batches a worker looks back at its start.
const LOOK_BACK: u32 = 32;

impl Watch {
    /// Asks once for the provider's leaf of every committed batch.
    pub(super) async fn discover(&mut self) -> Result<(), WatchError> {
        let Some(link) = self.link.as_ref().map(Arc::clone) else { return Ok(()) };
        let Some(keeper) = link.keeper() else { return Ok(()) };
        let facts = self.node.market.keeper(keeper).await?;
        let newest = if facts.committed { facts.batch } else { facts.batch.saturating_sub(1) };
        let seen = *self.discovered.entry(keeper).or_insert(newest.saturating_sub(LOOK_BACK));
        for batch in seen.saturating_add(1)..=newest {
            match proven_leaf(&self.node, &link, keeper, batch).await {
                Ok(view) => {
                    if self.node.ledger.add_batch(keeper, batch).await? {
                        self.node.ledger.set_proof(keeper, batch, view.amount, &view.proof).await?;
                        observe::proof_stored(batch, view.amount);
                    }
                }
                // Nobody paid this provider in that batch, or it will never be final.
                Err(ProveError::Link(LinkError::NotFound(_)) | ProveError::NotCommitted(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.discovered.insert(keeper, batch);
        }
        Ok(())
    }
}
