//! What every builtin must give, computed the plain way on the CPU: tests and the worker's self-check compare with it.

mod montecarlo;

use super::{fixed, walk};
use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::job::{Builtin, Element, Fold, Key};

/// The outputs of a valid call. Float products are summed in order; a GPU sums them in another, and differs by rounding.
pub fn outputs(call: &Builtin, inputs: &[Bytes]) -> Vec<Vec<u8>> {
    let input = |index: usize| inputs.get(index).map(Bytes::as_ref).unwrap_or_default();
    let output = match call {
        Builtin::Gemm { element: Element::Int8, k, n, .. } => {
            int8_product(input(0), input(1), *k as usize, *n as usize)
        }
        Builtin::Gemm { element, k, n, .. } => {
            float_product(&floats(*element, input(0)), &floats(*element, input(1)), *k as usize, *n as usize)
        }
        Builtin::Montecarlo(pricing) => montecarlo::price(pricing),
        Builtin::Hashsearch { start, count } => hashsearch(input(0), start.get(), count.get()),
        Builtin::Sort { key, .. } => sort(*key, input(0)),
        Builtin::Reduce { key, fold, .. } => reduce(*fold, &keys(*key, input(0))).to_le_bytes().to_vec(),
    };
    vec![output]
}

fn int8_product(a: &[u8], b: &[u8], k: usize, n: usize) -> Vec<u8> {
    let signed = |byte: u8| i32::from(byte.cast_signed());
    let cell = |row: &[u8], column: usize| {
        row.iter().enumerate().map(|(l, x)| signed(*x) * signed(b[l * n + column])).sum::<i32>().to_le_bytes()
    };
    a.chunks_exact(k).flat_map(|row| (0..n).flat_map(move |column| cell(row, column))).collect()
}

fn float_product(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<u8> {
    let cell = |row: &[f32], column: usize| {
        row.iter().enumerate().fold(0f32, |sum, (l, x)| sum + x * b[l * n + column]).to_le_bytes()
    };
    a.chunks_exact(k).flat_map(|row| (0..n).flat_map(move |column| cell(row, column))).collect()
}

fn floats(element: Element, bytes: &[u8]) -> Vec<f32> {
    let read = |pair: &[u8]| {
        let bits = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
        match element {
            // A bfloat16 is the upper half of a 32-bit float.
            Element::Bf16 => f32::from_bits(bits << 16),
            // Moving exponent and fraction into place leaves the exponent too small by 112, subnormals included.
            _ => f32::from_bits((bits & 0x8000) << 16 | (bits & 0x7fff) << 13) * 2f32.powi(112),
        }
    };
    bytes.chunks_exact(2).map(read).collect()
}

fn hashsearch(prefix: &[u8], start: u64, count: u64) -> Vec<u8> {
    let hash = |counter: u64| (keccak256([prefix, &counter.to_be_bytes()].concat()), counter);
    let best = (start..start.saturating_add(count)).map(hash).min();
    best.map(|(hash, counter)| [hash.as_slice(), &counter.to_be_bytes()].concat()).unwrap_or_default()
}

fn keys(key: Key, bytes: &[u8]) -> Vec<u64> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    bytes.chunks_exact(key.size() as usize).map(number).collect()
}

fn sort(key: Key, bytes: &[u8]) -> Vec<u8> {
    let mut keys = keys(key, bytes);
    keys.sort_unstable();
    let size = key.size() as usize;
    keys.iter().flat_map(|key| key.to_le_bytes().into_iter().take(size)).collect()
}

fn reduce(fold: Fold, keys: &[u64]) -> u64 {
    match fold {
        Fold::Sum => keys.iter().fold(0, |sum, key| sum.wrapping_add(*key)),
        Fold::Min => keys.iter().copied().min().unwrap_or(u64::MAX),
        Fold::Max => keys.iter().copied().max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;

    #[test]
    fn small_cases_are_as_computed_by_hand() {
        let run = |call: Builtin, inputs: &[&[u8]]| {
            let inputs: Vec<Bytes> = inputs.iter().map(|input| Bytes::copy_from_slice(input)).collect();
            outputs(&call, &inputs).remove(0)
        };
        let gemm = |element| Builtin::Gemm { element, m: 1, k: 2, n: 2, toolchain: String::new() };
        let integers: Vec<u8> = [7i32, -10].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(run(gemm(Element::Int8), &[&[1, 254], &[1, 2, 253, 6]]), integers);
        let reals: Vec<u8> = [2.0f32, -1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        // (1, 2) times ((1, 0), (0.5, -0.5)), as bfloat16 and as half.
        let bf16 = [[0x80u8, 0x3f, 0x00, 0x40].as_slice(), &[0x80, 0x3f, 0, 0, 0x00, 0x3f, 0x00, 0xbf]];
        assert_eq!(run(gemm(Element::Bf16), &bf16), reals);
        let fp16 = [[0x00u8, 0x3c, 0x00, 0x40].as_slice(), &[0x00, 0x3c, 0, 0, 0x00, 0x38, 0x00, 0xb8]];
        assert_eq!(run(gemm(Element::Fp16), &fp16), reals);

        let count = Quantity(3);
        let u32s = [9u32, 1, u32::MAX].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let sorted = [1u32, 9, u32::MAX].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(run(Builtin::Sort { key: Key::U32, count }, &[&u32s]), sorted);
        for (fold, result) in [(Fold::Sum, 10 + u64::from(u32::MAX)), (Fold::Min, 1), (Fold::Max, u32::MAX.into())] {
            assert_eq!(run(Builtin::Reduce { key: Key::U32, fold, count }, &[&u32s]), result.to_le_bytes());
        }
        let u64s = [u64::MAX, 2, 5].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let sum = run(Builtin::Reduce { key: Key::U64, fold: Fold::Sum, count }, &[&u64s]);
        assert_eq!(sum, 6u64.to_le_bytes());

        let found = run(Builtin::Hashsearch { start: Quantity(5), count: Quantity(1) }, &[b"capa"]);
        assert_eq!(found[..32], keccak256(b"capa\0\0\0\0\0\0\0\x05").0);
        assert_eq!(found[32..], 5u64.to_be_bytes());
    }

    #[test]
    fn halves_are_read_as_ieee_says() {
        let values = [0x7bffu16, 0x0001, 0x0400, 0xc000].map(u16::to_le_bytes).concat();
        assert_eq!(floats(Element::Fp16, &values), [65504.0, 2f32.powi(-24), 2f32.powi(-14), -2.0]);
    }
}
