//! The contracts as Rust types, derived from the forge build.
//!
//! Every signed struct is declared once, in Solidity, and reaches Rust through the ABI of `Messages` only.

#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

use alloy::primitives::Bytes;

macro_rules! contract {
    ($module:ident, $name:ident) => {
        pub mod $module {
            alloy::sol!(
                #[sol(rpc)]
                #[derive(Debug, PartialEq, Eq)]
                $name,
                concat!(env!("OUT_DIR"), "/abi/", stringify!($name), ".json")
            );
            pub use $name::*;

            /// Creation bytecode; `None` in a build without forge.
            pub fn bytecode() -> Option<super::Bytes> {
                super::decode(include_str!(concat!(env!("OUT_DIR"), "/abi/", stringify!($name), ".hex")))
            }

            /// The ABI in JSON.
            pub const ABI: &str = include_str!(concat!(env!("OUT_DIR"), "/abi/", stringify!($name), ".json"));
        }
    };
}

contract!(token, ComputeToken);
contract!(settlement, Settlement);
contract!(registry, ProviderRegistry);
contract!(catalog, ResourceCatalog);
contract!(messages, Messages);

fn decode(text: &str) -> Option<Bytes> {
    hex::decode(text).ok().filter(|code| !code.is_empty()).map(Bytes::from)
}
