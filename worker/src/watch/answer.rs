//! The proof of a keeper that shows it nowhere but on chain. It has to show it there when it is challenged, and then the
//! call data of its answer holds it.

use super::{Watch, WatchError};
use crate::market::BatchFacts;
use crate::node::lock;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::{SolCall, SolEvent};
use protocol::amount::Amount;
use protocol::bindings::settlement::{self, answerCall};
use protocol::tree::{Node as Leaf, Proof};
use protocol::voucher::BatchNumber;
use serde::Deserialize;
use service::chain::{ChainError, Tag};
use std::time::{Duration, Instant};

/// Blocks of one search: what public nodes allow.
const BLOCKS: u64 = 2_000;
/// Searches in one pass.
const SEARCHES: u32 = 100;
/// How soon a search is made again: an answer may be in no form that is understood, and a search costs many requests.
const AGAIN: Duration = Duration::from_secs(600);
/// Bytes of one sibling in a proof: hash and sum.
const SIBLING: usize = 40;

/// The fields of a transaction that are used, read leniently: rollups add and omit others.
#[derive(Debug, Deserialize)]
struct Transaction {
    input: Bytes,
}

/// The field of a block that is used.
#[derive(Debug, Deserialize)]
struct Block {
    #[serde(with = "alloy::serde::quantity")]
    timestamp: u64,
}

impl Watch {
    /// The leaf and proof of an answer to this provider's challenge, looked for from the newest block back to the commit.
    pub(super) async fn answered(
        &self,
        keeper: Address,
        number: BatchNumber,
        facts: &BatchFacts,
    ) -> Result<Option<(Amount, Proof)>, WatchError> {
        if lock(&self.searched).get(&(keeper, number)).is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(None);
        }
        let chain = self.market.chain();
        let mut high = chain.head(Tag::Latest).await?.number;
        for _ in 0..SEARCHES {
            let low = high.saturating_sub(BLOCKS - 1).max(self.market.start_block());
            for hash in self.answers(keeper, number, (low, high)).await? {
                let input = self.input(hash).await?;
                if let Some(found) = proof_in(&input, (keeper, self.provider()), facts.earnings) {
                    return Ok(Some(found));
                }
            }
            if low <= self.market.start_block() || self.time_of(low).await? < facts.committed_at {
                break;
            }
            high = low.saturating_sub(1);
        }
        lock(&self.searched).insert((keeper, number), Instant::now());
        Ok(None)
    }

    /// Transactions that answered a challenge of this provider, in a range of blocks.
    async fn answers(
        &self,
        keeper: Address,
        number: BatchNumber,
        (low, high): (u64, u64),
    ) -> Result<Vec<B256>, WatchError> {
        let filter = Filter::new()
            .address(self.market.settlement())
            .event_signature(settlement::Answered::SIGNATURE_HASH)
            .topic1(keeper)
            .topic2(B256::left_padding_from(&number.to_be_bytes()))
            .topic3(self.provider())
            .from_block(low)
            .to_block(high);
        let logs = self.market.chain().provider().get_logs(&filter).await.map_err(ChainError::from)?;
        Ok(logs.into_iter().filter_map(|log| log.transaction_hash).collect())
    }

    async fn input(&self, hash: B256) -> Result<Bytes, ChainError> {
        let client = self.market.chain().provider().client();
        let found: Option<Transaction> = client.request("eth_getTransactionByHash", (hash,)).await?;
        found
            .map(|transaction| transaction.input)
            .ok_or_else(|| ChainError::Retryable(format!("the node does not have transaction {hash}")))
    }

    async fn time_of(&self, number: u64) -> Result<u64, ChainError> {
        let client = self.market.chain().provider().client();
        let found: Option<Block> = client.request("eth_getBlockByNumber", (format!("{number:#x}"), false)).await?;
        found
            .map(|block| block.timestamp)
            .ok_or_else(|| ChainError::Retryable(format!("the node does not have block {number}")))
    }
}

/// A proven leaf in the call data of an answer, wherever it stands in it: a keeper may answer through a contract of its
/// own. Whatever is found counts only under the chain's root and sum.
fn proof_in(input: &[u8], (keeper, provider): (Address, Address), committed: B256) -> Option<(Amount, Proof)> {
    let starts = input.windows(4).enumerate().filter(|(_, window)| *window == answerCall::SELECTOR);
    starts.into_iter().find_map(|(at, _)| {
        let call = answerCall::abi_decode(&input[at..]).ok()?;
        let proof = Proof { index: call.index, siblings: siblings(&call.proof)? };
        let leaf = Leaf::earning(provider, Amount(call.amount));
        let is_ours = call.keeper == keeper && call.provider == provider;
        (is_ours && proof.verify_committed(leaf, committed).is_ok()).then_some((Amount(call.amount), proof))
    })
}

fn siblings(bytes: &[u8]) -> Option<Vec<Leaf>> {
    let chunks = bytes.chunks_exact(SIBLING);
    chunks.remainder().is_empty().then(|| {
        let sibling = |chunk: &[u8]| {
            let mut sum = [0; 8];
            sum.copy_from_slice(&chunk[32..]);
            Leaf { hash: B256::from_slice(&chunk[..32]), sum: Amount(u64::from_be_bytes(sum)) }
        };
        chunks.map(sibling).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::PROVIDER;
    use protocol::batch::close;
    use std::collections::BTreeMap;

    const KEEPER: Address = Address::repeat_byte(6);

    fn answer() -> (Vec<u8>, B256, Proof) {
        let earnings = BTreeMap::from([(PROVIDER, Amount(600)), (Address::repeat_byte(9), Amount(300))]);
        let closed = close(KEEPER, Amount(1_000), 100, earnings, vec![]).unwrap();
        let (amount, proof) = closed.proof(PROVIDER).unwrap();
        let call = answerCall {
            keeper: KEEPER,
            provider: PROVIDER,
            amount: amount.get(),
            index: proof.index,
            proof: proof.to_bytes().into(),
        };
        (call.abi_encode(), closed.commitment.earnings(), proof)
    }

    #[test]
    fn an_answer_shows_its_proof() {
        let (input, committed, proof) = answer();
        let expected = Some((Amount(600), proof));
        assert_eq!(proof_in(&input, (KEEPER, PROVIDER), committed), expected);
        let wrapped = [b"through another contract".as_slice(), &input, &[0; 40]].concat();
        assert_eq!(proof_in(&wrapped, (KEEPER, PROVIDER), committed), expected);
    }

    #[test]
    fn nothing_counts_that_the_chain_does_not_bind() {
        let (input, committed, _) = answer();
        assert_eq!(proof_in(&input, (KEEPER, PROVIDER), B256::repeat_byte(1)), None);
        assert_eq!(proof_in(&input, (Address::repeat_byte(5), PROVIDER), committed), None);
        assert_eq!(proof_in(&input, (KEEPER, KEEPER), committed), None);
        assert_eq!(proof_in(&input[..input.len() - SIBLING], (KEEPER, PROVIDER), committed), None);
        assert_eq!(proof_in(&[], (KEEPER, PROVIDER), committed), None);
        assert_eq!(siblings(&[0; 41]), None);
    }
}
