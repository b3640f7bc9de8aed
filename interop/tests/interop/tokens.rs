//! Random arguments of any ABI type, as ethers represents them.

use ethers_core::abi::{ParamType, Token};
use ethers_core::types::{Address, U256};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Runs each property this often.
const CASES: u32 = 64;

/// A runner that meets the same cases every time, so that a failure is never lost.
pub(crate) fn runner() -> TestRunner {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// One random value for each of `kinds`.
pub(crate) fn tuple(kinds: impl IntoIterator<Item = ParamType>) -> BoxedStrategy<Vec<Token>> {
    kinds.into_iter().map(|kind| token(&kind)).collect::<Vec<_>>().boxed()
}

/// A random value of a type.
pub(crate) fn token(kind: &ParamType) -> BoxedStrategy<Token> {
    match kind {
        ParamType::Address => any::<[u8; 20]>().prop_map(|bytes| Token::Address(Address::from(bytes))).boxed(),
        ParamType::Bool => any::<bool>().prop_map(Token::Bool).boxed(),
        ParamType::Uint(bits) => unsigned(*bits).prop_map(Token::Uint).boxed(),
        ParamType::Int(bits) => unsigned(bits - 1).prop_map(Token::Int).boxed(),
        ParamType::Bytes => vec(any::<u8>(), 0..200).prop_map(Token::Bytes).boxed(),
        ParamType::FixedBytes(size) => vec(any::<u8>(), *size).prop_map(Token::FixedBytes).boxed(),
        ParamType::String => any::<String>().prop_map(Token::String).boxed(),
        ParamType::Array(kind) => vec(token(kind), 0..4).prop_map(Token::Array).boxed(),
        ParamType::FixedArray(kind, size) => vec(token(kind), *size).prop_map(Token::FixedArray).boxed(),
        ParamType::Tuple(kinds) => tuple(kinds.clone()).prop_map(Token::Tuple).boxed(),
    }
}

/// Random numbers of a width, its ends among them.
fn unsigned(bits: usize) -> BoxedStrategy<U256> {
    let largest = U256::MAX >> (256 - bits);
    let random = any::<[u8; 32]>().prop_map(move |bytes| U256::from_big_endian(&bytes) & largest);
    proptest::prop_oneof![1 => Just(U256::zero()), 1 => Just(largest), 6 => random].boxed()
}
