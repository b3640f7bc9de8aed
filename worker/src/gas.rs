//! The profit guard: what a transaction costs, in CAPA, and whether it is worth that.

use alloy::primitives::U256;
use protocol::amount::{Amount, BASIS_POINTS};

/// Wei in one whole coin of the chain.
const WEI: u64 = 1_000_000_000_000_000_000;

/// What a transaction would use, and what gas costs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quote {
    /// Gas, as the node estimates it.
    pub gas: u64,
    /// Price of gas, in wei.
    pub wei_per_gas: u128,
}

impl Quote {
    /// The cost at a price of one whole coin, in nano CAPA, rounded up. One that fits no amount is the highest one.
    pub(crate) fn cost(&self, coin: Amount) -> Amount {
        let wei = U256::from(self.gas).saturating_mul(U256::from(self.wei_per_gas));
        let nano = wei.saturating_mul(U256::from(coin.get())).div_ceil(U256::from(WEI));
        Amount(nano.saturating_to())
    }
}

/// Whether `cost` is at most `share_bps` of `value`.
pub(crate) fn is_worth(value: Amount, cost: Amount, share_bps: u16) -> bool {
    u128::from(cost.get()) * u128::from(BASIS_POINTS) <= u128::from(value.get()) * u128::from(share_bps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;

    #[test]
    fn a_cost_is_rounded_up() {
        // 100,000 gas at 10 gwei are 0.001 coins; at 2,000 CAPA a coin that is 2 CAPA.
        let quote = Quote { gas: 100_000, wei_per_gas: 10 * GWEI };
        assert_eq!(quote.cost(Amount(2_000_000_000_000)), Amount(2_000_000_000));
        assert_eq!(Quote { gas: 1, wei_per_gas: 1 }.cost(Amount(1)), Amount(1));
        assert_eq!(Quote { gas: 0, wei_per_gas: GWEI }.cost(Amount(1)), Amount(0));
    }

    #[test]
    fn a_cost_beyond_all_amounts_is_never_worth_it() {
        let quote = Quote { gas: u64::MAX, wei_per_gas: u128::MAX };
        assert_eq!(quote.cost(Amount(u64::MAX)), Amount(u64::MAX));
        assert!(!is_worth(Amount(1_000_000_000_000_000_000), quote.cost(Amount(u64::MAX)), 10_000));
    }

    #[test]
    fn a_share_is_exact() {
        assert!(is_worth(Amount(1_000), Amount(100), 1_000));
        assert!(!is_worth(Amount(999), Amount(100), 1_000));
        assert!(is_worth(Amount(0), Amount(0), 1_000));
        assert!(is_worth(Amount(u64::MAX), Amount(u64::MAX), 10_000));
        assert!(!is_worth(Amount(u64::MAX - 1), Amount(u64::MAX), 10_000));
    }
}
