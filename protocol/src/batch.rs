//! Batches: from accepted vouchers to the two trees that settle them.

use crate::amount::{Amount, Overflow, Price, Quantity, Timestamp};
use crate::order::JobId;
use crate::resource::ResourceId;
use crate::tree::{Node, Proof, Tree};
use alloy::primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of a packed usage line.
pub const LINE_BYTES: usize = 140;

/// One job's usage in one batch, as the keeper states it: price history is made of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// The job.
    pub job: JobId,
    /// Who paid.
    pub payer: Address,
    /// Who earned.
    pub provider: Address,
    /// What was used.
    pub resource: ResourceId,
    /// How much of it in this batch, in base units.
    pub quantity: Quantity,
    /// At which price.
    pub price: Price,
    /// What the provider earned for it in this batch.
    pub amount: Amount,
    /// When the last receipt counted here was measured.
    pub ended_at: Timestamp,
    /// Result of the job; zero while it goes on.
    pub result: B256,
}

impl Line {
    /// The packed record: job 32, payer 20, provider 20, resource 4, quantity 8, price 8, amount 8, ended-at 8,
    /// result 32.
    pub fn to_bytes(&self) -> [u8; LINE_BYTES] {
        let mut bytes = [0; LINE_BYTES];
        bytes[..32].copy_from_slice(self.job.0.as_slice());
        bytes[32..52].copy_from_slice(self.payer.as_slice());
        bytes[52..72].copy_from_slice(self.provider.as_slice());
        bytes[72..76].copy_from_slice(&self.resource.0.to_be_bytes());
        bytes[76..84].copy_from_slice(&self.quantity.get().to_be_bytes());
        bytes[84..92].copy_from_slice(&self.price.get().to_be_bytes());
        bytes[92..100].copy_from_slice(&self.amount.get().to_be_bytes());
        bytes[100..108].copy_from_slice(&self.ended_at.get().to_be_bytes());
        bytes[108..].copy_from_slice(self.result.as_slice());
        bytes
    }

    /// The line packed in a record.
    pub fn from_bytes(bytes: &[u8; LINE_BYTES]) -> Self {
        let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self {
            job: JobId(B256::from_slice(&bytes[..32])),
            payer: Address::from_slice(&bytes[32..52]),
            provider: Address::from_slice(&bytes[52..72]),
            resource: ResourceId(u32::from_be_bytes(std::array::from_fn(|i| bytes[72 + i]))),
            quantity: Quantity(u64_at(76)),
            price: Price(u64_at(84)),
            amount: Amount(u64_at(92)),
            ended_at: Timestamp(u64_at(100)),
            result: B256::from_slice(&bytes[108..]),
        }
    }

    /// The leaf of this line.
    pub fn leaf(&self) -> Node {
        Node::record(&self.to_bytes(), self.amount)
    }
}

/// The lines of a batch as they are published: packed records one after another, under their keccak256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    lines: Vec<Line>,
    tree: Tree,
    data_hash: B256,
}

/// A lines file is not what its batch committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// Not a whole number of records.
    #[error("the lines file has {0} bytes, which is no multiple of {LINE_BYTES}")]
    Length(usize),
    /// Another file than the one committed to.
    #[error("the lines file does not match its batch: {0} differs")]
    Mismatch(&'static str),
    /// Adding the amounts overflows.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Lines {
    /// Puts lines into one tree, in their order.
    pub fn new(lines: Vec<Line>) -> Result<Self, Overflow> {
        let tree = Tree::build(lines.iter().map(Line::leaf).collect())?;
        let data_hash = keccak256(Self::pack(&lines));
        Ok(Self { lines, tree, data_hash })
    }

    /// Reads a published file and checks it against what the chain says: all four figures must come out.
    pub fn verify(bytes: &[u8], commitment: &Commitment) -> Result<Self, LinesError> {
        let (records, rest) = bytes.as_chunks::<LINE_BYTES>();
        if !rest.is_empty() {
            return Err(LinesError::Length(bytes.len()));
        }
        let lines = Self::new(records.iter().map(Line::from_bytes).collect())?;
        let root = lines.root();
        for (same, name) in [
            (root.hash == commitment.lines_root, "linesRoot"),
            (root.sum == commitment.lines_sum, "linesSum"),
            (lines.lines.len() as u64 == u64::from(commitment.line_count), "lineCount"),
            (lines.data_hash == commitment.data_hash, "dataHash"),
        ] {
            if !same {
                return Err(LinesError::Mismatch(name));
            }
        }
        Ok(lines)
    }

    fn pack(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(Line::to_bytes).collect()
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        Self::pack(&self.lines)
    }

    /// The lines in their order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Root and sum.
    pub fn root(&self) -> Node {
        self.tree.root()
    }

    /// keccak256 of the file.
    pub const fn data_hash(&self) -> B256 {
        self.data_hash
    }

    /// Proof of the line at `index`.
    pub fn proof(&self, index: u32) -> Option<Proof> {
        self.tree.proof(index)
    }
}

