//! What an option pricing simulates: the price of an asset as a geometric Brownian motion.
//!
//! All parameters are integers, and so is all arithmetic behind them (docs/builtins.md): the result has the same bits on
//! every machine.

use crate::amount::Quantity;
use serde::{Deserialize, Serialize};

/// Millionths, in which rate and volatility are given.
const PPM: i128 = 1_000_000;
/// Seconds of the year that rate and volatility refer to: 365 days.
const YEAR: i128 = 31_536_000;
/// Largest spot price: a million units of the currency and some.
const MAX_SPOT: u64 = 1 << 50;
/// How many times the spot price the strike can be.
const MAX_STRIKE_RATIO: u64 = 65_535;
/// Sums of payoffs fit into 128 bits up to here, and are exact.
const MAX_PATHS: u64 = 1 << 32;
/// A path has at most this many steps.
const MAX_STEPS: u32 = 1 << 16;

/// An option, the asset that it is on, and how many paths are simulated.
///
/// Output, little-endian: the number of paths (8 bytes); the sum of their payoffs in units of spot / 2^32 (16 bytes); the
/// sum of the payoffs' squares, each rounded down to units of spot^2 / 2^32 (16 bytes); the discounted mean payoff,
/// rounded down, in the unit of the spot price (8 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptionPricing {
    /// When, and on what, it pays.
    pub exercise: Exercise,
    /// Whether it is a right to buy or to sell.
    pub right: Right,
    /// Price of the asset now, in billionths of the currency.
    pub spot: Quantity,
    /// Price at which the asset may be bought or sold, in billionths of the currency.
    pub strike: Quantity,
    /// Riskless rate in millionths a year, continuously compounded.
    pub rate: i32,
    /// Volatility in millionths per square root of a year.
    pub volatility: u32,
    /// Life of the option in seconds; a year has 31,536,000.
    pub maturity: u32,
    /// Steps of each path, of equal length.
    pub steps: u32,
    /// Number of the first path: jobs of other paths of the same seed can be added up.
    pub first: Quantity,
    /// How many paths.
    pub paths: Quantity,
    /// What the random numbers are derived from.
    pub seed: Quantity,
}

/// What an option's payoff depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exercise {
    /// The price at the end.
    European,
    /// The arithmetic mean of the prices after each step.
    Asian,
}

/// A right to buy or to sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Right {
    /// To buy: pays what the price is above the strike.
    Call,
    /// To sell: pays what the price is below the strike.
    Put,
}

impl OptionPricing {
    /// Bytes of its output.
    pub const RESULT: u64 = 8 + 16 + 16 + 8;

    /// Variance of the logarithm of the price at the end of the option's life, times
    /// [`variance_scale`](Self::variance_scale).
    pub fn variance(&self) -> i128 {
        let volatility = i128::from(self.volatility);
        volatility * volatility * i128::from(self.maturity)
    }

    /// What [`variance`](Self::variance) is multiplied by to be an integer.
    pub const fn variance_scale() -> i128 {
        PPM * PPM * YEAR
    }

    /// Interest over the whole life, times [`interest_scale`](Self::interest_scale).
    pub fn interest(&self) -> i128 {
        i128::from(self.rate) * i128::from(self.maturity)
    }

    /// What [`interest`](Self::interest) is multiplied by to be an integer.
    pub const fn interest_scale() -> i128 {
        PPM * YEAR
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        let invalid = |text: String| Err(format!("montecarlo needs {text}"));
        let (spot, strike) = (self.spot.get(), self.strike.get());
        if spot == 0 || spot > MAX_SPOT || u128::from(strike) > u128::from(spot) * u128::from(MAX_STRIKE_RATIO) {
            return invalid(format!(
                "a spot from 1 to {MAX_SPOT}, and a strike of at most {MAX_STRIKE_RATIO} times that"
            ));
        }
        if self.maturity == 0 || self.steps == 0 || self.steps > MAX_STEPS {
            return invalid(format!("a maturity above zero, and 1 to {MAX_STEPS} steps"));
        }
        if self.paths == Quantity::ZERO
            || self.paths.get() > MAX_PATHS
            || self.first.get().checked_add(self.paths.get()).is_none()
        {
            return invalid(format!("1 to {MAX_PATHS} paths, and first + paths below 2^64"));
        }
        if self.variance() > 4 * Self::variance_scale() {
            return invalid("a volatility of at most 2 over the whole life: volatility^2 * maturity <= 4".into());
        }
        if self.interest().abs() > 2 * Self::interest_scale() {
            return invalid("an interest of at most 2 over the whole life: |rate| * maturity <= 2".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pricing() -> OptionPricing {
        OptionPricing {
            exercise: Exercise::European,
            right: Right::Call,
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
    fn work_is_steps_of_paths() {
        let call = crate::job::Builtin::Montecarlo(pricing());
        assert_eq!((call.class(), call.work()), ("montecarlo.european", 64_000));
        let asian = OptionPricing { exercise: Exercise::Asian, ..pricing() };
        assert_eq!(crate::job::Builtin::Montecarlo(asian).class(), "montecarlo.asian");
    }

    #[test]
    fn it_reads_like_this_in_json() {
        let text = r#"{"kernel":"montecarlo","exercise":"european","right":"call","spot":"100000000000",
            "strike":"105000000000","rate":30000,"volatility":250000,"maturity":31536000,"steps":64,"first":"0",
            "paths":"1000","seed":"7"}"#;
        let call: crate::job::Builtin = serde_json::from_str(text).unwrap();
        assert_eq!(call, crate::job::Builtin::Montecarlo(pricing()));
        assert_eq!(serde_json::from_str::<crate::job::Builtin>(&serde_json::to_string(&call).unwrap()).unwrap(), call);
        assert!(serde_json::from_str::<crate::job::Builtin>(&text.replace("\"seed\"", "\"sead\"")).is_err());
    }

    #[test]
    fn bounds_are_named() {
        assert_eq!(pricing().validate(), Ok(()));
        let year = 31_536_000;
        for (broken, words) in [
            (OptionPricing { spot: Quantity(0), ..pricing() }, "a spot from 1"),
            (OptionPricing { spot: Quantity(MAX_SPOT + 1), ..pricing() }, "a spot from 1"),
            (OptionPricing { spot: Quantity(1), strike: Quantity(65_536), ..pricing() }, "65535 times"),
            (OptionPricing { maturity: 0, ..pricing() }, "a maturity above zero"),
            (OptionPricing { steps: 0, ..pricing() }, "65536 steps"),
            (OptionPricing { steps: 65_537, ..pricing() }, "65536 steps"),
            (OptionPricing { paths: Quantity(0), ..pricing() }, "4294967296 paths"),
            (OptionPricing { paths: Quantity(MAX_PATHS + 1), ..pricing() }, "4294967296 paths"),
            (OptionPricing { first: Quantity(u64::MAX), ..pricing() }, "below 2^64"),
            (OptionPricing { volatility: 1_000_001, maturity: 4 * year, ..pricing() }, "<= 4"),
            (OptionPricing { rate: -2_000_001, ..pricing() }, "<= 2"),
            (OptionPricing { rate: 1_000_001, maturity: 2 * year, ..pricing() }, "<= 2"),
        ] {
            let error = broken.validate().unwrap_err();
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
        let widest = OptionPricing { volatility: 1_000_000, maturity: 4 * year, rate: 500_000, ..pricing() };
        assert_eq!(widest.validate(), Ok(()));
    }
}
