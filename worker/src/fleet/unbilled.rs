//! Time of this machine's devices that jobs took and that nothing is billed for.
//!
//! Compiling and copying are not billed, and a job that ends before it has used anything costs its client nothing. That is
//! fair to whoever makes a mistake, and an invitation to whoever sends one source after another that compiles until it is
//! stopped. So what is beyond the usual is added up for each payer, and from a limit on no more of its jobs are taken until
//! it is forgotten. The usual is free for a job that is paid for only: else whoever sends many short ones would never
//! reach any limit.

use super::device::Site;
use crate::node::lock;
use alloy::primitives::Address;
use protocol::resource::Usage;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a job that was billed or delivered may take besides.
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

/// How much of the time for which a device was held is unusual and not billed. A job that delivered nothing and that
/// nothing is billed for has no usual time.
pub(super) fn beyond(site: Site, held: Duration, usage: &Usage, delivered: bool) -> Duration {
    let billed = billed(site, usage);
    let usual = if delivered || !billed.is_zero() { USUAL } else { Duration::ZERO };
    held.saturating_sub(usual).saturating_sub(billed)
}

/// For how long a job that has used so much may have had its device, where its payer has `left` to take without being
/// billed for it.
pub(super) fn longest(site: Site, usage: &Usage, left: Duration) -> Duration {
    billed(site, usage).saturating_add(USUAL).saturating_add(left)
}

/// The time of a device that a usage is billed as.
fn billed(site: Site, usage: &Usage) -> Duration {
    Duration::from_millis(match site {
        Site::Cpu => usage.cpu_ms.get().saturating_mul(SLOWEST),
        Site::Gpu(_) => usage.gpu_ms.get(),
    })
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

    /// What a payer's jobs may still take before it is refused.
    pub(super) fn left(&self, payer: Address, most: Duration, now: Instant) -> Duration {
        let payers = lock(&self.0);
        let taken = payers.get(&payer).filter(|entry| !entry.is_over(now)).map_or(Duration::ZERO, |entry| entry.taken);
        most.saturating_sub(taken)
    }

    /// Refuses a payer whose jobs took more than `most`, and tells when it may try again.
    pub(super) fn check(&self, payer: Address, most: Duration, now: Instant) -> Result<(), String> {
        let payers = lock(&self.0);
        let Some(entry) = payers.get(&payer).filter(|entry| entry.taken > most && !entry.is_over(now)) else {
            return Ok(());
        };
        let minutes = MEMORY.saturating_sub(now.duration_since(entry.since)).as_secs() / 60 + 1;
        Err(format!(
            "jobs of this payer took {} s of this worker's devices beyond what they were billed for: its jobs are taken \
             again in {minutes} minutes",
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

    fn usage(gpu: u64, cpu: u64) -> Usage {
        Usage { gpu_ms: Quantity(gpu), cpu_ms: Quantity(cpu), ..Usage::default() }
    }

    #[test]
    fn what_is_billed_or_usual_is_not_held_against_anyone() {
        let held = Duration::from_secs(30);
        let over = |site, usage| beyond(site, held, &usage, false);
        assert_eq!(over(Site::Gpu(0), usage(1, 0)), Duration::from_millis(24_999), "a launch for show");
        assert_eq!(over(Site::Gpu(0), usage(28_000, 0)), Duration::ZERO);
        assert_eq!(over(Site::Cpu, usage(0, 3_000)), Duration::ZERO, "a slow machine");
        assert_eq!(over(Site::Cpu, usage(0, 1)), Duration::from_millis(24_990));
        assert_eq!(beyond(Site::Cpu, held, &Usage::default(), true), Duration::from_secs(25), "it has no instructions");
    }

    /// Else a source that compiles for less than the usual time could be sent for ever.
    #[test]
    fn a_job_that_ends_with_nothing_billed_counts_whole() {
        for (held, billed) in [(30_000, 29_000), (4_900, 0), (1, 0)] {
            let held = Duration::from_millis(held);
            assert_eq!(beyond(Site::Gpu(0), held, &usage(0, billed), false), held, "a compiler's time");
        }
        assert_eq!(beyond(Site::Gpu(0), Duration::from_millis(4_900), &usage(1, 0), false), Duration::ZERO);
    }

    #[test]
    fn a_running_job_may_go_on_as_far_as_its_payer_has_time_left() {
        let (unbilled, now) = (Unbilled::default(), Instant::now());
        assert_eq!(unbilled.left(PAYER, MOST, now), MOST);
        unbilled.add(PAYER, Duration::from_secs(50), now);
        let left = unbilled.left(PAYER, MOST, now);
        assert_eq!(left, Duration::from_secs(10));
        assert_eq!(longest(Site::Gpu(0), &usage(2_000, 0), left), Duration::from_secs(17));
        assert_eq!(longest(Site::Cpu, &usage(0, 2_000), left), Duration::from_secs(35));
        unbilled.add(PAYER, Duration::from_secs(50), now);
        assert_eq!(unbilled.left(PAYER, MOST, now), Duration::ZERO);
        assert_eq!(unbilled.left(PAYER, MOST, now + MEMORY), MOST);
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
