//! From an option's parameters to the numbers that the simulation runs on, and from its sums to a price.
//!
//! Everything is computed in integers of as many bits as it needs, and rounded down once.

use super::fixed::exponential;
use alloy::primitives::U256;
use protocol::job::{OptionPricing, Right};

/// What the simulation is told: `struct walk` of `kernels/montecarlo.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// What the logarithm of the price gains in a step, in Q48.
    pub(super) drift: i64,
    /// Standard deviation of that, in Q60.
    pub(super) width: i64,
    /// Strike as a share of the spot price, in Q32.
    pub(super) strike: u64,
    pub(super) seed: u64,
    pub(super) steps: u32,
    /// 1 for a right to sell.
    pub(super) put: u32,
}

impl Walk {
    /// Of parameters that are valid; no result is out of range then.
    pub(super) fn new(pricing: &OptionPricing) -> Self {
        let (variance, variance_scale) = (pricing.variance(), OptionPricing::variance_scale());
        let steps = i128::from(pricing.steps);
        // (r - v^2 / 2) t, over one denominator.
        let gain = 2 * (variance_scale / OptionPricing::interest_scale()) * pricing.interest() - variance;
        let drift = (gain * (1 << 48)).div_euclid(2 * variance_scale * steps);
        let square =
            (U256::from(variance.unsigned_abs()) << 120usize) / U256::from((variance_scale * steps).unsigned_abs());
        let strike = (u128::from(pricing.strike.get()) << 32) / u128::from(pricing.spot.get().max(1));
        Self {
            drift: drift as i64,
            width: square.root(2).saturating_to::<i64>(),
            strike: strike as u64,
            seed: pricing.seed.get(),
            steps: pricing.steps,
            put: u32::from(pricing.right == Right::Put),
        }
    }

    /// As the kernel reads it.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend(self.drift.to_le_bytes());
        bytes.extend(self.width.to_le_bytes());
        bytes.extend(self.strike.to_le_bytes());
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.steps.to_le_bytes());
        bytes.extend(self.put.to_le_bytes());
        bytes
    }
}

/// The job's output, from the sums of payoffs and of their squares.
pub(super) fn result(pricing: &OptionPricing, payoffs: u128, squares: u128) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(OptionPricing::RESULT as usize);
    bytes.extend(pricing.paths.get().to_le_bytes());
    bytes.extend(payoffs.to_le_bytes());
    bytes.extend(squares.to_le_bytes());
    bytes.extend(price(pricing, payoffs).to_le_bytes());
    bytes
}

/// The mean payoff, discounted, in the unit of the spot price.
fn price(pricing: &OptionPricing, payoffs: u128) -> u64 {
    let interest = (pricing.interest() * (1 << 48)).div_euclid(OptionPricing::interest_scale());
    let discount = exponential(-interest as i64);
    let total = U256::from(pricing.spot.get()) * U256::from(discount) * U256::from(payoffs);
    (total / (U256::from(pricing.paths.get().max(1)) << 64usize)).saturating_to::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;
    use protocol::job::Exercise;

    fn pricing() -> OptionPricing {
        OptionPricing {
            exercise: Exercise::European,
            right: Right::Put,
            spot: Quantity(100_000_000_000),
            strike: Quantity(105_000_000_000),
            rate: 30_000,
            volatility: 250_000,
            maturity: 31_536_000,
            steps: 64,
            first: Quantity(0),
            paths: Quantity(1000),
            seed: Quantity(7),
        }
    }

    #[test]
    fn a_step_is_a_share_of_the_whole() {
        let walk = Walk::new(&pricing());
        let (drift, width) = (walk.drift as f64 / 2f64.powi(48), walk.width as f64 / 2f64.powi(60));
        assert!((drift - (0.03 - 0.03125) / 64.0).abs() < 1e-14, "{drift}");
        assert!((width - 0.25 / 8.0).abs() < 1e-15, "{width}");
        assert_eq!((walk.strike, walk.put, walk.steps, walk.seed), ((105 << 32) / 100, 1, 64, 7));
        assert_eq!(walk.to_bytes().len(), 40);
    }

    #[test]
    fn the_widest_parameters_fit() {
        let year = 31_536_000;
        let wide = OptionPricing { volatility: 1_000_000, maturity: 4 * year, rate: -500_000, steps: 1, ..pricing() };
        let walk = Walk::new(&wide);
        assert_eq!((walk.width, walk.drift), (2 << 60, -4 << 48));
        let narrow = OptionPricing { volatility: 0, rate: 0, steps: 65_536, maturity: 1, ..pricing() };
        assert_eq!((Walk::new(&narrow).width, Walk::new(&narrow).drift), (0, 0));
        let dear = OptionPricing { spot: Quantity(1), strike: Quantity(65_535), ..pricing() };
        assert_eq!(Walk::new(&dear).strike, 65_535 << 32);
    }

    #[test]
    fn a_price_is_the_discounted_mean() {
        // Every path pays a tenth of the spot price.
        let payoffs = 1000 * ((1u128 << 32) / 10);
        let found = price(&pricing(), payoffs) as f64;
        assert!((found - 10e9 * (-0.03f64).exp()).abs() < 20.0, "{found}");
        assert_eq!(price(&OptionPricing { rate: 0, ..pricing() }, 1000 << 32), 100_000_000_000);
        let bytes = result(&pricing(), payoffs, 5);
        assert_eq!(bytes.len() as u64, OptionPricing::RESULT);
        assert_eq!(bytes[..8], 1000u64.to_le_bytes());
        assert_eq!(bytes[24..40], 5u128.to_le_bytes());
    }
}
