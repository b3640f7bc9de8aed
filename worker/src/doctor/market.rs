//! The keeper, the indexer, and what buyers see of this node.

use super::{Check, Class, Report};
use crate::Config;
use crate::ledger::Ledger;
use crate::node::now;
use crate::visibility::{BookView, Onlooker, Sight, compare};
use protocol::order::Offer;
use url::Url;

/// Asks the configured keeper and indexer.
pub(super) async fn examine(report: &mut Report, config: &Config) {
    let onlooker = match Onlooker::new() {
        Ok(onlooker) => onlooker,
        Err(error) => {
            report.add(Check::fail(Class::Market, "market.keeper", error, "this machine cannot make HTTP requests"));
            return;
        }
    };
    match &config.keeper {
        Some(keeper) => ask_keeper(report, config, &onlooker, keeper).await,
        None => report.add(Check::skipped(Class::Market, "market.keeper", "direct clients only, no `keeper` is named")),
    }
    match &config.indexer {
        Some(indexer) => ask_indexer(report, config, &onlooker, indexer).await,
        None => report.add(Check::skipped(Class::Market, "market.indexer", "no `indexer` is named")),
    }
}

async fn ask_keeper(report: &mut Report, config: &Config, onlooker: &Onlooker, keeper: &Url) {
    let info = match onlooker.info(keeper).await {
        Ok(info) => info,
        Err(error) => {
            let advice = "ask the keeper's operator, or name another keeper in `keeper`";
            report.add(Check::fail(Class::Market, "market.keeper", error, advice));
            return;
        }
    };
    if info.chain_id.get() != config.chain.chain_id {
        let found = format!("{} serves chain {}, not {}", info.keeper, info.chain_id, config.chain.chain_id);
        report.add(Check::fail(Class::Market, "market.keeper", found, "name a keeper of this chain in `keeper`"));
        return;
    }
    let found = format!("{} fills batch {} and trades {} resources", info.keeper, info.batch, info.resources.len());
    report.add(Check::ok(Class::Market, "market.keeper", found));
    match onlooker.book(keeper, config.provider).await {
        Ok(book) => report.add(offers(&standing(config).await, &book)),
        Err(error) => {
            let advice = "ask the keeper's operator";
            report.add(Check::fail(Class::Market, "market.offers", error, advice));
        }
    }
}

/// Offers that this node signed and that still stand; none where it has not run yet.
async fn standing(config: &Config) -> Vec<Offer> {
    let Ok(ledger) = Ledger::open_for_reading(&config.data).await else { return Vec::new() };
    let live = ledger.live_offers(now()).await.unwrap_or_default();
    ledger.close().await;
    live.into_iter().map(|signed| signed.offer).collect()
}

fn offers(standing: &[Offer], book: &BookView) -> Check {
    let id = "market.offers";
    match compare(standing, book) {
        Sight::Seen => Check::ok(Class::Market, id, format!("buyers see {} offers", book.offers.len())),
        Sight::Nothing => Check::skipped(Class::Market, id, "the worker does not run: it has nothing on offer now"),
        Sight::Missing(resources) => {
            let names: Vec<_> = resources.iter().map(ToString::to_string).collect();
            let found = format!("offers of resources {} stand, but buyers do not see them", names.join(", "));
            let advice = "see whether the worker runs and is connected (`capa-worker status`); it offers again by itself \
                          within a minute. If that lasts, ask the keeper's operator, or name another keeper";
            Check::fail(Class::Market, id, found, advice)
        }
    }
}

async fn ask_indexer(report: &mut Report, config: &Config, onlooker: &Onlooker, indexer: &Url) {
    report.add(match onlooker.indexed(indexer, config.provider).await {
        Ok(view) if view.provider.is_null() => {
            let advice = "it appears once a keeper has committed a batch with its work; nothing is to be done before";
            Check::warn(Class::Market, "market.indexer", "the indexer has no record of this provider yet", advice)
        }
        Ok(view) => {
            let found = format!("the indexer lists {} of its newest trades", view.trades.len());
            Check::ok(Class::Market, "market.indexer", found)
        }
        Err(error) => {
            let advice = "correct `indexer`; the worker runs without it";
            Check::warn(Class::Market, "market.indexer", error, advice)
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use alloy::primitives::{Address, B256, U256};
    use protocol::amount::{Price, Quantity, Timestamp};
    use protocol::resource::ResourceId;

    #[test]
    fn an_invisible_node_is_told_so() {
        let offer = Offer {
            provider: Address::repeat_byte(7),
            resource: ResourceId(2),
            price: Price(1),
            capacity: Quantity(1),
            terms: B256::ZERO,
            expiry: Timestamp(u64::MAX),
            salt: U256::ZERO,
        };
        let seen = BookView { offers: [offer.hash()].into() };
        let standing = [offer];
        assert_eq!(offers(&standing, &seen).state, State::Ok);
        assert_eq!(offers(&[], &seen).state, State::Skipped);
        let missing = offers(&standing, &BookView::default());
        assert_eq!(missing.state, State::Fail);
        assert!(missing.found.contains("resources 2"), "{missing:?}");
    }
}
