//! How long a container has held its lease, and when it must give it back.

use super::super::JobInput;
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Bytes in a mebibyte.
const MIB: u64 = 1 << 20;

/// Counts from its making on.
pub(super) struct Meter {
    started: Instant,
    wall: Duration,
    max_units: u64,
    /// Leases that it holds at once: one, or one for each GPU.
    leases: u64,
    memory_mib: u64,
    bytes_in: u64,
}

/// Why a container is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    Cancelled,
    /// Which limit, and where it is set.
    Limit(String),
}

impl Meter {
    /// The meter of a job whose container starts now.
    pub(super) fn start(job: &JobInput) -> Self {
        Self {
            started: Instant::now(),
            wall: Duration::from_millis(job.envelope.limits.wall_ms.get()),
            max_units: job.max_units.get(),
            leases: u64::from(job.envelope.program.devices().max(1)),
            memory_mib: job.envelope.limits.memory.get().div_ceil(MIB).max(1),
            bytes_in: job.inputs().iter().map(|input| input.len() as u64).sum(),
        }
    }

    /// What was used until now, never less than before and never more than the limits.
    pub(super) fn usage(&self, last: &Usage) -> Usage {
        self.usage_after(self.started.elapsed(), last)
    }

    /// Whether the container must end now.
    pub(super) fn reached(&self, cancel: &CancellationToken) -> Option<Reached> {
        if cancel.is_cancelled() {
            return Some(Reached::Cancelled);
        }
        self.limit_after(self.started.elapsed()).map(Reached::Limit)
    }

    fn usage_after(&self, elapsed: Duration, last: &Usage) -> Usage {
        let held = seconds(elapsed.min(self.wall));
        let lease_s = held.saturating_mul(self.leases).min(self.max_units);
        let memory_mib_s = self.memory_mib.saturating_mul(held.min(self.max_units.div_ceil(self.leases)));
        Usage {
            lease_s: last.lease_s.max(lease_s.into()),
            memory_mib_s: last.memory_mib_s.max(memory_mib_s.into()),
            bytes_in: self.bytes_in.into(),
            ..*last
        }
    }

    fn limit_after(&self, elapsed: Duration) -> Option<String> {
        if elapsed >= self.wall {
            return Some("it ran longer than its wall time (limits.wallMs of the envelope)".into());
        }
        let units = self.max_units;
        // What is left for less than a second of all its GPUs pays for none.
        (elapsed >= Duration::from_secs(units / self.leases))
            .then(|| format!("it used all of its {units} lease-s (maxUnits of the order)"))
    }
}

/// Seconds that have begun.
fn seconds(elapsed: Duration) -> u64 {
    elapsed.as_secs() + u64::from(elapsed.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;

    fn meter(wall_ms: u64, max_units: u64) -> Meter {
        let wall = Duration::from_millis(wall_ms);
        Meter { started: Instant::now(), wall, max_units, leases: 1, memory_mib: 64, bytes_in: 6 }
    }

    #[test]
    fn each_gpu_is_a_lease_of_its_own() {
        let meter = Meter { leases: 4, ..meter(60_000, 10) };
        let after = |ms| meter.usage_after(Duration::from_millis(ms), &Usage::default());
        assert_eq!([1, 1_000, 1_001].map(|ms| after(ms).lease_s.get()), [4, 4, 8]);
        assert_eq!(after(9_000).lease_s, Quantity(10), "the order is not exceeded");
        assert_eq!(after(1_001).memory_mib_s, Quantity(128), "the memory is the container's, however many GPUs it has");
        assert_eq!(meter.limit_after(Duration::from_millis(1_999)), None);
        assert!(meter.limit_after(Duration::from_millis(2_000)).unwrap().contains("maxUnits"));
    }

    #[test]
    fn seconds_round_up_and_stay_below_the_limits() {
        let lease = |meter: &Meter, ms| meter.usage_after(Duration::from_millis(ms), &Usage::default()).lease_s.get();
        let long = meter(60_000, 100);
        assert_eq!([0, 1, 1000, 1001, 59_999].map(|ms| lease(&long, ms)), [0, 1, 1, 2, 60]);
        assert_eq!(lease(&meter(2_500, 100), 9_000), 3, "the wall time is not exceeded by the time to kill");
        assert_eq!(lease(&meter(60_000, 2), 9_000), 2, "the order is not exceeded either");
    }

    #[test]
    fn usage_never_falls() {
        let last = Usage { lease_s: Quantity(7), cpu_ms: Quantity(30), ..Usage::default() };
        let usage = meter(60_000, 100).usage_after(Duration::from_secs(3), &last);
        assert!(usage.covers(&last));
        assert_eq!((usage.memory_mib_s, usage.bytes_in), (Quantity(192), Quantity(6)));
    }

    #[test]
    fn each_limit_is_named() {
        let reached = |wall_ms, units, ms| meter(wall_ms, units).limit_after(Duration::from_millis(ms));
        assert_eq!(reached(1_000, 5, 999), None);
        assert!(reached(1_000, 5, 1_000).unwrap().contains("limits.wallMs"));
        assert!(reached(9_000, 5, 5_000).unwrap().contains("maxUnits"));
    }
}
