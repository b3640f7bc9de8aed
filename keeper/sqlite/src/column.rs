//! Between Rust's types and SQLite's columns: every conversion is checked in both directions.

use alloy::primitives::{Address, B256};
use keeper_store::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

type Result<T> = std::result::Result<T, StoreError>;

pub(crate) fn unavailable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            StoreError::corrupt(error)
        }
        other => StoreError::Unavailable(Box::new(other)),
    }
}

pub(crate) fn integer(value: u64, name: &'static str) -> Result<i64> {
    i64::try_from(value).map_err(|_| StoreError::OutOfRange(name))
}

pub(crate) fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| StoreError::corrupt(format!("{value} is negative")))
}

pub(crate) fn address(bytes: &[u8]) -> Result<Address> {
    Address::try_from(bytes).map_err(|_| StoreError::corrupt("an address is not 20 bytes long"))
}

pub(crate) fn hash(bytes: &[u8]) -> Result<B256> {
    B256::try_from(bytes).map_err(|_| StoreError::corrupt("a hash is not 32 bytes long"))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(StoreError::corrupt)
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(StoreError::corrupt)
}

/// The text of an enumeration, as it stands in JSON, without its quotes.
pub(crate) fn to_word<T: Serialize>(value: &T) -> Result<String> {
    Ok(to_json(value)?.trim_matches('"').to_owned())
}

/// The enumeration of a text that [`to_word`] wrote.
pub(crate) fn from_word<T: DeserializeOwned>(word: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(StoreError::corrupt)
}
