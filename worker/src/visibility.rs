//! How the market sees this node: what its operator cannot find out by looking at the node alone.
//!
//! A node may believe for hours that it is on the market while no buyer sees its offers. So once a minute a running
//! worker looks for them in its keeper's book, says what it found in a metric, and puts them there again. `status` and
//! `doctor` ask the same questions, and the indexer's.

use crate::link::KeeperLink;
use crate::node::{lock, now};
use crate::observe;
use alloy::primitives::{Address, B256};
use protocol::order::Offer;
use protocol::resource::ResourceId;
use protocol::wire::{Info, OfferView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How often a running worker looks for its own offers.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest that a keeper or an indexer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many of the newest trades are shown.
const TRADES: usize = 10;

/// The market's services, asked as anybody could ask them.
#[derive(Debug, Clone)]
pub(crate) struct Onlooker {
    http: reqwest::Client,
}

/// A question that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} cannot be asked: {reason}")]
pub(crate) struct Unanswered {
    who: &'static str,
    reason: String,
}

/// The offers of one provider in a keeper's book.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BookView {
    /// Their hashes.
    pub(crate) offers: BTreeSet<B256>,
}

/// A provider as an indexer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IndexedView {
    /// The provider's record and sums; `null` if the indexer has never seen it.
    pub(crate) provider: Value,
    /// Its newest trades, as far as their batches are committed.
    pub(crate) trades: Vec<Value>,
}

/// An indexer's answers come in an envelope.
#[derive(Deserialize)]
struct Indexed<T> {
    data: T,
}

impl Onlooker {
    pub(crate) fn new() -> Result<Self, Unanswered> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        Ok(Self { http: http.map_err(|error| unanswered("the market", &error))? })
    }

    /// The keeper's terms.
    pub(crate) async fn info(&self, keeper: &Url) -> Result<Info, Unanswered> {
        self.get("the keeper", keeper, "v1/info").await
    }

    /// The provider's offers that buyers can take at this keeper now.
    pub(crate) async fn book(&self, keeper: &Url, provider: Address) -> Result<BookView, Unanswered> {
        let offers: Vec<OfferView> = self.get("the keeper", keeper, "v1/offers").await?;
        Ok(BookView {
            offers: offers.into_iter().filter(|view| view.offer.provider == provider).map(|view| view.id).collect(),
        })
    }

    /// What an indexer knows of the provider.
    pub(crate) async fn indexed(&self, indexer: &Url, provider: Address) -> Result<IndexedView, Unanswered> {
        let record: Result<Indexed<Value>, _> =
            self.get("the indexer", indexer, &format!("v1/providers/{provider}")).await;
        let path = format!("v1/trades?provider={provider}&limit={TRADES}");
        let trades: Indexed<Vec<Value>> = self.get("the indexer", indexer, &path).await?;
        // A provider that nobody has traded with is unknown to it, which is no failure.
        Ok(IndexedView { provider: record.map_or(Value::Null, |record| record.data), trades: trades.data })
    }

    async fn get<T: DeserializeOwned>(&self, who: &'static str, base: &Url, path: &str) -> Result<T, Unanswered> {
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let url = base.join(path).map_err(|error| Unanswered { who, reason: error.to_string() })?;
        let answer = async { self.http.get(url).send().await?.error_for_status()?.json().await };
        answer.await.map_err(|error| unanswered(who, &error))
    }
}

fn unanswered(who: &'static str, error: &reqwest::Error) -> Unanswered {
    // The library's own text names the address, whose path may be an access token.
    let reason = match (error.status(), error.is_timeout(), error.is_connect()) {
        (Some(status), ..) => format!("it answered with {status}"),
        (None, true, _) => format!("it did not answer within {} s", PATIENCE.as_secs()),
        (None, false, true) => "nothing listens at its address".into(),
        (None, false, false) => "its answer is not what this version understands".into(),
    };
    Unanswered { who, reason }
}

/// What a look at the book says about this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Buyers see an offer of everything that is on offer.
    Seen,
    /// There is nothing to be seen: no offer was signed that still stands.
    Nothing,
    /// Offers of these resources should stand in the book, and none does.
    Missing(BTreeSet<ResourceId>),
}

/// Holds what was offered against what the book shows. Of several offers of one resource, older ones may be used up.
pub(crate) fn compare(offered: &[Offer], book: &BookView) -> Sight {
    let standing = || offered.iter().filter(|offer| offer.expiry > now());
    let mut missing: BTreeSet<ResourceId> = standing().map(|offer| offer.resource).collect();
    if missing.is_empty() {
        return Sight::Nothing;
    }
    for seen in standing().filter(|offer| book.offers.contains(&offer.hash())) {
        missing.remove(&seen.resource);
    }
    if missing.is_empty() { Sight::Seen } else { Sight::Missing(missing) }
}

