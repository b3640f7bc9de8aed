//! Real functions on integers, as `kernels/montecarlo.cu` has them: the same steps, so the same bits.
//!
//! A real number x in format Qn is an integer near x 2^n. Every product is rounded down; the errors are in
//! docs/builtins.md.

const ONE_Q31: i64 = 1 << 31;
const LN2_Q31: i64 = 1_488_522_236;
const LN2_Q48: i64 = 195_103_586_505_167;
const INVERSE_LN2_Q20: i64 = 1_512_775;
const PI_Q29: i64 = 1_686_629_713;
const SQRT2_Q32: u64 = 6_074_001_000;

/// 1 / d in Q31, rounded.
const fn inverse(d: i64) -> i64 {
    ((1i64 << 32) / d + 1) / 2
}

/// A polynomial in Q31, coefficients from the highest.
fn polynomial<const N: usize>(coefficients: [i64; N], x: i64) -> i64 {
    coefficients.into_iter().reduce(|sum, next| next + ((sum * x) >> 31)).unwrap_or(0)
}

/// -ln((2 x + 1) / 2^33) in Q31, by the series of artanh.
fn minus_log(x: u32) -> i64 {
    const SERIES: [i64; 7] = [inverse(13), inverse(11), inverse(9), inverse(7), inverse(5), inverse(3), ONE_Q31];
    let v = 2 * u64::from(x) + 1;
    let exponent = 63 - v.leading_zeros();
    let mantissa = v << (32 - exponent);
    let (centre, k) = if mantissa > SQRT2_Q32 { (1u64 << 33, exponent + 1) } else { (1u64 << 32, exponent) };
    let s = (mantissa.cast_signed() - centre.cast_signed()) * ONE_Q31 / (mantissa + centre).cast_signed();
    (33 - i64::from(k)) * LN2_Q31 - ((s * polynomial(SERIES, (s * s) >> 31)) >> 30)
}

/// Two independent normal deviates in Q60 (Box and Muller, 1958).
pub(super) fn normal_pair(x: u32, y: u32) -> [i64; 2] {
    const SINE: [i64; 6] = [-inverse(39_916_800), inverse(362_880), -inverse(5040), inverse(120), -inverse(6), ONE_Q31];
    const COSINE: [i64; 6] = [-inverse(3_628_800), inverse(40_320), -inverse(720), inverse(24), -inverse(2), ONE_Q31];
    // The radius sqrt(-2 ln u) in Q29.
    let radius = (minus_log(x).cast_unsigned() << 28).isqrt().cast_signed();
    // The angle 2 pi y / 2^32 as a quadrant, and an angle of at most pi / 4 on either side of its axis, in Q31.
    let turned = y.wrapping_add(1 << 29);
    let quadrant = turned >> 30;
    let within = i64::from(turned & 0x3fff_ffff) - (1 << 29);
    let angle = ((2 * within + 1) * PI_Q29) >> 30;
    let square = (angle * angle) >> 31;
    let sine = (angle * polynomial(SINE, square)) >> 31;
    let cosine = polynomial(COSINE, square);
    let (along, across) = if quadrant & 1 == 1 { (-sine, cosine) } else { (cosine, sine) };
    let sign = if quadrant & 2 == 2 { -1 } else { 1 };
    [radius * (sign * along), radius * (sign * across)]
}

/// exp(x) in Q32 for x in Q48; at most 2^16.
pub(super) fn exponential(x: i64) -> u64 {
    const LARGEST: u64 = (1 << 48) - 1;
    const SERIES: [i64; 11] = [
        inverse(3_628_800),
        inverse(362_880),
        inverse(40_320),
        inverse(5040),
        inverse(720),
        inverse(120),
        inverse(24),
        inverse(6),
        inverse(2),
        ONE_Q31,
        ONE_Q31,
    ];
    if x >= 16 * LN2_Q48 {
        return LARGEST;
    }
    if x < -33 * LN2_Q48 {
        return 0;
    }
    let n = ((x >> 16) * INVERSE_LN2_Q20 + (1 << 51)) >> 52;
    let sum = polynomial(SERIES, (x - n * LN2_Q48) >> 17).cast_unsigned();
    if n < 0 { sum >> (-n - 1) } else { (sum << (n + 1)).min(LARGEST) }
}

/// The upper half of a product of 128 bits.
pub(super) const fn high_product(a: i64, b: i64) -> i64 {
    ((a as i128 * b as i128) >> 64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(value: i64, format: i32) -> f64 {
        value as f64 / 2f64.powi(format)
    }

    /// Numbers spread over 32 bits, the ends among them.
    fn spread() -> impl Iterator<Item = u32> {
        let ends = [0, 1, 2, 3, u32::MAX - 1, u32::MAX, 1 << 31, (1 << 31) - 1, 3_037_000_499, 3_037_000_500];
        ends.into_iter().chain((0..20_000u32).map(|i| i.wrapping_mul(2_654_435_761)))
    }

    #[test]
    fn logarithms_are_right_to_nine_digits() {
        for x in spread() {
            let (found, exact) = (real(minus_log(x), 31), -((f64::from(x) + 0.5) / 2f64.powi(32)).ln());
            assert!(minus_log(x) >= 0 && (found - exact).abs() < 3e-9, "{x}: {found} is not {exact}");
        }
    }

    #[test]
    fn deviates_are_right_to_eight_digits() {
        for (x, y) in spread().zip(spread().skip(7)) {
            let radius = (-2.0 * ((f64::from(x) + 0.5) / 2f64.powi(32)).ln()).sqrt();
            let angle = (f64::from(y) + 0.5) / 2f64.powi(32) * std::f64::consts::TAU;
            let [first, second] = normal_pair(x, y).map(|deviate| real(deviate, 60));
            // Near a radius of zero the square root makes more of the logarithm's error.
            let error = 4e-9 / radius.max(1e-4) + 2e-8;
            assert!((first - radius * angle.cos()).abs() < error, "{x}, {y}: {first}");
            assert!((second - radius * angle.sin()).abs() < error, "{x}, {y}: {second}");
        }
    }

    #[test]
    fn exponentials_are_right_to_eight_digits() {
        for i in -22_000i64..11_090 {
            let x = (i as f64 / 1000.0 * 2f64.powi(48)) as i64;
            let (found, exact) = (exponential(x) as f64 / 2f64.powi(32), real(x, 48).exp());
            assert!((found - exact).abs() <= exact * 1e-8 + 3e-10, "exp({}) is not {found}", real(x, 48));
        }
        assert_eq!(exponential(0), 1 << 32);
        assert_eq!(exponential(i64::MAX), (1 << 48) - 1);
        assert_eq!(exponential(16 * LN2_Q48 - 1), (1 << 48) - (1 << 17));
        assert_eq!(exponential(i64::MIN), 0);
        assert_eq!(exponential(-33 * LN2_Q48), 0);
    }
}
