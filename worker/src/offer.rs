//! Offers: signed from the configuration, renewed before they expire or are used up.

use crate::config::OfferConfig;
use alloy::primitives::{Address, B256, U256};
use protocol::amount::{Quantity, Timestamp};
use protocol::order::{Offer, SignedOffer};
use protocol::resource::{Resource, ResourceId};
use protocol::signature::{Domain, SigningKey};

/// How long a refused offer rests before another one is tried, in seconds.
const RETRY_SECONDS: u64 = 30;

/// The offers of one worker.
#[derive(Debug)]
pub(crate) struct Offers {
    provider: Address,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    config: OfferConfig,
    resource: ResourceId,
    live: Option<Live>,
}

/// An offer that was signed.
#[derive(Debug)]
struct Live {
    signed: SignedOffer,
    hash: B256,
    /// Units of the jobs that were matched since.
    matched: u64,
    /// Whether it was sent over the socket that is open now.
    sent: bool,
    refused_at: Option<Timestamp>,
}

impl Live {
    fn new(signed: SignedOffer) -> Self {
        Self { hash: signed.offer.hash(), signed, matched: 0, sent: false, refused_at: None }
    }
}

impl Entry {
    fn needs_new(&self, now: Timestamp) -> bool {
        let Some(live) = &self.live else { return true };
        let left = live.signed.offer.expiry.get().saturating_sub(now.get());
        let used_up = live.matched >= live.signed.offer.capacity.get().div_ceil(2);
        let refused = live.refused_at.is_some_and(|at| now.get() >= at.get().saturating_add(RETRY_SECONDS));
        left <= self.config.lifetime / 4 || used_up || refused
    }
}

impl Offers {
    /// The offers of a configuration; resources that the catalog lacks are left out, by the names returned. An offer
    /// on the same terms that still stands is used on instead of putting a second one beside it.
    pub(crate) fn new(
        provider: Address,
        configs: &[OfferConfig],
        resources: &[Resource],
        standing: &[SignedOffer],
    ) -> (Self, Vec<String>) {
        let mut unknown = Vec::new();
        let mut entries = Vec::new();
        for config in configs {
            match resources.iter().find(|resource| resource.name == config.resource) {
                Some(resource) => {
                    let same = |offer: &Offer| {
                        (offer.resource, offer.price, offer.capacity) == (resource.id, config.price, config.capacity)
                    };
                    let newest = standing.iter().rfind(|signed| same(&signed.offer)).cloned();
                    let live = newest.map(Live::new);
                    entries.push(Entry { config: config.clone(), resource: resource.id, live });
                }
                None => unknown.push(config.resource.clone()),
            }
        }
        (Self { provider, entries }, unknown)
    }

    /// A new socket knows of no offer.
    pub(crate) fn reconnected(&mut self) {
        for live in self.entries.iter_mut().filter_map(|entry| entry.live.as_mut()) {
            live.sent = false;
        }
    }

    /// What has to be sent now; it counts as sent.
    pub(crate) fn due(&mut self, now: Timestamp, domain: &Domain, key: &SigningKey) -> Vec<SignedOffer> {
        let mut due = Vec::new();
        for entry in &mut self.entries {
            if entry.needs_new(now) {
                let offer = Offer {
                    provider: self.provider,
                    resource: entry.resource,
                    price: entry.config.price,
                    capacity: entry.config.capacity,
                    terms: B256::ZERO,
                    expiry: Timestamp(now.get().saturating_add(entry.config.lifetime)),
                    salt: U256::from_be_bytes(rand::random::<[u8; 32]>()),
                };
                entry.live = Some(Live::new(SignedOffer::sign(offer, domain, key)));
            }
            if let Some(live) = entry.live.as_mut().filter(|live| !live.sent) {
                live.sent = true;
                due.push(live.signed.clone());
            }
        }
        due
    }

    /// The keeper refused an offer; another one is tried later.
    pub(crate) fn refused(&mut self, offer: B256, now: Timestamp) {
        for live in self.entries.iter_mut().filter_map(|entry| entry.live.as_mut()) {
            if live.hash == offer {
                live.refused_at = Some(now);
            }
        }
    }

    /// A job was matched: what it may use is no longer for sale.
    pub(crate) fn matched(&mut self, resource: ResourceId, units: Quantity) {
        for entry in self.entries.iter_mut().filter(|entry| entry.resource == resource) {
            if let Some(live) = &mut entry.live {
                live.matched = live.matched.saturating_add(units.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use protocol::amount::Price;

    fn offers() -> Offers {
        offers_beside(&[])
    }

    fn offers_beside(standing: &[SignedOffer]) -> Offers {
        let config = |resource: &str| OfferConfig {
            resource: resource.into(),
            price: Price(10),
            capacity: Quantity(1_000),
            lifetime: 100,
        };
        let configs = [config("cpu.x86-64"), config("gpu.unheard-of")];
        let (offers, unknown) = Offers::new(fixture::PROVIDER, &configs, &[fixture::resource()], standing);
        assert_eq!(unknown, ["gpu.unheard-of"]);
        offers
    }

    fn due(offers: &mut Offers, now: u64) -> Vec<SignedOffer> {
        offers.due(Timestamp(now), &fixture::domain(), &fixture::worker_key())
    }

    #[test]
    fn an_offer_is_sent_once_a_socket() {
        let mut offers = offers();
        let first = due(&mut offers, 1_000);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].signer(&fixture::domain()).unwrap(), fixture::worker_key().address());
        assert_eq!(first[0].offer.expiry, Timestamp(1_100));
        assert_eq!(due(&mut offers, 1_001), vec![]);
        offers.reconnected();
        assert_eq!(due(&mut offers, 1_002), first, "the same offer, not a second one");
    }

    #[test]
    fn after_a_restart_the_standing_offer_is_used_on() {
        let first = due(&mut offers(), 1_000);
        assert_eq!(due(&mut offers_beside(&first), 1_010), first);
        let renewed = due(&mut offers_beside(&first), 1_090);
        assert_ne!(renewed, first, "it is about to expire");
        let mut dearer = first;
        dearer[0].offer.price = Price(11);
        assert_ne!(due(&mut offers_beside(&dearer), 1_010), dearer, "its price is another one");
    }

    #[test]
    fn it_is_renewed_before_it_expires() {
        let mut offers = offers();
        let first = due(&mut offers, 1_000);
        assert_eq!(due(&mut offers, 1_074), vec![]);
        let second = due(&mut offers, 1_075);
        assert_eq!(second.len(), 1);
        assert_ne!(first[0].offer.salt, second[0].offer.salt);
    }

    #[test]
    fn it_is_renewed_before_it_is_used_up() {
        let mut offers = offers();
        due(&mut offers, 1_000);
        offers.matched(ResourceId(2), Quantity(499));
        assert_eq!(due(&mut offers, 1_001), vec![]);
        offers.matched(ResourceId(2), Quantity(1));
        assert_eq!(due(&mut offers, 1_001).len(), 1);
        assert_eq!(due(&mut offers, 1_001), vec![]);
    }

    #[test]
    fn a_refused_one_is_replaced_after_a_while() {
        let mut offers = offers();
        let first = due(&mut offers, 1_000);
        offers.refused(first[0].offer.hash(), Timestamp(1_000));
        assert_eq!(due(&mut offers, 1_029), vec![]);
        assert_eq!(due(&mut offers, 1_030).len(), 1);
    }
}
