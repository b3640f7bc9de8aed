//! Claims final batches. Their money does not run away, so a claim waits until it is worth its gas.

use super::follow::Payable;
use super::send::{List, Payout, PayoutKind, lists};
use super::{Demand, Watch, WatchError};
use crate::ledger::{BatchRow, BatchStage};
use crate::observe;
use alloy::primitives::{Address, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::Amount;
use protocol::bindings::settlement;

/// Claims of one provider at one keeper.
struct Claims {
    keeper: Address,
    provider: Address,
}

impl List for Claims {
    type Item = Payable;

    fn key(&self, items: &[Payable]) -> String {
        format!("claim:{}", keccak256(self.call(items)))
    }

    fn call(&self, items: &[Payable]) -> Vec<u8> {
        let items: Vec<u8> = items.iter().filter_map(|item| claim_item(&item.row)).flatten().collect();
        settlement::claimCall { keeper: self.keeper, provider: self.provider, items: items.into() }.abi_encode()
    }

    fn size(&self, item: &Payable) -> usize {
        claim_item(&item.row).map_or(0, |bytes| bytes.len())
    }
}

impl Watch {
    /// Claims what is due of final batches, where it is worth the gas.
    pub(super) async fn claim(
        &self,
        keeper: Address,
        payable: Vec<Payable>,
        demand: Demand,
        paid: &mut Vec<Payout>,
    ) -> Result<(), WatchError> {
        let claims = Claims { keeper, provider: self.provider() };
        let mut result = Ok(());
        for items in lists(&claims, &payable, self.config.claim.batches) {
            let due = Amount::sum(items.iter().map(|item| item.due))?;
            if demand == Demand::Worthwhile && due < self.config.claim.minimum {
                continue;
            }
            if !self.is_worth_sending(&claims.call(&items), due, demand).await? {
                observe::payout_waits("claim", due);
                continue;
            }
            let (sent, failure) = self.send_all(&claims, &items).await;
            for (items, outcome) in sent {
                let amount = Amount::sum(items.iter().map(|item| item.due))?;
                for item in &items {
                    self.ledger.set_stage(keeper, item.row.number, BatchStage::Claimed).await?;
                }
                observe::claimed(keeper, amount, items.len());
                let (transaction, gas) = (outcome.hash, outcome.gas_used);
                paid.push(Payout { kind: PayoutKind::Claim, keeper, amount, items: items.len(), transaction, gas });
            }
            result = result.and(failure);
        }
        result
    }
}

fn claim_item(row: &BatchRow) -> Option<Vec<u8>> {
    row.proof.as_ref().map(|proof| proof.to_claim(row.number, row.amount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::tree::{Node as Leaf, Proof};

    #[test]
    fn a_claim_carries_the_proof() {
        let proof = Proof { index: 1, siblings: vec![Leaf::earning(Address::repeat_byte(9), Amount(300))] };
        let row = BatchRow {
            number: 4,
            stage: BatchStage::Final,
            owed: Amount(600),
            amount: Amount(600),
            proof: Some(proof),
        };
        let item = claim_item(&row).unwrap();
        assert_eq!(
            item[..17],
            [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 2, 88, 0, 0, 0, 1, 1],
            "batch 4, amount 600, index 1, depth 1"
        );
        assert_eq!(item.len(), 17 + 40);
        assert!(claim_item(&BatchRow { proof: None, ..row }).is_none());
    }
}
