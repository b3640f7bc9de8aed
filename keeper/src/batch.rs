//! When a batch is closed, and what it closes to. Pure.

use crate::config::BatchConfig;
use keeper_store::Batch;
use protocol::amount::Timestamp;

/// The chain's part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// When the chain began to wait for a commit.
    pub since: Timestamp,
    /// How long it waits before anyone may wind the keeper down, in seconds.
    pub period: u64,
    /// The chain's clock.
    pub now: Timestamp,
}

impl Heartbeat {
    /// Whether a commit is due even if there is nothing to commit: half of the time is over.
    pub fn is_due(&self) -> bool {
        self.now.get().saturating_sub(self.since.get()) >= self.period / 2
    }
}

/// Whether a batch should be closed now. Only called for the batch that the chain has open, so that never more than
/// one batch waits behind a pending one.
pub fn is_due(batch: &Batch, rules: &BatchConfig, heartbeat: &Heartbeat, now_ms: u64) -> bool {
    let aged = batch
        .first_at
        .is_some_and(|first| now_ms.saturating_sub(first.get().saturating_mul(1_000)) >= rules.close_after_ms);
    aged || (batch.vouchers > 0 && (batch.vouchers >= rules.max_vouchers || batch.debits >= rules.max_value))
        || heartbeat.is_due()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Amount;

    const RULES: BatchConfig = BatchConfig { close_after_ms: 5_000, max_vouchers: 3, max_value: Amount(100) };
    const CALM: Heartbeat = Heartbeat { since: Timestamp(1_000), period: 60, now: Timestamp(1_001) };

    fn batch(vouchers: u64, debits: u64, first_at: Option<u64>) -> Batch {
        Batch { vouchers, debits: Amount(debits), first_at: first_at.map(Timestamp), ..Batch::filling(1) }
    }

    #[test]
    fn each_limit_closes_and_nothing_else() {
        let due = |batch: &Batch| is_due(batch, &RULES, &CALM, 1_004_000);
        assert!(!due(&batch(0, 0, None)), "an empty batch stays open");
        assert!(!due(&batch(1, 99, Some(1_000))));
        assert!(due(&batch(1, 99, Some(999))), "five seconds have passed");
        assert!(due(&batch(3, 99, Some(1_000))), "three vouchers");
        assert!(due(&batch(1, 100, Some(1_000))), "its value");
    }

    #[test]
    fn half_of_the_heartbeat_closes_even_an_empty_batch() {
        let at = |now| Heartbeat { now: Timestamp(now), ..CALM };
        assert!(!is_due(&batch(0, 0, None), &RULES, &at(1_029), 0));
        assert!(is_due(&batch(0, 0, None), &RULES, &at(1_030), 0));
        assert!(!is_due(&batch(0, 0, None), &RULES, &at(900), 0), "a node whose clock is behind");
    }
}
