//! The Merkle-sum tree of a batch: earnings and lines are both committed to by one.
//!
//! A node is a pair (hash, sum). A parent's hash binds both children's hashes **and** sums, and its sum is theirs
//! added with an overflow check, so valid proofs of distinct leaves never add up to more than the root's sum.
//! An odd node is paired with the empty node (hash 0, sum 0). A tree of one leaf has that leaf's hash as its root.

use crate::amount::{Amount, Overflow};
use alloy::primitives::{Address, B256, Keccak256, keccak256};
use serde::{Deserialize, Serialize};

/// Proofs are at most this deep, on chain too.
pub const MAX_DEPTH: usize = 32;

/// A node: what a parent binds of each child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Hash of the leaf's record or of the two children.
    pub hash: B256,
    /// Sum of all leaves below.
    pub sum: Amount,
}

/// Where a leaf stands and its siblings from the bottom up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// Position of the leaf; bit *i* says that the proven node is a right child at level *i*.
    pub index: u32,
    /// One sibling per level.
    pub siblings: Vec<Node>,
}

/// A proof does not show what it claims to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More levels than any tree may have.
    #[error("the proof has {0} levels, more than {MAX_DEPTH}")]
    TooDeep(usize),
    /// The index points beyond the levels given.
    #[error("index {index} does not fit a proof of {levels} levels")]
    SpareIndexBits {
        /// The index of the proof.
        index: u32,
        /// Its number of siblings.
        levels: usize,
    },
    /// Adding the sums overflows.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Another root or another sum comes out.
    #[error("the proof leads to another root or another sum")]
    Mismatch,
}

impl Node {
    /// The partner of an odd node.
    pub const EMPTY: Self = Self { hash: B256::ZERO, sum: Amount::ZERO };

    /// The leaf that credits `provider` with `amount`: `keccak256(provider ‖ uint64 amount)`.
    pub fn earning(provider: Address, amount: Amount) -> Self {
        let mut preimage = [0u8; 28];
        preimage[..20].copy_from_slice(provider.as_slice());
        preimage[20..].copy_from_slice(&amount.get().to_be_bytes());
        Self { hash: keccak256(preimage), sum: amount }
    }

    /// The leaf of a record, such as a usage line.
    pub fn record(bytes: &[u8], amount: Amount) -> Self {
        Self { hash: keccak256(bytes), sum: amount }
    }

    /// The parent of two nodes.
    pub fn parent(left: &Self, right: &Self) -> Result<Self, Overflow> {
        let sum = left.sum.plus(right.sum)?;
        let mut hasher = Keccak256::new();
        hasher.update(left.hash);
        hasher.update(left.sum.get().to_be_bytes());
        hasher.update(right.hash);
        hasher.update(right.sum.get().to_be_bytes());
        Ok(Self { hash: hasher.finalize(), sum })
    }

    /// One word that stands for this root and its sum on chain: `keccak256(abi.encode(hash, sum))`, 0 for the empty tree.
    pub fn commitment(&self) -> B256 {
        if self.hash.is_zero() {
            return B256::ZERO;
        }
        let mut preimage = [0u8; 64];
        preimage[..32].copy_from_slice(self.hash.as_slice());
        preimage[56..].copy_from_slice(&self.sum.get().to_be_bytes());
        keccak256(preimage)
    }
}

/// A tree with all its levels, so that any proof is a walk of at most 32 steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Level 0 holds the leaves, the last level the root.
    levels: Vec<Vec<Node>>,
}

impl Tree {
    /// Builds the tree over `leaves`, in their order. No leaf at all gives the root of a heartbeat: hash 0, sum 0.
    pub fn build(leaves: Vec<Node>) -> Result<Self, Overflow> {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let level = below
                .chunks(2)
                .map(|pair| Node::parent(&pair[0], pair.get(1).unwrap_or(&Node::EMPTY)))
                .collect::<Result<Vec<_>, _>>()?;
            levels.push(level);
        }
        Ok(Self { levels })
    }

    /// Hash and sum that stand for the whole tree.
    pub fn root(&self) -> Node {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or(Node::EMPTY)
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The proof of the leaf at `index`; `None` beyond the last leaf.
    pub fn proof(&self, index: u32) -> Option<Proof> {
        let mut position = usize::try_from(index).ok().filter(|i| *i < self.len())?;
        let below_root = &self.levels[..self.levels.len() - 1];
        let mut siblings = Vec::with_capacity(below_root.len());
        for level in below_root {
            siblings.push(level.get(position ^ 1).copied().unwrap_or(Node::EMPTY));
            position >>= 1;
        }
        Some(Proof { index, siblings })
    }
}

