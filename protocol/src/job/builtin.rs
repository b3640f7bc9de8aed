//! Kernels that ship with the worker: what they compute, and how much work that is.
//!
//! Their work follows from these parameters alone, so a buyer can count again what a receipt bills. docs/builtins.md
//! gives every formula and byte order; `freivalds` checks a matrix product for far less than it costs.

mod freivalds;
mod pricing;

pub use freivalds::{FreivaldsError, freivalds};
pub use pricing::{Exercise, OptionPricing, Right};

use super::{Blob, OutputBuffer};
use crate::amount::Quantity;
use crate::resource::Unit;
use serde::{Deserialize, Serialize};

/// Longest input of a hash search: with the counter and the padding it fills one block of keccak-256.
pub const MAX_PREFIX_BYTES: u64 = 127;
/// Most keys of one sort or reduction.
pub const MAX_KEYS: u64 = 1 << 31;
/// Scratch memory that cuBLASLt is given, in bytes.
pub const GEMM_WORKSPACE: u64 = 32 << 20;
/// Largest side of a matrix.
const MAX_SIDE: u32 = i32::MAX as u32;
/// Longest sum of products of two signed bytes that always fits into 32 bits: 2^31 / (128 * 128), less one.
const MAX_INT8_DEPTH: u32 = (1 << 17) - 1;
/// Bytes of a hash search's result: the hash and its counter.
const HASHSEARCH_RESULT: u64 = 32 + 8;

/// A builtin kernel and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kernel", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Builtin {
    /// The matrix product C = A B. Inputs: A (m rows, k columns), B (k rows, n columns). Output: C (m rows, n columns)
    /// of 4-byte elements. Rows are contiguous, elements little-endian.
    Gemm {
        /// What A and B consist of.
        element: Element,
        /// Rows of A and C.
        m: u32,
        /// Columns of A, rows of B.
        k: u32,
        /// Columns of B and C.
        n: u32,
        /// The library, such as `cublaslt-13.0.2`; workers with another one refuse the job. Empty for any.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        toolchain: String,
    },
    /// The price of an option by Monte Carlo. No input; output: see [`OptionPricing`].
    Montecarlo(OptionPricing),
    /// keccak-256 of the input followed by a counter of 8 bytes, big-endian, searched for the smallest hash. Output:
    /// the hash and its counter.
    Hashsearch {
        /// First value of the counter.
        start: Quantity,
        /// How many values are tried.
        count: Quantity,
    },
    /// The input's keys, little-endian, in ascending order.
    Sort {
        /// What the keys are.
        key: Key,
        /// How many there are.
        count: Quantity,
    },
    /// One number made of all the input's keys, little-endian. Output: 8 bytes, little-endian.
    Reduce {
        /// What the keys are.
        key: Key,
        /// How two become one.
        fold: Fold,
        /// How many there are.
        count: Quantity,
    },
}

/// What two matrices consist of, and what their product is summed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Element {
    /// bfloat16; products are summed as 32-bit floats.
    Bf16,
    /// IEEE half precision; products are summed as 32-bit floats.
    Fp16,
    /// Signed bytes; products are summed as 32-bit integers, exactly.
    Int8,
}

impl Element {
    /// Bytes of one element of A or B.
    pub const fn size(self) -> u64 {
        match self {
            Self::Bf16 | Self::Fp16 => 2,
            Self::Int8 => 1,
        }
    }
}

/// Unsigned keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Key {
    /// Of 32 bits.
    U32,
    /// Of 64 bits.
    U64,
}

impl Key {
    /// Bytes of one key.
    pub const fn size(self) -> u64 {
        match self {
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }
}

/// What a reduction computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fold {
    /// The sum, modulo 2^64.
    Sum,
    /// The smallest key.
    Min,
    /// The largest key.
    Max,
}

