//! Resource classes, how they are metered, and what a metered quantity costs.

use crate::amount::{Amount, Overflow, Price, Quantity};
use crate::bindings::messages;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Number of a resource class in the ResourceCatalog, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(pub u32);

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A base unit in which usage is metered; its text is the one in the ResourceCatalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds of a whole GPU.
    #[serde(rename = "GPU-ms")]
    GpuMs,
    /// Milliseconds of one virtual CPU.
    #[serde(rename = "vCPU-ms")]
    CpuMs,
    /// Mebibytes held for a second, in memory or in storage.
    #[serde(rename = "MiB-s")]
    MemoryMibS,
    /// Bytes sent to the client.
    #[serde(rename = "byte")]
    BytesOut,
    /// Floating-point or integer operations of a matrix product: 2 m n k.
    #[serde(rename = "FLOP")]
    Flop,
    /// Steps of simulated paths.
    #[serde(rename = "path")]
    Path,
    /// Hashes computed.
    #[serde(rename = "hash")]
    Hash,
    /// Keys sorted or reduced.
    #[serde(rename = "key")]
    Key,
    /// Seconds for which a container holds its part of the machine, counted once for each GPU where it holds several.
    #[serde(rename = "lease-s")]
    LeaseS,
}

/// Every unit that this version meters.
const UNITS: [Unit; 9] = [
    Unit::GpuMs,
    Unit::CpuMs,
    Unit::MemoryMibS,
    Unit::BytesOut,
    Unit::Flop,
    Unit::Path,
    Unit::Hash,
    Unit::Key,
    Unit::LeaseS,
];

impl Unit {
    /// The text of the unit in the catalog and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GpuMs => "GPU-ms",
            Self::CpuMs => "vCPU-ms",
            Self::MemoryMibS => "MiB-s",
            Self::BytesOut => "byte",
            Self::Flop => "FLOP",
            Self::Path => "path",
            Self::Hash => "hash",
            Self::Key => "key",
            Self::LeaseS => "lease-s",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The catalog names a unit that this version does not meter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unit {0:?} is not metered by this version: update Capa to trade this resource")]
pub struct UnknownUnit(pub String);

impl FromStr for Unit {
    type Err = UnknownUnit;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UNITS.into_iter().find(|unit| unit.as_str() == text).ok_or_else(|| UnknownUnit(text.to_owned()))
    }
}

/// A class of the ResourceCatalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Its number.
    pub id: ResourceId,
    /// Its name, such as `gpu.h200` or `cpu.x86-64`.
    pub name: String,
    /// What is counted.
    pub unit: Unit,
    /// Base units in one human unit (GPU-hour, vCPU-hour, GiB-hour, GiB).
    pub scale: Quantity,
}

impl Resource {
    /// What `quantity` costs at `price`: `ceil(quantity * price / scale)`, in 128-bit arithmetic.
    pub fn amount(&self, quantity: Quantity, price: Price) -> Result<Amount, Overflow> {
        let product = u128::from(quantity.get()) * u128::from(price.get());
        let amount = product.div_ceil(u128::from(self.scale.get().max(1)));
        u64::try_from(amount).map(Amount).map_err(|_| Overflow { operation: "pricing a quantity" })
    }

    /// The largest quantity that `amount` pays for at `price`; all of them where the price is zero.
    pub fn affordable(&self, amount: Amount, price: Price) -> Quantity {
        if price == Price::ZERO {
            return Quantity(u64::MAX);
        }
        let quantity = u128::from(amount.get()) * u128::from(self.scale.get()) / u128::from(price.get());
        Quantity(u64::try_from(quantity).unwrap_or(u64::MAX))
    }
}

/// Fuel of one vCPU-millisecond: a standard vCPU is defined as 2e9 units of WebAssembly fuel a second.
///
/// Fuel is counted by the program's own instructions, so a WASM job is metered the same on every machine.
pub const FUEL_PER_CPU_MS: u64 = 2_000_000;

/// What a job has used so far, of everything that is metered. Cumulative over the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// Milliseconds on the GPU, summed over launches.
    pub gpu_ms: Quantity,
    /// Milliseconds of virtual CPU.
    pub cpu_ms: Quantity,
    /// Memory held over time.
    pub memory_mib_s: Quantity,
    /// Bytes of inputs read.
    pub bytes_in: Quantity,
    /// Bytes of outputs delivered.
    pub bytes_out: Quantity,
    /// WebAssembly fuel burned; zero for other kinds.
    pub fuel: Quantity,
    /// Work units of a builtin kernel, which follow from the job alone; zero for other kinds.
    pub work: Quantity,
    /// Seconds for which a container held its lease, times the GPUs where there are several; zero for other kinds.
    pub lease_s: Quantity,
}

impl Usage {
    /// The component that is billed for a resource metered in `unit`.
    pub const fn quantity(&self, unit: Unit) -> Quantity {
        match unit {
            Unit::GpuMs => self.gpu_ms,
            Unit::CpuMs => self.cpu_ms,
            Unit::MemoryMibS => self.memory_mib_s,
            Unit::BytesOut => self.bytes_out,
            Unit::Flop | Unit::Path | Unit::Hash | Unit::Key => self.work,
            Unit::LeaseS => self.lease_s,
        }
    }

    /// Whether no component is below the one of `earlier`.
    pub fn covers(&self, earlier: &Self) -> bool {
        self.gpu_ms >= earlier.gpu_ms
            && self.cpu_ms >= earlier.cpu_ms
            && self.memory_mib_s >= earlier.memory_mib_s
            && self.bytes_in >= earlier.bytes_in
            && self.bytes_out >= earlier.bytes_out
            && self.fuel >= earlier.fuel
            && self.work >= earlier.work
            && self.lease_s >= earlier.lease_s
    }

    /// The EIP-712 struct hash that a receipt carries.
    pub fn hash(&self) -> alloy::primitives::B256 {
        use alloy::sol_types::SolStruct;
        messages::Usage {
            gpuMs: self.gpu_ms.get(),
            cpuMs: self.cpu_ms.get(),
            memoryMibS: self.memory_mib_s.get(),
            bytesIn: self.bytes_in.get(),
            bytesOut: self.bytes_out.get(),
            fuel: self.fuel.get(),
            work: self.work.get(),
            leaseS: self.lease_s.get(),
        }
        .eip712_hash_struct()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpu(scale: u64) -> Resource {
        Resource { id: ResourceId(2), name: "cpu.x86-64".into(), unit: Unit::CpuMs, scale: Quantity(scale) }
    }

    #[test]
    fn prices_round_up() {
        let cpu = cpu(3_600_000);
        assert_eq!(cpu.amount(Quantity(3_600_000), Price(50)).unwrap(), Amount(50));
        assert_eq!(cpu.amount(Quantity(1), Price(50)).unwrap(), Amount(1));
        assert_eq!(cpu.amount(Quantity(0), Price(50)).unwrap(), Amount(0));
        assert!(cpu.amount(Quantity(u64::MAX), Price(u64::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_affordable_is_paid_for(amount in 0u64..1 << 50, price in 1u64..1 << 40, scale in 1u64..1 << 32) {
            let cpu = cpu(scale);
            let quantity = cpu.affordable(Amount(amount), Price(price));
            prop_assert!(cpu.amount(quantity, Price(price)).unwrap() <= Amount(amount));
            let one_more = Quantity(quantity.get() + 1);
            prop_assert!(cpu.amount(one_more, Price(price)).unwrap() > Amount(amount));
        }
    }
}
