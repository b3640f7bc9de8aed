//! The provider's account as the operator looks at it when no worker runs: what is due is paid out, and the registry is
//! asked who it knows.

use crate::config::Config;
use crate::ledger::Ledger;
use crate::market::Market;
use crate::run::RunError;
use crate::watch::{Payout, Watch, WatchError};
use alloy::primitives::{Address, U256};
use protocol::address_book::AddressBook;
use protocol::amount::Amount;
use protocol::provider::worker_consent;
use protocol::signature::{Domain, Signature, SigningKey};
use serde::Serialize;
use service::chain::{Chain, Sender, SenderConfig};
use service::config::read_json;
use service::keystore::read_key;
use std::sync::Arc;
use std::time::Duration;

/// What the registry knows of a worker and its provider, and what is to be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registration {
    /// The configured provider.
    pub(crate) provider: Address,
    /// Whether it is registered.
    pub(crate) is_provider: bool,
    /// What it has at stake.
    pub(crate) staked: Amount,
    /// Least stake of a provider that stakes at all.
    pub(crate) minimum_stake: Amount,
    /// The worker key's address.
    pub(crate) worker: Address,
    /// Whether it is registered for the provider.
    pub(crate) is_worker: bool,
    /// Whose worker key it is instead, if anybody's.
    pub(crate) worker_of: Option<Address>,
    /// Coins that the worker key has for gas, in wei.
    pub(crate) balance: U256,
    /// By this the worker key consents to sign for the provider.
    pub(crate) consent: Signature,
    /// What is to be done, in order.
    pub(crate) to_do: Vec<String>,
}

/// The contracts, checked, and the worker key.
async fn open(config: &Config) -> Result<(Chain, AddressBook, Market, SigningKey), RunError> {
    let secret = read_key(&config.key)?;
    let key = SigningKey::from_bytes(&secret).ok_or(RunError::InvalidKey)?;
    let chain = Chain::connect(&config.chain).await?;
    let book: AddressBook = read_json(&config.address_book)?;
    chain.verify_deployment(book.chain_id.get(), book.code()).await?;
    let market = Market::open(chain.clone(), &book, Duration::from_millis(config.limits.chain_age_ms)).await?;
    Ok((chain, book, market, key))
}

/// Pays out everything that is due. No worker may run on the same ledger meanwhile, which its lock sees to.
pub(crate) async fn withdraw(config: Config) -> Result<(Vec<Payout>, Result<(), WatchError>), RunError> {
    let (chain, book, market, key) = open(&config).await?;
    let ledger = Ledger::open(&config.data).await?;
    let sender = Sender::new(chain, &key.to_bytes(), ledger.clone(), SenderConfig::default()).await?;
    let market = Arc::new(market);
    let mut watch = Watch::new(config, book.domain(), ledger.clone(), market, Arc::new(sender));
    let done = watch.withdraw().await;
    ledger.close().await;
    Ok(done)
}

/// Asks the registry. The provider's key is not needed, and is not here.
pub(crate) async fn registration(config: Config) -> Result<Registration, RunError> {
    let (_, book, market, key) = open(&config).await?;
    let (provider, worker) = (config.provider, key.address());
    let facts = market.provider(provider).await?;
    let found = market.provider_of(worker).await?;
    let registry = Domain::new(book.chain_id.get(), book.registry());
    let mut registration = Registration {
        provider,
        is_provider: facts.registered_at > 0,
        staked: facts.staked,
        minimum_stake: facts.minimum_stake,
        worker,
        is_worker: found == provider,
        worker_of: (found != provider && found != Address::ZERO).then_some(found),
        balance: market.balance(worker).await?,
        consent: key.sign(worker_consent(&registry, provider, worker)),
        to_do: Vec::new(),
    };
    registration.to_do = to_do(&registration);
    Ok(registration)
}

fn to_do(found: &Registration) -> Vec<String> {
    let (worker, consent) = (found.worker, &found.consent);
    let mut steps = Vec::new();
    if !found.is_provider {
        steps.push("with the provider's wallet: capa provider register".to_owned());
    }
    if let Some(other) = found.worker_of {
        steps.push(format!("the worker key signs for {other}: there run `capa provider remove-worker {worker}`"));
    }
    if !found.is_worker {
        steps.push(format!(
            "with the provider's wallet: capa provider add-worker --worker {worker} --consent {consent}"
        ));
    }
    if found.balance.is_zero() {
        steps.push(format!(
            "send a little of the chain's own coin to {worker}: it pays the gas of claims and challenges"
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn registration() -> Registration {
        let worker = fixture::worker_key();
        Registration {
            provider: fixture::PROVIDER,
            is_provider: true,
            staked: Amount(0),
            minimum_stake: Amount(0),
            worker: worker.address(),
            is_worker: true,
            worker_of: None,
            balance: U256::from(1),
            consent: worker.sign(alloy::primitives::B256::ZERO),
            to_do: vec![],
        }
    }

    #[test]
    fn only_what_is_missing_is_to_be_done() {
        assert_eq!(to_do(&registration()), Vec::<String>::new());
        let new = Registration { is_provider: false, is_worker: false, balance: U256::ZERO, ..registration() };
        let steps = to_do(&new);
        assert_eq!(steps.len(), 3);
        assert!(steps[0].contains("capa provider register"));
        assert!(steps[1].contains(&format!("--worker {} --consent {}", new.worker, new.consent)));
        let other = Registration { is_worker: false, worker_of: Some(fixture::PAYER), ..registration() };
        assert!(to_do(&other)[0].contains(&fixture::PAYER.to_string()));
    }
}
