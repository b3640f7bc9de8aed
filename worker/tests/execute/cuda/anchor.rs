//! The anchors of the benchmark, small: that each is measured, not what it is.

use super::job::{alone, config};
use worker::execute::anchor::{Sizes, measure};

#[test]
fn every_anchor_is_measured_on_the_emulated_device() {
    let _alone = alone();
    let sizes = Sizes { launches: 200, copy: 3 << 20, side: 32, rounds: 1 };
    let anchors = measure(&config(), &sizes).unwrap();
    assert_eq!(anchors.device, "emulated");
    assert_eq!(anchors.figures.len(), 8);
    for (name, figure) in &anchors.figures {
        let pair = figure.as_ref().unwrap_or_else(|reason| panic!("{name}: {reason}"));
        println!("{name}: {} ns through the worker, {} ns without it", pair.measured, pair.reference);
        assert!(pair.measured > 0 && pair.reference > 0, "{name}: {pair:?}");
    }
    let cached = anchors.figures["compile_cached"].clone().unwrap();
    assert!(cached.measured * 10 < cached.reference, "{cached:?}");
}
