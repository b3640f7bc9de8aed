//! Candles: what was traded of a resource in a stretch of time, and at which prices.
//!
//! All figures are integers and folding is exact: a candle knows which trade opened and which closed it, so candles
//! merge in any order, and a longer one is the fold of the shorter ones inside it.

use crate::trade::{Trade, TradeKey};
use protocol::amount::{Overflow, Price};
use protocol::resource::ResourceId;
use std::collections::BTreeMap;

/// Lengths of time that are kept, each a multiple of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// A minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// A quarter of an hour.
    QuarterHour,
    /// An hour.
    Hour,
    /// Four hours.
    FourHours,
    /// A day, in UTC.
    Day,
}

impl Interval {
    /// All of them, shortest first.
    pub const EVERY: [Self; 6] =
        [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::FourHours, Self::Day];

    /// How long it is.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::FourHours => 14_400,
            Self::Day => 86_400,
        }
    }

    /// The next shorter one, whose candles make up one of this.
    pub const fn shorter(self) -> Option<Self> {
        match self {
            Self::Minute => None,
            Self::FiveMinutes => Some(Self::Minute),
            Self::QuarterHour => Some(Self::FiveMinutes),
            Self::Hour => Some(Self::QuarterHour),
            Self::FourHours => Some(Self::Hour),
            Self::Day => Some(Self::FourHours),
        }
    }

    /// Start of the stretch that `at` falls in.
    pub const fn start_of(self, at: u64) -> u64 {
        at - at % self.seconds()
    }
}

/// A price, and the trade made at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which trade.
    pub key: TradeKey,
    /// Its price.
    pub price: Price,
}

/// All counted trades of one resource in one stretch of time. There is no candle without a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// First trade.
    pub open: Mark,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last trade.
    pub close: Mark,
    /// Sum of the quantities, in base units.
    pub volume: u128,
    /// Sum of price times quantity: divided by `volume` it is the volume-weighted average price.
    pub quote: u128,
    /// Sum of the amounts paid, in nano.
    pub amount: u128,
    /// Number of trades.
    pub trades: u64,
}

impl Candle {
    /// The candle of a single trade.
    pub fn of(trade: &Trade) -> Self {
        let line = &trade.line;
        let mark = Mark { key: trade.key, price: line.price };
        Self {
            open: mark,
            high: line.price,
            low: line.price,
            close: mark,
            volume: u128::from(line.quantity.get()),
            quote: u128::from(line.quantity.get()) * u128::from(line.price.get()),
            amount: u128::from(line.amount.get()),
            trades: 1,
        }
    }

    /// The candle of the trades of both, which have none in common.
    pub fn merge(&self, other: &Self) -> Result<Self, Overflow> {
        let plus = |a: u128, b: u128| a.checked_add(b).ok_or(Overflow { operation: "adding up a candle" });
        Ok(Self {
            open: if other.open.key < self.open.key { other.open } else { self.open },
            high: self.high.max(other.high),
            low: self.low.min(other.low),
            close: if other.close.key > self.close.key { other.close } else { self.close },
            volume: plus(self.volume, other.volume)?,
            quote: plus(self.quote, other.quote)?,
            amount: plus(self.amount, other.amount)?,
            trades: self.trades.saturating_add(other.trades),
        })
    }

    /// The volume-weighted average price, rounded down.
    pub fn average_price_down(&self) -> u128 {
        self.quote.checked_div(self.volume).unwrap_or_default()
    }
}

/// Which candle: of which resource, from when.
pub type Place = (ResourceId, u64);

/// Folds the trades that count into candles of one length.
pub fn fold<'a>(
    trades: impl IntoIterator<Item = &'a Trade>,
    interval: Interval,
) -> Result<BTreeMap<Place, Candle>, Overflow> {
    let mut candles = BTreeMap::new();
    for trade in trades.into_iter().filter(|trade| trade.counted) {
        add(&mut candles, (trade.line.resource, interval.start_of(trade.key.at)), Candle::of(trade))?;
    }
    Ok(candles)
}

/// Folds candles of a shorter length into longer ones.
pub fn lengthen(shorter: &BTreeMap<Place, Candle>, interval: Interval) -> Result<BTreeMap<Place, Candle>, Overflow> {
    let mut candles = BTreeMap::new();
    for ((resource, start), candle) in shorter {
        add(&mut candles, (*resource, interval.start_of(*start)), *candle)?;
    }
    Ok(candles)
}

