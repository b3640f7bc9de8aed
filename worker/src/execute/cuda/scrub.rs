//! Clearing all memory of a device, by a process that does nothing else.
//!
//! Drivers clear memory before another process sees it, as far as they document anything about it. A worker that hands
//! a device from one payer to the next does not rely on that where the one before did not clear its memory itself.

use super::context::Context;
use super::{DEVICE, require_driver};
use crate::execute::CudaConfig;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// The driver hands out memory of this size at the least; what is left in smaller pieces it hands out to nobody.
const LEAST: usize = 2 << 20;
/// What may stay out of reach: the driver's own bookkeeping, and one part in this many of the device.
const KEPT: usize = 64 << 20;
const KEPT_PART: usize = 256;

/// Writes zeros over nearly all memory of the only device that this process sees, and tells how many bytes that were; or
/// says in a sentence why something of earlier jobs may still be there.
pub fn scrub(config: &CudaConfig) -> Result<u64, String> {
    require_driver(config)?;
    let failed = |error: DriverError| format!("the memory of the GPU cannot be cleared: {error}");
    let context = Context::open(DEVICE).map_err(failed)?;
    let memory = All::take().map_err(failed)?;
    memory.clear().map_err(failed)?;
    let (left, total) = result::mem_get_info().map_err(failed)?;
    let most = KEPT + total / KEPT_PART;
    if left > most {
        return Err(format!(
            "the memory of the GPU cannot be cleared: {} MiB of it are free and cannot be had",
            left >> 20
        ));
    }
    let bytes = memory.bytes();
    // It is given back in its context.
    drop(memory);
    drop(context);
    Ok(bytes)
}

/// All memory of a device that nobody has.
struct All(Vec<(sys::CUdeviceptr, usize)>);

impl All {
    /// Takes pieces as large as there are, until only pieces are left that nobody is given.
    fn take() -> Result<Self, DriverError> {
        let mut all = Self(Vec::new());
        let (mut size, _) = result::mem_get_info()?;
        while size >= LEAST {
            // SAFETY: the size is not zero; the memory is written before anything reads it.
            match unsafe { result::malloc_sync(size) } {
                Ok(address) => {
                    all.0.push((address, size));
                    size = size.min(result::mem_get_info()?.0);
                }
                // It lies in pieces, or a part of it is the driver's own.
                Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => size /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn clear(&self) -> Result<(), DriverError> {
        for (address, size) in &self.0 {
            // SAFETY: the memory is this value's own, and so long.
            unsafe { result::memset_d8_sync(*address, 0, *size) }?;
        }
        result::ctx::synchronize()
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, size)| *size as u64).sum()
    }
}

impl Drop for All {
    fn drop(&mut self) {
        for (address, _) in self.0.drain(..) {
            // SAFETY: the address came from the driver, and nothing uses it after this. An error means that the context
            // is broken, and it goes as a whole.
            let _ = unsafe { result::free_sync(address) };
        }
    }
}
