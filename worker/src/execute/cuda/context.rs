//! A device, and the context in which everything on it lives.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::sync::Arc;

type Attribute = sys::CUdevice_attribute_enum;

/// Stack of each thread of a kernel that calls functions; also the driver's default.
const STACK_BYTES: usize = 1 << 10;
/// What all threads together can have from `malloc` in a kernel; the driver takes it from the device when a module that
/// calls it is loaded.
const HEAP_BYTES: usize = 8 << 20;
/// Buffer for `printf` in kernels. Its text goes to the standard output, which a job's process has not.
const PRINTF_BYTES: usize = 64 << 10;

/// What does not change about a device.
#[derive(Debug, Clone)]
pub(in crate::execute) struct Facts {
    pub(in crate::execute) name: String,
    /// Names this very device in all of NVIDIA's tools, as 32 hexadecimal digits.
    pub(in crate::execute) uuid: String,
    /// Compute capability, such as (9, 0).
    pub(in crate::execute) capability: (i32, i32),
    pub(in crate::execute) memory: u64,
    pub(in crate::execute) max_grid: [u32; 3],
    pub(in crate::execute) max_block: [u32; 3],
}

/// The version of the driver as 1000 times the major number plus 10 times the minor one.
pub(in crate::execute) fn driver_version() -> Result<i32, DriverError> {
    result::init()?;
    let mut version = 0;
    // SAFETY: the pointer is to an integer that lives through the call.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}

/// The primary context of a device; clones are the same context.
#[derive(Clone)]
pub(in crate::execute) struct Context {
    primary: Arc<Primary>,
}

struct Primary {
    device: sys::CUdevice,
    raw: sys::CUcontext,
}

// SAFETY: a CUDA context belongs to the process, and may be made current on any thread and on several.
unsafe impl Send for Primary {}
// SAFETY: as above; the driver locks what its calls share.
unsafe impl Sync for Primary {}

impl Drop for Primary {
    fn drop(&mut self) {
        // SAFETY: the context was retained once by this value.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl Context {
    /// Opens a device by its number and makes its context current on this thread.
    pub(in crate::execute) fn open(number: u32) -> Result<Self, DriverError> {
        result::init()?;
        let number = i32::try_from(number).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_INVALID_DEVICE))?;
        let device = result::device::get(number)?;
        // SAFETY: the device was just returned by the driver.
        let context =
            Self { primary: Arc::new(Primary { device, raw: unsafe { result::primary_ctx::retain(device) }? }) };
        context.make_current()?;
        context.bound()?;
        Ok(context)
    }

    pub(in crate::execute) fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained for as long as this value lives.
        unsafe { result::ctx::set_current(self.primary.raw) }
    }

    /// Bounds what kernels take beside their buffers, and lets freed memory stay with this process for the next job.
    fn bound(&self) -> Result<(), DriverError> {
        result::ctx::set_limit(sys::CUlimit::CU_LIMIT_STACK_SIZE, STACK_BYTES)?;
        result::ctx::set_limit(sys::CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE, HEAP_BYTES)?;
        result::ctx::set_limit(sys::CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE, PRINTF_BYTES)?;
        let mut keep = u64::MAX;
        let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the pool is the device's own, and this attribute is a 64-bit integer, which the driver only reads.
        unsafe { sys::cuMemPoolSetAttribute(self.pool()?, which, (&raw mut keep).cast()) }.result()
    }

    /// The pool that stream-ordered memory comes from: the device's own, so that all executors of a process share it.
    fn pool(&self) -> Result<sys::CUmemoryPool, DriverError> {
        // SAFETY: the device was returned by the driver.
        unsafe { result::device::get_default_mem_pool(self.primary.device) }
    }

    /// Gives freed memory that is kept for later jobs back to the device.
    pub(super) fn trim(&self) -> Result<(), DriverError> {
        // SAFETY: the pool is the device's own.
        unsafe { sys::cuMemPoolTrimTo(self.pool()?, 0) }.result()
    }

    pub(in crate::execute) fn facts(&self) -> Result<Facts, DriverError> {
        let device = self.primary.device;
        // SAFETY: the device was returned by the driver.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) };
        let size = |which| attribute(which).map(|value| u32::try_from(value).unwrap_or(0));
        let uuid = result::device::get_uuid(device)?;
        Ok(Facts {
            name: result::device::get_name(device)?,
            uuid: hex::encode(uuid.bytes.map(i8::cast_unsigned)),
            capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device) }? as u64,
            max_grid: [
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)?,
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)?,
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)?,
            ],
            max_block: [
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X)?,
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y)?,
                size(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)?,
            ],
        })
    }

    /// Destroys the context with all that lives in it; opening the device again starts afresh.
    pub(super) fn reset(self) {
        // SAFETY: a session drops what it owns in the context before it calls this.
        if let Err(error) = unsafe { sys::cuDevicePrimaryCtxReset_v2(self.primary.device) }.result() {
            tracing::warn!(%error, "the CUDA context cannot be reset");
        }
    }
}
