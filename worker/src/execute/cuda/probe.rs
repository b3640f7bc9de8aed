//! Finding out which GPUs there are.

use super::{EMULATED, require_driver};
use crate::execute::CudaConfig;
use cudarc::driver::result::{self, DriverError};
use serde::{Deserialize, Serialize};

/// A GPU that the driver shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// Its number in the driver's order.
    pub number: u32,
    /// Its name, such as `NVIDIA H200`.
    pub name: String,
    /// Its memory in bytes.
    pub memory: u64,
}

/// The GPUs that the configuration lets work, or a sentence about why there is none.
pub fn gpus(config: &CudaConfig) -> Result<Vec<Gpu>, String> {
    require_driver(config)?;
    let found = list().map_err(|error| format!("the CUDA driver does not work: {error}"))?;
    let count = found.len();
    let gpus: Vec<Gpu> = found.into_iter().filter(|gpu| config.devices.contains(gpu.number)).collect();
    if gpus.is_empty() {
        return Err(format!("the driver shows {count} devices, and cuda.devices allows none of them"));
    }
    if !config.allow_emulated && gpus.iter().any(|gpu| gpu.name == EMULATED) {
        return Err("the only device is the test kit's emulation, which no network accepts".into());
    }
    Ok(gpus)
}

fn list() -> Result<Vec<Gpu>, DriverError> {
    let count = result::device::get_count()?;
    let gpus = (0..count).map(|number| {
        let device = result::device::get(number)?;
        // SAFETY: the driver just returned this device.
        let memory = unsafe { result::device::total_mem(device) }? as u64;
        Ok(Gpu { number: number.unsigned_abs(), name: result::device::get_name(device)?, memory })
    });
    gpus.collect()
}
