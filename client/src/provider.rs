//! A provider's record in the ProviderRegistry, and the worker keys that sign for it.

use crate::wallet::{Receipt, Wallet, WalletError};
use alloy::primitives::{Address, B256, Bytes};
use protocol::address_book::AddressBook;
use protocol::amount::Timestamp;
use protocol::bindings::registry::{
    ProviderRegistryInstance, addWorkerCall, providerCall, registerCall, removeWorkerCall, updateCall,
};
use protocol::provider::worker_consent;
use protocol::signature::{Domain, Signature, SigningKey};
use serde::Serialize;
use service::chain::Chain;

/// A provider's public record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRecord {
    /// Its address, which is paid.
    pub provider: Address,
    /// When it registered; `None` for a stranger.
    pub registered_at: Option<Timestamp>,
    /// How many worker keys it has.
    pub workers: u32,
    /// Hash of its terms.
    pub terms: B256,
    /// Where its offers and status can be asked for.
    pub endpoint: String,
    /// Where the text of its terms can be read.
    pub terms_uri: String,
}

/// The worker key's consent to sign for `provider`. The worker signs it on its own machine.
pub fn consent(chain_id: u64, registry: Address, provider: Address, worker: &SigningKey) -> Signature {
    worker.sign(worker_consent(&Domain::new(chain_id, registry), provider, worker.address()))
}

impl Wallet {
    /// Registers this wallet as a provider, or changes its record.
    pub async fn register_provider(
        &self,
        endpoint: &str,
        terms_uri: &str,
        terms: B256,
    ) -> Result<Receipt, WalletError> {
        let (endpoint, terms_uri) = (endpoint.to_owned(), terms_uri.to_owned());
        if self.provider(self.address()).await?.registered_at.is_some() {
            return self
                .call("update", self.book.registry(), &updateCall { endpoint, termsUri: terms_uri, terms })
                .await;
        }
        self.call("register", self.book.registry(), &registerCall { endpoint, termsUri: terms_uri, terms }).await
    }

    /// Adds a worker key that has consented.
    pub async fn add_worker(&self, worker: Address, consent: &Signature) -> Result<Receipt, WalletError> {
        let call = addWorkerCall { worker, signature: Bytes::copy_from_slice(&consent.0) };
        self.call("add-worker", self.book.registry(), &call).await
    }

    /// Takes a worker key away.
    pub async fn remove_worker(&self, worker: Address) -> Result<Receipt, WalletError> {
        self.call("remove-worker", self.book.registry(), &removeWorkerCall { worker }).await
    }

    /// A provider's record.
    pub async fn provider(&self, provider: Address) -> Result<ProviderRecord, WalletError> {
        record(&self.chain, &self.book, provider).await
    }
}

/// A provider's record, which anybody can read.
pub async fn record(chain: &Chain, book: &AddressBook, provider: Address) -> Result<ProviderRecord, WalletError> {
    let registry = ProviderRegistryInstance::new(book.registry(), chain.provider());
    // The contract's own `provider` is hidden by the method of the generated type.
    let found = registry.call_builder(&providerCall { account: provider }).call().await?;
    let registered_at = (found.registeredAt != 0).then(|| Timestamp(u64::from(found.registeredAt)));
    Ok(ProviderRecord {
        provider,
        registered_at,
        workers: found.workers,
        terms: found.terms,
        endpoint: found.endpoint,
        terms_uri: found.termsUri,
    })
}
