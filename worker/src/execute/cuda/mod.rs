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
mod run;

use super::{CudaConfig, ExecuteError, Executor, JobInput, Produced, Region};
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
/// Driver of CUDA 12.8 (570): the bindings call its timer, and a kernel's parameters are told since 12.4.
const OLDEST_DRIVER: i32 = 12_080;

/// Runs CUDA jobs on one device.
pub struct CudaExecutor {
    config: CudaConfig,
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
        libraries::preload(&config.libraries);
        libraries::require()?;
        let driver = |error| format!("the CUDA driver does not work: {error}");
        let version = context::driver_version().map_err(driver)?;
        if version < OLDEST_DRIVER {
            return Err(format!("the CUDA driver is of version {version}, {OLDEST_DRIVER} or newer is needed"));
        }
        let session = Session::open(config.device).map_err(driver)?;
        let facts = session.context.facts().map_err(driver)?;
        if facts.name == EMULATED && !config.allow_emulated {
            return Err("the only device is the test kit's emulation, which no network accepts".into());
        }
        let headers = Headers::read(&config.headers)?;
        let compiler = Compiler::new(&session.context, facts.capability, version, headers, config.confine_compiler)?;
        Ok(Self { config: config.clone(), facts, compiler, state: Mutex::new(State::Open(Box::new(session))) })
    }

    /// Names the device in all of NVIDIA's tools, as 32 hexadecimal digits.
    pub fn uuid(&self) -> &str {
        &self.facts.uuid
    }

    /// The compiler's full version, such as `13.0.88`.
    pub fn compiler_build(&self) -> &str {
        self.compiler.build()
    }

    /// The machine code that a source of CUDA C++ has on this device, or why it has none.
    pub fn machine_code(&self, source: &bytes::Bytes) -> Result<Vec<u8>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = state.session(self.config.device).map_err(|error| error.to_string())?;
        let hash = alloy::primitives::keccak256(source);
        match self.compiler.compile(&session.context, Language::Cuda, hash, source, || false) {
            Ok(code) => Ok(code.bytes.clone()),
            Err(error) => {
                if matches!(error, CompileError::Runaway(_)) {
                    state.lose();
                }
                Err(error.into_detail())
            }
        }
    }

    fn run(
        &self,
        job: &JobInput,
        language: Language,
        outputs: &mut [Region],
        stop: &mut Stop,
        meter: &mut Meter,
    ) -> Result<Produced, ExecuteError> {
        let Some(source) = job.envelope.program.code() else {
            return Err(ExecuteError::Unsupported("it brings no source".into()));
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = state.session(self.config.device)?;
        let text = job.program()?;
        let compiled = self.compiler.compile(&session.context, language, source.hash, text, || stop.is_past_grace());
        let code = match compiled {
            Ok(code) => code,
            Err(CompileError::Source(detail)) => return Err(ExecuteError::Program { detail, usage: meter.usage() }),
            Err(CompileError::Node(detail)) => return Err(ExecuteError::Node(detail)),
            Err(CompileError::Runaway(detail)) => {
                tracing::error!(%detail, "a compiler runs on past its bounds: this process must be replaced");
                state.lose();
                stop.check(meter.usage())?;
                return Err(ExecuteError::Program { detail, usage: meter.usage() });
            }
        };
        match run::run(session, &self.facts, job, &code, outputs, stop, meter) {
            Outcome::Ended(ended) => ended,
            Outcome::Faulted(error) => {
                tracing::warn!(%error, "a kernel broke the CUDA context");
                state.reset();
                Err(error)
            }
            Outcome::Stuck(error) => {
                tracing::error!(%error, "a kernel runs on past its job: this process must be replaced");
                state.lose();
                Err(error)
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
        match self.config.max_memory {
            0 => self.facts.memory / 10 * 9,
            bytes => bytes,
        }
    }

    fn must_restart(&self) -> bool {
        !matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Open(_))
    }

    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        let Program::Cuda { toolchain, language, .. } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a cuda job".into()));
        };
        if job.unit != Unit::GpuMs {
            return Err(ExecuteError::Unsupported(format!("a cuda job is billed in GPU-ms, not in {}", job.unit)));
        }
        let have = self.compiler.toolchain(*language).map_err(ExecuteError::Unsupported)?;
        job.require_toolchain(toolchain, &have)?;
        let memory = job.require_memory(self.memory())?;
        let mut stop = Stop::new(&job, cancel);
        let mut meter = Meter::new(&job, memory, progress);
        self.run(&job, *language, outputs, &mut stop, &mut meter)
    }
}

impl State {
    /// What jobs run in, its context current on this thread.
    fn session(&mut self, device: u32) -> Result<&mut Session, ExecuteError> {
        let node = |error| ExecuteError::Node(format!("the CUDA device cannot be opened: {error}"));
        if let Self::Faulted = self {
            *self = Self::Open(Box::new(Session::open(device).map_err(node)?));
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
