//! Launches of the worker's own kernels, whose arguments are checked against the kernel's parameters.

use super::device::{Buffer, Kernel};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

/// Blocks and threads along each axis.
pub(in crate::execute) type Size = [u32; 3];

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(in crate::execute) enum Value<'b> {
    Buffer(&'b Buffer<'b>),
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
    /// Puts a launch into the queue of the device.
    pub(in crate::execute) fn call(&self, grid: Size, block: Size, values: &[Value<'_>]) -> Result<(), DriverError> {
        if !values.iter().map(Value::size).eq(self.parameters.iter().copied()) {
            return Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        let cells: Vec<u64> = values.iter().map(Value::bits).collect();
        // SAFETY: number and sizes of the values are those of the parameters, as was just checked. The buffers live now,
        // and giving one back is ordered behind this launch on the device.
        unsafe { self.launch(grid, block, 0, &cells) }
    }
}
