//! The queue of a device, and moments in it.

use super::context::Context;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits spin for this long, as most are short, and sleep between looks after that.
const SPIN: Duration = Duration::from_micros(200);
/// Bounds of such a sleep.
const NAP: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));

/// A queue of work for a device, done in order; clones are the same queue.
#[derive(Clone)]
pub(in crate::execute) struct Stream {
    owned: Arc<Owned>,
}

struct Owned {
    context: Context,
    raw: sys::CUstream,
}

// SAFETY: a stream belongs to its context, which belongs to the process; the driver locks what its calls share.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: nothing uses the stream after this; work in it is still done.
        let _ = unsafe { result::stream::destroy(self.raw) };
    }
}

impl Stream {
    /// A queue that does not wait for the default one.
    pub(in crate::execute) fn new(context: &Context) -> Result<Self, DriverError> {
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        Ok(Self { owned: Arc::new(Owned { context: context.clone(), raw }) })
    }

    pub(in crate::execute) fn context(&self) -> &Context {
        &self.owned.context
    }

    pub(in crate::execute) fn raw(&self) -> sys::CUstream {
        self.owned.raw
    }

    /// Waits, without a bound, for all work so far: only where no kernel of a client can be in the queue.
    pub(super) fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the stream lives.
        unsafe { result::stream::synchronize(self.owned.raw) }
    }
}

/// A moment in a queue.
pub(in crate::execute) struct Event {
    raw: sys::CUevent,
}

// SAFETY: an event belongs to its context, which belongs to the process; the driver locks what its calls share.
unsafe impl Send for Event {}

impl Event {
    /// An event of the context that is current on this thread.
    pub(in crate::execute) fn new() -> Result<Self, DriverError> {
        Ok(Self { raw: result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)? })
    }

    /// Puts the event behind all that is in the queue.
    pub(in crate::execute) fn record(&self, stream: &Stream) -> Result<(), DriverError> {
        // SAFETY: both live.
        unsafe { result::event::record(self.raw, stream.raw()) }
    }

    /// Whether the device has come to it; so it has, as far as this tells, to one that was never recorded.
    pub(in crate::execute) fn reached(&self) -> Result<bool, DriverError> {
        // SAFETY: the event lives.
        match unsafe { result::event::query(self.raw) } {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the device has come to it, or until `give_up` says so: then the answer is no.
    pub(in crate::execute) fn wait(&self, mut give_up: impl FnMut() -> bool) -> Result<bool, DriverError> {
        let begin = Instant::now();
        while !self.reached()? {
            let waited = begin.elapsed();
            if waited < SPIN {
                std::hint::spin_loop();
                continue;
            }
            if give_up() {
                return Ok(false);
            }
            std::thread::sleep((waited / 8).clamp(NAP.0, NAP.1));
        }
        Ok(true)
    }

    /// Milliseconds on the device from this event to a later one; both were reached.
    pub(in crate::execute) fn until(&self, later: &Self) -> Result<f32, DriverError> {
        // SAFETY: both events live, and were recorded on the same stream.
        unsafe { result::event::elapsed(self.raw, later.raw) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nothing uses the event after this.
        let _ = unsafe { result::event::destroy(self.raw) };
    }
}
