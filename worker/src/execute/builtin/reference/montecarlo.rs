//! The simulation of `kernels/montecarlo.cu`, path by path.

use super::fixed::{exponential, high_product, normal_pair};
use super::walk::{self, Walk};
use protocol::job::{Exercise, OptionPricing};

/// The output of a whole call.
pub(super) fn price(pricing: &OptionPricing) -> Vec<u8> {
    let walk = Walk::new(pricing);
    let first = pricing.first.get();
    let (mut payoffs, mut squares) = (0u128, 0u128);
    for path in first..first + pricing.paths.get() {
        let payoff = u128::from(payoff(&walk, pricing.exercise, path));
        payoffs += payoff;
        squares += (payoff * payoff) >> 32;
    }
    walk::result(pricing, payoffs, squares)
}

/// What a path pays, as a share of the spot price, in Q32.
fn payoff(walk: &Walk, exercise: Exercise, path: u64) -> u64 {
    let (mut logarithm, mut sum) = (0i64, 0u64);
    for step in 0..walk.steps {
        let words = philox(walk.seed, path, step / 4);
        let pair = if step % 4 < 2 { normal_pair(words[0], words[1]) } else { normal_pair(words[2], words[3]) };
        logarithm += walk.drift + (high_product(walk.width, pair[step as usize % 2]) >> 8);
        if exercise == Exercise::Asian {
            sum += exponential(logarithm);
        }
    }
    let price = match exercise {
        Exercise::European => exponential(logarithm),
        Exercise::Asian => sum / u64::from(walk.steps),
    };
    if walk.put == 1 { walk.strike.saturating_sub(price) } else { price.saturating_sub(walk.strike) }
}

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
fn philox(seed: u64, path: u64, block: u32) -> [u32; 4] {
    rounds([path as u32, (path >> 32) as u32, block, 0], [seed as u32, (seed >> 32) as u32])
}

fn rounds(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (left, right) = (u64::from(c[0]) * 0xd251_1f53, u64::from(c[2]) * 0xcd9e_8d57);
        c = [(right >> 32) as u32 ^ c[1] ^ key[0], right as u32, (left >> 32) as u32 ^ c[3] ^ key[1], left as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;
    use protocol::job::Right;

    /// The known answers that come with the authors' Random123.
    #[test]
    fn philox_gives_its_known_answers() {
        assert_eq!(rounds([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(rounds([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(rounds(pi.0, pi.1), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    fn option(exercise: Exercise, right: Right, steps: u32, paths: u64) -> OptionPricing {
        OptionPricing {
            exercise,
            right,
            spot: Quantity(100_000_000_000),
            strike: Quantity(105_000_000_000),
            rate: 30_000,
            volatility: 250_000,
            maturity: 31_536_000,
            steps,
            first: Quantity(0),
            paths: Quantity(paths),
            seed: Quantity(2011),
        }
    }

    /// Price and standard error in units of the currency.
    fn estimate(pricing: &OptionPricing) -> (f64, f64) {
        let bytes = price(pricing);
        let wide = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap()) as f64 / 2f64.powi(32);
        let (paths, mean) = (pricing.paths.get() as f64, wide(8) / pricing.paths.get() as f64);
        let variance = wide(24) / paths - mean * mean;
        let price = u64::from_le_bytes(bytes[40..].try_into().unwrap()) as f64 / 1e9;
        (price, (variance / paths).sqrt() * 100.0)
    }

    fn normal_share(x: f64) -> f64 {
        // Abramowitz and Stegun 26.2.17, good to seven digits.
        let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
        let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
            * t
            * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    #[test]
    fn a_european_option_costs_what_black_and_scholes_say() {
        let (d1, discount) = (((100f64 / 105.0).ln() + 0.03 + 0.03125) / 0.25, (-0.03f64).exp());
        let call = 100.0 * normal_share(d1) - 105.0 * discount * normal_share(d1 - 0.25);
        let put = call - 100.0 + 105.0 * discount;
        for (right, exact) in [(Right::Call, call), (Right::Put, put)] {
            for steps in [1, 6] {
                let (price, error) = estimate(&option(Exercise::European, right, steps, 40_000));
                assert!(
                    (price - exact).abs() < 3.0 * error,
                    "{right:?}, {steps} steps: {price} +- {error}, not {exact}"
                );
                assert!(error < 0.1, "{error}");
            }
        }
    }

    /// The sample job `examples/asian-option` finds 4.397 +- 0.045 for the same option by floats and other random numbers.
    #[test]
    fn an_asian_option_costs_what_the_sample_job_finds() {
        let (price, error) = estimate(&option(Exercise::Asian, Right::Call, 64, 10_000));
        assert!((price - 4.397).abs() < 3.0 * (error * error + 0.045 * 0.045).sqrt(), "{price} +- {error}");
    }

    #[test]
    fn jobs_of_other_paths_add_up() {
        let sums = |first: u64, paths: u64| {
            let bytes =
                price(&OptionPricing { first: Quantity(first), ..option(Exercise::Asian, Right::Put, 5, paths) });
            let wide = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap());
            (wide(8), wide(24))
        };
        let (all, low, high) = (sums(0, 100), sums(0, 30), sums(30, 70));
        assert_eq!((low.0 + high.0, low.1 + high.1), all);
        assert!(all.0 > 0 && low.0 > 0);
    }
}
