//! What commands share: settings turned into connections, each made when first needed.

use crate::error::CliError;
use crate::keys;
use crate::output::Output;
use crate::settings::Settings;
use alloy::primitives::Address;
use client::anchor::ChainAnchor;
use client::keeper::Keeper;
use client::wallet::Wallet;
use protocol::address_book::AddressBook;
use protocol::signature::SigningKey;
use service::chain::{Chain, ChainConfig};
use service::config::read_json;
use std::path::Path;
use url::Url;

/// Everything that a command may need.
#[derive(Debug)]
pub struct Context {
    /// The merged settings.
    pub settings: Settings,
    /// Where it prints.
    pub output: Output,
}

impl Context {
    /// Nothing is connected yet.
    pub const fn new(settings: Settings, output: Output) -> Self {
        Self { settings, output }
    }

    /// The deployment, as its address book describes it.
    pub fn book(&self) -> Result<AddressBook, CliError> {
        let path = self.settings.address_book.value.as_deref();
        let path = path.ok_or_else(|| missing("address book", "address_book", "CAPA_ADDRESS_BOOK"))?;
        let book: AddressBook = read_json(path).map_err(|error| {
            CliError::Usage(format!("the address book cannot be used: {error}. Name another one with --address-book"))
        })?;
        match self.settings.chain_id.value {
            Some(expected) if expected != book.chain_id.get() => Err(CliError::Usage(format!(
                "the address book is for chain {}, the settings say {expected}: use the book of that chain",
                book.chain_id
            ))),
            _ => Ok(book),
        }
    }

    /// The chain, checked to be the right one and to carry the right contracts.
    pub async fn chain(&self, book: &AddressBook) -> Result<Chain, CliError> {
        let rpc = self.settings.rpc.value.clone().ok_or_else(|| missing("RPC endpoint", "rpc", "CAPA_RPC"))?;
        let config =
            ChainConfig { endpoints: vec![rpc], chain_id: book.chain_id.get(), timeout_ms: 10_000, poll_ms: 500 };
        let chain = Chain::connect(&config).await?;
        chain.verify_deployment(book.chain_id.get(), book.code()).await?;
        Ok(chain)
    }

    /// The chain and the contracts on it.
    pub async fn anchor(&self) -> Result<(Chain, ChainAnchor), CliError> {
        let book = self.book()?;
        let chain = self.chain(&book).await?;
        Ok((chain.clone(), ChainAnchor::new(chain, book)))
    }

    /// The keeper's URL.
    pub fn keeper_url(&self) -> Result<Url, CliError> {
        self.settings.keeper.value.clone().ok_or_else(|| missing("keeper", "keeper", "CAPA_KEEPER"))
    }

    /// The keeper.
    pub fn keeper(&self) -> Result<Keeper, CliError> {
        Ok(Keeper::new(self.keeper_url()?)?)
    }

    /// The indexer's URL.
    pub fn indexer_url(&self) -> Result<Url, CliError> {
        self.settings.indexer.value.clone().ok_or_else(|| missing("indexer", "indexer", "CAPA_INDEXER"))
    }

    /// Path of the wallet's keystore.
    pub fn wallet_path(&self) -> Result<&Path, CliError> {
        self.settings.wallet.value.as_deref().ok_or_else(|| missing("wallet", "wallet", "CAPA_WALLET"))
    }

    /// Path of the session's keystore.
    pub fn session_path(&self) -> Result<&Path, CliError> {
        self.settings.session.value.as_deref().ok_or_else(|| missing("session key", "session", "CAPA_SESSION"))
    }

    /// The wallet, opened.
    pub async fn wallet(&self) -> Result<Wallet, CliError> {
        let book = self.book()?;
        let chain = self.chain(&book).await?;
        let key = keys::open(self.wallet_path()?, self.settings.password_file.value.as_deref())?;
        Ok(Wallet::new(chain, book, key).await?)
    }

    /// The session key, opened.
    pub fn session_key(&self) -> Result<SigningKey, CliError> {
        keys::open(self.session_path()?, self.settings.password_file.value.as_deref())
    }

    /// Who pays and who signs, without opening either key.
    pub fn parties(&self) -> Result<(Address, Address), CliError> {
        Ok((keys::address(self.wallet_path()?)?, keys::address(self.session_path()?)?))
    }

    /// The keeper of the channel: named, or the one that answers at the keeper's URL.
    pub async fn channel_keeper(&self, named: Option<Address>) -> Result<Address, CliError> {
        match named {
            Some(keeper) => Ok(keeper),
            None => Ok(self.keeper()?.info().await?.keeper),
        }
    }
}

fn missing(what: &str, key: &str, variable: &str) -> CliError {
    CliError::Usage(format!(
        "no {what} is set: give --{}, set {variable}, or write `{key} = …` into the configuration file",
        key.replace('_', "-")
    ))
}
