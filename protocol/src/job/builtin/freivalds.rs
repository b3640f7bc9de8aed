//! Checking a matrix product without computing it (R. Freivalds, "Probabilistic machines can use less running time",
//! 1977).
//!
//! For a random vector r, C r must equal A (B r): three products of a matrix and a vector, O(n^2) instead of O(n^3). The
//! vector must not be known when C is made, so it is derived from a challenge that the buyer draws after it has C.
//!
//! Signed bytes are checked exactly, modulo the prime 2^61 - 1: a wrong C passes with probability below 2^-60. Floats are
//! checked by [`FLOAT_ROUNDS`] vectors of signs, against a bound on what rounding can do. With a the row of A,
//!
//! |C r - A (B r)| <= (k + 128) 2^-25 |a| |B|     (Euclidean norms, in each row and round)
//!
//! A product of random matrices, summed by 32-bit floats, stays below a hundredth of that. The part that grows with k
//! covers sums that never change sign on tensor cores, which round each partial sum towards zero. A row of zeros or a
//! product of inputs that were rounded to 8 bits misses the bound by far; one that was rounded to bfloat16 does up to a k
//! of a few thousand. An element that is wrong by less than the bound cannot be told from rounding.

use super::{Builtin, Element};
use alloy::primitives::{B256, keccak256};

/// The prime 2^61 - 1.
const PRIME: u128 = (1 << 61) - 1;
/// Vectors tried on a product of floats. One wrong row fails each of them with probability of at least a half.
const FLOAT_ROUNDS: u64 = 16;

/// A product that is not one, or cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FreivaldsError {
    /// Only products of matrices can be checked so.
    #[error("this is not a matrix product: check it by running it again")]
    NotGemm,
    /// The bytes are not those of matrices of these sizes.
    #[error("the matrices do not have the lengths that the call says")]
    Length,
    /// C is not A B.
    #[error("row {row} of the product is wrong: do not pay for it")]
    Wrong {
        /// The first row that shows it.
        row: usize,
    },
}

/// Checks that `c` is the product of `a` and `b`, as bytes of the job's inputs and its output.
///
/// `challenge` must be drawn after `c` is known, and by nobody that knew it before.
pub fn freivalds(call: &Builtin, a: &[u8], b: &[u8], c: &[u8], challenge: B256) -> Result<(), FreivaldsError> {
    let Builtin::Gemm { element, m, k, n, .. } = call else { return Err(FreivaldsError::NotGemm) };
    let (m, k, n) = (*m as usize, *k as usize, *n as usize);
    let size = element.size() as usize;
    let bytes = |rows: usize, columns: usize, size: usize| rows.checked_mul(columns)?.checked_mul(size);
    let lengths = (bytes(m, k, size), bytes(k, n, size), bytes(m, n, 4));
    if lengths != (Some(a.len()), Some(b.len()), Some(c.len())) || c.is_empty() || a.is_empty() {
        return Err(FreivaldsError::Length);
    }
    let product = Product { a, b, c, k, n };
    match element {
        Element::Int8 => product.check_integers(challenge),
        Element::Bf16 => product.check_floats(challenge, bf16),
        Element::Fp16 => product.check_floats(challenge, fp16),
    }
}

/// Three matrices whose lengths fit.
struct Product<'b> {
    a: &'b [u8],
    b: &'b [u8],
    c: &'b [u8],
    k: usize,
    n: usize,
}

impl Product<'_> {
    fn check_integers(&self, challenge: B256) -> Result<(), FreivaldsError> {
        let mut random = Random::new(challenge);
        let r: Vec<u128> = (0..self.n).map(|_| u128::from(random.next()) % PRIME).collect();
        let byte = |byte: &[u8]| modulo(i128::from(byte[0].cast_signed()));
        let word = |word: &[u8]| modulo(i128::from(i32::from_le_bytes([word[0], word[1], word[2], word[3]])));
        let dot = |x: u128, y: u128| x * y % PRIME;
        let sum = |x: u128, y: u128| (x + y) % PRIME;
        let br = times(self.b, 1, &r, byte, dot, sum);
        let abr = times(self.a, 1, &br, byte, dot, sum);
        let cr = times(self.c, 4, &r, word, dot, sum);
        match cr.iter().zip(&abr).position(|(c, ab)| c != ab) {
            Some(row) => Err(FreivaldsError::Wrong { row }),
            None => Ok(()),
        }
    }

    fn check_floats(&self, challenge: B256, read: fn(&[u8]) -> f64) -> Result<(), FreivaldsError> {
        let word = |word: &[u8]| f64::from(f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let (dot, sum) = (|x: f64, y: f64| x * y, |x: f64, y: f64| x + y);
        let norm = |row: &[u8]| row.chunks_exact(2).map(|x| read(x) * read(x)).sum::<f64>().sqrt();
        let tolerance = (self.k as f64 + 128.0) * 2f64.powi(-25) * norm(self.b);
        let bounds: Vec<f64> = self.a.chunks_exact(2 * self.k).map(|row| tolerance * norm(row)).collect();
        let mut random = Random::new(challenge);
        for _ in 0..FLOAT_ROUNDS {
            let r: Vec<f64> = (0..self.n).map(|_| if random.next() & 1 == 0 { 1.0 } else { -1.0 }).collect();
            let br = times(self.b, 2, &r, read, dot, sum);
            let abr = times(self.a, 2, &br, read, dot, sum);
            let cr = times(self.c, 4, &r, word, dot, sum);
            let residuals = cr.iter().zip(&abr).map(|(c, ab)| (c - ab).abs());
            // The comparison is the way round in which a result that is not a number is wrong.
            let fits = |(residual, bound): (f64, &f64)| residual <= *bound;
            if let Some(row) = residuals.zip(&bounds).position(|pair| !fits(pair)) {
                return Err(FreivaldsError::Wrong { row });
            }
        }
        Ok(())
    }
}

