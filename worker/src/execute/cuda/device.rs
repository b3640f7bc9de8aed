//! Thin owners of what the driver hands out. Each gives its thing back when it is dropped, and clears memory before.
//!
//! Errors while dropping are ignored: the only cause is a context that a kernel broke, and that is reset as a whole.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::CString;

type Attribute = sys::CUdevice_attribute_enum;

/// What does not change about a device.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) name: String,
    /// Compute capability, such as (9, 0).
    pub(super) capability: (i32, i32),
    pub(super) memory: u64,
    pub(super) max_grid: [u32; 3],
    pub(super) max_block: [u32; 3],
}

/// The version of the driver as 1000 times the major number plus 10 times the minor one.
pub(super) fn driver_version() -> Result<i32, DriverError> {
    result::init()?;
    let mut version = 0;
    // SAFETY: the pointer is to an integer that lives through the call.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}

/// The primary context of a device.
pub(in crate::execute) struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
}

// SAFETY: a CUDA context belongs to the process, and may be made current on any thread.
unsafe impl Send for Context {}

impl Context {
    /// Opens a device by its number and makes its context current on this thread.
    pub(super) fn open(number: u32) -> Result<Self, DriverError> {
        result::init()?;
        let number = i32::try_from(number).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_INVALID_DEVICE))?;
        let device = result::device::get(number)?;
        // SAFETY: the device was just returned by the driver.
        let context = Self { device, raw: unsafe { result::primary_ctx::retain(device) }? };
        context.make_current()?;
        Ok(context)
    }

    pub(super) fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained for as long as this value lives.
        unsafe { result::ctx::set_current(self.raw) }
    }

    pub(super) fn facts(&self) -> Result<Facts, DriverError> {
        // SAFETY: the device was returned by the driver.
        let attribute = |which| unsafe { result::device::get_attribute(self.device, which) };
        let size = |which| attribute(which).map(|value| u32::try_from(value).unwrap_or(0));
        Ok(Facts {
            name: result::device::get_name(self.device)?,
            capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(self.device) }? as u64,
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

    /// Whether all that was launched is over; a kernel that failed is over too.
    pub(super) fn is_idle(&self) -> bool {
        // SAFETY: the context is current on this thread, and the default stream always exists.
        let told = unsafe { sys::cuStreamQuery(result::stream::null()) };
        told != sys::CUresult::CUDA_ERROR_NOT_READY
    }

    /// Destroys the context with all that lives in it; opening the device again starts afresh.
    pub(super) fn reset(self) {
        // SAFETY: owners of things in the context borrow it, so all were dropped before, or were forgotten for good.
        if let Err(error) = unsafe { sys::cuDevicePrimaryCtxReset_v2(self.device) }.result() {
            tracing::warn!(%error, "the CUDA context cannot be reset");
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was retained once by this value.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Device memory of one job.
pub(in crate::execute) struct Buffer<'c> {
    _context: &'c Context,
    address: sys::CUdeviceptr,
    length: usize,
}

impl<'c> Buffer<'c> {
    /// Memory filled with zeros. The driver refuses empty memory, so there is always a byte.
    pub(in crate::execute) fn zeroed(context: &'c Context, length: usize) -> Result<Self, DriverError> {
        // SAFETY: the size is not zero; the memory is written before anything reads it.
        let address = unsafe { result::malloc_sync(length.max(1)) }?;
        let buffer = Self { _context: context, address, length };
        buffer.clear()?;
        Ok(buffer)
    }

    /// Memory that holds these bytes.
    pub(in crate::execute) fn holding(context: &'c Context, bytes: &[u8]) -> Result<Self, DriverError> {
        let buffer = Self::zeroed(context, bytes.len())?;
        if !bytes.is_empty() {
            // SAFETY: the buffer is exactly as long as the bytes.
            unsafe { result::memcpy_htod_sync(buffer.address, bytes) }?;
        }
        Ok(buffer)
    }

    pub(in crate::execute) const fn address(&self) -> u64 {
        self.address
    }

    pub(in crate::execute) const fn length(&self) -> usize {
        self.length
    }

    /// Copies the buffer into memory of the same length.
    pub(in crate::execute) fn read(&self, to: &mut [u8]) -> Result<(), DriverError> {
        if to.len() != self.length {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        if to.is_empty() {
            return Ok(());
        }
        // SAFETY: the memory is exactly as long as the buffer, as was just checked.
        unsafe { result::memcpy_dtoh_sync(to, self.address) }
    }

    /// Copies as many bytes from its start as fit into `to`, which is not longer than the buffer.
    pub(in crate::execute) fn read_start(&self, to: &mut [u8]) -> Result<(), DriverError> {
        if to.len() > self.length {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        // SAFETY: the memory is not longer than the buffer, as was just checked.
        unsafe { result::memcpy_dtoh_sync(to, self.address) }
    }

    fn clear(&self) -> Result<(), DriverError> {
        // SAFETY: the memory is this buffer's own, and at least one byte long.
        unsafe { result::memset_d8_sync(self.address, 0, self.length.max(1)) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // The next tenant of this memory must find nothing in it.
        let _ = self.clear();
        // SAFETY: the address came from the driver, and nothing uses it after this.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Compiled code, loaded.
pub(in crate::execute) struct Module<'c> {
    _context: &'c Context,
    raw: sys::CUmodule,
}

impl<'c> Module<'c> {
    /// Loads machine code that NVRTC made in this process: the driver does not check it, so no client may send it.
    pub(in crate::execute) fn load(context: &'c Context, code: &[u8]) -> Result<Self, DriverError> {
        // SAFETY: the code is a whole ELF image, which tells its own length.
        let raw = unsafe { result::module::load_data(code.as_ptr().cast()) }?;
        Ok(Self { _context: context, raw })
    }

    /// The kernel of that name.
    pub(in crate::execute) fn kernel(&self, name: &str) -> Result<Kernel<'_>, DriverError> {
        let name = CString::new(name).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))?;
        // SAFETY: the module is loaded for as long as this value lives.
        let raw = unsafe { result::module::get_function(self.raw, name) }?;
        let kernel = Kernel { _module: self, raw, parameters: parameters(raw)? };
        Ok(kernel)
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: kernels borrow the module, so none is left.
        let _ = unsafe { result::module::unload(self.raw) };
    }
}

/// A kernel of a loaded module.
pub(in crate::execute) struct Kernel<'m> {
    _module: &'m Module<'m>,
    raw: sys::CUfunction,
    /// Sizes of its parameters in bytes.
    pub(super) parameters: Vec<usize>,
}

fn parameters(kernel: sys::CUfunction) -> Result<Vec<usize>, DriverError> {
    let mut sizes = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the kernel's module is loaded, and both integers live through the call.
        let told = unsafe { sys::cuFuncGetParamInfo(kernel, sizes.len(), &raw mut offset, &raw mut size) };
        match told {
            sys::CUresult::CUDA_SUCCESS => sizes.push(size),
            // There is no parameter of that number.
            sys::CUresult::CUDA_ERROR_INVALID_VALUE => return Ok(sizes),
            other => return Err(DriverError(other)),
        }
    }
}

impl Kernel<'_> {
    pub(super) fn max_threads(&self) -> Result<u32, DriverError> {
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the kernel's module is loaded.
        let threads = unsafe { result::function::get_function_attribute(self.raw, which) }?;
        Ok(u32::try_from(threads).unwrap_or(0))
    }

    /// Lets the kernel be launched with more dynamic shared memory than every device has.
    pub(super) fn allow_shared_memory(&self, bytes: u32) -> Result<(), DriverError> {
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(bytes).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: the kernel's module is loaded.
        unsafe { result::function::set_function_attribute(self.raw, which, bytes) }
    }

    /// Puts a launch into the queue of the device.
    ///
    /// # Safety
    /// `values` holds as many cells as the kernel has parameters, each at least as large as its parameter; addresses
    /// among them are of buffers that live until the launch is over.
    pub(in crate::execute) unsafe fn launch(
        &self,
        grid: [u32; 3],
        block: [u32; 3],
        shared_memory: u32,
        values: &[u64],
    ) -> Result<(), DriverError> {
        let mut pointers: Vec<_> = values.iter().map(|cell| std::ptr::from_ref(cell).cast_mut().cast()).collect();
        let stream = result::stream::null();
        // SAFETY: by the promise above. The driver copies the values before it returns, and only reads them.
        unsafe { result::launch_kernel(self.raw, grid.into(), block.into(), shared_memory, stream, &mut pointers) }
    }
}

/// A moment in the queue of the device.
pub(in crate::execute) struct Event<'c> {
    _context: &'c Context,
    raw: sys::CUevent,
}

impl<'c> Event<'c> {
    pub(in crate::execute) fn new(context: &'c Context) -> Result<Self, DriverError> {
        let raw = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)?;
        Ok(Self { _context: context, raw })
    }

    pub(in crate::execute) fn record(&self) -> Result<(), DriverError> {
        // SAFETY: the event lives, and the default stream always exists.
        unsafe { result::event::record(self.raw, result::stream::null()) }
    }

    /// Whether the device has come to it.
    pub(in crate::execute) fn reached(&self) -> Result<bool, DriverError> {
        // SAFETY: the event lives.
        match unsafe { result::event::query(self.raw) } {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Milliseconds on the device from this event to a later one; both were reached.
    pub(in crate::execute) fn until(&self, later: &Self) -> Result<f32, DriverError> {
        // SAFETY: both events live, and were recorded on the same stream.
        unsafe { result::event::elapsed(self.raw, later.raw) }
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: nothing uses the event after this.
        let _ = unsafe { result::event::destroy(self.raw) };
    }
}
