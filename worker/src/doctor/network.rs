//! The chain, this machine's clock against it, and what the registry knows.

use super::{Check, Class, Report};
use crate::Config;
use crate::market::Market;
use crate::node::now;
use alloy::primitives::Address;
use alloy::providers::Provider;
use protocol::address_book::AddressBook;
use protocol::bindings::registry::{ProviderRegistryInstance, providerCall};
use service::chain::{Chain, Tag};
use service::config::read_json;
use std::time::Duration;

/// Gas of the dearest thing that a worker may have to do at once: recovering from all of a keeper's channels.
const EMERGENCY_GAS: u128 = 5_000_000;
/// How many seconds a block may be ahead of this machine's clock before the clock is held to be wrong.
const SKEW: u64 = 5;
const WRONG: u64 = 30;
/// From here on a block is worth a word, though a chain may simply be quiet.
const OLD: u64 = 120;

/// The chain and the deployment on it, if both are what the configuration says.
pub(super) async fn chain(report: &mut Report, config: &Config) -> Option<(Chain, AddressBook)> {
    let chain = match Chain::connect(&config.chain).await {
        Ok(chain) => chain,
        Err(error) => {
            let advice = "correct [chain], or start the node; use an endpoint that you trust";
            report.add(Check::fail(Class::Chain, "chain.reachable", error, advice));
            return None;
        }
    };
    // Hosts only: the rest of an endpoint's address often is its access token.
    let hosts: Vec<_> = config.chain.endpoints.iter().filter_map(url::Url::host_str).collect();
    let found = format!("chain {} by {}", chain.chain_id(), hosts.join(", "));
    report.add(Check::ok(Class::Chain, "chain.reachable", found));
    age(report, &chain).await;
    let path = config.address_book.display();
    let book: AddressBook = match read_json(&config.address_book) {
        Ok(book) => book,
        Err(error) => {
            let advice = "name the deployment's address book in `address_book`";
            report.add(Check::fail(Class::Chain, "chain.deployment", error, advice));
            return None;
        }
    };
    match chain.verify_deployment(book.chain_id.get(), book.code()).await {
        Ok(()) => {
            let found = format!("the contracts of {path} are on the chain, Settlement at {}", book.settlement());
            report.add(Check::ok(Class::Chain, "chain.deployment", found));
            Some((chain, book))
        }
        Err(error) => {
            let advice = "get the address book of this chain's deployment from a source that you trust";
            report.add(Check::fail(Class::Chain, "chain.deployment", error, advice));
            None
        }
    }
}

/// The newest block's age, which tells of the node and of this machine's clock.
async fn age(report: &mut Report, chain: &Chain) {
    match chain.head(Tag::Latest).await {
        Ok(block) => {
            let here = now().get();
            report.add(freshness(block.number, block.timestamp, here));
            report.add(clock(block.timestamp, here));
        }
        Err(error) => {
            let advice = "use an endpoint that serves the newest block";
            report.add(Check::fail(Class::Chain, "chain.head", error, advice));
        }
    }
}

fn freshness(number: u64, block: u64, here: u64) -> Check {
    let age = here.saturating_sub(block);
    let found = format!("block {number} is {age} s old");
    if age <= OLD {
        return Check::ok(Class::Chain, "chain.head", found);
    }
    let advice = "the chain is quiet, its node is behind, or this machine's clock is ahead: compare with another \
                  endpoint. Nothing is decided by a view older than the protocol's reaction time";
    Check::warn(Class::Chain, "chain.head", found, advice)
}

fn clock(block: u64, here: u64) -> Check {
    let advice =
        "set this machine's clock, for instance by chrony or systemd-timesyncd: offers and orders expire by it";
    match block.saturating_sub(here) {
        ahead @ WRONG.. => {
            Check::fail(Class::Clock, "clock.skew", format!("the newest block is {ahead} s in the future"), advice)
        }
        ahead @ SKEW.. => {
            Check::warn(Class::Clock, "clock.skew", format!("the newest block is {ahead} s in the future"), advice)
        }
        _ => Check::ok(Class::Clock, "clock.skew", "not behind the newest block"),
    }
}

/// Whether the provider and the worker key are registered, what is sold is known, and gas can be paid.
pub(super) async fn registry(
    report: &mut Report,
    config: &Config,
    chain: &Chain,
    book: &AddressBook,
    worker: Option<Address>,
) {
    let market = match Market::open(chain.clone(), book, Duration::ZERO).await {
        Ok(market) => market,
        Err(error) => {
            report.add(Check::fail(Class::Chain, "chain.contracts", error, "use another endpoint"));
            return;
        }
    };
    provider(report, config.provider, chain, book).await;
    resources(report, config, &market).await;
    let Some(worker) = worker else {
        report.add(Check::skipped(Class::Registry, "registry.worker", "the worker key cannot be read"));
        return;
    };
    match market.provider_of(worker).await {
        Ok(found) if found == config.provider || worker == config.provider => {
            let found = format!("{worker} signs for {}", config.provider);
            report.add(Check::ok(Class::Registry, "registry.worker", found));
        }
        Ok(other) => {
            let found = format!("{worker} signs for {other}, not for {}", config.provider);
            let advice = "add it with the provider's wallet, by `capa provider add-worker`; `capa-worker register` \
                          prints how";
            report.add(Check::fail(Class::Registry, "registry.worker", found, advice));
        }
        Err(error) => report.add(Check::fail(Class::Chain, "registry.worker", error, "use another endpoint")),
    }
    match funds(chain, worker).await {
        Ok((balance, price)) => report.add(gas(worker, balance, price)),
        Err(error) => report.add(Check::fail(Class::Chain, "registry.gas", error, "use another endpoint")),
    }
}

