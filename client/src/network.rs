//! The address book: which chain and which contracts a client trusts.

use alloy::primitives::Address;
use protocol::amount::Quantity;
use protocol::signature::Domain;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A deployment of Capa, as its deployer wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// EIP-155 chain id.
    pub chain_id: Quantity,
    /// The ComputeToken contract.
    pub token: Address,
    /// The Settlement contract.
    pub settlement: Address,
    /// The ProviderRegistry contract.
    pub registry: Address,
    /// The ResourceCatalog contract.
    pub catalog: Address,
    /// First block that can hold anything of this deployment.
    pub start_block: Quantity,
}

/// The address book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It cannot be read or written.
    #[error("the address book {path} cannot be opened: {source}. Name another one with --network")]
    Io {
        /// Where it should be.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It is not an address book.
    #[error(
        "{path} is not an address book: {source}. It needs chainId, token, settlement, registry, catalog and startBlock"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
}

impl Network {
    /// Reads an address book.
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        let text = fs::read(path).map_err(|source| NetworkError::Io { path: path.into(), source })?;
        serde_json::from_slice(&text).map_err(|source| NetworkError::Malformed { path: path.into(), source })
    }

    /// Writes an address book.
    pub fn write(&self, path: &Path) -> Result<(), NetworkError> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|source| NetworkError::Malformed { path: path.into(), source })?;
        fs::write(path, text).map_err(|source| NetworkError::Io { path: path.into(), source })
    }

    /// Where signatures count.
    pub fn domain(&self) -> Domain {
        Domain::new(self.chain_id.get(), self.settlement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;

    const BOOK: &str = r#"{"chainId":"51866","token":"0x00000000000000000000000000000000000000a1",
        "settlement":"0x00000000000000000000000000000000000000a2","registry":"0x00000000000000000000000000000000000000a3",
        "catalog":"0x00000000000000000000000000000000000000a4","startBlock":"0"}"#;

    #[test]
    fn reads_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.json");
        fs::write(&path, BOOK).unwrap();
        let network = Network::read(&path).unwrap();
        assert_eq!(network.chain_id, Quantity(51866));
        assert_eq!(network.catalog, address!("00000000000000000000000000000000000000a4"));
        network.write(&path).unwrap();
        assert_eq!(Network::read(&path).unwrap(), network);
    }

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.json");
        for (text, word) in [
            (BOOK.replace("\"51866\"", "51866"), "expected a string"),
            (BOOK.replace("\"token\"", "\"tokn\""), "tokn"),
            (BOOK.replace("00a1", "0"), "token"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = Network::read(&path).unwrap_err().to_string();
            assert!(error.contains("is not an address book"), "{error}");
            if word != "token" {
                assert!(error.contains(word), "{error}");
            }
        }
        assert!(Network::read(&folder.path().join("none")).unwrap_err().to_string().contains("--network"));
    }
}
