//! A provider's leaf in a committed batch: asked of the keeper, believed only under the chain's root and sum.

use crate::keeper_api::{KeeperApi, LinkError};
use crate::market::{BatchFacts, Market, ReadError};
use alloy::primitives::Address;
use protocol::tree::{Node as Leaf, ProofError};
use protocol::voucher::BatchNumber;
use protocol::wire::ProofView;

/// Why there is no proven leaf (yet).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Chain(#[from] ReadError),
    #[error("batch {0} is not committed, or never will be final")]
    NotCommitted(BatchNumber),
    #[error("the keeper's proof is not taken: {0}")]
    Rejected(#[from] ProofRejection),
}

/// Why a proof from the keeper is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofRejection {
    #[error("it is for another {0}")]
    Other(&'static str),
    #[error(transparent)]
    Invalid(#[from] ProofError),
}

/// This provider's leaf in a committed batch, proven.
pub(crate) async fn proven_leaf(
    market: &Market,
    api: &KeeperApi,
    (keeper, provider): (Address, Address),
    batch: BatchNumber,
) -> Result<ProofView, ProveError> {
    let facts = market.batch(keeper, batch).await?;
    if facts.committed_at == 0 || facts.is_void {
        return Err(ProveError::NotCommitted(batch));
    }
    let view = api.fetch_proof(batch, provider).await?;
    check_proof(&view, batch, provider, &facts)?;
    Ok(view)
}

/// Whether a keeper's answer proves the provider's leaf under what the chain has.
fn check_proof(
    view: &ProofView,
    batch: BatchNumber,
    provider: Address,
    facts: &BatchFacts,
) -> Result<(), ProofRejection> {
    if view.batch != batch {
        return Err(ProofRejection::Other("batch"));
    }
    if view.provider != provider {
        return Err(ProofRejection::Other("provider"));
    }
    Ok(view.proof.verify_committed(Leaf::earning(provider, view.amount), facts.earnings)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::PROVIDER;
    use protocol::amount::Amount;
    use protocol::batch::close;
    use std::collections::BTreeMap;

    fn committed() -> (ProofView, BatchFacts) {
        let earnings = BTreeMap::from([(PROVIDER, Amount(600)), (Address::repeat_byte(9), Amount(300))]);
        let closed = close(Address::repeat_byte(6), Amount(1_000), 100, earnings, vec![]).unwrap();
        let (amount, proof) = closed.proof(PROVIDER).unwrap();
        let facts =
            BatchFacts { earnings: closed.commitment.earnings(), committed_at: 5, is_final: false, is_void: false };
        (ProofView { batch: 4, provider: PROVIDER, amount, proof }, facts)
    }

    #[test]
    fn a_right_proof_is_taken() {
        let (view, facts) = committed();
        assert_eq!(view.amount, Amount(600));
        assert_eq!(check_proof(&view, 4, PROVIDER, &facts), Ok(()));
    }

    #[test]
    fn each_wrong_part_is_seen() {
        let (view, facts) = committed();
        assert_eq!(check_proof(&view, 5, PROVIDER, &facts), Err(ProofRejection::Other("batch")));
        let stranger = Address::repeat_byte(9);
        assert_eq!(check_proof(&view, 4, stranger, &facts), Err(ProofRejection::Other("provider")));
        let more = ProofView { amount: Amount(601), ..view.clone() };
        assert!(matches!(check_proof(&more, 4, PROVIDER, &facts), Err(ProofRejection::Invalid(_))));
        let other = BatchFacts { earnings: alloy::primitives::B256::repeat_byte(1), ..facts };
        assert!(matches!(check_proof(&view, 4, PROVIDER, &other), Err(ProofRejection::Invalid(_))));
        let none = BatchFacts { earnings: alloy::primitives::B256::ZERO, ..facts };
        assert!(matches!(check_proof(&view, 4, PROVIDER, &none), Err(ProofRejection::Invalid(_))));
    }
}
