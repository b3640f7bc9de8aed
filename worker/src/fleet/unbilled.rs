//! Time of this machine's devices that jobs took and that nothing is billed for.
//!
//! Compiling and copying are not billed, and a job that ends before it has used anything costs its client nothing. That is
//! fair to whoever makes a mistake, and an invitation to whoever sends one source after another that compiles until it is
//! stopped. So what is beyond the usual is added up for each payer, and from a limit on no more of its jobs are taken until
//! it is forgotten.

use super::device::Site;
use crate::node::lock;
use alloy::primitives::Address;
use protocol::resource::Usage;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What any job may take without being billed for it.
const USUAL: Duration = Duration::from_secs(5);
/// How much slower than the standard one a CPU may work off a program, which is billed by its instructions alone.
const SLOWEST: u64 = 10;
/// For so long it is remembered, from the first of it.
const MEMORY: Duration = Duration::from_secs(3600);

/// What each payer's jobs took.
#[derive(Debug, Default)]
pub(super) struct Unbilled(Mutex<HashMap<Address, Entry>>);

#[derive(Debug)]
struct Entry {
    taken: Duration,
    since: Instant,
}

/// How much of the time for which a device was held is unusual and not billed.
pub(super) fn beyond(site: Site, held: Duration, usage: &Usage) -> Duration {
    let billed = match site {
        Site::Cpu => usage.cpu_ms.get().saturating_mul(SLOWEST),
        Site::Gpu(_) => usage.gpu_ms.get(),
    };
    held.saturating_sub(USUAL).saturating_sub(Duration::from_millis(billed))
}

impl Unbilled {
    /// A payer's job took so much.
    pub(super) fn add(&self, payer: Address, taken: Duration, now: Instant) {
        if taken.is_zero() {
            return;
        }
        let mut payers = lock(&self.0);
        payers.retain(|_, entry| !entry.is_over(now));
        let entry = payers.entry(payer).or_insert(Entry { taken: Duration::ZERO, since: now });
        entry.taken = entry.taken.saturating_add(taken);
    }

    /// Refuses a payer whose jobs took more than `most`, and tells when it may try again.
    pub(super) fn check(&self, payer: Address, most: Duration, now: Instant) -> Result<(), String> {
        let payers = lock(&self.0);
        let Some(entry) = payers.get(&payer).filter(|entry| entry.taken > most && !entry.is_over(now)) else {
            return Ok(());
        };
        let minutes = MEMORY.saturating_sub(now.duration_since(entry.since)).as_secs() / 60 + 1;
        Err(format!(
            "jobs of this payer took {} s of this worker's devices beyond what they were billed for: programs that compile \
             in less time are taken again in {minutes} minutes",
            entry.taken.as_secs()
        ))
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;

    const PAYER: Address = Address::repeat_byte(7);
    const MOST: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_billed_or_usual_is_not_held_against_anyone() {
        let held = Duration::from_secs(30);
        let usage = |gpu, cpu| Usage { gpu_ms: Quantity(gpu), cpu_ms: Quantity(cpu), ..Usage::default() };
        assert_eq!(beyond(Site::Gpu(0), held, &usage(0, 29_000)), Duration::from_secs(25), "a compiler's time");
        assert_eq!(beyond(Site::Gpu(0), held, &usage(1, 0)), Duration::from_millis(24_999), "and a launch for show");
        assert_eq!(beyond(Site::Gpu(0), held, &usage(28_000, 0)), Duration::ZERO);
        assert_eq!(beyond(Site::Cpu, held, &usage(0, 3_000)), Duration::ZERO, "a slow machine");
        assert_eq!(beyond(Site::Cpu, held, &usage(0, 1)), Duration::from_millis(24_990));
    }

    #[test]
    fn a_payer_is_refused_until_it_is_forgotten_and_no_other_is() {
        let (unbilled, start) = (Unbilled::default(), Instant::now());
        unbilled.add(PAYER, MOST, start);
        assert_eq!(unbilled.check(PAYER, MOST, start), Ok(()));
        unbilled.add(PAYER, Duration::from_secs(1), start + MEMORY / 2);
        let refused = unbilled.check(PAYER, MOST, start + MEMORY / 2).unwrap_err();
        assert!(refused.contains("took 61 s") && refused.contains("in 31 minutes"), "{refused}");
        assert_eq!(unbilled.check(Address::ZERO, MOST, start), Ok(()));
        assert_eq!(unbilled.check(PAYER, MOST, start + MEMORY), Ok(()));
        unbilled.add(Address::ZERO, MOST, start + MEMORY);
        assert_eq!(lock(&unbilled.0).len(), 1, "nobody is remembered for longer");
    }
}