impl Proof {
    /// Checks that `leaf` stands at `index` in the tree of `root`: hash **and** sum must come out.
    pub fn verify(&self, leaf: Node, root: Node) -> Result<(), ProofError> {
        if self.climb(leaf)? == root && root.hash != B256::ZERO { Ok(()) } else { Err(ProofError::Mismatch) }
    }

    /// As [`verify`](Self::verify), where only the root's [commitment](Node::commitment) is known, as on chain.
    pub fn verify_committed(&self, leaf: Node, commitment: B256) -> Result<(), ProofError> {
        let found = self.climb(leaf)?.commitment();
        if found == commitment && commitment != B256::ZERO { Ok(()) } else { Err(ProofError::Mismatch) }
    }

    /// The root that the proof leads to.
    fn climb(&self, leaf: Node) -> Result<Node, ProofError> {
        let levels = self.siblings.len();
        if levels > MAX_DEPTH {
            return Err(ProofError::TooDeep(levels));
        }
        if u64::from(self.index) >> levels != 0 {
            return Err(ProofError::SpareIndexBits { index: self.index, levels });
        }
        let mut node = leaf;
        for (level, sibling) in self.siblings.iter().enumerate() {
            let is_right = self.index >> level & 1 == 1;
            node = if is_right { Node::parent(sibling, &node)? } else { Node::parent(&node, sibling)? };
        }
        Ok(node)
    }

    /// The packed siblings that the contract reads: 40 bytes each, hash then sum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40 * self.siblings.len());
        for sibling in &self.siblings {
            bytes.extend_from_slice(sibling.hash.as_slice());
            bytes.extend_from_slice(&sibling.sum.get().to_be_bytes());
        }
        bytes
    }

    /// The packed item that `claim` reads for this leaf: batch 4, amount 8, index 4, depth 1, and the siblings.
    pub fn to_claim(&self, batch: u32, amount: Amount) -> Vec<u8> {
        let siblings = self.to_bytes();
        let mut bytes = Vec::with_capacity(17 + siblings.len());
        bytes.extend_from_slice(&batch.to_be_bytes());
        bytes.extend_from_slice(&amount.get().to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        // A deeper proof than 255 levels is cut here and refused there, like every one of more than 32.
        bytes.push(u8::try_from(self.siblings.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&siblings);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(amounts: &[u64]) -> Vec<Node> {
        amounts
            .iter()
            .enumerate()
            .map(|(i, amount)| Node::earning(Address::with_last_byte(i as u8 + 1), Amount(*amount)))
            .collect()
    }

    #[test]
    fn one_leaf_is_its_own_root() {
        let tree = Tree::build(leaves(&[7])).unwrap();
        assert_eq!(tree.root(), leaves(&[7])[0]);
        assert_eq!(tree.proof(0).unwrap().siblings, vec![]);
    }

    #[test]
    fn no_leaf_is_a_heartbeat_and_proves_nothing() {
        let tree = Tree::build(vec![]).unwrap();
        assert_eq!(tree.root(), Node::EMPTY);
        assert_eq!(tree.proof(0), None);
        let forged = Proof { index: 0, siblings: vec![] };
        assert_eq!(forged.verify(Node::EMPTY, tree.root()), Err(ProofError::Mismatch));
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        assert!(Tree::build(leaves(&[u64::MAX, 1])).is_err());
    }

    #[test]
    fn spare_index_bits_are_refused() {
        let tree = Tree::build(leaves(&[1, 2, 3])).unwrap();
        let mut proof = tree.proof(1).unwrap();
        proof.index |= 1 << proof.siblings.len();
        let error = proof.verify(leaves(&[1, 2, 3])[1], tree.root()).unwrap_err();
        assert!(matches!(error, ProofError::SpareIndexBits { .. }));
    }

    proptest! {
        #[test]
        fn every_leaf_is_proven_and_no_other(amounts in prop::collection::vec(0u64..1 << 40, 1..70), off in 1u64..9) {
            let leaves = leaves(&amounts);
            let tree = Tree::build(leaves.clone()).unwrap();
            prop_assert_eq!(tree.root().sum.get(), amounts.iter().sum::<u64>());
            for (i, leaf) in leaves.iter().enumerate() {
                let proof = tree.proof(i as u32).unwrap();
                prop_assert_eq!(proof.verify(*leaf, tree.root()), Ok(()));
                let more = Node { sum: Amount(leaf.sum.get() + off), ..*leaf };
                prop_assert!(proof.verify(more, tree.root()).is_err());
                if leaves.len() > 1 {
                    let other = leaves[(i + 1) % leaves.len()];
                    prop_assert!(proof.verify(other, tree.root()).is_err());
                }
            }
        }
    }
}
