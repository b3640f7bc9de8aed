//! Machine code on the device, its kernels, and graphs of launches.

use super::context::Context;
use super::stream::Stream;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::{CString, c_void};

/// Machine code, loaded.
pub(in crate::execute) struct Module {
    _context: Context,
    raw: sys::CUmodule,
}

// SAFETY: a module belongs to its context, which belongs to the process; the driver locks what its calls share.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads machine code that was made in this process: the driver does not check it, so no client may send it.
    pub(in crate::execute) fn load(context: &Context, code: &[u8]) -> Result<Self, DriverError> {
        // SAFETY: the code is a whole ELF image, which tells its own length.
        let raw = unsafe { result::module::load_data(code.as_ptr().cast()) }?;
        Ok(Self { _context: context.clone(), raw })
    }

    /// The kernel of that name.
    pub(in crate::execute) fn kernel(&self, name: &str) -> Result<Kernel<'_>, DriverError> {
        let name = CString::new(name).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))?;
        // SAFETY: the module is loaded for as long as this value lives.
        let raw = unsafe { result::module::get_function(self.raw, name) }?;
        Ok(Kernel { _module: self, raw, parameters: parameters(raw)? })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: kernels borrow the module, so none is left.
        let _ = unsafe { result::module::unload(self.raw) };
    }
}

/// A kernel of a loaded module.
pub(in crate::execute) struct Kernel<'m> {
    _module: &'m Module,
    raw: sys::CUfunction,
    /// Sizes of its parameters in bytes.
    pub(in crate::execute) parameters: Vec<usize>,
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
    pub(in crate::execute) fn max_threads(&self) -> Result<u32, DriverError> {
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the kernel's module is loaded.
        let threads = unsafe { result::function::get_function_attribute(self.raw, which) }?;
        Ok(u32::try_from(threads).unwrap_or(0))
    }

    /// Lets the kernel be launched with more dynamic shared memory than every device has.
    pub(in crate::execute) fn allow_shared_memory(&self, bytes: u32) -> Result<(), DriverError> {
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(bytes).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE))?;
        // SAFETY: the kernel's module is loaded.
        unsafe { result::function::set_function_attribute(self.raw, which, bytes) }
    }
}

/// The values that a kernel is called with, and where the driver finds each.
pub(in crate::execute) struct Values {
    /// Never moved or changed: the pointers lead here.
    _cells: Box<[u64]>,
    pointers: Vec<*mut c_void>,
}

impl Values {
    pub(in crate::execute) fn new(cells: Vec<u64>) -> Self {
        let cells = cells.into_boxed_slice();
        let pointers = cells.iter().map(|cell| std::ptr::from_ref(cell).cast_mut().cast()).collect();
        Self { _cells: cells, pointers }
    }

    /// For the driver, which reads the values and writes none.
    fn for_driver(&self) -> *mut *mut c_void {
        self.pointers.as_ptr().cast_mut()
    }
}

/// A kernel with everything that a launch of it needs.
pub(in crate::execute) struct Call<'k> {
    pub(in crate::execute) kernel: &'k Kernel<'k>,
    pub(in crate::execute) grid: [u32; 3],
    pub(in crate::execute) block: [u32; 3],
    pub(in crate::execute) shared_memory: u32,
    pub(in crate::execute) values: Values,
}

impl Call<'_> {
    /// Puts the launch into a queue. Nothing is allocated or asked here: this is what a job's time goes into.
    ///
    /// # Safety
    /// There is a value for each parameter, at least as large as it; addresses among them are of buffers that live
    /// until the launch is over.
    pub(in crate::execute) unsafe fn launch(&self, stream: &Stream) -> Result<(), DriverError> {
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (self.grid, self.block);
        let (kernel, shared, values) = (self.kernel.raw, self.shared_memory, self.values.for_driver());
        let none = std::ptr::null_mut();
        // SAFETY: by the promise above. The driver copies the values before it returns.
        unsafe {
            sys::cuLaunchKernel(
                kernel,
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                shared,
                stream.raw(),
                values,
                none,
            )
        }
        .result()
    }

    fn node(&self) -> sys::CUDA_KERNEL_NODE_PARAMS {
        sys::CUDA_KERNEL_NODE_PARAMS {
            func: self.kernel.raw,
            gridDimX: self.grid[0],
            gridDimY: self.grid[1],
            gridDimZ: self.grid[2],
            blockDimX: self.block[0],
            blockDimY: self.block[1],
            blockDimZ: self.block[2],
            sharedMemBytes: self.shared_memory,
            kernelParams: self.values.for_driver(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        }
    }
}

/// Launches recorded once, which the device then makes by itself, one after another.
pub(in crate::execute) struct Graph {
    raw: sys::CUgraphExec,
}

impl Graph {
    /// Records the calls in order, all of them so many times.
    ///
    /// # Safety
    /// As for [`Call::launch`], of every launch of the graph; and the kernels' module lives longer than the graph.
    pub(in crate::execute) unsafe fn record(calls: &[Call<'_>], times: usize) -> Result<Self, DriverError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pointer is to a handle that lives through the call.
        unsafe { sys::cuGraphCreate(&raw mut raw, 0) }.result()?;
        let recording = Recording(raw);
        let mut last: Option<sys::CUgraphNode> = None;
        for call in std::iter::repeat_n(calls, times).flatten() {
            let (mut node, parameters) = (std::ptr::null_mut(), call.node());
            let before = last.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: by the promise above; the node before is of this graph. The driver copies all that it is given.
            unsafe {
                sys::cuGraphAddKernelNode_v2(
                    &raw mut node,
                    raw,
                    before,
                    usize::from(last.is_some()),
                    &raw const parameters,
                )
            }
            .result()?;
            last = Some(node);
        }
        // SAFETY: the graph is whole; what is made of it outlives it.
        let raw = unsafe { result::graph::instantiate(recording.0, sys::CUgraphInstantiate_flags(0)) }?;
        Ok(Self { raw })
    }

    /// Puts all its launches into a queue.
    pub(in crate::execute) fn launch(&self, stream: &Stream) -> Result<(), DriverError> {
        // SAFETY: the graph lives, and what its launches need does too, as was promised when it was recorded.
        unsafe { result::graph::launch(self.raw, stream.raw()) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nothing uses the graph after this; the driver keeps what is under way.
        let _ = unsafe { result::graph::exec_destroy(self.raw) };
    }
}

/// A graph that is not yet executable, destroyed with this value.
struct Recording(sys::CUgraph);

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: nothing uses the graph after this.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}
