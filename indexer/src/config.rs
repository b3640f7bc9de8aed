//! What an operator decides.

use alloy::primitives::Address;
use serde::Deserialize;
use service::chain::ChainConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// An indexer's configuration. `indexer.example.toml` documents it for operators.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API and the web page are served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Folder of the database; made if it does not exist.
    pub data: PathBuf,
    /// The address book of the deployment: the contracts, whose code is checked at the start, and the first block.
    pub address_book: PathBuf,
    /// How to reach the chain.
    pub chain: ChainConfig,
    /// Where keepers publish their lines. A keeper that is not listed has batches, but no trades.
    #[serde(default)]
    pub keepers: Vec<Keeper>,
}

/// A keeper and where it publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keeper {
    /// Its address.
    pub address: Address,
    /// Its API, without `/v1`.
    pub url: Url,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8750))
}

fn default_admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8751))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../indexer.example.toml");

    #[test]
    fn the_example_is_a_configuration_and_shows_every_key() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        assert_eq!((config.listen, config.admin), (default_listen(), default_admin()), "it shows the defaults");
        assert_eq!(config.keepers.len(), 1);
        let table: toml::Table = EXAMPLE.parse().unwrap();
        let shown: Vec<_> = table.keys().map(String::as_str).collect();
        let known = ["address_book", "admin", "chain", "data", "keepers", "listen"];
        assert_eq!(shown, known);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = EXAMPLE.replace("address_book", "adress_book");
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(error.contains("adress_book"), "{error}");
    }
}