/// Looks at the market every minute until the shutdown.
pub(crate) async fn run(link: Arc<KeeperLink>) {
    let (Ok(onlooker), Some(keeper)) = (Onlooker::new(), link.node.config.keeper.clone()) else { return };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once, before anything was offered.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => look(&link, &onlooker, &keeper).await,
            () = link.node.shutdown.cancelled() => return,
        }
    }
}

async fn look(link: &KeeperLink, onlooker: &Onlooker, keeper: &Url) {
    // A worker that drains is meant to be gone from the market.
    if link.node.drain.is_cancelled() {
        return;
    }
    let offered = lock(&link.node.offered).clone();
    match onlooker.book(keeper, link.node.config.provider).await {
        Ok(book) => {
            let sight = compare(&offered, &book);
            observe::market_seen(&sight);
            if matches!(sight, Sight::Missing(_)) {
                link.offer_again();
            }
        }
        Err(error) => observe::failing("market", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::U256;
    use axum::Router;
    use axum::routing::get;
    use protocol::amount::{Price, Quantity, Timestamp};
    use serde_json::json;
    use tokio::net::TcpListener;

    const PROVIDER: Address = Address::repeat_byte(0x70);

    async fn serve(router: Router) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn offer(provider: Address, resource: u32, salt: u64) -> Offer {
        Offer {
            provider,
            resource: ResourceId(resource),
            price: Price(5),
            capacity: Quantity(9),
            terms: B256::ZERO,
            expiry: Timestamp(u64::MAX),
            salt: U256::from(salt),
        }
    }

    fn book(offers: &[Offer]) -> BookView {
        BookView { offers: offers.iter().map(Offer::hash).collect() }
    }

    #[tokio::test]
    async fn only_this_providers_offers_count() {
        let (ours, theirs) = (offer(PROVIDER, 2, 1), offer(Address::ZERO, 2, 2));
        let view = |offer: &Offer| OfferView { id: offer.hash(), offer: offer.clone(), remaining: Quantity(9) };
        let answer = serde_json::to_string(&[view(&ours), view(&theirs)]).unwrap();
        let url = serve(Router::new().route("/v1/offers", get(move || async { answer }))).await;
        assert_eq!(Onlooker::new().unwrap().book(&url, PROVIDER).await.unwrap(), book(&[ours]));
    }

    #[tokio::test]
    async fn an_indexer_that_has_never_seen_the_provider_is_no_failure() {
        let trades = json!({ "asOf": { "block": 1 }, "data": [] }).to_string();
        let url = serve(Router::new().route("/v1/trades", get(move || async { trades }))).await;
        let seen = Onlooker::new().unwrap().indexed(&url, PROVIDER).await.unwrap();
        assert_eq!(seen, IndexedView { provider: Value::Null, trades: Vec::new() });
    }

    #[tokio::test]
    async fn failures_are_told_without_the_address() {
        let url = serve(Router::new().route("/v1/offers", get(|| async { "not JSON" }))).await;
        let onlooker = Onlooker::new().unwrap();
        let strange = onlooker.book(&url.join("token-in-path/").unwrap(), PROVIDER).await.unwrap_err().to_string();
        assert_eq!(strange, "the keeper cannot be asked: it answered with 404 Not Found");
        let garbled = onlooker.book(&url, PROVIDER).await.unwrap_err().to_string();
        assert!(garbled.ends_with("not what this version understands"), "{garbled}");
        let closed: Url = "http://127.0.0.1:1/secret".parse().unwrap();
        let closed = onlooker.book(&closed, PROVIDER).await.unwrap_err().to_string();
        assert_eq!(closed, "the keeper cannot be asked: nothing listens at its address");
    }

    #[test]
    fn a_resource_of_which_no_offer_is_seen_is_missing() {
        let (old, new, other) = (offer(PROVIDER, 2, 1), offer(PROVIDER, 2, 2), offer(PROVIDER, 3, 3));
        let expired = Offer { expiry: Timestamp(1), ..old.clone() };
        assert_eq!(compare(&[], &book(&[])), Sight::Nothing);
        assert_eq!(compare(&[expired], &book(&[])), Sight::Nothing);
        assert_eq!(
            compare(&[old.clone(), new.clone()], &book(std::slice::from_ref(&new))),
            Sight::Seen,
            "the old one is used up"
        );
        let missing = Sight::Missing(BTreeSet::from([ResourceId(3)]));
        assert_eq!(compare(&[old, new.clone(), other], &book(&[new])), missing);
    }
}
