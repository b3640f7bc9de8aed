//! CUDA jobs: the client's source is compiled for this very device, and its launches are made in order.
//!
//! Host code of a client never runs, nor machine code that was not made here: a source is CUDA C++, which NVRTC compiles
//! ([`compile`]), or PTX, which the driver assembles ([`ptx`]). The compilers run on a thread without access to files;
//! kernels see only buffers that were cleared before and are cleared after; one job at a time has the device.
//!
//! All this runs in a process of one tenant and one device, which is killed from outside where it does not end by
//! itself. A kernel cannot be interrupted from here: limits are checked between short groups of launches ([`queue`]),
//! and what runs on past its job leaves the executor lost ([`Executor::must_restart`]).
//!
//! Metering: `gpu_ms` is the time between CUDA events around the launches, summed and rounded up, and never more than
//! the time that passed meanwhile ([`meter`]); `memory_mib_s` is the memory that the job reserves (`limits.memory`)
//! times that, `bytes_in` the inputs and `bytes_out` the outputs.

pub mod inventory;
mod libraries;
pub(in crate::execute) mod context;
pub(in crate::execute) mod stream;
pub(in crate::execute) mod memory;
pub(in crate::execute) mod copy;
pub(in crate::execute) mod module;
mod headers;
mod image;
mod nvrtc;
mod ptx;
pub(in crate::execute) mod cache;
pub(in crate::execute) mod compile;
pub(in crate::execute) mod meter;
mod prepare;
mod queue;
pub(in crate::execute) mod run;
pub(in crate::execute) mod call;
pub(in crate::execute) mod blas;
mod probe;
mod scrub;
pub mod anchor;

pub use probe::{Gpu, gpus};
pub use scrub::scrub;

use super::{Compilations, CudaConfig, ExecuteError, Executor, JobInput, Produced, Region};
use compile::{CompileError, Compiler};
use context::Facts;
use cudarc::driver::sys;
use headers::Headers;
use meter::{Meter, Stop};
use protocol::job::{Kind, Language, Program};
use protocol::resource::{Unit, Usage};
use run::{Outcome, Session};
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
    max_memory: u64,
    facts: Facts,
    compiler: Compiler,
    state: Mutex<State>,
}

/// Whether the device can be used; whoever holds it has the device alone.
enum State {
    Open(Box<Session>),
    /// Its context was lost to a faulty kernel, and is made anew for the next job if this process is not replaced.
    Faulted,
    /// A kernel or a compiler ran on past its job.
    Lost,
}

impl CudaExecutor {
    /// Finds the configured device, its driver and NVRTC, or says in a sentence what is missing.
    pub fn find(config: &CudaConfig) -> Result<Self, String> {
        if !config.enabled {
            return Err("it is turned off in the configuration (cuda.enabled)".into());
        }
        let version = require_driver(config)?;
        let driver = |error| format!("the CUDA driver does not work: {error}");
        let session = Session::open(DEVICE).map_err(driver)?;
        let facts = session.context.facts().map_err(driver)?;
        if facts.name == EMULATED && !config.allow_emulated {
            return Err("the only device is the test kit's emulation, which no network accepts".into());
        }
        let headers = Headers::read(&config.headers)?;
        let compiler = Compiler::new(&session.context, facts.capability, version, headers, config.confine_compiler)?;
        Ok(Self { max_memory: config.max_memory, facts, compiler, state: Mutex::new(State::Open(Box::new(session))) })
    }

    /// Names the device in all of NVIDIA's tools, as 32 hexadecimal digits.
    pub fn uuid(&self) -> &str {
        &self.facts.uuid
    }

    /// Compute capability of the device, such as (9, 0).
    pub(super) const fn capability(&self) -> (i32, i32) {
        self.facts.capability
    }

    /// Machine code for this device of a source that ships with the worker.
    pub(super) fn machine_code(&self, source: &[u8]) -> Result<Vec<u8>, String> {
        compile::machine_code(source, self.facts.capability)
    }

