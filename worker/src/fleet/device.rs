//! What jobs run on: slots of the CPU, and GPUs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place for one job at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// A share of the CPU, by its number.
    Cpu(u32),
    /// A GPU, by its number in the driver's order.
    Gpu(u32),
}

/// What a child is built for. Children of the CPU fit every slot of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Site {
    /// The CPU.
    Cpu,
    /// That GPU.
    Gpu(u32),
}

impl Device {
    pub(super) const fn site(self) -> Site {
        match self {
            Self::Cpu(_) => Site::Cpu,
            Self::Gpu(number) => Site::Gpu(number),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(number) => write!(f, "CPU slot {number}"),
            Self::Gpu(number) => write!(f, "GPU {number}"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("the CPU"),
            Self::Gpu(number) => write!(f, "GPU {number}"),
        }
    }
}
