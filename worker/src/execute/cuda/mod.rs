//! CUDA jobs: the client's source is compiled by NVRTC for this very device, and its launches are made in order.
//!
//! Host code of a client never runs. The compiler runs on a thread without access to files ([`compile`]); kernels see
//! only buffers that were cleared before and are cleared after; one job at a time has the device. Compiler and driver
//! still run inside the worker's process: a process of its own for each job, which can be killed with its kernels and
//! whose output goes nowhere, is a later step, for which [`CudaExecutor::execute`] is the seam.
//!
//! Metering: `gpu_ms` is the time between CUDA events around the launches, summed and rounded up; `memory_mib_s` is
//! the memory that the job reserves (`limits.memory`) times that, `bytes_in` the inputs and `bytes_out` the outputs.
//! A kernel cannot be interrupted from here: limits are checked between short groups of launches. A kernel that runs on
//! past its job is left behind, and the device takes no other job until it is idle again.

pub(super) mod blas;
pub(super) mod call;
pub(super) mod compile;
pub(super) mod device;
pub mod inventory;
mod libraries;
mod prepare;
pub(super) mod run;
mod probe;

pub use probe::{Gpu, gpus};

use super::{CudaConfig, ExecuteError, Executor, JobInput, Produced, Region};
use cudarc::driver::sys;
use device::{Context, Facts};
use protocol::job::{Kind, Program};
use protocol::resource::{Unit, Usage};
use run::{Meter, Outcome, Stop};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the test kit's device, whose results no network may take for a GPU's.
const EMULATED: &str = "emulated";
/// The fleet shows a process no other device than its own.
const DEVICE: u32 = 0;
/// Driver of CUDA 12.8 (570): the bindings call its timer, and a kernel's parameters are told since 12.4.
const OLDEST_DRIVER: i32 = 12_080;

/// Runs CUDA jobs on one device.
pub struct CudaExecutor {
    config: CudaConfig,
    facts: Facts,
    compiler: compile::Compiler,
    lease: Mutex<Lease>,
}

/// Whether the device can be used; whoever holds it has the device alone.
enum Lease {
    Open(Context),
    /// Its context was lost to a faulty kernel, and is made anew for the next job.
    Closed,
    /// A kernel ran on past its job. Once it ends, the context is made anew, which frees what the job left.
    Busy(Context),
}

impl CudaExecutor {
    /// Finds the configured device, its driver and NVRTC, or says in a sentence what is missing.
    pub fn find(config: &CudaConfig) -> Result<Self, String> {
        if !config.enabled {
            return Err("it is turned off in the configuration (cuda.enabled)".into());
        }
        require_driver(config)?;
        let driver = |error| format!("the CUDA driver does not work: {error}");
        let context = Context::open(DEVICE).map_err(driver)?;
        let facts = context.facts().map_err(driver)?;
        if facts.name == EMULATED && !config.allow_emulated {
            return Err("the only device is the test kit's emulation, which no network accepts".into());
        }
        let compiler = compile::Compiler::new(facts.capability, config.confine_compiler)?;
        Ok(Self { config: config.clone(), facts, compiler, lease: Mutex::new(Lease::Open(context)) })
    }
}

impl Executor for CudaExecutor {
    fn kind(&self) -> Kind {
        Kind::Cuda
    }

    fn toolchain(&self) -> String {
        self.compiler.toolchain()
    }

    fn device(&self) -> Option<String> {
        Some(self.facts.name.clone())
    }

    fn memory(&self) -> u64 {
        match self.config.max_memory {
            0 => self.facts.memory / 10 * 9,
            bytes => bytes,
        }
    }

    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        let Program::Cuda { toolchain, .. } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a cuda job".into()));
        };
        if job.unit != Unit::GpuMs {
            return Err(ExecuteError::Unsupported(format!("a cuda job is billed in GPU-ms, not in {}", job.unit)));
        }
        job.require_toolchain(toolchain, &self.toolchain())?;
        let memory = job.require_memory(self.memory())?;
        let stop = Stop::new(&job, cancel);
        let mut meter = Meter::new(&job, memory, progress);
        let cubin = self.compiler.compile(job.program()?, &mut meter)?;
        self.on_device(|context| run::run(context, &self.facts, &job, &cubin, outputs, &stop, &mut meter))
    }
}

impl CudaExecutor {
    /// Runs something that has the device to itself, and leaves the device ready for the next.
    pub(super) fn on_device(&self, run: impl FnOnce(&Context) -> Outcome) -> Result<Produced, ExecuteError> {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        match run(lease.open(DEVICE)?) {
            Outcome::Ended(ended) => ended,
            Outcome::Faulted(error) => {
                tracing::warn!(%error, "the CUDA context is broken, and made anew");
                lease.reset();
                Err(error)
            }
            Outcome::Stuck(error) => {
                tracing::error!(%error, "a kernel runs on past its job: the device takes no job until it ends");
                lease.leave_behind();
                Err(error)
            }
        }
    }

    /// Machine code for this device of a source that ships with the worker.
    pub(super) fn machine_code(&self, source: &[u8]) -> Result<Vec<u8>, String> {
        self.compiler.compile_trusted(source)
    }

    /// Compute capability of the device, such as (9, 0).
    pub(super) const fn capability(&self) -> (i32, i32) {
        self.compiler.capability()
    }
}

impl Lease {
    /// The context, current on this thread.
    fn open(&mut self, device: u32) -> Result<&Context, ExecuteError> {
        let node = |error| ExecuteError::Node(format!("the CUDA device cannot be opened: {error}"));
        if let Self::Busy(context) = self {
            context.make_current().map_err(node)?;
            if !context.is_idle() {
                return Err(ExecuteError::Node("the CUDA device is busy with a kernel that overran its job".into()));
            }
            self.reset();
        }
        if !matches!(self, Self::Open(_)) {
            *self = Self::Open(Context::open(device).map_err(node)?);
        }
        match self {
            Self::Open(context) => {
                context.make_current().map_err(node)?;
                Ok(context)
            }
            Self::Closed | Self::Busy(_) => Err(ExecuteError::Node("the CUDA device is closed".into())),
        }
    }

    /// Ends a context in which every later call would fail, or which holds what a job left behind.
    fn reset(&mut self) {
        if let Self::Open(context) | Self::Busy(context) = std::mem::replace(self, Self::Closed) {
            context.reset();
        }
    }

    /// Keeps the context, in which a kernel still runs, out of use.
    fn leave_behind(&mut self) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Open(context) => Self::Busy(context),
            other => other,
        };
    }
}

/// Loads the operator's libraries, or says what is missing.
fn require_driver(config: &CudaConfig) -> Result<(), String> {
    libraries::preload(&config.libraries);
    libraries::require()?;
    let version = device::driver_version().map_err(|error| format!("the CUDA driver does not work: {error}"))?;
    if version < OLDEST_DRIVER {
        return Err(format!("the CUDA driver is of version {version}, {OLDEST_DRIVER} or newer is needed"));
    }
    Ok(())
}

/// Whether a driver error is the kernel's doing, and leaves a context in which nothing works any more.
const fn is_fault(error: sys::CUresult) -> bool {
    matches!(
        error,
        sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | sys::CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | sys::CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | sys::CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | sys::CUresult::CUDA_ERROR_INVALID_PC
            | sys::CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | sys::CUresult::CUDA_ERROR_ASSERT
            | sys::CUresult::CUDA_ERROR_LAUNCH_FAILED
            | sys::CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
    )
}
