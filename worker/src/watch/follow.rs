//! One batch, from its first acceptance until it can be claimed or will never be.

use super::{Watch, WatchError};
use crate::keeper_api::LinkError;
use crate::ledger::{BatchRow, BatchStage};
use crate::market::{BatchFacts, ChallengeFacts};
use crate::observe;
use crate::prove::proven_leaf;
use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes};
use alloy::sol_types::SolCall;
use protocol::amount::Amount;
use protocol::bindings::settlement;
use protocol::tree::{Node as Leaf, Proof};
use protocol::voucher::BatchNumber;

/// A final batch with its proof, and what is still due of it.
#[derive(Debug, Clone)]
pub(super) struct Payable {
    pub(super) row: BatchRow,
    pub(super) due: Amount,
}

impl Watch {
    /// Moves one batch on; returns it where something of it can be claimed.
    pub(super) async fn follow(&self, keeper: Address, mut row: BatchRow) -> Result<Option<Payable>, WatchError> {
        let facts = self.market.batch(keeper, row.number).await?;
        if facts.is_void {
            if !matches!(row.stage, BatchStage::Void | BatchStage::Recovered) {
                observe::batch_void(row.number);
                self.ledger.set_stage(keeper, row.number, BatchStage::Void).await?;
            }
            return Ok(None);
        }
        let is_stored = forget_stale_proof(&mut row, self.provider(), &facts);
        self.set_stage(keeper, &row, &facts).await?;
        if facts.committed_at == 0 {
            self.lapse(keeper, row.number).await?;
            return Ok(None);
        }
        let challenge = self.market.challenge(keeper, row.number, self.provider()).await?;
        if !is_stored || row.amount < row.owed {
            match self.prove(keeper, &row, &facts, &challenge).await {
                Ok((amount, proof)) => (row.amount, row.proof) = (amount, Some(proof)),
                Err(error) if facts.is_final && row.owed == Amount::ZERO && error.is_no_leaf() => {
                    self.ledger.set_stage(keeper, row.number, BatchStage::Claimed).await?;
                    self.ledger.set_safe(keeper, row.number).await?;
                    return Ok(None);
                }
                Err(error) => observe::proof_missing(row.number, &error),
            }
        }
        if facts.is_final {
            return self.payable(keeper, row).await;
        }
        self.press(keeper, &row, &facts, &challenge).await?;
        Ok(None)
    }

    /// Takes the stage that the chain says, also back where a reorganisation took something back.
    async fn set_stage(&self, keeper: Address, row: &BatchRow, facts: &BatchFacts) -> Result<(), WatchError> {
        let stage = match (facts.is_final, &row.proof, row.stage) {
            (true, _, BatchStage::Claimed) => BatchStage::Claimed,
            (true, _, _) => BatchStage::Final,
            (false, Some(_), _) if facts.committed_at > 0 => BatchStage::Proven,
            _ => BatchStage::Open,
        };
        Ok(self.ledger.set_stage(keeper, row.number, stage).await?)
    }

    /// A final batch: what is due of it, or that it is settled.
    async fn payable(&self, keeper: Address, row: BatchRow) -> Result<Option<Payable>, WatchError> {
        if row.proof.is_none() {
            return Ok(None);
        }
        let (provider, number) = (self.provider(), row.number);
        let paid = self.market.paid(keeper, provider, number, BlockId::latest()).await?;
        if paid < row.amount {
            self.ledger.set_stage(keeper, number, BatchStage::Final).await?;
            return Ok(Some(Payable { due: row.amount.minus(paid)?, row }));
        }
        self.ledger.set_stage(keeper, number, BatchStage::Claimed).await?;
        if self.market.paid(keeper, provider, number, BlockId::safe()).await? >= row.amount {
            self.ledger.set_safe(keeper, number).await?;
        }
        Ok(None)
    }

    /// Gets the proof of a committed batch, checks it against the chain and stores it. A keeper that would rather not
    /// show it has to show it on chain when it is challenged.
    async fn prove(
        &self,
        keeper: Address,
        row: &BatchRow,
        facts: &BatchFacts,
        challenge: &ChallengeFacts,
    ) -> Result<(Amount, Proof), WatchError> {
        let shown = match self.keepers.get(&keeper) {
            Some(api) => {
                let view = proven_leaf(&self.market, api, (keeper, self.provider()), row.number).await;
                view.map(|view| (view.amount, view.proof)).map_err(WatchError::from)
            }
            None => Err(LinkError::Unreachable("this worker has never been connected to it".into()).into()),
        };
        let is_answered = challenge.deadline == 0 && challenge.owed > Amount::ZERO;
        let is_short = shown.as_ref().map_or(true, |(amount, _)| *amount < row.owed);
        let (amount, proof) = if is_answered && is_short {
            match self.answered(keeper, row.number, facts).await? {
                Some(found) => found,
                None => shown?,
            }
        } else {
            shown?
        };
        self.ledger.set_proof(keeper, row.number, amount, &proof).await?;
        observe::proof_stored(row.number, amount);
        Ok((amount, proof))
    }

