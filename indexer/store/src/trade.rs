//! A trade: one verified usage line, with the time and the standing at which it counts.

use crate::fact::BatchId;
use alloy::primitives::Address;
use protocol::batch::Line;
use protocol::resource::ResourceId;

/// Length of a packed [`TradeKey`].
pub const KEY_BYTES: usize = 36;

/// Orders all trades: by time, then by where they were stated. Its bytes sort as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TradeKey {
    /// When the trade counts, see [`Window`].
    pub at: u64,
    /// The batch that states it.
    pub batch: BatchId,
    /// Its place in the batch's lines.
    pub index: u32,
}

impl TradeKey {
    /// Packed big-endian: time 8, keeper 20, batch 4, index 4.
    pub fn to_bytes(&self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.at.to_be_bytes());
        bytes[8..28].copy_from_slice(self.batch.keeper.as_slice());
        bytes[28..32].copy_from_slice(&self.batch.number.to_be_bytes());
        bytes[32..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// The key packed in `bytes`; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().ok()?;
        let u32_at = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        Some(Self {
            at: u64::from_be_bytes(std::array::from_fn(|i| bytes[i])),
            batch: BatchId { keeper: Address::from_slice(&bytes[8..28]), number: u32_at(28) },
            index: u32_at(32),
        })
    }
}

/// Where a batch, and with it each of its trades, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finality {
    /// Committed, in its challenge window.
    Pending,
    /// Final on chain: nothing can change it any more.
    Proven,
    /// Voided: nothing of it counts.
    Void,
}

impl Finality {
    /// Its number in a database.
    pub const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Proven => 1,
            Self::Void => 2,
        }
    }

    /// The one of that number.
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Pending),
            1 => Some(Self::Proven),
            2 => Some(Self::Void),
            _ => None,
        }
    }

    /// Which sums a batch of this standing is part of.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Pending => &[Scope::All],
            Self::Proven => &[Scope::All, Scope::Proven],
            Self::Void => &[],
        }
    }
}

/// What a sum is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Pending and proven trades.
    All,
    /// Proven trades only.
    Proven,
}

impl Scope {
    /// Both.
    pub const EVERY: [Self; 2] = [Self::All, Self::Proven];

    /// Its number in a database.
    pub const fn code(self) -> i64 {
        match self {
            Self::All => 0,
            Self::Proven => 1,
        }
    }
}

/// The times at which the trades of one batch may count.
///
/// A keeper could state any time. A trade counts at the stated one, but no later than its commit and no earlier than
/// what the protocol's periods allow an honest keeper, so no keeper can write into history that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Earliest time that counts.
    pub from: u64,
    /// Time of the commit.
    pub until: u64,
}

impl Window {
    /// The window of a batch committed at `committed_at`.
    pub const fn of(committed_at: u64, lateness: u64) -> Self {
        Self { from: committed_at.saturating_sub(lateness), until: committed_at }
    }
}

/// How a catalog's class prices what it meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Which class.
    pub resource: ResourceId,
    /// Base units in one human unit.
    pub units: u64,
}

/// A verified line, ready to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// Its time and place.
    pub key: TradeKey,
    /// The line as committed.
    pub line: Line,
    /// Whether it is part of price history: see [`is_priced`].
    pub counted: bool,
    /// Whether payer, provider and keeper are not three different parties, so the price may be nobody's.
    pub related: bool,
}

impl Trade {
    /// The trade that a verified line states.
    pub fn from_line(line: Line, batch: BatchId, index: u32, window: Window, scales: &[Scale]) -> Self {
        let at = line.ended_at.get().clamp(window.from, window.until);
        let scale = scales.iter().find(|scale| scale.resource == line.resource);
        let keeper = batch.keeper;
        Self {
            key: TradeKey { at, batch, index },
            counted: scale.is_some_and(|scale| is_priced(&line, scale.units)),
            related: line.payer == line.provider || line.payer == keeper || line.provider == keeper,
            line,
        }
    }
}

