//! Between Rust's types and SQLite's.

use crate::fault::{Fault, damaged};
use alloy::primitives::{Address, B256};
use indexer_store::trade::{Finality, Trade, TradeKey};
use protocol::batch::{LINE_BYTES, Line};

/// SQLite's integers are signed: the same 64 bits, which lose their order above 2^63.
pub(crate) const fn to_i64(value: u64) -> i64 {
    value.cast_signed()
}

/// The inverse of [`to_i64`].
pub(crate) const fn to_u64(value: i64) -> u64 {
    value.cast_unsigned()
}

/// An integer that was a `u32` when it was written.
pub(crate) fn to_u32(value: i64) -> Result<u32, Fault> {
    u32::try_from(value).map_err(|_| damaged("a 32-bit figure"))
}

pub(crate) fn to_u128(text: &str) -> Result<u128, Fault> {
    text.parse().map_err(|_| damaged("a sum"))
}

pub(crate) fn to_address(bytes: &[u8]) -> Result<Address, Fault> {
    Address::try_from(bytes).map_err(|_| damaged("an address"))
}

pub(crate) fn to_hash(bytes: &[u8]) -> Result<B256, Fault> {
    B256::try_from(bytes).map_err(|_| damaged("a hash"))
}

pub(crate) fn to_key(bytes: &[u8]) -> Result<TradeKey, Fault> {
    TradeKey::from_bytes(bytes).ok_or_else(|| damaged("a trade's key"))
}

pub(crate) fn to_finality(code: i64) -> Result<Finality, Fault> {
    Finality::from_code(code).ok_or_else(|| damaged("a batch's standing"))
}

/// The stored columns of a trade.
#[derive(Debug)]
pub(crate) struct TradeRecord {
    pub(crate) key: Vec<u8>,
    pub(crate) line: Vec<u8>,
    pub(crate) counted: i64,
    pub(crate) related: i64,
    pub(crate) finality: i64,
}

impl TradeRecord {
    pub(crate) fn trade(&self) -> Result<Trade, Fault> {
        let line: &[u8; LINE_BYTES] = self.line.as_slice().try_into().map_err(|_| damaged("a line"))?;
        Ok(Trade {
            key: to_key(&self.key)?,
            line: Line::from_bytes(line),
            counted: self.counted != 0,
            related: self.related != 0,
        })
    }
}