async fn provider(report: &mut Report, provider: Address, chain: &Chain, book: &AddressBook) {
    let registry = ProviderRegistryInstance::new(book.registry(), chain.provider().clone());
    match registry.call_builder(&providerCall { account: provider }).call().await {
        Ok(record) if record.registeredAt > 0 => {
            let found = format!("{provider} is registered with {} worker keys", record.workers);
            report.add(Check::ok(Class::Registry, "registry.provider", found));
        }
        Ok(_) => {
            let advice = "register it with the provider's wallet, by `capa provider register`";
            let found = format!("{provider} is not registered");
            report.add(Check::fail(Class::Registry, "registry.provider", found, advice));
        }
        Err(error) => report.add(Check::fail(Class::Chain, "registry.provider", error, "use another endpoint")),
    }
}

async fn resources(report: &mut Report, config: &Config, market: &Market) {
    let catalog = match market.resources().await {
        Ok(catalog) => catalog,
        Err(error) => {
            report.add(Check::fail(Class::Chain, "registry.resources", error, "use another endpoint"));
            return;
        }
    };
    let is_known = |name: &str| catalog.iter().any(|resource| resource.name == name);
    let sold = config.offers.iter().map(|offer| offer.resource.as_str());
    let (known, unknown): (Vec<_>, Vec<_>) = sold.partition(|name| is_known(name));
    let names: Vec<_> = catalog.iter().map(|resource| resource.name.as_str()).collect();
    let advice = format!("correct [[offers]]; the catalog has {}", names.join(", "));
    report.add(match (known.is_empty(), unknown.is_empty()) {
        (_, true) => Check::ok(Class::Registry, "registry.resources", format!("{} are traded", known.join(", "))),
        (false, false) => {
            let found = format!("{} are not in the catalog and are left out", unknown.join(", "));
            Check::warn(Class::Registry, "registry.resources", found, advice)
        }
        (true, false) => {
            Check::fail(Class::Registry, "registry.resources", "nothing on offer is in the catalog", advice)
        }
    });
}

/// The worker key's balance and the price of gas, in the chain's own coin.
async fn funds(chain: &Chain, worker: Address) -> Result<(u128, u128), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let balance = chain.provider().get_balance(worker).await.map_err(|error| text(&error))?;
    let price = chain.provider().get_gas_price().await.map_err(|error| text(&error))?;
    Ok((u128::try_from(balance).unwrap_or(u128::MAX), price))
}

fn gas(worker: Address, balance: u128, price: u128) -> Check {
    let needed = EMERGENCY_GAS.saturating_mul(price.max(1));
    let found = format!("{worker} holds {balance} wei, gas costs {price} wei");
    let advice = format!(
        "send it the chain's own coin: claims, challenges and recoveries are paid from it, {needed} wei are enough for \
         the dearest of them"
    );
    match (balance, balance >= needed) {
        (0, _) => Check::fail(Class::Registry, "registry.gas", found, advice),
        (_, false) => Check::warn(Class::Registry, "registry.gas", found, advice),
        (_, true) => Check::ok(Class::Registry, "registry.gas", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_block_from_the_future_means_a_slow_clock() {
        assert_eq!(clock(1_000, 1_000).state, State::Ok);
        assert_eq!(clock(1_000, 9_000).state, State::Ok, "an old block says nothing of the clock alone");
        assert_eq!(clock(1_010, 1_000).state, State::Warn);
        assert_eq!(clock(1_030, 1_000).state, State::Fail);
    }

    #[test]
    fn an_old_block_is_worth_a_word() {
        assert_eq!(freshness(7, 1_000, 1_120).state, State::Ok);
        assert_eq!(freshness(7, 1_000, 1_121).state, State::Warn);
        assert_eq!(freshness(7, 2_000, 1_000).state, State::Ok);
    }

    #[test]
    fn a_worker_without_coins_cannot_defend_itself() {
        let state = |balance| gas(Address::ZERO, balance, 10).state;
        assert_eq!(state(0), State::Fail);
        assert_eq!(state(EMERGENCY_GAS * 10 - 1), State::Warn);
        assert_eq!(state(EMERGENCY_GAS * 10), State::Ok);
        assert_eq!(gas(Address::ZERO, 1, u128::MAX).state, State::Warn);
    }
}
