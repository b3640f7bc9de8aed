//! Integers that must not be mixed up: amounts, prices, quantities, batch numbers.
//!
//! Every amount is a `u64` of *nano* (1e-9 CAPA); the supply cap is 1e18 nano, so a sum of real amounts never
//! overflows a signed 64-bit column, and arithmetic is checked all the same. In JSON these types are decimal
//! strings, because JavaScript numbers lose precision above 2^53.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// The result of an amount calculation does not fit; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result of {operation} does not fit into 64 bits (or is below zero)")]
pub struct Overflow {
    /// Which calculation failed.
    pub operation: &'static str,
}

/// Basis points in one whole.
pub const BASIS_POINTS: u64 = 10_000;

/// Number of nano in one CAPA.
pub const NANO: u64 = 1_000_000_000;

macro_rules! unsigned {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// The bare integer.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// `self + other`, or an error where that does not fit.
            pub fn plus(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_add(other.0).map(Self).ok_or(Overflow {
                    operation: concat!("adding two values of ", stringify!($name)),
                })
            }

            /// `self - other`, or an error where that is below zero.
            pub fn minus(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_sub(other.0).map(Self).ok_or(Overflow {
                    operation: concat!("subtracting two values of ", stringify!($name)),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decimal(deserializer).map(Self)
            }
        }
    };
}

unsigned!(
    /// An amount of tokens, in nano CAPA.
    Amount(u64)
);
unsigned!(
    /// A price: nano CAPA per human unit of a resource (GPU-hour, vCPU-hour, GiB-hour, GiB).
    Price(u64)
);
unsigned!(
    /// A quantity of a resource in its base unit (GPU-ms, vCPU-ms, MiB-s, byte).
    Quantity(u64)
);
unsigned!(
    /// A moment, in seconds since the Unix epoch.
    Timestamp(u64)
);

/// Parses a decimal string of 1 to 20 digits, with no sign, no spaces and no leading zero.
fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(de::Error::custom(format!(
            "{text:?} is not a decimal integer: send digits only, in a JSON string, such as \"1500\""
        )));
    }
    text.parse().map_err(|_| de::Error::custom(format!("{text} does not fit into 64 bits")))
}

/// Serde of a bare `u64` as a decimal string, for fields that are no amount.
pub mod text {
    use serde::{Deserializer, Serializer};

    /// Writes digits in a string.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads digits in a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::decimal(deserializer)
    }
}

impl Amount {
    /// The sum of many amounts.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Overflow> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// `ceil(self * bps / 10000)`: a fee that never falls short.
    pub fn share_up(self, bps: u16) -> Result<Self, Overflow> {
        let share = (u128::from(self.0) * u128::from(bps)).div_ceil(u128::from(BASIS_POINTS));
        u64::try_from(share).map(Self).map_err(|_| Overflow { operation: "taking a share rounded up" })
    }

    /// `floor(self * bps / 10000)`: the protocol fee of a whole batch.
    pub fn share_down(self, bps: u16) -> Result<Self, Overflow> {
        let share = u128::from(self.0) * u128::from(bps) / u128::from(BASIS_POINTS);
        u64::try_from(share).map(Self).map_err(|_| Overflow { operation: "taking a share rounded down" })
    }

    /// The amount in CAPA with all nine decimals, for people: `1.500000000`.
    pub fn to_capa(self) -> String {
        format!("{}.{:09}", self.0 / NANO, self.0 % NANO)
    }

    /// Parses an amount that a person wrote in CAPA: `1.5`, `20`, `0.000000001`.
    pub fn from_capa(text: &str) -> Result<Self, ParseCapaError> {
        let error = || ParseCapaError(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| error())?;
        whole.checked_mul(NANO).and_then(|w| w.checked_add(nano)).map(Self).ok_or_else(error)
    }
}

/// A text is not an amount of CAPA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of CAPA: write digits with at most 9 decimals, such as 2.5")]
pub struct ParseCapaError(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_a_decimal_string() {
        assert_eq!(serde_json::to_string(&Amount(u64::MAX)).unwrap(), "\"18446744073709551615\"");
        assert_eq!(serde_json::from_str::<Amount>("\"15\"").unwrap(), Amount(15));
        for bad in ["15", "\"\"", "\"+1\"", "\"01\"", "\"1.0\"", "\"18446744073709551616\"", "\" 1\""] {
            assert!(serde_json::from_str::<Amount>(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn capa_texts() {
        assert_eq!(Amount::from_capa("2.5").unwrap(), Amount(2_500_000_000));
        assert_eq!(Amount::from_capa("0.000000001").unwrap(), Amount(1));
        assert_eq!(Amount(1_500_000_000).to_capa(), "1.500000000");
        for bad in ["", ".5", "1.0000000001", "-1", "1e3", "18446744074"] {
            assert!(Amount::from_capa(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn arithmetic_is_checked() {
        assert!(Amount(u64::MAX).plus(Amount(1)).is_err());
        assert!(Amount(1).minus(Amount(2)).is_err());
    }

    proptest! {
        #[test]
        fn shares_round_as_named(amount: u64, bps in 0u16..=10_000) {
            let up = Amount(amount).share_up(bps).unwrap().get();
            let down = Amount(amount).share_down(bps).unwrap().get();
            prop_assert!(up == down || up == down + 1);
            prop_assert!(u128::from(down) * 10_000 <= u128::from(amount) * u128::from(bps));
            prop_assert!(u128::from(up) * 10_000 >= u128::from(amount) * u128::from(bps));
        }

        #[test]
        fn capa_round_trips(nano: u64) {
            prop_assert_eq!(Amount::from_capa(&Amount(nano).to_capa()).unwrap(), Amount(nano));
        }
    }
}