    /// Runs something that has the device to itself, and leaves the device ready for the next.
    pub(super) fn on_device(&self, run: impl FnOnce(&mut Session) -> Outcome) -> Result<Produced, ExecuteError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match run(state.session()?) {
            Outcome::Ended(ended) => ended,
            Outcome::Faulted(error) => {
                tracing::warn!(%error, "the CUDA context is broken");
                state.reset();
                Err(error)
            }
            Outcome::Lost(error) => {
                tracing::error!(%error, "something runs on past its job: this process must be replaced");
                state.lose();
                Err(error)
            }
        }
    }

    /// Compiles a job and runs it.
    fn run(
        &self,
        session: &mut Session,
        job: &JobInput,
        language: Language,
        outputs: &mut [Region],
        stop: &mut Stop,
        meter: &mut Meter,
    ) -> Outcome {
        let code = self.compiler.compile(&session.context, language, job, || stop.is_past_grace());
        let program = |detail, meter: &Meter| ExecuteError::Program { detail, usage: meter.usage() };
        match code {
            Ok(code) => run::run(session, &self.facts, job, &code, outputs, stop, meter),
            Err(CompileError::Source(detail)) => Outcome::Ended(Err(program(detail, meter))),
            Err(CompileError::Node(detail)) => Outcome::Ended(Err(ExecuteError::Node(detail))),
            Err(CompileError::Runaway(detail)) => {
                let over = stop.check(meter.usage()).err();
                Outcome::Lost(over.unwrap_or_else(|| program(detail, meter)))
            }
        }
    }
}

impl Drop for CudaExecutor {
    fn drop(&mut self) {
        if let State::Open(session) = self.state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // What is dropped with it is given back in its context, whatever thread this is.
            let _ = session.context.make_current();
        }
    }
}

impl Executor for CudaExecutor {
    fn kind(&self) -> Kind {
        Kind::Cuda
    }

    fn compilations(&self) -> Compilations {
        self.compiler.count()
    }

    fn toolchain(&self) -> String {
        self.compiler.toolchain(Language::Cuda).unwrap_or_default()
    }

    fn toolchains(&self) -> Vec<String> {
        [Language::Cuda, Language::Ptx]
            .into_iter()
            .filter_map(|language| self.compiler.toolchain(language).ok())
            .collect()
    }

    fn device(&self) -> Option<String> {
        Some(self.facts.name.clone())
    }

    fn memory(&self) -> u64 {
        match self.max_memory {
            0 => self.facts.memory / 10 * 9,
            bytes => bytes,
        }
    }

    fn must_restart(&self) -> bool {
        !matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Open(_))
    }

    fn check(&self, job: &JobInput) -> Result<(), ExecuteError> {
        let Program::Cuda { toolchain, language, .. } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a cuda job".into()));
        };
        if job.unit != Unit::GpuMs {
            return Err(ExecuteError::Unsupported(format!("a cuda job is billed in GPU-ms, not in {}", job.unit)));
        }
        let have = self.compiler.toolchain(*language).map_err(ExecuteError::Unsupported)?;
        job.require_toolchain(toolchain, &have)?;
        job.require_memory(self.memory())?;
        prepare::check_memory(job)
    }

    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        self.check(&job)?;
        let Program::Cuda { language, .. } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a cuda job".into()));
        };
        let mut stop = Stop::new(&job, cancel);
        let mut meter = Meter::new(&job, progress);
        self.on_device(|session| self.run(session, &job, *language, outputs, &mut stop, &mut meter))
    }
}

impl State {
    /// What jobs run in, its context current on this thread.
    fn session(&mut self) -> Result<&mut Session, ExecuteError> {
        let node = |error| ExecuteError::Node(format!("the CUDA device cannot be opened: {error}"));
        if let Self::Faulted = self {
            *self = Self::Open(Box::new(Session::open(DEVICE).map_err(node)?));
        }
        match self {
            Self::Open(session) => {
                session.context.make_current().map_err(node)?;
                Ok(session)
            }
            Self::Faulted | Self::Lost => {
                let detail = "the CUDA device is lost to what ran on past its job: this process must be replaced";
                Err(ExecuteError::Node(detail.into()))
            }
        }
    }

    /// Ends a context in which every later call would fail.
    fn reset(&mut self) {
        if let Self::Open(session) = std::mem::replace(self, Self::Faulted) {
            session.reset();
        }
    }

    /// Gives the device up for this process. What lives there is not given back: that would wait for what still runs.
    fn lose(&mut self) {
        if let Self::Open(session) = std::mem::replace(self, Self::Lost) {
            std::mem::forget(session);
        }
    }
}

/// Loads the operator's libraries and tells the driver's version, or says what is missing.
fn require_driver(config: &CudaConfig) -> Result<i32, String> {
    libraries::preload(&config.libraries);
    libraries::require()?;
    let version = context::driver_version().map_err(|error| format!("the CUDA driver does not work: {error}"))?;
    if version < OLDEST_DRIVER {
        return Err(format!("the CUDA driver is of version {version}, {OLDEST_DRIVER} or newer is needed"));
    }
    Ok(version)
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