impl Builtin {
    /// The unit of its work.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Gemm { .. } => Unit::Flop,
            Self::Montecarlo(_) => Unit::Path,
            Self::Hashsearch { .. } => Unit::Hash,
            Self::Sort { .. } | Self::Reduce { .. } => Unit::Key,
        }
    }

    /// The class of the ResourceCatalog that it is bought as: work of two kernels does not cost the same.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Gemm { element: Element::Bf16, .. } => "gemm.bf16",
            Self::Gemm { element: Element::Fp16, .. } => "gemm.fp16",
            Self::Gemm { element: Element::Int8, .. } => "gemm.int8",
            Self::Montecarlo(OptionPricing { exercise: Exercise::European, .. }) => "montecarlo.european",
            Self::Montecarlo(OptionPricing { exercise: Exercise::Asian, .. }) => "montecarlo.asian",
            Self::Hashsearch { .. } => "hashsearch.keccak256",
            Self::Sort { key: Key::U32, .. } => "sort.u32",
            Self::Sort { key: Key::U64, .. } => "sort.u64",
            Self::Reduce { key: Key::U32, .. } => "reduce.u32",
            Self::Reduce { key: Key::U64, .. } => "reduce.u64",
        }
    }

    /// Its work, in [`unit`](Self::unit)s. A call whose work is beyond 64 bits is never valid.
    pub const fn work(&self) -> u64 {
        match self {
            Self::Gemm { m, k, n, .. } => (2 * *m as u64).saturating_mul(*k as u64).saturating_mul(*n as u64),
            Self::Montecarlo(pricing) => pricing.paths.get().saturating_mul(pricing.steps as u64),
            Self::Hashsearch { count, .. } | Self::Sort { count, .. } | Self::Reduce { count, .. } => count.get(),
        }
    }

    /// Bytes of device memory that it needs at most, besides its inputs and outputs.
    pub const fn scratch(&self) -> u64 {
        match self {
            // The workspace, and for signed bytes B with its columns contiguous.
            Self::Gemm { element: Element::Int8, k, n, .. } => GEMM_WORKSPACE + *k as u64 * *n as u64,
            Self::Gemm { .. } => GEMM_WORKSPACE,
            Self::Montecarlo(_) | Self::Reduce { .. } => 4 << 10,
            // The best hash of every thread.
            Self::Hashsearch { .. } => 3 << 20,
            // A second buffer of keys, and how many keys of each digit every tile has.
            Self::Sort { key, count } => {
                count.get().saturating_mul(key.size()).saturating_add(count.get() / 16 + (1 << 20))
            }
        }
    }

    /// Checks the parameters, the buffers' lengths, and that `memory` (`limits.memory`) holds all of it.
    pub(super) fn validate(&self, inputs: &[Blob], outputs: &[OutputBuffer], memory: Quantity) -> Result<(), String> {
        match self {
            Self::Gemm { element, m, k, n, .. } => validate_gemm(*element, *m, *k, *n, inputs, outputs)?,
            Self::Montecarlo(pricing) => {
                expect("montecarlo", inputs, outputs, &[], OptionPricing::RESULT.into())?;
                pricing.validate()?;
            }
            Self::Hashsearch { start, count } => validate_hashsearch(*start, *count, inputs, outputs)?,
            Self::Sort { key, count } => {
                let bytes = validate_keys("sort", *key, *count)?;
                expect("sort", inputs, outputs, &[bytes], bytes)?;
            }
            Self::Reduce { key, count, .. } => {
                let bytes = validate_keys("reduce", *key, *count)?;
                expect("reduce", inputs, outputs, &[bytes], 8)?;
            }
        }
        let lengths = inputs.iter().map(|input| input.length).chain(outputs.iter().map(|output| output.length));
        let needed = lengths.fold(u128::from(self.scratch()), |sum, length| sum + u128::from(length.get()));
        if u128::from(memory.get()) < needed {
            return Err(format!("this builtin needs {needed} bytes of memory: raise limits.memory to that"));
        }
        Ok(())
    }
}

/// Checks number and lengths of the buffers; every builtin has one output.
fn expect(
    kernel: &str,
    inputs: &[Blob],
    outputs: &[OutputBuffer],
    input_lengths: &[u128],
    output_length: u128,
) -> Result<(), String> {
    let found_in: Vec<u128> = inputs.iter().map(|input| input.length.get().into()).collect();
    let found_out: Vec<u128> = outputs.iter().map(|output| output.length.get().into()).collect();
    if found_in == input_lengths && found_out == [output_length] {
        return Ok(());
    }
    Err(format!(
        "{kernel} with these parameters needs inputs of {input_lengths:?} bytes and one output of {output_length}, the \
         job has inputs of {found_in:?} and outputs of {found_out:?}"
    ))
}