fn add(candles: &mut BTreeMap<Place, Candle>, place: Place, candle: Candle) -> Result<(), Overflow> {
    let merged = match candles.get(&place) {
        Some(there) => there.merge(&candle)?,
        None => candle,
    };
    candles.insert(place, merged);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::BatchId;
    use alloy::primitives::{Address, B256};
    use proptest::prelude::*;
    use protocol::amount::{Amount, Quantity, Timestamp};
    use protocol::batch::Line;
    use protocol::order::JobId;

    fn trade(index: u32, resource: u32, at: u64, quantity: u64, price: u64) -> Trade {
        Trade {
            key: TradeKey { at, batch: BatchId { keeper: Address::ZERO, number: 1 }, index },
            line: Line {
                job: JobId(B256::ZERO),
                payer: Address::repeat_byte(1),
                provider: Address::repeat_byte(2),
                resource: ResourceId(resource),
                quantity: Quantity(quantity),
                price: Price(price),
                amount: Amount(quantity),
                ended_at: Timestamp(at),
                result: B256::ZERO,
            },
            counted: true,
            related: false,
        }
    }

    #[test]
    fn a_minute_of_trades() {
        let trades = [trade(0, 1, 61, 10, 5), trade(2, 1, 119, 30, 7), trade(1, 1, 119, 20, 3), trade(3, 1, 120, 1, 9)];
        let candles = fold(&trades, Interval::Minute).unwrap();
        assert_eq!(candles.len(), 2);
        let candle = candles[&(ResourceId(1), 60)];
        assert_eq!((candle.open.price, candle.close.price), (Price(5), Price(7)), "equal times go by index");
        assert_eq!((candle.high, candle.low), (Price(7), Price(3)));
        assert_eq!((candle.volume, candle.quote, candle.trades), (60, 320, 3));
        assert_eq!(candle.average_price_down(), 5);
        assert_eq!(candles[&(ResourceId(1), 120)].trades, 1, "the end of a minute belongs to the next");
    }

    #[test]
    fn what_is_not_counted_is_in_no_candle() {
        let mut hidden = trade(0, 1, 5, 1, 1_000);
        hidden.counted = false;
        assert!(fold(&[hidden], Interval::Day).unwrap().is_empty());
    }

    #[test]
    fn sums_beyond_128_bits_are_refused() {
        let huge = Candle::of(&trade(0, 1, 0, u64::MAX, u64::MAX));
        assert!(huge.merge(&huge).is_err());
    }

    fn trades() -> impl Strategy<Value = Vec<Trade>> {
        let one = (0u32..3, 0u64..200_000, 1u64..1_000, 1u64..1_000);
        prop::collection::vec(one, 1..60).prop_map(|list| {
            list.into_iter()
                .zip(0..)
                .map(|((resource, at, quantity, price), index)| trade(index, resource, at, quantity, price))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn any_split_in_any_order_gives_the_same_candles(
            trades in trades(), assignment in prop::collection::vec(0usize..4, 60),
        ) {
            for interval in Interval::EVERY {
                let whole = fold(&trades, interval).unwrap();
                let mut parts: [Vec<Trade>; 4] = Default::default();
                for (trade, part) in trades.iter().zip(&assignment) {
                    parts[*part].push(*trade);
                }
                let mut merged = BTreeMap::new();
                for part in parts.iter().rev() {
                    for (place, candle) in fold(part.iter().rev(), interval).unwrap() {
                        add(&mut merged, place, candle).unwrap();
                    }
                }
                prop_assert_eq!(&merged, &whole);
            }
        }

        #[test]
        fn longer_candles_are_the_fold_of_shorter_ones(trades in trades()) {
            for interval in Interval::EVERY {
                let Some(shorter) = interval.shorter() else { continue };
                let made = lengthen(&fold(&trades, shorter).unwrap(), interval).unwrap();
                prop_assert_eq!(made, fold(&trades, interval).unwrap());
                prop_assert_eq!(interval.seconds() % shorter.seconds(), 0);
            }
        }
    }
}
