//! The address book: which chain and which contracts a program trusts, and the code that must stand there.
//!
//! `cargo xtask deploy` writes one per chain into `contracts/deployments`. Every program reads it at its start and
//! compares the code on the chain with it. As JSON:
//!
//! ```json
//! {
//!   "chainId": "10",
//!   "startBlock": "128000000",
//!   "deployer": "0x4e59b44847b379578588920cA78FbF26c0B4956C",
//!   "salt": "0x…",
//!   "contracts": {
//!     "token": {
//!       "address": "0x…",
//!       "codeHash": "0x…",
//!       "creation": { "transaction": "0x…", "arguments": "0x…" }
//!     },
//!     "settlement": {}, "registry": {}, "catalog": {}, "timelock": {}
//!   }
//! }
//! ```

use crate::amount::Quantity;
use crate::signature::Domain;
use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

/// A deployment of Capa, as its deployer wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressBook {
    /// EIP-155 chain id.
    pub chain_id: Quantity,
    /// Block of the first creation: nothing of this deployment is older.
    pub start_block: Quantity,
    /// The contract that created the others (by CREATE2).
    pub deployer: Address,
    /// Its salt, the same for all of them.
    pub salt: B256,
    /// The contracts.
    pub contracts: Contracts,
}

/// The contracts of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contracts {
    /// What is paid with: ComputeToken, or the stablecoin of a second Settlement.
    pub token: Contract,
    /// Settlement.
    pub settlement: Contract,
    /// ProviderRegistry.
    pub registry: Contract,
    /// ResourceCatalog.
    pub catalog: Contract,
    /// The timelock that owns the others, where one was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timelock: Option<Contract>,
}

/// One contract on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contract {
    /// Where it stands.
    pub address: Address,
    /// Keccak of its code as `eth_getCode` gives it. Immutables are part of it, so it differs from chain to chain.
    pub code_hash: B256,
    /// How it came to be; absent for a token that others deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation: Option<Creation>,
}

/// How a contract was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Creation {
    /// The transaction that did it.
    pub transaction: B256,
    /// ABI-encoded arguments of the constructor.
    pub arguments: Bytes,
}

impl AddressBook {
    /// Address of the token.
    pub const fn token(&self) -> Address {
        self.contracts.token.address
    }

    /// Address of Settlement.
    pub const fn settlement(&self) -> Address {
        self.contracts.settlement.address
    }

    /// Address of the ProviderRegistry.
    pub const fn registry(&self) -> Address {
        self.contracts.registry.address
    }

    /// Address of the ResourceCatalog.
    pub const fn catalog(&self) -> Address {
        self.contracts.catalog.address
    }

    /// Where signatures count.
    pub fn domain(&self) -> Domain {
        Domain::new(self.chain_id.get(), self.settlement())
    }

    /// Each contract by its key in the book, with its address and the hash of its code.
    pub fn code(&self) -> impl Iterator<Item = (&'static str, Address, B256)> {
        let Contracts { token, settlement, registry, catalog, timelock } = &self.contracts;
        let named = [
            ("token", Some(token)),
            ("settlement", Some(settlement)),
            ("registry", Some(registry)),
            ("catalog", Some(catalog)),
            ("timelock", timelock.as_ref()),
        ];
        named.into_iter().filter_map(|(key, contract)| contract.map(|found| (key, found.address, found.code_hash)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(byte: u8) -> Contract {
        let creation = Creation { transaction: B256::repeat_byte(byte), arguments: Bytes::from(vec![byte]) };
        Contract {
            address: Address::repeat_byte(byte),
            code_hash: B256::repeat_byte(byte + 1),
            creation: Some(creation),
        }
    }

    fn book() -> AddressBook {
        let contracts = Contracts {
            token: Contract { creation: None, ..contract(1) },
            settlement: contract(2),
            registry: contract(3),
            catalog: contract(4),
            timelock: Some(contract(5)),
        };
        let (chain_id, start_block) = (Quantity(51866), Quantity(u64::MAX));
        AddressBook { chain_id, start_block, deployer: Address::repeat_byte(9), salt: B256::repeat_byte(8), contracts }
    }

    #[test]
    fn a_book_survives_json() {
        let text = serde_json::to_string(&book()).unwrap();
        assert!(text.contains(r#""chainId":"51866","startBlock":"18446744073709551615""#), "{text}");
        assert_eq!(serde_json::from_str::<AddressBook>(&text).unwrap(), book());
    }

    #[test]
    fn what_the_deployment_writes_is_read() {
        let text = include_str!("../../contracts/test/vectors/address-book.json");
        let book: AddressBook = serde_json::from_str(text).unwrap();
        assert_eq!((book.chain_id, book.start_block), (Quantity(10), Quantity(97)));
        assert_eq!((book.token(), book.settlement()), (Address::repeat_byte(0xa0), Address::repeat_byte(0xa1)));
        assert_eq!((book.registry(), book.catalog()), (Address::repeat_byte(0xa2), Address::repeat_byte(0xa3)));
        assert_eq!(book.contracts.catalog.creation.unwrap().transaction, B256::repeat_byte(0xb3));
    }

    #[test]
    fn every_contract_is_listed_for_the_check() {
        let keys: Vec<_> = book().code().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["token", "settlement", "registry", "catalog", "timelock"]);
        let (_, address, hash) = book().code().nth(1).unwrap();
        assert_eq!((address, hash), (Address::repeat_byte(2), B256::repeat_byte(3)));
        let mut book = book();
        book.contracts.timelock = None;
        assert_eq!(book.code().count(), 4);
    }

    #[test]
    fn signatures_count_at_settlement() {
        let domain = book().domain();
        assert_eq!((domain.chain_id(), domain.settlement()), (51866, Address::repeat_byte(2)));
    }

    #[test]
    fn mistakes_are_named() {
        let good = serde_json::to_string(&book()).unwrap();
        for (wrong, right, word) in [
            (r#""chainId":51866"#, r#""chainId":"51866""#, "expected a string"),
            (r#""chainId":"051866""#, r#""chainId":"51866""#, "decimal integer"),
            (r#""tokn""#, r#""token""#, "tokn"),
            (r#""codehash""#, r#""codeHash""#, "codehash"),
            (r#""author":"me","salt""#, r#""salt""#, "author"),
            (r#""arguments":"0x0""#, r#""arguments":"0x02""#, "valid hex"),
        ] {
            let text = good.replacen(right, wrong, 1);
            assert_ne!(text, good, "{wrong} changes the book");
            let error = serde_json::from_str::<AddressBook>(&text).unwrap_err().to_string();
            assert!(error.to_lowercase().contains(word), "{error}");
        }
    }
}
