//! Follows the batches in which something is owed: stores their proofs, challenges a keeper that shows none, claims,
//! and winds down a keeper that does not answer or stays away.
//!
//! All of it is read from the ledger and the chain in every pass, so a pass that fails or a restart loses nothing.

mod discover;
mod recover;

use crate::ledger::{BatchRow, BatchStage, Ledger, LedgerError};
use crate::link::{KeeperLink, LinkError};
use crate::market::{BatchFacts, ReadError};
use crate::node::Node;
use crate::observe;
use crate::prove::{ProveError, proven_leaf};
use alloy::primitives::{Address, Bytes, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::{Amount, Overflow};
use protocol::bindings::settlement;
use protocol::tree::{Node as Leaf, Proof};
use protocol::voucher::BatchNumber;
use service::chain::{Intent, SendError, Sender};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Why a step of a pass failed; the next pass tries it again.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Chain(#[from] ReadError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Proof(#[from] ProveError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl WatchError {
    /// Whether the keeper says that it has nothing for the provider in that batch.
    const fn is_no_leaf(&self) -> bool {
        matches!(self, Self::Proof(ProveError::Link(LinkError::NotFound(_))))
    }
}

/// Looks after the batches until the shutdown.
pub(crate) async fn run(node: Arc<Node>, link: Option<Arc<KeeperLink>>, sender: Arc<Sender<Ledger>>) {
    let mut passes = tokio::time::interval(Duration::from_millis(node.config.claim.poll_ms));
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = Watch { node: node.clone(), link, sender, attempt: AtomicU32::new(0), discovered: HashMap::new() };
    loop {
        tokio::select! {
            _ = passes.tick() => {}
            () = node.shutdown.cancelled() => return,
        }
        let result = tokio::select! {
            result = watch.pass() => result,
            () = node.shutdown.cancelled() => return,
        };
        match result {
            Ok(()) => node.health.set("batches", Ok(())),
            Err(error) => {
                observe::failing("batches", &error);
                node.health.set("batches", Err(error.to_string()));
            }
        }
    }
}

struct Watch {
    node: Arc<Node>,
    link: Option<Arc<KeeperLink>>,
    sender: Arc<Sender<Ledger>>,
    /// Counts calls that were mined and reverted: each further one is a new intent.
    attempt: AtomicU32,
    /// The newest committed batch of each keeper that was looked at for a leaf.
    discovered: HashMap<Address, BatchNumber>,
}

impl Watch {
    /// Looks once at every keeper that owes something. One keeper's failure does not hold up the others.
    async fn pass(&mut self) -> Result<(), WatchError> {
        let mut result = self.discover().await;
        for keeper in self.node.ledger.owing_keepers().await? {
            if let Err(error) = self.look_at(keeper).await {
                result = Err(error);
            }
        }
        result
    }

    async fn look_at(&mut self, keeper: Address) -> Result<(), WatchError> {
        let mut payable = Vec::new();
        let mut result = Ok(());
        for row in self.node.ledger.unpaid_batches(keeper).await? {
            match self.follow(keeper, row).await {
                Ok(Some(row)) => payable.push(row),
                Ok(None) => {}
                Err(error) => result = Err(error),
            }
        }
        result = result.and(self.claim(keeper, &payable).await);
        result.and(self.recover(keeper).await)
    }

    /// Moves one batch on; returns it once it can be claimed.
    async fn follow(&self, keeper: Address, mut row: BatchRow) -> Result<Option<BatchRow>, WatchError> {
        let ledger = &self.node.ledger;
        let facts = self.node.market.batch(keeper, row.number).await?;
        if facts.is_void {
            observe::batch_void(row.number);
            ledger.set_stage(keeper, row.number, BatchStage::Void).await?;
            return Ok(None);
        }
        if facts.committed_at == 0 {
            self.lapse(keeper, row.number).await?;
            return Ok(None);
        }
        forget_stale_proof(&mut row, self.node.config.provider, &facts);
        if row.amount < row.owed || row.proof.is_none() {
            match self.prove(keeper, &row).await {
                Ok((amount, proof)) => (row.amount, row.proof) = (amount, Some(proof)),
                Err(error) if facts.is_final && row.owed == Amount::ZERO && error.is_no_leaf() => {
                    ledger.set_stage(keeper, row.number, BatchStage::Claimed).await?;
                    return Ok(None);
                }
                Err(error) => observe::proof_missing(row.number, &error),
            }
        }
        if !facts.is_final {
            self.press(keeper, &row, &facts).await?;
            return Ok(None);
        }
        if row.stage != BatchStage::Final {
            ledger.set_stage(keeper, row.number, BatchStage::Final).await?;
        }
        if row.proof.is_some() && self.is_paid(keeper, &row).await? {
            ledger.set_stage(keeper, row.number, BatchStage::Claimed).await?;
            return Ok(None);
        }
        Ok(row.proof.is_some().then_some(row))
    }

    async fn is_paid(&self, keeper: Address, row: &BatchRow) -> Result<bool, WatchError> {
        let paid = self.node.market.paid(keeper, self.node.config.provider, row.number).await?;
        Ok(paid >= row.amount)
    }

    /// Fetches the proof of a committed batch, checks it against the chain and stores it.
    async fn prove(&self, keeper: Address, row: &BatchRow) -> Result<(Amount, Proof), WatchError> {
        let link = self.link.as_ref().filter(|link| link.keeper() == Some(keeper));
        let link = link.ok_or_else(|| LinkError::Unreachable("this worker is not connected to it".into()))?;
        let view = proven_leaf(&self.node, link, keeper, row.number).await?;
        self.node.ledger.set_proof(keeper, row.number, view.amount, &view.proof).await?;
        observe::proof_stored(row.number, view.amount);
        Ok((view.amount, view.proof))
    }

    /// Challenges where no good proof is there, and winds down where nobody answered: also a challenge that another
    /// worker of the provider has made, because that one may be gone.
    async fn press(&self, keeper: Address, row: &BatchRow, facts: &BatchFacts) -> Result<(), WatchError> {
        let is_short = row.amount < row.owed;
        let challenged = if is_short { self.challenge(keeper, row, facts).await } else { Ok(()) };
        if is_short || row.challenged > Amount::ZERO {
            self.void(keeper, row.number).await?;
        }
        challenged
    }

    /// Demands a proof on chain, once half of the reaction time went by without a good one.
    async fn challenge(&self, keeper: Address, row: &BatchRow, facts: &BatchFacts) -> Result<(), WatchError> {
        let periods = self.node.market.periods();
        let now = self.node.market.now().await?;
        let due = now >= facts.committed_at.saturating_add(periods.reaction / 2);
        let too_late = now >= facts.committed_at.saturating_add(periods.challenge);
        if row.challenged >= row.owed || !due || too_late {
            return Ok(());
        }
        let Some(accepted) = self.node.ledger.highest_owed(keeper, row.number).await? else { return Ok(()) };
        let call = settlement::challengeCall {
            keeper,
            acceptance: Bytes::copy_from_slice(&accepted.acceptance.to_challenge()),
        };
        let key = format!("challenge:{keeper}:{}:{}", row.number, row.owed);
        self.send(key, call.abi_encode()).await?;
        observe::challenged(row.number, row.owed);
        self.node.ledger.set_challenged(keeper, row.number, row.owed).await?;
        Ok(())
    }

    /// Claims final batches once they are worth the gas.
    async fn claim(&self, keeper: Address, payable: &[BatchRow]) -> Result<(), WatchError> {
        let config = &self.node.config.claim;
        let rows = &payable[..payable.len().min(config.batches)];
        let total = Amount::sum(rows.iter().map(|row| row.amount))?;
        if rows.is_empty() || total < config.minimum {
            return Ok(());
        }
        let items: Vec<u8> = rows.iter().filter_map(claim_item).flatten().collect();
        let call =
            settlement::claimCall { keeper, provider: self.node.config.provider, items: items.into() }.abi_encode();
        self.send(format!("claim:{}", keccak256(&call)), call).await?;
        for row in rows {
            self.node.ledger.set_stage(keeper, row.number, BatchStage::Claimed).await?;
        }
        observe::claimed(keeper, total, rows.len());
        Ok(())
    }

    /// Sends a call. One that was mined and reverted is settled under its key, so the next pass takes another.
    async fn send(&self, key: String, data: Vec<u8>) -> Result<(), WatchError> {
        let key = format!("{key}:{}", self.attempt.load(Ordering::Relaxed));
        let intent = Intent { key, to: self.node.domain.settlement(), data: data.into() };
        let sent = self.sender.send(intent).await;
        if matches!(sent, Err(SendError::Failed { .. })) {
            self.attempt.fetch_add(1, Ordering::Relaxed);
        }
        Ok(sent.map(drop)?)
    }
}

/// Drops a stored leaf that the chain's root does not bind (any more): after a reorganisation the keeper may have
/// committed another tree.
fn forget_stale_proof(row: &mut BatchRow, provider: Address, facts: &BatchFacts) {
    let leaf = Leaf::earning(provider, row.amount);
    if row.proof.as_ref().is_some_and(|proof| proof.verify_committed(leaf, facts.earnings).is_err()) {
        (row.amount, row.proof) = (Amount::ZERO, None);
    }
}

fn claim_item(row: &BatchRow) -> Option<Vec<u8>> {
    row.proof.as_ref().map(|proof| proof.to_claim(row.number, row.amount))
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
            challenged: Amount(0),
        };
        let mut kept = row.clone();
        forget_stale_proof(&mut kept, provider, &facts);
        assert_eq!(kept, row);
        forget_stale_proof(&mut kept, provider, &replaced);
        assert_eq!((kept.amount, kept.proof), (Amount(0), None), "it has to be proven anew, or challenged");
    }

    #[test]
    fn a_claim_carries_the_proof() {
        let proof = Proof { index: 1, siblings: vec![Leaf::earning(Address::repeat_byte(9), Amount(300))] };
        let row = BatchRow {
            number: 4,
            stage: BatchStage::Final,
            owed: Amount(600),
            amount: Amount(600),
            proof: Some(proof),
            challenged: Amount(0),
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
