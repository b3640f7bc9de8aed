//! What to pay for a transaction: pure arithmetic.

/// The two prices of an EIP-1559 transaction, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    pub(super) max_fee: u128,
    pub(super) priority: u128,
}

/// A first price: twice the base fee outlasts six full blocks in a row. Never above `cap`.
pub(super) fn initial(base_fee: u128, priority: u128, cap: u128) -> Fees {
    let max_fee = base_fee.saturating_mul(2).saturating_add(priority).min(cap);
    Fees { max_fee, priority: priority.min(max_fee) }
}

/// The price of a replacement, or nothing where it would exceed `cap`.
///
/// Nodes take a replacement only if **both** prices rise by a tenth (geth) or an eighth (others); an eighth, rounded
/// up, and at least one wei, satisfies all. Where the market has moved further, the replacement follows it.
pub(super) fn bumped(last: Fees, market: Fees, cap: u128) -> Option<Fees> {
    let max_fee = raised(last.max_fee)?.max(market.max_fee);
    let priority = raised(last.priority)?.max(market.priority);
    // The market price is capped already, so only the obligation to rise can exceed the cap.
    let max_fee = max_fee.max(priority);
    (max_fee <= cap).then_some(Fees { max_fee, priority })
}

fn raised(price: u128) -> Option<u128> {
    price.checked_add((price.div_ceil(8)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;

    #[test]
    fn the_first_price_covers_a_doubled_base_fee_and_respects_the_cap() {
        assert_eq!(initial(10, 3, 100), Fees { max_fee: 23, priority: 3 });
        assert_eq!(initial(60, 3, 100), Fees { max_fee: 100, priority: 3 });
        assert_eq!(initial(60, 300, 100), Fees { max_fee: 100, priority: 100 });
        assert_eq!(initial(u128::MAX, 1, GWEI), Fees { max_fee: GWEI, priority: 1 });
    }

    #[test]
    fn a_replacement_raises_both_prices_by_an_eighth_at_least() {
        for max_fee in [1, 7, 8, 9, 1001, 3 * GWEI, 200 * GWEI] {
            for priority in [0, 1, 13, GWEI] {
                let last = Fees { max_fee, priority };
                let next = bumped(last, Fees { max_fee: 0, priority: 0 }, u128::MAX).unwrap();
                assert!(next.max_fee > max_fee && next.max_fee * 8 >= max_fee * 9, "{last:?} {next:?}");
                assert!(next.priority > priority && next.priority * 8 >= priority * 9, "{last:?} {next:?}");
                assert!(next.priority <= next.max_fee);
            }
        }
    }

    #[test]
    fn a_replacement_follows_the_market_and_stops_at_the_cap() {
        let last = Fees { max_fee: 100, priority: 10 };
        let market = Fees { max_fee: 500, priority: 11 };
        assert_eq!(bumped(last, market, 1000), Some(Fees { max_fee: 500, priority: 12 }));
        assert_eq!(bumped(last, Fees { max_fee: 100, priority: 1 }, 113), Some(Fees { max_fee: 113, priority: 12 }));
        assert_eq!(bumped(last, market, 112), None);
        assert_eq!(bumped(Fees { max_fee: u128::MAX, priority: 1 }, market, u128::MAX), None);
    }
}