/// Whether a line's price is the one that its amount was paid at.
///
/// A line is the difference of two amounts that were each rounded up, so it is the exact product rounded either way.
/// Without this rule a keeper could state any price at no cost, because only the amount is bound by what was paid.
pub fn is_priced(line: &Line, scale: u64) -> bool {
    let product = u128::from(line.quantity.get()) * u128::from(line.price.get());
    let (scale, amount) = (u128::from(scale.max(1)), u128::from(line.amount.get()));
    product > 0 && (amount == product / scale || amount == product.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use proptest::prelude::*;
    use protocol::amount::{Amount, Price, Quantity, Timestamp};
    use protocol::order::JobId;

    fn line(quantity: u64, price: u64, amount: u64, ended_at: u64) -> Line {
        Line {
            job: JobId(B256::ZERO),
            payer: Address::repeat_byte(1),
            provider: Address::repeat_byte(2),
            resource: ResourceId(1),
            quantity: Quantity(quantity),
            price: Price(price),
            amount: Amount(amount),
            ended_at: Timestamp(ended_at),
            result: B256::ZERO,
        }
    }

    #[test]
    fn a_stated_time_is_kept_inside_the_window_of_its_commit() {
        let batch = BatchId { keeper: Address::repeat_byte(3), number: 1 };
        let at = |ended_at| Trade::from_line(line(1, 1, 1, ended_at), batch, 0, Window::of(1_000, 100), &[]).key.at;
        assert_eq!([at(0), at(899), at(950), at(1_000), at(u64::MAX)], [900, 900, 950, 1_000, 1_000]);
    }

    #[test]
    fn only_a_price_that_was_paid_counts() {
        assert!(is_priced(&line(10, 25, 3, 0), 100), "2.5 rounded up");
        assert!(is_priced(&line(10, 25, 2, 0), 100), "2.5 rounded down");
        assert!(!is_priced(&line(10, 25, 4, 0), 100));
        assert!(!is_priced(&line(1, u64::MAX, 0, 0), 100), "a price nobody paid");
        assert!(!is_priced(&line(0, 25, 0, 0), 100), "nothing was traded");
    }

    #[test]
    fn an_unknown_resource_does_not_count() {
        let batch = BatchId { keeper: Address::repeat_byte(3), number: 1 };
        let trade = |scales: &[Scale]| Trade::from_line(line(10, 10, 1, 5), batch, 0, Window::of(9, 9), scales);
        assert!(trade(&[Scale { resource: ResourceId(1), units: 100 }]).counted);
        assert!(!trade(&[Scale { resource: ResourceId(2), units: 100 }]).counted);
    }

    #[test]
    fn parties_that_are_one_are_marked() {
        let of = |keeper: u8| {
            let batch = BatchId { keeper: Address::repeat_byte(keeper), number: 1 };
            Trade::from_line(line(1, 1, 1, 0), batch, 0, Window::of(9, 9), &[]).related
        };
        assert_eq!([of(1), of(2), of(3)], [true, true, false]);
    }

    proptest! {
        #[test]
        fn keys_round_trip_and_their_bytes_sort_alike(a: (u64, [u8; 20], u32, u32), b: (u64, [u8; 20], u32, u32)) {
            let key = |(at, keeper, number, index): (u64, [u8; 20], u32, u32)| TradeKey {
                at,
                batch: BatchId { keeper: Address::from(keeper), number },
                index,
            };
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(TradeKey::from_bytes(&a.to_bytes()), Some(a));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn every_honest_difference_counts(
            scale in 1u64..10_000_000, price in 1u64..1 << 40, first in 0u64..1 << 40, more in 1u64..1 << 40,
        ) {
            let amount = |quantity: u64| {
                (u128::from(quantity) * u128::from(price)).div_ceil(u128::from(scale))
            };
            let rise = amount(first + more) - amount(first);
            prop_assume!(rise <= u128::from(u64::MAX));
            prop_assert!(is_priced(&line(more, price, rise as u64, 0), scale));
        }
    }
}