/// What `commit` puts on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Commitment {
    /// Root of the earnings tree; zero for a heartbeat.
    pub root: B256,
    /// Its sum: debits less the protocol fee.
    pub sum: Amount,
    /// The protocol fee.
    pub fee: Amount,
    /// Root of the lines tree.
    pub lines_root: B256,
    /// Its sum.
    pub lines_sum: Amount,
    /// Number of lines.
    pub line_count: u32,
    /// keccak256 of the lines file.
    pub data_hash: B256,
}

impl Commitment {
    /// What the chain keeps of the earnings tree.
    pub fn earnings(&self) -> B256 {
        Node { hash: self.root, sum: self.sum }.commitment()
    }
}

/// A batch that is closed off chain: everything that `commit`, the providers and the indexers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedBatch {
    /// Leaf owners in the order of the leaves, which is by address.
    pub earnings: Vec<(Address, Amount)>,
    /// The earnings tree.
    pub tree: Tree,
    /// The lines.
    pub lines: Lines,
    /// What goes on chain.
    pub commitment: Commitment,
}

/// A batch cannot be closed: the ledger that it is made from is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// Providers were promised more than clients paid.
    #[error("providers are owed {owed} nano, but after the protocol fee clients paid only {sum}")]
    Short {
        /// Sum of all earnings.
        owed: Amount,
        /// Debits less the fee.
        sum: Amount,
    },
    /// The lines add up to more than all earnings.
    #[error("the lines add up to {lines} nano, more than the {sum} nano that clients paid")]
    LinesOverSum {
        /// Sum of the lines.
        lines: Amount,
        /// Debits less the fee.
        sum: Amount,
    },
    /// More lines than a proof can index.
    #[error("{0} lines do not fit a batch: close batches earlier")]
    TooManyLines(usize),
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// Closes a batch: what providers earned, and the rest of the debits as the keeper's own leaf.
///
/// `debits` is the sum over all channels of what `collect` will take for this batch, `fee_bps` the protocol's rate for
/// it. Leaves are sorted by address, one each.
pub fn close(
    keeper: Address,
    debits: Amount,
    fee_bps: u16,
    mut earnings: BTreeMap<Address, Amount>,
    lines: Vec<Line>,
) -> Result<ClosedBatch, CloseError> {
    let fee = debits.share_down(fee_bps)?;
    let sum = debits.minus(fee)?;
    let owed = Amount::sum(earnings.values().copied())?;
    if owed > sum {
        return Err(CloseError::Short { owed, sum });
    }
    let own = sum.minus(owed)?;
    if own > Amount::ZERO {
        let leaf = earnings.entry(keeper).or_default();
        *leaf = leaf.plus(own)?;
    }
    earnings.retain(|_, amount| *amount > Amount::ZERO);
    let earnings: Vec<_> = earnings.into_iter().collect();
    let tree = Tree::build(earnings.iter().map(|(who, amount)| Node::earning(*who, *amount)).collect())?;
    let line_count = u32::try_from(lines.len()).map_err(|_| CloseError::TooManyLines(lines.len()))?;
    let lines = Lines::new(lines)?;
    if lines.root().sum > sum {
        return Err(CloseError::LinesOverSum { lines: lines.root().sum, sum });
    }
    let commitment = Commitment {
        root: tree.root().hash,
        sum,
        fee,
        lines_root: lines.root().hash,
        lines_sum: lines.root().sum,
        line_count,
        data_hash: lines.data_hash(),
    };
    Ok(ClosedBatch { earnings, tree, lines, commitment })
}

