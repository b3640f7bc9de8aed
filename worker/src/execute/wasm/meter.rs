//! How much a guest has used, told while it runs.

use super::super::{ExecuteError, JobInput};
use protocol::amount::Quantity;
use protocol::resource::{FUEL_PER_CPU_MS, Unit, Usage};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes in a mebibyte.
const MIB: u64 = 1 << 20;

/// Counts fuel and bytes. The guest's imports write to it, and the loop that drives the guest reads it.
pub(super) struct Meter {
    unit: Unit,
    max_units: Quantity,
    memory_mib: u64,
    fuel_limit: u64,
    fuel: AtomicU64,
    bytes_in: AtomicU64,
}

impl Meter {
    /// A meter at zero. The fuel is limited so that the billed unit never exceeds the order's `maxUnits`.
    pub(super) fn new(job: &JobInput, memory: u64) -> Result<Self, ExecuteError> {
        let memory_mib = memory.div_ceil(MIB).max(1);
        let units = job.max_units.get();
        let cpu_ms = match job.unit {
            Unit::CpuMs => units,
            Unit::MemoryMibS => units.saturating_mul(1000) / memory_mib,
            Unit::BytesOut => u64::MAX,
            Unit::GpuMs | Unit::Flop | Unit::Path | Unit::Hash | Unit::Key | Unit::LeaseS => {
                return Err(ExecuteError::Unsupported(format!("a wasm job cannot be billed in {}", job.unit)));
            }
        };
        // The runtime counts in signed 64 bits.
        let fuel_limit = cpu_ms.saturating_mul(FUEL_PER_CPU_MS).min(i64::MAX as u64);
        let zero = || AtomicU64::new(0);
        Ok(Self { unit: job.unit, max_units: job.max_units, memory_mib, fuel_limit, fuel: zero(), bytes_in: zero() })
    }

    pub(super) const fn fuel_limit(&self) -> u64 {
        self.fuel_limit
    }

    /// Adds the fuel of a slice that ended.
    pub(super) fn burned(&self, fuel: u64) {
        let sum = self.fuel.load(Relaxed).saturating_add(fuel).min(self.fuel_limit);
        self.fuel.store(sum, Relaxed);
    }

    /// Takes the runtime's own count, by what is left of the limit.
    pub(super) fn burned_all_but(&self, left: u64) {
        self.fuel.fetch_max(self.fuel_limit.saturating_sub(left), Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Relaxed);
    }

    /// The largest number of bytes that may be delivered, where that is what is billed.
    pub(super) fn max_bytes_out(&self) -> Option<u64> {
        (self.unit == Unit::BytesOut).then_some(self.max_units.get())
    }

    pub(super) fn usage(&self) -> Usage {
        let fuel = self.fuel.load(Relaxed);
        let cpu_ms = fuel.div_ceil(FUEL_PER_CPU_MS);
        let memory = (u128::from(self.memory_mib) * u128::from(cpu_ms)).div_ceil(1000);
        Usage {
            cpu_ms: Quantity(cpu_ms),
            memory_mib_s: Quantity(u64::try_from(memory).unwrap_or(u64::MAX)),
            bytes_in: Quantity(self.bytes_in.load(Relaxed)),
            fuel: Quantity(fuel),
            ..Usage::default()
        }
    }

    /// The sentence for a guest that used up its fuel.
    pub(super) fn exhausted(&self) -> String {
        format!("it used all of its {} {} (maxUnits of the order)", self.max_units, self.unit)
    }
}