    /// Challenges where no good proof is there, and winds down where nobody answered: also a challenge that another
    /// worker of the provider has made, because that one may be gone.
    async fn press(
        &self,
        keeper: Address,
        row: &BatchRow,
        facts: &BatchFacts,
        challenge: &ChallengeFacts,
    ) -> Result<(), WatchError> {
        let mut result = Ok(());
        // What was demanded is read from the chain: a reorganisation may have dropped the demand.
        if row.amount < row.owed && challenge.owed < row.owed {
            result = self.challenge(keeper, row, facts).await;
        }
        if challenge.deadline > 0 {
            result = result.and(self.void(keeper, row.number, challenge.deadline).await);
        }
        result
    }

    /// Demands a proof on chain, once half of the reaction time went by without a good one.
    async fn challenge(&self, keeper: Address, row: &BatchRow, facts: &BatchFacts) -> Result<(), WatchError> {
        let periods = self.market.periods();
        let now = self.market.now().await?;
        let due = now >= facts.committed_at.saturating_add(periods.reaction / 2);
        let too_late = now >= facts.committed_at.saturating_add(periods.challenge);
        if !due || too_late {
            return Ok(());
        }
        let Some(accepted) = self.ledger.highest_owed(keeper, row.number).await? else { return Ok(()) };
        let call = settlement::challengeCall {
            keeper,
            acceptance: Bytes::copy_from_slice(&accepted.acceptance.to_challenge()),
        }
        .abi_encode();
        // There is no later chance, so the whole of what is short may go into gas, but not more.
        let short = row.owed.minus(row.amount)?;
        if !self.is_affordable(&call, short).await? {
            observe::challenge_not_worth(row.number, short);
            return Ok(());
        }
        self.send(format!("challenge:{keeper}:{}:{}", row.number, row.owed), call).await?;
        observe::challenged(row.number, row.owed);
        Ok(())
    }

    /// Winds a keeper down that left this provider's challenge unanswered.
    async fn void(&self, keeper: Address, batch: BatchNumber, deadline: u64) -> Result<(), WatchError> {
        if self.market.now().await? <= deadline {
            return Ok(());
        }
        let call = settlement::voidCall { keeper, provider: self.provider() };
        self.send(format!("void:{keeper}:{batch}"), call.abi_encode()).await?;
        observe::keeper_voided(keeper, batch);
        Ok(())
    }

    /// Winds a keeper down that stayed without a commit for longer than it may, and owes something.
    async fn lapse(&self, keeper: Address, batch: BatchNumber) -> Result<(), WatchError> {
        if !self.market.keeper(keeper).await?.late {
            return Ok(());
        }
        let call = settlement::lapseCall { keeper }.abi_encode();
        let owed = self.ledger.keeper_exposure(keeper).await?;
        if !self.is_affordable(&call, owed).await? {
            return Ok(());
        }
        self.send(format!("lapse:{keeper}:{batch}"), call).await?;
        observe::keeper_lapsed(keeper, batch);
        Ok(())
    }
}

/// Drops a stored leaf that the chain's root does not bind (any more): after a reorganisation the keeper may have
/// committed another tree. Returns whether a leaf is left.
fn forget_stale_proof(row: &mut BatchRow, provider: Address, facts: &BatchFacts) -> bool {
    let leaf = Leaf::earning(provider, row.amount);
    if row.proof.as_ref().is_some_and(|proof| proof.verify_committed(leaf, facts.earnings).is_err()) {
        (row.amount, row.proof) = (Amount::ZERO, None);
    }
    row.proof.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::close;
    use std::collections::BTreeMap;

    #[test]
    fn a_proof_under_another_root_is_forgotten() {
        let provider = Address::repeat_byte(7);
        let committed = |other: u64| {
            let earnings = BTreeMap::from([(provider, Amount(600)), (Address::repeat_byte(9), Amount(other))]);
            let closed = close(Address::repeat_byte(6), Amount(1_000), 100, earnings, vec![]).unwrap();
            let earnings = closed.commitment.earnings();
            let facts = BatchFacts { earnings, committed_at: 5, is_final: false, is_void: false };
            (facts, closed.proof(provider).unwrap().1)
        };
        let ((facts, proof), (replaced, _)) = (committed(300), committed(301));
        let row = BatchRow {
            number: 4,
            stage: BatchStage::Proven,
            owed: Amount(600),
            amount: Amount(600),
            proof: Some(proof),
        };
        let mut kept = row.clone();
        assert!(forget_stale_proof(&mut kept, provider, &facts));
        assert_eq!(kept, row);
        assert!(!forget_stale_proof(&mut kept, provider, &replaced));
        assert_eq!((kept.amount, kept.proof), (Amount(0), None), "it has to be proven anew, or challenged");
    }
}