impl ClosedBatch {
    /// A provider's amount and its proof; `None` for one without a leaf.
    pub fn proof(&self, provider: Address) -> Option<(Amount, Proof)> {
        let index = self.earnings.binary_search_by_key(&provider, |(who, _)| *who).ok()?;
        let proof = self.tree.proof(u32::try_from(index).ok()?)?;
        Some((self.earnings[index].1, proof))
    }

    /// The packed leaves that `distribute` reads: 28 bytes each, provider then amount.
    pub fn to_distribution(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28 * self.earnings.len());
        for (provider, amount) in &self.earnings {
            bytes.extend_from_slice(provider.as_slice());
            bytes.extend_from_slice(&amount.get().to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(n: u8, amount: u64) -> Line {
        Line {
            job: JobId(B256::repeat_byte(n)),
            payer: Address::repeat_byte(n),
            provider: Address::repeat_byte(n ^ 0xff),
            resource: ResourceId(u32::from(n)),
            quantity: Quantity(u64::from(n) << 32 | 5),
            price: Price(11),
            amount: Amount(amount),
            ended_at: Timestamp(1_700_000_000),
            result: B256::repeat_byte(n + 1),
        }
    }

    #[test]
    fn lines_round_trip_and_any_changed_byte_is_seen() {
        let closed = close(Address::ZERO, Amount(100), 0, BTreeMap::new(), vec![line(1, 10), line(2, 20)]).unwrap();
        let file = closed.lines.to_bytes();
        assert_eq!(file.len(), 2 * LINE_BYTES);
        assert_eq!(Lines::verify(&file, &closed.commitment).unwrap(), closed.lines);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(Lines::verify(&changed, &closed.commitment).is_err(), "byte {at} is not bound");
        }
        assert_eq!(Lines::verify(&file[1..], &closed.commitment), Err(LinesError::Length(279)));
        assert!(Lines::verify(&file[..LINE_BYTES], &closed.commitment).is_err());
    }

    #[test]
    fn a_keeper_that_promised_too_much_cannot_close() {
        let earnings = BTreeMap::from([(Address::repeat_byte(1), Amount(100))]);
        let error = close(Address::ZERO, Amount(100), 100, earnings, vec![]).unwrap_err();
        assert_eq!(error, CloseError::Short { owed: Amount(100), sum: Amount(99) });
        let error = close(Address::ZERO, Amount(5), 0, BTreeMap::new(), vec![line(1, 6)]).unwrap_err();
        assert!(matches!(error, CloseError::LinesOverSum { .. }));
    }

    #[test]
    fn nothing_at_all_is_a_heartbeat() {
        let closed = close(Address::ZERO, Amount(0), 100, BTreeMap::new(), vec![]).unwrap();
        assert_eq!(closed.commitment.root, B256::ZERO);
        assert_eq!(closed.commitment.lines_root, B256::ZERO);
    }

    proptest! {
        #[test]
        fn closing_conserves_every_nano(amounts in prop::collection::vec(0u64..1 << 40, 0..30), extra in 0u64..1 << 30, bps in 0u16..=500) {
            let earnings: BTreeMap<_, _> =
                amounts.iter().enumerate().map(|(i, a)| (Address::with_last_byte(i as u8 + 1), Amount(*a))).collect();
            let owed: u64 = amounts.iter().sum();
            let debits = Amount((owed + extra) * 10_000 / (10_000 - u64::from(bps)) + 1);
            let keeper = Address::repeat_byte(0xee);
            let closed = close(keeper, debits, bps, earnings.clone(), vec![]).unwrap();
            let paid = Amount::sum(closed.earnings.iter().map(|(_, a)| *a)).unwrap();
            prop_assert_eq!(paid.plus(closed.commitment.fee).unwrap(), debits);
            prop_assert_eq!(closed.commitment.sum, paid);
            for (provider, amount) in earnings.into_iter().filter(|(_, a)| *a > Amount::ZERO) {
                let (proven, proof) = closed.proof(provider).unwrap();
                prop_assert_eq!(proven, amount);
                prop_assert_eq!(proof.verify(Node::earning(provider, amount), closed.tree.root()), Ok(()));
            }
        }
    }
}
