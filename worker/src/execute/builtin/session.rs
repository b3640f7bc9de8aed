//! A builtin's time on the device: its memory, its launches in metered groups, and when it must stop.

use crate::execute::cuda::blas::BlasError;
use crate::execute::cuda::call::Size;
use crate::execute::cuda::context::Context;
use crate::execute::cuda::copy::Copier;
use crate::execute::cuda::memory::Buffer;
use crate::execute::cuda::meter::Stop;
use crate::execute::cuda::run::{self, Outcome};
use crate::execute::cuda::stream::{Event, Stream};
use crate::execute::{ExecuteError, JobInput, Produced};
use cudarc::driver::result::DriverError;
use protocol::amount::Quantity;
use protocol::resource::Usage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A group of launches is made to take about this long: long enough to keep the device busy, short enough to stop soon.
const GROUP_MS: f32 = 20.0;
/// Work of the first group, when nothing is known of the device's speed.
const FIRST_GROUP: u64 = 1 << 16;
/// Threads of a block.
const BLOCK: u32 = 256;

/// Why a builtin did not end.
pub(super) enum Stopped {
    /// At a limit, or because it was told to.
    Early(ExecuteError),
    /// The device failed.
    Failed(String),
}

impl Stopped {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Early(error) => Outcome::Ended(Err(error)),
            Self::Failed(detail) => Outcome::Faulted(ExecuteError::Node(detail)),
        }
    }
}

impl From<DriverError> for Stopped {
    fn from(error: DriverError) -> Self {
        Self::Failed(format!("the CUDA device failed: {error}"))
    }
}

impl From<BlasError> for Stopped {
    fn from(error: BlasError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(super) struct Session<'d> {
    pub(super) context: Context,
    pub(super) stream: Stream,
    copier: &'d mut Copier,
    begin: Event,
    end: Event,
    stop: Stop,
    progress: watch::Sender<Usage>,
    /// What the job may use of the device's memory, and what is left of that.
    memory: u64,
    free: u64,
    bytes_in: u64,
    work: u64,
    microseconds: u64,
}

impl<'d> Session<'d> {
    pub(super) fn new(
        device: &'d mut run::Session,
        job: &JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Self, Stopped> {
        let memory = job.envelope.limits.memory.get();
        Ok(Self {
            context: device.context.clone(),
            stream: device.stream.clone(),
            copier: &mut device.copier,
            begin: Event::new()?,
            end: Event::new()?,
            stop: Stop::new(job, cancel),
            progress,
            memory,
            free: memory,
            bytes_in: 0,
            work: 0,
            microseconds: 0,
        })
    }

    /// Memory of zeros.
    pub(super) fn zeroed(&mut self, length: u64) -> Result<Buffer, Stopped> {
        self.reserve(length)?;
        // What was reserved is within the device's memory.
        Ok(Buffer::zeroed(&self.stream, length as usize)?)
    }

    /// Memory with these bytes.
    pub(super) fn holding(&mut self, bytes: &[u8]) -> Result<Buffer, Stopped> {
        self.reserve(bytes.len() as u64)?;
        Ok(self.copier.upload(&self.stream, bytes)?)
    }

    /// Copies as many bytes from the start of a buffer as fit into `to`.
    pub(super) fn read(&mut self, from: &Buffer, to: &mut [u8]) -> Result<(), Stopped> {
        Ok(self.copier.download(&self.stream, from, to)?)
    }

    /// Memory with an input of the job.
    pub(super) fn input(&mut self, inputs: &[bytes::Bytes], index: usize) -> Result<Buffer, Stopped> {
        let bytes = inputs.get(index).ok_or_else(|| Stopped::Failed("an input of the job is missing".into()))?;
        self.read_input(bytes);
        self.holding(bytes)
    }

    /// Counts an input.
    pub(super) fn read_input(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
    }

    fn reserve(&mut self, length: u64) -> Result<(), Stopped> {
        // An envelope whose memory does not hold its buffers is not valid: this only fails if that rule is wrong.
        let free = self.free.checked_sub(length);
        self.free = free.ok_or_else(|| {
            Stopped::Failed(format!("a builtin needs more than the {} bytes of limits.memory", self.memory))
        })?;
        Ok(())
    }

    /// Makes launches that do so much work together, and waits for them. Tells how long the device took.
    pub(super) fn group<E>(&mut self, work: u64, launch: impl FnOnce() -> Result<(), E>) -> Result<f32, Stopped>
    where
        Stopped: From<E>,
    {
        self.stop.check(self.usage()).map_err(Stopped::Early)?;
        self.begin.record(&self.stream)?;
        launch()?;
        self.end.record(&self.stream)?;
        // A kernel of ours returns; if the device does not, this process is killed from outside.
        self.end.wait(|| false)?;
        let milliseconds = self.begin.until(&self.end)?;
        // Rounded up; the driver's clock has a resolution of about half a microsecond.
        let microseconds = (f64::from(milliseconds.max(0.0)) * 1000.0).ceil() as u64;
        self.microseconds = self.microseconds.saturating_add(microseconds);
        self.work += work;
        self.progress.send_replace(self.usage());
        Ok(milliseconds)
    }

    /// Does `total` items of `work` each, in groups that are as long as they should be. `launch` is told where a group
    /// starts and how many items it has.
    pub(super) fn groups(
        &mut self,
        total: u64,
        work: u64,
        mut launch: impl FnMut(u64, u64) -> Result<(), DriverError>,
    ) -> Result<(), Stopped> {
        let (mut from, mut size) = (0, (FIRST_GROUP / work.max(1)).max(1));
        while from < total {
            let count = size.min(total - from);
            let milliseconds = self.group(count * work, || launch(from, count))?;
            from += count;
            if milliseconds < GROUP_MS / 2.0 {
                size = size.saturating_mul(2);
            } else if milliseconds > GROUP_MS * 2.0 {
                size = (size / 2).max(1);
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let gpu_ms = self.microseconds.div_ceil(1000);
        let memory = (u128::from(self.memory.div_ceil(1 << 20)) * u128::from(gpu_ms)).div_ceil(1000);
        Usage {
            gpu_ms: Quantity(gpu_ms),
            memory_mib_s: Quantity(u64::try_from(memory).unwrap_or(u64::MAX)),
            bytes_in: Quantity(self.bytes_in),
            work: Quantity(self.work),
            ..Usage::default()
        }
    }

    /// How long its launches took on the device.
    pub(super) const fn microseconds(&self) -> u64 {
        self.microseconds
    }

    /// What the job used, with its whole output delivered.
    pub(super) fn produced(&self, length: u64) -> Produced {
        Produced { usage: Usage { bytes_out: Quantity(length), ..self.usage() }, lengths: vec![length] }
    }
}

/// Blocks of [`BLOCK`] threads for so many items, at most `most` of them.
pub(super) fn blocks(count: u64, most: u32) -> Size {
    [count.div_ceil(u64::from(BLOCK)).clamp(1, u64::from(most)) as u32, 1, 1]
}

/// A block of [`BLOCK`] threads.
pub(super) const THREADS: Size = [BLOCK, 1, 1];
