//! Running a job: one boundary, an executor per kind of program.
//!
//! An executor is given a whole job (envelope and blobs, already checked against their hashes), meters it while it
//! runs, stops it at its limits, and hands back the outputs. It knows nothing of receipts, prices or networks.

mod builtin;
mod cuda;
mod oci;
mod wasm;

pub use builtin::{BuiltinExecutor, reference};
pub use cuda::{CudaExecutor, Gpu, anchor, gpus, inventory, scrub};
pub use oci::{ImageError, ImageStore, OCI_IDS, OciConfig, OciExecutor, keep_watch};
pub use wasm::WasmExecutor;

use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Kind, Program};
use protocol::resource::{Unit, Usage};
use protocol::wire::Isolation;
use serde::{Deserialize, Serialize};
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the operator lets jobs use of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecuteConfig {
    /// Largest `limits.wallMs` of any job accepted, in milliseconds: for so long a job may have its device, whatever it
    /// pays. Default: 24 hours.
    pub max_wall_ms: u64,
    /// WebAssembly jobs.
    pub wasm: WasmConfig,
    /// CUDA jobs.
    pub cuda: CudaConfig,
    /// Container jobs.
    pub oci: OciConfig,
}

impl Default for ExecuteConfig {
    fn default() -> Self {
        Self {
            max_wall_ms: 24 * 3_600_000,
            wasm: WasmConfig::default(),
            cuda: CudaConfig::default(),
            oci: OciConfig::default(),
        }
    }
}

/// Bounds of WebAssembly jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WasmConfig {
    /// Largest `limits.memory` accepted, in bytes. Default: 1 GiB.
    pub max_memory: u64,
    /// Largest sum of declared outputs accepted, in bytes. Default: 256 MiB.
    pub max_outputs: u64,
    /// WebAssembly jobs at a time; 0 for none. Default: as many as jobs in all (`slots`).
    pub slots: Option<u32>,
}

impl Default for WasmConfig {
    fn default() -> Self {
        Self { max_memory: 1 << 30, max_outputs: 256 << 20, slots: None }
    }
}

/// Where CUDA is found, and bounds of CUDA jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CudaConfig {
    /// Whether a device is looked for at all. Default: true.
    pub enabled: bool,
    /// Which GPUs work, by their number in the order of `nvidia-smi`. Default: `"all"`.
    pub devices: Devices,
    /// Folders that are searched for NVRTC (and the driver library) before the system's own. Default: none.
    pub libraries: Vec<PathBuf>,
    /// Folders of CUDA's headers, such as `/usr/local/cuda/include`, that sources may include from. They are read once, at
    /// the start. Default: none.
    pub headers: Vec<PathBuf>,
    /// Largest `limits.memory` accepted, in bytes; 0 means nine tenths of the device's memory. Default: 0.
    pub max_memory: u64,
    /// Largest sum of declared outputs of a CUDA or builtin job accepted, in bytes: they pass through this machine's own
    /// memory, which is smaller than its GPUs'. Default: 1 GiB.
    pub max_outputs: u64,
    /// Whether the compiler runs without file access. Turn it off only on a kernel without Landlock, and only for
    /// clients that may read every file the worker can read: `#include` would open them. Default: true.
    pub confine_compiler: bool,
    /// Accepts the emulated device of the test kit. A network refuses its results. Default: false.
    pub allow_emulated: bool,
}

impl Default for CudaConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            devices: Devices::default(),
            libraries: Vec::new(),
            headers: Vec::new(),
            max_memory: 0,
            max_outputs: 1 << 30,
            confine_compiler: true,
            allow_emulated: false,
        }
    }
}

/// Which GPUs work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Devices {
    /// The word `all`.
    All(All),
    /// Their numbers.
    Listed(Vec<u32>),
}

/// The word for all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum All {
    /// `all`.
    All,
}

impl Default for Devices {
    fn default() -> Self {
        Self::All(All::All)
    }
}

impl Devices {
    /// Whether the GPU of that number works.
    pub fn contains(&self, number: u32) -> bool {
        match self {
            Self::All(_) => true,
            Self::Listed(numbers) => numbers.contains(&number),
        }
    }
}