fn validate_gemm(
    element: Element,
    m: u32,
    k: u32,
    n: u32,
    inputs: &[Blob],
    outputs: &[OutputBuffer],
) -> Result<(), String> {
    if [m, k, n].iter().any(|side| *side == 0 || *side > MAX_SIDE) {
        return Err(format!("gemm needs m, k and n from 1 to {MAX_SIDE}"));
    }
    if element == Element::Int8 && (k > MAX_INT8_DEPTH || !k.is_multiple_of(4) || !n.is_multiple_of(4)) {
        return Err(format!("gemm of int8 needs k and n that are multiples of 4, and k of at most {MAX_INT8_DEPTH}"));
    }
    let area = |rows: u32, columns: u32| u128::from(rows) * u128::from(columns);
    if 2 * area(m, k) * u128::from(n) > u128::from(u64::MAX) {
        return Err("gemm of more than 2^64 operations cannot be billed: divide A into blocks of rows".into());
    }
    let size = u128::from(element.size());
    expect("gemm", inputs, outputs, &[area(m, k) * size, area(k, n) * size], area(m, n) * 4)
}

fn validate_hashsearch(
    start: Quantity,
    count: Quantity,
    inputs: &[Blob],
    outputs: &[OutputBuffer],
) -> Result<(), String> {
    if count == Quantity::ZERO || start.get().checked_add(count.get()).is_none() {
        return Err("hashsearch needs a count above zero, and start + count below 2^64".into());
    }
    match inputs {
        [prefix] if prefix.length.get() <= MAX_PREFIX_BYTES => {
            expect("hashsearch", inputs, outputs, &[prefix.length.get().into()], HASHSEARCH_RESULT.into())
        }
        _ => Err(format!("hashsearch needs one input of at most {MAX_PREFIX_BYTES} bytes: hash a longer one first")),
    }
}