/// A matrix, row by row, times a vector.
fn times<T: Copy + Default>(
    matrix: &[u8],
    size: usize,
    vector: &[T],
    read: impl Fn(&[u8]) -> T,
    dot: impl Fn(T, T) -> T,
    sum: impl Fn(T, T) -> T,
) -> Vec<T> {
    let row = |row: &[u8]| {
        row.chunks_exact(size).zip(vector).fold(T::default(), |total, (x, y)| sum(total, dot(read(x), *y)))
    };
    matrix.chunks_exact(size * vector.len()).map(row).collect()
}

fn modulo(value: i128) -> u128 {
    value.rem_euclid(PRIME.cast_signed()).cast_unsigned()
}

/// A bfloat16 is the upper half of a 32-bit float.
fn bf16(bytes: &[u8]) -> f64 {
    f64::from(f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16))
}

/// An IEEE half: sign, 5 bits of exponent, 10 of fraction.
fn fp16(bytes: &[u8]) -> f64 {
    let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// A stream of random words: keccak-256 of the challenge and a counter.
struct Random {
    challenge: B256,
    counter: u64,
    block: Vec<u64>,
}

impl Random {
    const fn new(challenge: B256) -> Self {
        Self { challenge, counter: 0, block: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        loop {
            if let Some(word) = self.block.pop() {
                return word;
            }
            let hash = keccak256([self.challenge.as_slice(), &self.counter.to_be_bytes()].concat());
            self.counter += 1;
            let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            self.block = hash.chunks_exact(8).map(word).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: B256 = B256::repeat_byte(7);

    fn gemm(element: Element, m: u32, k: u32, n: u32) -> Builtin {
        Builtin::Gemm { element, m, k, n, toolchain: String::new() }
    }

    fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
        (0..count).map(|_| random.next() as u8).collect()
    }

    /// Values in -1..1 as bfloat16.
    fn floats(random: &mut Random, count: usize) -> Vec<u8> {
        let one = |random: &mut Random| (random.next() % 2001) as f32 / 1000.0 - 1.0;
        (0..count).flat_map(|_| ((one(random).to_bits() >> 16) as u16).to_le_bytes()).collect()
    }

    fn product<T: Copy>(
        a: &[T],
        b: &[T],
        n: usize,
        sum: impl Fn(&mut dyn Iterator<Item = (T, T)>) -> [u8; 4],
    ) -> Vec<u8> {
        let k = b.len() / n;
        let cell = |row: &[T], j: usize| sum(&mut row.iter().enumerate().map(|(l, x)| (*x, b[l * n + j])));
        a.chunks_exact(k).flat_map(|row| (0..n).map(|j| cell(row, j)).collect::<Vec<_>>()).flatten().collect()
    }

    fn integer_product(a: &[u8], b: &[u8], n: usize) -> Vec<u8> {
        let signed = |x: u8| i32::from(x.cast_signed());
        product(a, b, n, |terms| terms.map(|(x, y)| signed(x) * signed(y)).sum::<i32>().to_le_bytes())
    }

    fn float_product(a: &[u8], b: &[u8], n: usize) -> Vec<u8> {
        let read = |bytes: &[u8]| bytes.chunks_exact(2).map(|x| bf16(x) as f32).collect::<Vec<_>>();
        product(&read(a), &read(b), n, |terms| terms.map(|(x, y)| x * y).sum::<f32>().to_le_bytes())
    }

    #[test]
    fn one_wrong_integer_is_found() {
        let mut random = Random::new(B256::ZERO);
        let (a, b) = (bytes(&mut random, 9 * 16), bytes(&mut random, 16 * 12));
        let call = gemm(Element::Int8, 9, 16, 12);
        let c = integer_product(&a, &b, 12);
        assert_eq!(freivalds(&call, &a, &b, &c, CHALLENGE), Ok(()));
        for at in [0, 4 * 50 + 3, c.len() - 4] {
            let mut wrong = c.clone();
            wrong[at] ^= 1;
            assert_eq!(freivalds(&call, &a, &b, &wrong, CHALLENGE), Err(FreivaldsError::Wrong { row: at / 48 }));
        }
    }

    #[test]
    fn a_product_of_floats_is_told_from_a_cheaper_one() {
        let mut random = Random::new(B256::ZERO);
        let (m, k, n) = (24, 512, 40);
        let (a, b) = (floats(&mut random, m * k), floats(&mut random, k * n));
        let call = gemm(Element::Bf16, m as u32, k as u32, n as u32);
        let c = float_product(&a, &b, n);
        assert_eq!(freivalds(&call, &a, &b, &c, CHALLENGE), Ok(()));

        let rounded: Vec<u8> = c.chunks_exact(4).flat_map(|x| [0, 0, x[2], x[3]]).collect();
        assert!(freivalds(&call, &a, &b, &rounded, CHALLENGE).is_err(), "a product rounded to bfloat16 passed");

        let coarse = |bytes: &[u8]| -> Vec<u8> {
            let eighth = |x: &[u8]| (((bf16(x) * 127.0).round() / 127.0) as f32).to_bits() >> 16;
            bytes.chunks_exact(2).flat_map(|x| (eighth(x) as u16).to_le_bytes()).collect()
        };
        let quantised = float_product(&coarse(&a), &coarse(&b), n);
        assert!(freivalds(&call, &a, &b, &quantised, CHALLENGE).is_err(), "a product of bytes passed");

        let mut skipped = c.clone();
        skipped[5 * n * 4..6 * n * 4].fill(0);
        assert_eq!(freivalds(&call, &a, &b, &skipped, CHALLENGE), Err(FreivaldsError::Wrong { row: 5 }));

        let mut not_a_number = c;
        not_a_number[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(freivalds(&call, &a, &b, &not_a_number, CHALLENGE), Err(FreivaldsError::Wrong { row: 0 }));
    }

    #[test]
    fn sums_that_never_change_sign_pass_when_they_are_cut_off() {
        // Positive elements, and a sum that is cut off after every 16 products, as tensor cores do.
        let mut random = Random::new(B256::ZERO);
        let (m, k, n) = (4, 4096, 16);
        let positive = |bytes: Vec<u8>| bytes.chunks_exact(2).flat_map(|x| [x[0], x[1] & 0x7f]).collect::<Vec<u8>>();
        let (a, b) = (positive(floats(&mut random, m * k)), positive(floats(&mut random, k * n)));
        let read = |bytes: &[u8]| bytes.chunks_exact(2).map(bf16).collect::<Vec<f64>>();
        let cut =
            |x: f64| f32::from_bits(if x as f32 as f64 > x { (x as f32).to_bits() - 1 } else { (x as f32).to_bits() });
        let c = product(&read(&a), &read(&b), n, |terms| {
            let terms: Vec<f64> = terms.map(|(x, y)| x * y).collect();
            terms.chunks(16).fold(0f32, |sum, some| cut(f64::from(sum) + some.iter().sum::<f64>())).to_le_bytes()
        });
        let call = gemm(Element::Bf16, m as u32, k as u32, n as u32);
        assert_eq!(freivalds(&call, &a, &b, &c, CHALLENGE), Ok(()));
    }

    #[test]
    fn halves_are_read_as_ieee_says() {
        for (bits, value) in [
            (0x3c00u16, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x0400, 2f64.powi(-14)),
            (0x7c00, f64::INFINITY),
            (0x3555, 0.33325195),
        ] {
            assert!((fp16(&bits.to_le_bytes()) - value).abs() < 1e-8 || fp16(&bits.to_le_bytes()) == value, "{bits:x}");
        }
        assert!(fp16(&0x7e00u16.to_le_bytes()).is_nan());
    }

    #[test]
    fn what_is_not_a_product_is_refused() {
        let call = gemm(Element::Int8, 1, 4, 4);
        assert_eq!(freivalds(&call, &[0; 4], &[0; 16], &[0; 12], CHALLENGE), Err(FreivaldsError::Length));
        let other = Builtin::Sort { key: super::super::Key::U32, count: crate::amount::Quantity(1) };
        assert_eq!(freivalds(&other, &[], &[], &[], CHALLENGE), Err(FreivaldsError::NotGemm));
    }
}