/// A job that is ready to run.
#[derive(Debug, Clone)]
pub struct JobInput {
    /// What to run, validated.
    pub envelope: Envelope,
    /// The bytes of [`Envelope::blobs`], in that order: the program, if it is a blob, then the inputs.
    pub blobs: Vec<Bytes>,
    /// Which of the job's devices this is, counted from 0.
    pub rank: u32,
    /// Numbers of the GPUs that the job holds, for a program that the supervisor itself starts.
    pub devices: Vec<u32>,
    /// The unit that the job is billed in.
    pub unit: Unit,
    /// The job is stopped before it uses more of that unit.
    pub max_units: Quantity,
}

/// Zeroed memory for one output: what the envelope declares, divided by the job's devices.
pub type Region = Box<dyn DerefMut<Target = [u8]> + Send>;

/// A job that ran to its end; its outputs lie in their regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Produced {
    /// All that it used.
    pub usage: Usage,
    /// How much of each region was written, from its start.
    pub lengths: Vec<u64>,
}

/// What a job delivers.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// All that it used.
    pub usage: Usage,
    /// Its outputs, in the order of the envelope.
    pub outputs: Vec<Bytes>,
}

/// Why a job did not run to its end. Nothing here is worth a retry on the same worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ExecuteError {
    /// The program is at fault; what it used is billed.
    #[error("the program failed: {detail}")]
    Program {
        /// What it did wrong, for its author.
        detail: String,
        /// What it used until then.
        usage: Usage,
    },
    /// The job reached a limit of its order or envelope; what it used is billed.
    #[error("the job was stopped at a limit: {detail}")]
    Limit {
        /// Which limit, and where it is set.
        detail: String,
        /// What it used until then, never above the limit.
        usage: Usage,
    },
    /// The worker was told to stop; what was used is billed.
    #[error("the job was cancelled")]
    Cancelled {
        /// What it used until then.
        usage: Usage,
    },
    /// This worker cannot run such a job; it did not start.
    #[error("this worker cannot run the job: {0}")]
    Unsupported(String),
    /// The machine failed, not the program; nothing more is billed.
    #[error("the node failed: {0}")]
    Node(String),
}

impl ExecuteError {
    /// What can be billed for the job all the same: nothing where the worker itself is at fault.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Program { usage, .. } | Self::Limit { usage, .. } | Self::Cancelled { usage } => *usage,
            Self::Unsupported(_) | Self::Node(_) => Usage::default(),
        }
    }
}

/// How often programs were compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compilations {
    /// By the compiler.
    pub fresh: u64,
    /// Not at all: the result of an earlier time was used.
    pub cached: u64,
}

impl Compilations {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let (fresh, cached) = (self.fresh.saturating_add(other.fresh), self.cached.saturating_add(other.cached));
        Self { fresh, cached }
    }

    /// What was added since.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        let (fresh, cached) = (self.fresh.saturating_sub(before.fresh), self.cached.saturating_sub(before.cached));
        Self { fresh, cached }
    }
}

/// Runs programs of one kind.
pub trait Executor: Send + Sync {
    /// The kind of programs that it runs.
    fn kind(&self) -> Kind;

    /// What counts or compiles, such as `wasmtime-48` or `nvrtc-13.0`; an envelope may ask for it.
    fn toolchain(&self) -> String;

    /// All that it answers to as a toolchain.
    fn toolchains(&self) -> Vec<String> {
        vec![self.toolchain()]
    }

    /// The name of the device that it runs on, where it needs one.
    fn device(&self) -> Option<String>;

    /// The largest `limits.memory` that it takes, in bytes.
    fn memory(&self) -> u64;

    /// Whether a job left the device in a state that only a new process clears.
    fn must_restart(&self) -> bool {
        false
    }

    /// What holds its programs, where it starts a process of its own for each; `None` where this process runs them.
    fn isolation(&self) -> Option<Isolation> {
        None
    }

    /// How often it has compiled a program, and how often the compiled one was still there.
    fn compilations(&self) -> Compilations {
        Compilations::default()
    }

    /// Refuses a job by what its envelope declares, before memory is taken for it.
    fn check(&self, _job: &JobInput) -> Result<(), ExecuteError> {
        Ok(())
    }

    /// Runs a job to its end. Blocks: call it on a thread where that is allowed.
    ///
    /// `progress` is sent what the job has used so far; each value covers the one before, and the final usage covers
    /// them all. `bytes_out` stays zero until the outputs are delivered.
    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError>;
}

