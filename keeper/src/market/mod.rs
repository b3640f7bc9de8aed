//! The book: offers and orders, matched by price, then time.
//!
//! Pure. Whether a provider has a worker free for an order is asked of the caller, so that nothing is matched that
//! could not start at once: an order that fits no free worker rests in the book.

use alloy::primitives::{Address, B256};
use protocol::amount::{Price, Quantity, Timestamp};
use protocol::job::Kind;
use protocol::order::{JobId, Offer};
use protocol::resource::ResourceId;
use protocol::wire::{Book, Level};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// What an order needs of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Kind of program.
    pub kind: Kind,
    /// What it buys.
    pub resource: ResourceId,
    /// Memory limit, in bytes.
    pub memory: Quantity,
    /// How many GPUs.
    pub devices: u32,
}

/// A resting offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Struct hash of the offer.
    pub id: B256,
    /// The offer.
    pub offer: Offer,
    /// What is left of its capacity.
    pub remaining: Quantity,
    /// Order of arrival, shared by asks and bids.
    pub sequence: u64,
}

/// A resting order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid {
    /// The job.
    pub job: JobId,
    /// What it needs.
    pub needs: Needs,
    /// Most it pays.
    pub max_price: Price,
    /// Most it uses.
    pub units: Quantity,
    /// Last second at which it may be matched.
    pub expiry: Timestamp,
    /// Order of arrival, shared by asks and bids.
    pub sequence: u64,
}

/// An order met an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The job.
    pub job: JobId,
    /// The offer.
    pub offer: B256,
    /// Its provider.
    pub provider: Address,
    /// The price of the side that rested.
    pub price: Price,
    /// What is left of the offer.
    pub remaining: Quantity,
}

/// How near an order is to a match: offers that fit in every respect but one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nearly {
    /// Offers of the resource, of any kind.
    pub offers: usize,
    /// Those that only ask too much.
    pub too_dear: usize,
    /// Those that have only too little capacity left.
    pub too_small: usize,
    /// Those whose provider only has no worker free that can run it.
    pub busy: usize,
}

type AskKey = (Price, u64);
type BidKey = (Reverse<Price>, u64);

#[derive(Debug, Default)]
struct Side {
    asks: BTreeMap<AskKey, Ask>,
    bids: BTreeMap<BidKey, Bid>,
}

/// The books of all resources.
#[derive(Debug, Default)]
pub struct Market {
    sides: BTreeMap<ResourceId, Side>,
    asks: HashMap<B256, (ResourceId, AskKey)>,
    bids: HashMap<JobId, (ResourceId, BidKey)>,
}

impl Market {
    /// Rests an offer. The same offer twice is one.
    pub fn add_ask(&mut self, ask: Ask) {
        let (resource, key) = (ask.offer.resource, (ask.offer.price, ask.sequence));
        if self.asks.contains_key(&ask.id) {
            return;
        }
        self.asks.insert(ask.id, (resource, key));
        self.sides.entry(resource).or_default().asks.insert(key, ask);
    }

    /// Rests an order.
    pub fn add_bid(&mut self, bid: Bid) {
        let (resource, key) = (bid.needs.resource, (Reverse(bid.max_price), bid.sequence));
        self.bids.insert(bid.job, (resource, key));
        self.sides.entry(resource).or_default().bids.insert(key, bid);
    }

    /// Takes an order out of the book.
    pub fn remove_bid(&mut self, job: JobId) -> Option<Bid> {
        let (resource, key) = self.bids.remove(&job)?;
        self.sides.get_mut(&resource)?.bids.remove(&key)
    }

    /// A resting offer.
    pub fn ask(&self, id: B256) -> Option<&Ask> {
        let (resource, key) = self.asks.get(&id)?;
        self.sides.get(resource)?.asks.get(key)
    }

    /// All resting offers, by resource and price.
    pub fn asks(&self) -> impl Iterator<Item = &Ask> {
        self.sides.values().flat_map(|side| side.asks.values())
    }

    /// Whether an offer rests here.
    pub fn has_ask(&self, id: B256) -> bool {
        self.asks.contains_key(&id)
    }

    /// Matches one order, if anything fits it, and takes it out of the book.
    pub fn take(&mut self, now: Timestamp, job: JobId, free: impl Fn(Needs, Address) -> bool) -> Option<Match> {
        let (resource, key) = *self.bids.get(&job)?;
        let side = self.sides.get(&resource)?;
        let bid = *side.bids.get(&key)?;
        let ask = best_ask(side, now, &bid, &free)?.clone();
        Some(self.strike(&bid, &ask))
    }

    /// Matches the order that comes first by price, then time, among all that something fits. `idle` says whether a
    /// provider has any worker free at all: mostly none has, and then no order has to be looked at.
    pub fn take_any(
        &mut self,
        now: Timestamp,
        idle: impl Fn(Address) -> bool,
        free: impl Fn(Needs, Address) -> bool,
    ) -> Option<Match> {
        let (bid, ask) = self.sides.values().find_map(|side| first_pair(side, now, &idle, &free))?;
        Some(self.strike(&bid, &ask))
    }

    fn strike(&mut self, bid: &Bid, ask: &Ask) -> Match {
        self.remove_bid(bid.job);
        let remaining = ask.remaining.minus(bid.units).unwrap_or_default();
        if let Some(resting) = self.ask_mut(ask.id) {
            resting.remaining = remaining;
        }
        let price = if ask.sequence < bid.sequence { ask.offer.price } else { bid.max_price };
        Match { job: bid.job, offer: ask.id, provider: ask.offer.provider, price, remaining }
    }

