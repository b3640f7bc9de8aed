use super::*;
use alloy::primitives::U256;
use proptest::prelude::*;

const CPU: ResourceId = ResourceId(2);
const NOW: Timestamp = Timestamp(100);

fn provider(n: u8) -> Address {
    Address::repeat_byte(n)
}

fn ask(sequence: u64, price: u64, capacity: u64, who: u8) -> Ask {
    let offer = Offer {
        provider: provider(who),
        resource: CPU,
        price: Price(price),
        capacity: Quantity(capacity),
        terms: B256::ZERO,
        expiry: Timestamp(200),
        salt: U256::from(sequence),
    };
    Ask { id: offer.hash(), offer, remaining: Quantity(capacity), sequence }
}

fn bid(sequence: u64, price: u64, units: u64) -> Bid {
    Bid {
        job: JobId(B256::from(U256::from(sequence))),
        needs: Needs { kind: Kind::Wasm, resource: CPU, memory: Quantity(1), devices: 0 },
        max_price: Price(price),
        units: Quantity(units),
        expiry: Timestamp(200),
        sequence,
    }
}

fn someone(_: Address) -> bool {
    true
}

fn anyone(_: Needs, _: Address) -> bool {
    true
}

#[test]
fn the_resting_side_sets_the_price() {
    let mut market = Market::default();
    market.add_ask(ask(1, 80, 10, 1));
    market.add_bid(bid(2, 100, 10));
    assert_eq!(market.take(NOW, bid(2, 100, 10).job, anyone).unwrap().price, Price(80));

    let mut market = Market::default();
    market.add_bid(bid(1, 100, 10));
    market.add_ask(ask(2, 80, 10, 1));
    assert_eq!(market.take_any(NOW, someone, anyone).unwrap().price, Price(100));
}

#[test]
fn the_cheapest_then_the_oldest_offer_is_taken() {
    let mut market = Market::default();
    market.add_ask(ask(1, 90, 10, 1));
    market.add_ask(ask(2, 80, 10, 2));
    market.add_ask(ask(3, 80, 10, 3));
    market.add_bid(bid(4, 100, 10));
    assert_eq!(market.take_any(NOW, someone, anyone).unwrap().provider, provider(2));
    market.add_bid(bid(5, 100, 10));
    assert_eq!(market.take_any(NOW, someone, anyone).unwrap().provider, provider(3));
    market.add_bid(bid(6, 100, 10));
    assert_eq!(market.take_any(NOW, someone, anyone).unwrap().provider, provider(1));
}

#[test]
fn capacity_comes_back_but_never_above_the_offer() {
    let mut market = Market::default();
    let offer = ask(1, 80, 10, 1);
    market.add_ask(offer.clone());
    market.add_bid(bid(2, 100, 8));
    assert_eq!(market.take_any(NOW, someone, anyone).unwrap().remaining, Quantity(2));
    market.add_bid(bid(3, 100, 8));
    assert_eq!(market.take_any(NOW, someone, anyone), None, "two units cannot serve eight");
    assert_eq!(market.nearly(NOW, bid(3, 100, 8).job, anyone).too_small, 1);
    assert_eq!(market.release(offer.id, Quantity(20)).unwrap().remaining, Quantity(10));
    assert!(market.take_any(NOW, someone, anyone).is_some());
}

#[test]
fn a_resting_order_says_what_it_lacks() {
    let mut market = Market::default();
    market.add_bid(bid(1, 100, 10));
    let job = bid(1, 100, 10).job;
    assert!(market.nearly(NOW, job, anyone).reason().contains("No provider offers"));
    market.add_ask(ask(2, 101, 10, 1));
    market.add_ask(ask(3, 100, 10, 2));
    let nobody_home = |_: Needs, who: Address| who != provider(2);
    let nearly = market.nearly(NOW, job, nobody_home);
    assert_eq!(nearly, Nearly { offers: 2, too_dear: 1, too_small: 0, busy: 1 });
    assert_eq!(
        nearly.reason(),
        "Waits for an offer: of 2 for this resource, 1 fit but have no worker free that can run it, 1 ask more than \
         its maxPrice."
    );
}

#[test]
fn what_expired_is_not_matched() {
    let mut market = Market::default();
    market.add_ask(ask(1, 80, 10, 1));
    market.add_bid(bid(2, 100, 10));
    assert_eq!(market.take_any(Timestamp(201), someone, anyone), None);
    assert_eq!(market.expire(Timestamp(201)), vec![bid(2, 100, 10).job]);
    assert_eq!(market.asks().count(), 0);
    assert_eq!(market.book(CPU, NOW), Book { resource: CPU, asks: vec![], bids: vec![] });
}

#[test]
fn levels_add_up() {
    let mut market = Market::default();
    for (sequence, price) in [(1, 80), (2, 70), (3, 80)] {
        market.add_ask(ask(sequence, price, 10, 1));
    }
    market.add_bid(bid(4, 60, 5));
    market.add_bid(bid(5, 65, 5));
    let level = |price, quantity, count| Level { price: Price(price), quantity: Quantity(quantity), count };
    let book = market.book(CPU, NOW);
    assert_eq!(book.asks, vec![level(70, 10, 1), level(80, 20, 2)]);
    assert_eq!(book.bids, vec![level(65, 5, 1), level(60, 5, 1)]);
}

proptest! {
    /// Whatever arrives in whatever order: each order takes the best offer that fits it at that moment, at the price
    /// of the older side, and nothing that could trade is left in the book.
    #[test]
    fn price_time_priority_and_no_crossed_book(
        arrivals in prop::collection::vec((any::<bool>(), 1u64..8, 1u64..6, 1u8..4), 1..60),
        busy in 1u8..6,
    ) {
        let free = |_: Needs, who: Address| who != provider(busy);
        let mut market = Market::default();
        let mut asks: Vec<Ask> = Vec::new();
        let mut bids: Vec<Bid> = Vec::new();
        for (n, (is_ask, price, units, who)) in arrivals.into_iter().enumerate() {
            let sequence = n as u64 + 1;
            if is_ask {
                let new = ask(sequence, price, units, who);
                market.add_ask(new.clone());
                asks.push(new);
            } else {
                let new = bid(sequence, price, units);
                market.add_bid(new);
                bids.push(new);
            }
            while let Some(found) = market.take_any(NOW, |who| who != provider(busy), free) {
                bids.sort_by_key(|bid| (Reverse(bid.max_price), bid.sequence));
                asks.sort_by_key(|ask| (ask.offer.price, ask.sequence));
                let fits = |bid: &Bid, ask: &Ask| {
                    ask.offer.price <= bid.max_price && ask.remaining >= bid.units && free(bid.needs, ask.offer.provider)
                };
                let first = bids.iter().position(|bid| asks.iter().any(|ask| fits(bid, ask))).unwrap();
                let taken = bids.remove(first);
                let best = asks.iter_mut().find(|ask| fits(&taken, ask)).unwrap();
                prop_assert_eq!((found.job, found.offer), (taken.job, best.id));
                let older = if best.sequence < taken.sequence { best.offer.price } else { taken.max_price };
                prop_assert_eq!(found.price, older);
                prop_assert!(found.price <= taken.max_price && found.price >= best.offer.price);
                best.remaining = best.remaining.minus(taken.units).unwrap();
                prop_assert_eq!(found.remaining, best.remaining);
            }
            let crossed = bids.iter().any(|bid| asks.iter().any(|ask| {
                ask.offer.price <= bid.max_price && ask.remaining >= bid.units && free(bid.needs, ask.offer.provider)
            }));
            prop_assert!(!crossed, "a match was left in the book");
        }
    }
}
