//! Memory of the device, which is cleared when it is handed out and when it is taken back, and pinned memory.
//!
//! Device memory is allocated and freed in stream order, from a pool that stays with the process: that takes
//! microseconds where a plain allocation takes the better part of a millisecond. The pool dies with the process, and a
//! process serves one tenant, so nothing in it ever reaches another; clearing keeps one job's data from the next.
//!
//! Errors while dropping are ignored: the only cause is a context that a kernel broke, and that goes as a whole.

use super::stream::Stream;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ops::{Deref, DerefMut};

/// Device memory of one job.
pub(in crate::execute) struct Buffer {
    stream: Stream,
    address: sys::CUdeviceptr,
    length: usize,
}

impl Buffer {
    /// Memory filled with zeros.
    pub(in crate::execute) fn zeroed(stream: &Stream, length: usize) -> Result<Self, DriverError> {
        let buffer = Self::dirty(stream, length)?;
        buffer.clear()?;
        Ok(buffer)
    }

    /// Memory that holds whatever it held before: the caller overwrites all of it at once. The driver refuses empty
    /// memory, so there is always a byte.
    pub(super) fn dirty(stream: &Stream, length: usize) -> Result<Self, DriverError> {
        // SAFETY: the size is not zero; the memory is written before anything reads it.
        let allocate = || unsafe { result::malloc_async(stream.raw(), length.max(1)) };
        let address = match allocate() {
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                // What earlier jobs freed may lie there in pieces that are too small.
                stream.synchronize()?;
                stream.context().trim()?;
                allocate()?
            }
            told => told?,
        };
        Ok(Self { stream: stream.clone(), address, length })
    }

    pub(in crate::execute) const fn address(&self) -> u64 {
        self.address
    }

    pub(in crate::execute) const fn length(&self) -> usize {
        self.length
    }

    /// Puts a copy of pinned bytes to an offset of this buffer into the queue.
    ///
    /// # Safety
    /// The bytes stay as they are, and where they are, until the device has come past the copy.
    pub(super) unsafe fn queue_write(&self, offset: usize, from: &Pinned, length: usize) -> Result<(), DriverError> {
        self.require(offset, length, from)?;
        // SAFETY: both ranges were just checked; for how long they last is promised above.
        unsafe { result::memcpy_htod_async(self.address + offset as u64, &from[..length], self.stream.raw()) }
    }

    /// Puts a copy of a part of this buffer to pinned memory into the queue.
    ///
    /// # Safety
    /// Nobody reads or writes the pinned memory until the device has come past the copy.
    pub(super) unsafe fn queue_read(&self, offset: usize, to: &mut Pinned, length: usize) -> Result<(), DriverError> {
        self.require(offset, length, to)?;
        // SAFETY: both ranges were just checked; for how long they last is promised above.
        unsafe { result::memcpy_dtoh_async(&mut to[..length], self.address + offset as u64, self.stream.raw()) }
    }

    fn require(&self, offset: usize, length: usize, pinned: &Pinned) -> Result<(), DriverError> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.length) && length <= pinned.len();
        if fits { Ok(()) } else { Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE)) }
    }

    fn clear(&self) -> Result<(), DriverError> {
        // SAFETY: the memory is this buffer's own, and at least one byte long.
        unsafe { result::memset_d8_async(self.address, 0, self.length.max(1), self.stream.raw()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // The next job must find nothing of this one in the memory.
        let _ = self.clear();
        // SAFETY: the address came from the driver, and nothing that is put into the queue after this uses it.
        let _ = unsafe { result::free_async(self.address, self.stream.raw()) };
    }
}

/// Host memory that the device reads and writes by itself, without a copy in between.
pub(in crate::execute) struct Pinned {
    start: *mut u8,
    length: usize,
}

// SAFETY: the memory is this value's alone, and belongs to the process.
unsafe impl Send for Pinned {}

impl Pinned {
    /// Memory filled with zeros, in the context that is current on this thread.
    pub(in crate::execute) fn new(length: usize) -> Result<Self, DriverError> {
        // SAFETY: the size is not zero.
        let start = unsafe { result::malloc_host(length.max(1), 0) }?.cast::<u8>();
        // SAFETY: the memory is this long, and must be initialised before it is shown as bytes.
        unsafe { start.write_bytes(0, length) };
        Ok(Self { start, length })
    }
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is this long, initialised, and this value's alone.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the memory came from the driver, which waits for copies that are under way.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}