/// Runs a job in this process, with memory of its own for the outputs.
pub fn run_here(
    executor: &dyn Executor,
    job: JobInput,
    progress: watch::Sender<Usage>,
    cancel: CancellationToken,
) -> Result<Delivered, ExecuteError> {
    executor.check(&job)?;
    let mut regions: Vec<Region> = job.output_lengths().map(|length| Box::new(vec![0u8; length]) as Region).collect();
    let produced = executor.execute(job, &mut regions, progress, cancel)?;
    let taken = regions.iter().zip(&produced.lengths);
    let outputs = taken.map(|(region, length)| Bytes::copy_from_slice(&region[..*length as usize])).collect();
    Ok(Delivered { usage: produced.usage, outputs })
}

/// The executors that the supervisor calls itself, because their programs have processes of their own. `program` is
/// `capa-worker` itself.
pub fn here(config: &ExecuteConfig, program: &Path) -> Result<Vec<Arc<dyn Executor>>, ExecuteError> {
    if !config.oci.enabled {
        return Ok(Vec::new());
    }
    // Who turns container jobs on wants to know at once that they cannot run.
    let oci = OciExecutor::find(&config.oci, program);
    let oci = oci.map_err(|reason| ExecuteError::Unsupported(format!("container jobs are turned on, but {reason}")))?;
    tracing::info!(toolchain = oci.toolchain(), images = config.oci.images.len(), "container jobs are accepted");
    Ok(vec![Arc::new(oci)])
}

impl JobInput {
    /// How much memory each output needs on one of the job's devices.
    pub fn output_lengths(&self) -> impl Iterator<Item = usize> + '_ {
        let parts = match &self.envelope.program {
            Program::Cuda { devices, .. } => u64::from(*devices).max(1),
            Program::Wasm { .. } | Program::Builtin { .. } | Program::Oci { .. } => 1,
        };
        // The sum of all lengths was held against the operator's bound, far below the address space.
        self.envelope.outputs.iter().map(move |output| (output.length.get() / parts) as usize)
    }

    /// The program's bytes, after checking that the blobs are those of the envelope.
    fn program(&self) -> Result<&Bytes, ExecuteError> {
        self.check_blobs()?;
        self.blobs.first().ok_or_else(|| ExecuteError::Node("a program without code was taken for one with".into()))
    }

    /// Refuses blobs that are not those of the envelope.
    fn check_blobs(&self) -> Result<(), ExecuteError> {
        let declared: Vec<Blob> = self.envelope.blobs().collect();
        let same = declared.len() == self.blobs.len()
            && declared.iter().zip(&self.blobs).all(|(blob, bytes)| blob.length.get() == bytes.len() as u64);
        if same { Ok(()) } else { Err(ExecuteError::Node("the blobs fetched are not those of the envelope".into())) }
    }

    /// The inputs' bytes.
    fn inputs(&self) -> &[Bytes] {
        let code = usize::from(self.envelope.program.code().is_some());
        self.blobs.get(code..).unwrap_or_default()
    }

    /// Refuses a job that asks for another compiler or fuel counter.
    fn require_toolchain(&self, wanted: &str, have: &str) -> Result<(), ExecuteError> {
        if wanted.is_empty() || wanted == have {
            return Ok(());
        }
        Err(ExecuteError::Unsupported(format!("it asks for the toolchain {wanted}, this worker has {have}")))
    }

    /// Refuses a job that declares more memory than the operator allows.
    fn require_memory(&self, allowed: u64) -> Result<u64, ExecuteError> {
        let memory = self.envelope.limits.memory.get();
        if memory > allowed {
            return Err(ExecuteError::Unsupported(format!(
                "limits.memory is {memory} bytes, this worker allows {allowed}"
            )));
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_all_or_a_list() {
        let read = |text: &str| toml::from_str::<CudaConfig>(text).map(|config| config.devices);
        assert_eq!(read("").unwrap(), Devices::default());
        assert!(read("devices = \"all\"").unwrap().contains(15));
        let some = read("devices = [0, 2]").unwrap();
        assert_eq!((some.contains(0), some.contains(1), some.contains(2)), (true, false, true));
        assert!(read("devices = \"none\"").is_err());
    }

    #[test]
    fn a_failure_of_the_node_bills_nothing() {
        let usage = Usage { cpu_ms: Quantity(7), ..Usage::default() };
        assert_eq!(ExecuteError::Cancelled { usage }.usage(), usage);
        assert_eq!(ExecuteError::Node("disk".into()).usage(), Usage::default());
    }
}