    fn ask_mut(&mut self, id: B256) -> Option<&mut Ask> {
        let (resource, key) = self.asks.get(&id)?;
        self.sides.get_mut(resource)?.asks.get_mut(key)
    }

    /// Gives capacity back that a job reserved and did not use; answers what the offer then has, if it still rests.
    pub fn release(&mut self, offer: B256, quantity: Quantity) -> Option<&Ask> {
        let ask = self.ask_mut(offer)?;
        ask.remaining = ask.remaining.plus(quantity).unwrap_or(ask.offer.capacity).min(ask.offer.capacity);
        Some(ask)
    }

    /// Drops what has expired; answers the orders among it.
    pub fn expire(&mut self, now: Timestamp) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for side in self.sides.values_mut() {
            side.asks.retain(|_, ask| {
                let rests = ask.offer.expiry >= now;
                if !rests {
                    self.asks.remove(&ask.id);
                }
                rests
            });
            side.bids.retain(|_, bid| {
                let rests = bid.expiry >= now;
                if !rests {
                    self.bids.remove(&bid.job);
                    jobs.push(bid.job);
                }
                rests
            });
        }
        jobs
    }

    /// Why an order rests.
    pub fn nearly(&self, now: Timestamp, job: JobId, free: impl Fn(Needs, Address) -> bool) -> Nearly {
        let mut nearly = Nearly::default();
        let Some((side, bid)) = self.bids.get(&job).and_then(|(resource, key)| {
            let side = self.sides.get(resource)?;
            Some((side, side.bids.get(key)?))
        }) else {
            return nearly;
        };
        for ask in side.asks.values().filter(|ask| ask.offer.expiry >= now) {
            let cheap = ask.offer.price <= bid.max_price;
            let large = ask.remaining >= bid.units;
            let ready = free(bid.needs, ask.offer.provider);
            nearly.offers += 1;
            nearly.too_dear += usize::from(!cheap && large && ready);
            nearly.too_small += usize::from(cheap && !large && ready);
            nearly.busy += usize::from(cheap && large && !ready);
        }
        nearly
    }

    /// The price levels of a resource, best first.
    pub fn book(&self, resource: ResourceId, now: Timestamp) -> Book {
        let side = self.sides.get(&resource);
        let asks = side.iter().flat_map(|side| side.asks.values()).filter(|ask| ask.offer.expiry >= now);
        let bids = side.iter().flat_map(|side| side.bids.values()).filter(|bid| bid.expiry >= now);
        Book {
            resource,
            asks: levels(asks.map(|ask| (ask.offer.price, ask.remaining))),
            bids: levels(bids.map(|bid| (bid.max_price, bid.units))),
        }
    }
}

fn best_ask<'a>(side: &'a Side, now: Timestamp, bid: &Bid, free: &impl Fn(Needs, Address) -> bool) -> Option<&'a Ask> {
    if bid.expiry < now {
        return None;
    }
    side.asks
        .range(..=(bid.max_price, u64::MAX))
        .map(|(_, ask)| ask)
        .find(|ask| ask.offer.expiry >= now && ask.remaining >= bid.units && free(bid.needs, ask.offer.provider))
}

fn first_pair(
    side: &Side,
    now: Timestamp,
    idle: &impl Fn(Address) -> bool,
    free: &impl Fn(Needs, Address) -> bool,
) -> Option<(Bid, Ask)> {
    let ready: Vec<&Ask> =
        side.asks.values().filter(|ask| ask.offer.expiry >= now && idle(ask.offer.provider)).collect();
    let cheapest = ready.first()?.offer.price;
    let bids = side.bids.values().take_while(|bid| bid.max_price >= cheapest).filter(|bid| bid.expiry >= now);
    bids.into_iter().find_map(|bid| {
        let mut asks = ready.iter().take_while(|ask| ask.offer.price <= bid.max_price);
        let ask = asks.find(|ask| ask.remaining >= bid.units && free(bid.needs, ask.offer.provider))?;
        Some((*bid, (*ask).clone()))
    })
}

/// Adds up neighbours of the same price; what comes in is sorted by price.
fn levels(sorted: impl Iterator<Item = (Price, Quantity)>) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for (price, quantity) in sorted {
        match levels.last_mut().filter(|level| level.price == price) {
            Some(level) => {
                level.quantity = level.quantity.plus(quantity).unwrap_or(Quantity(u64::MAX));
                level.count += 1;
            }
            None => levels.push(Level { price, quantity, count: 1 }),
        }
    }
    levels
}

impl Nearly {
    /// The reason, in a sentence that says what would help.
    pub fn reason(&self) -> String {
        if self.offers == 0 {
            return "No provider offers this resource now; the order waits until it expires.".into();
        }
        let mut parts = Vec::new();
        if self.busy > 0 {
            parts.push(format!("{} fit but have no worker free that can run it", self.busy));
        }
        if self.too_dear > 0 {
            parts.push(format!("{} ask more than its maxPrice", self.too_dear));
        }
        if self.too_small > 0 {
            parts.push(format!("{} have less capacity left than its maxUnits", self.too_small));
        }
        if parts.is_empty() {
            parts.push("none fits in all respects but one".into());
        }
        format!("Waits for an offer: of {} for this resource, {}.", self.offers, parts.join(", "))
    }
}

#[cfg(test)]
mod tests;
