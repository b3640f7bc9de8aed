//! Builtin jobs: kernels that ship with the worker, run on its GPU and billed by their work.
//!
//! The kernels' sources are part of this program. They are compiled by NVRTC for the device when they are first asked for,
//! and [`pinned`] compares the machine code with what this release was tested with. Matrix products are cuBLASLt's.
//!
//! Work is known before a kernel starts, so a job beyond its order never starts. It is done in groups of some
//! milliseconds; limits are checked between them, and `work` counts the groups that are over. `gpu_ms` is their time on
//! the device, `memory_mib_s` is `limits.memory` times that, `bytes_in` the inputs and `bytes_out` the outputs. Whatever
//! the device does wrong is the node's failure: no code here is a client's.

mod pinned;
mod session;
mod gemm;
mod hashsearch;
mod montecarlo;
mod reduce;
mod sort;
mod fixed;
mod walk;
pub mod reference;

use super::cuda::CudaExecutor;
use super::cuda::run::Outcome;
use super::{ExecuteError, Executor, JobInput, Produced, Region};
use gemm::Algorithms;
use pinned::{Code, Shipped};
use protocol::job::{Builtin, Kind, Program};
use protocol::resource::Usage;
use session::Session;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs builtin kernels on the device of a [`CudaExecutor`].
pub struct BuiltinExecutor {
    cuda: Arc<CudaExecutor>,
    shipped: Shipped,
    /// Name and version of cuBLASLt, or why there is none.
    blas: Result<String, String>,
    algorithms: Algorithms,
}

impl BuiltinExecutor {
    /// Loads cuBLASLt and tries it, as a process that is locked later can load nothing then. The other kernels are
    /// compiled when they are first asked for. One that cannot be had is refused then, with the reason.
    pub fn new(cuda: Arc<CudaExecutor>) -> Self {
        let blas = gemm::warm_up(&cuda);
        if let Err(reason) = &blas {
            tracing::warn!(reason, "matrix products are not accepted");
        }
        Self { cuda, shipped: Shipped::default(), blas, algorithms: Algorithms::default() }
    }

    /// What a job calls and the code of that, unless something can be said against it before it has the device.
    fn admit<'j>(&self, job: &'j JobInput) -> Result<(&'j Builtin, &Code), ExecuteError> {
        let Program::Builtin { call, cubin } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a builtin job".into()));
        };
        if job.unit != call.unit() {
            let detail = format!("this builtin is billed in {}, not in {}", call.unit(), job.unit);
            return Err(ExecuteError::Unsupported(detail));
        }
        if call.work() > job.max_units.get() {
            let (work, unit, most) = (call.work(), call.unit(), job.max_units);
            let detail = format!("it is {work} {unit} of work, maxUnits and maxTotal of the order allow {most}");
            return Err(ExecuteError::Limit { detail, usage: Usage::default() });
        }
        job.require_memory(self.memory())?;
        let unsupported = |reason: &String| ExecuteError::Unsupported(reason.clone());
        let code = self.shipped.code(&self.cuda, call).map_err(unsupported)?;
        if let Builtin::Gemm { toolchain, .. } = call {
            job.require_toolchain(toolchain, self.blas.as_ref().map_err(unsupported)?)?;
        }
        match (cubin, call) {
            (None, _) => Ok((call, code)),
            (Some(_), Builtin::Gemm { .. }) => Err(ExecuteError::Unsupported(
                "gemm runs cuBLASLt, which has no cubin to ask for: name its version in `toolchain` instead".into(),
            )),
            (Some(wanted), _) if *wanted == code.hash => Ok((call, code)),
            (Some(wanted), _) => Err(ExecuteError::Unsupported(format!(
                "it asks for the machine code {wanted}, this worker has {} for {}",
                code.hash, code.target
            ))),
        }
    }

    /// Runs a job, and tells how many microseconds its launches took on the device, by the device's clock.
    pub(in crate::execute) fn timed(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<(Produced, u64), ExecuteError> {
        let (call, code) = self.admit(&job)?;
        job.check_blobs()?;
        let inputs = job.inputs();
        let [output] = outputs else {
            return Err(ExecuteError::Node("a builtin was handed more or less than one output".into()));
        };
        let mut microseconds = 0;
        let done = self.cuda.on_device(|device| {
            let mut session = match Session::new(device, &job, progress, cancel) {
                Ok(session) => session,
                Err(stopped) => return stopped.outcome(),
            };
            let done = match call {
                Builtin::Gemm { element, m, k, n, .. } => gemm::run(
                    &mut session,
                    code,
                    &self.algorithms,
                    gemm::Sides::new(*element, *m, *k, *n),
                    inputs,
                    output,
                ),
                Builtin::Montecarlo(pricing) => montecarlo::run(&mut session, code, pricing, output),
                Builtin::Hashsearch { start, count } => {
                    hashsearch::run(&mut session, code, *start, *count, inputs, output)
                }
                Builtin::Sort { key, .. } => sort::run(&mut session, code, *key, inputs, output),
                Builtin::Reduce { key, fold, .. } => reduce::run(&mut session, code, *key, *fold, inputs, output),
            };
            match done {
                Ok(()) => {
                    microseconds = session.microseconds();
                    Outcome::Ended(Ok(session.produced(output.len() as u64)))
                }
                Err(stopped) => stopped.outcome(),
            }
        });
        done.map(|produced| (produced, microseconds))
    }
}

impl Executor for BuiltinExecutor {
    fn kind(&self) -> Kind {
        Kind::Builtin
    }

    /// cuBLASLt's name and version, as the other kernels are compiled by the CUDA executor's toolchain.
    fn toolchain(&self) -> String {
        self.blas.clone().unwrap_or_else(|_| self.cuda.toolchain())
    }

    fn toolchains(&self) -> Vec<String> {
        self.blas.iter().cloned().collect()
    }

    fn device(&self) -> Option<String> {
        self.cuda.device()
    }

    fn memory(&self) -> u64 {
        self.cuda.memory()
    }

    fn check(&self, job: &JobInput) -> Result<(), ExecuteError> {
        self.admit(job).map(|_| ())
    }

    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        self.timed(job, outputs, progress, cancel).map(|(produced, _)| produced)
    }
}