/// The bytes of so many keys.
fn validate_keys(kernel: &str, key: Key, count: Quantity) -> Result<u128, String> {
    if count == Quantity::ZERO || count.get() > MAX_KEYS {
        return Err(format!("{kernel} needs a count from 1 to {MAX_KEYS}"));
    }
    Ok(u128::from(count.get()) * u128::from(key.size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;

    fn blob(length: u64) -> Blob {
        Blob { hash: B256::ZERO, length: Quantity(length) }
    }

    fn check(call: &Builtin, inputs: &[u64], outputs: &[u64], memory: u64) -> Result<(), String> {
        let inputs: Vec<Blob> = inputs.iter().copied().map(blob).collect();
        let outputs: Vec<OutputBuffer> =
            outputs.iter().map(|length| OutputBuffer { length: Quantity(*length) }).collect();
        call.validate(&inputs, &outputs, Quantity(memory))
    }

    fn gemm(element: Element, m: u32, k: u32, n: u32) -> Builtin {
        Builtin::Gemm { element, m, k, n, toolchain: String::new() }
    }

    fn search(start: u64, count: u64) -> Builtin {
        Builtin::Hashsearch { start: Quantity(start), count: Quantity(count) }
    }

    fn sort(key: Key, count: u64) -> Builtin {
        Builtin::Sort { key, count: Quantity(count) }
    }

    fn reduce(key: Key, count: u64) -> Builtin {
        Builtin::Reduce { key, fold: Fold::Max, count: Quantity(count) }
    }

    const AMPLE: u64 = 1 << 40;

    #[test]
    fn work_is_counted_from_the_parameters() {
        for (call, class, unit, work) in [
            (gemm(Element::Bf16, 3, 5, 7), "gemm.bf16", Unit::Flop, 210),
            (gemm(Element::Fp16, 1, 1, 1), "gemm.fp16", Unit::Flop, 2),
            (gemm(Element::Int8, 8192, 8192, 8192), "gemm.int8", Unit::Flop, 1 << 40),
            (search(9, 1000), "hashsearch.keccak256", Unit::Hash, 1000),
            (sort(Key::U32, 12), "sort.u32", Unit::Key, 12),
            (sort(Key::U64, 12), "sort.u64", Unit::Key, 12),
            (reduce(Key::U32, 5), "reduce.u32", Unit::Key, 5),
            (reduce(Key::U64, 5), "reduce.u64", Unit::Key, 5),
        ] {
            assert_eq!((call.class(), call.unit(), call.work()), (class, unit, work));
        }
    }

    #[test]
    fn buffers_have_the_lengths_that_the_parameters_say() {
        for (call, inputs, output) in [
            (gemm(Element::Bf16, 3, 5, 7), vec![30, 70], 84),
            (gemm(Element::Int8, 3, 8, 4), vec![24, 32], 48),
            (search(0, 1), vec![127], 40),
            (search(u64::MAX - 1, 1), vec![0], 40),
            (sort(Key::U64, 5), vec![40], 40),
            (reduce(Key::U32, 5), vec![20], 8),
        ] {
            assert_eq!(check(&call, &inputs, &[output], AMPLE), Ok(()), "{call:?}");
            assert!(check(&call, &inputs, &[output + 1], AMPLE).is_err(), "{call:?} with a longer output");
            assert!(check(&call, &inputs, &[output, output], AMPLE).is_err(), "{call:?} with two outputs");
            assert!(check(&call, &[inputs.as_slice(), &[1]].concat(), &[output], AMPLE).is_err(), "{call:?}");
            let needed: u64 = call.scratch() + output + inputs.iter().sum::<u64>();
            assert_eq!(check(&call, &inputs, &[output], needed), Ok(()));
            let short = check(&call, &inputs, &[output], needed - 1).unwrap_err();
            assert!(short.contains("raise limits.memory to that") && short.contains(&needed.to_string()));
        }
    }

    #[test]
    fn parameters_out_of_bounds_are_named() {
        let side = MAX_SIDE;
        for (call, inputs, output, words) in [
            (gemm(Element::Bf16, 0, 1, 1), vec![0, 2], 0, "from 1 to"),
            (gemm(Element::Bf16, side + 1, 1, 1), vec![2, 2], 4, "from 1 to"),
            (gemm(Element::Fp16, side, side, side), vec![2, 2], 4, "cannot be billed"),
            (gemm(Element::Int8, 4, 6, 4), vec![24, 24], 64, "multiples of 4"),
            (gemm(Element::Int8, 4, 4, 6), vec![16, 24], 96, "multiples of 4"),
            (gemm(Element::Int8, 1, 1 << 17, 4), vec![1 << 17, 1 << 19], 16, "at most 131071"),
            (search(0, 0), vec![1], 40, "count above zero"),
            (search(u64::MAX, 1), vec![1], 40, "below 2^64"),
            (search(0, 1), vec![128], 40, "at most 127 bytes"),
            (sort(Key::U32, 0), vec![0], 0, "from 1 to 2147483648"),
            (reduce(Key::U32, MAX_KEYS + 1), vec![4], 8, "from 1 to 2147483648"),
        ] {
            let error = check(&call, &inputs, &[output], AMPLE).unwrap_err();
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    }

    #[test]
    fn calls_read_like_this_in_json() {
        for (text, call) in [
            (r#"{"kernel":"gemm","element":"int8","m":2,"k":4,"n":8}"#, gemm(Element::Int8, 2, 4, 8)),
            (r#"{"kernel":"hashsearch","start":"7","count":"9"}"#, search(7, 9)),
            (r#"{"kernel":"sort","key":"u64","count":"3"}"#, sort(Key::U64, 3)),
            (r#"{"kernel":"reduce","key":"u32","fold":"max","count":"3"}"#, reduce(Key::U32, 3)),
        ] {
            assert_eq!(serde_json::from_str::<Builtin>(text).unwrap(), call);
            assert_eq!(serde_json::to_string(&call).unwrap(), text);
        }
        assert!(serde_json::from_str::<Builtin>(r#"{"kernel":"sort","key":"u64","count":"3","x":1}"#).is_err());
    }
}
