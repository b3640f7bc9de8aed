//! Launches of the worker's own kernels, whose arguments are checked against the kernel's parameters.

use super::memory::Buffer;
use super::module::{Call, Kernel, Values};
use super::stream::Stream;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

/// Blocks and threads along each axis.
pub(in crate::execute) type Size = [u32; 3];

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(in crate::execute) enum Value<'b> {
    Buffer(&'b Buffer),
    U32(u32),
    U64(u64),
}

impl Value<'_> {
    const fn size(&self) -> usize {
        match self {
            Self::Buffer(_) | Self::U64(_) => 8,
            Self::U32(_) => 4,
        }
    }

    const fn bits(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.address(),
            Self::U64(value) => *value,
            Self::U32(value) => *value as u64,
        }
    }
}

impl Kernel<'_> {
    /// Puts a launch into a queue: that of all buffers among the values.
    pub(in crate::execute) fn call(
        &self,
        stream: &Stream,
        grid: Size,
        block: Size,
        values: &[Value<'_>],
    ) -> Result<(), DriverError> {
        if !values.iter().map(Value::size).eq(self.parameters.iter().copied()) {
            return Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        let values = Values::new(values.iter().map(Value::bits).collect());
        let call = Call { kernel: self, grid, block, shared_memory: 0, values };
        // SAFETY: number and sizes of the values are those of the parameters, as was just checked. The buffers live now,
        // and giving one back is ordered behind this launch.
        unsafe { call.launch(stream) }
    }
}
