//! What a job runs: its program, by kind.

use super::{Blob, Builtin, CPU_LEASES, EnvelopeError, MAX_BUFFERS, MAX_DEVICES, OutputBuffer};
use crate::amount::Quantity;
use crate::resource::{Resource, Unit};
use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Program {
    /// A WebAssembly module that exports `memory` and `run: () -> i32` (0 is success) and imports only module `capa`.
    Wasm {
        /// The binary module.
        module: Blob,
        /// What counts its fuel, such as `wasmtime-48`: another runtime may count differently.
        toolchain: String,
    },
    /// CUDA source and the launches to make of it. The client's host code never runs.
    ///
    /// With several devices each runs all stages, with copies of the inputs and scratch buffers of its own. Every output
    /// is divided into as many equal parts; the device of rank r is handed part r, and learns r by [`Argument::Rank`].
    Cuda {
        /// The source text.
        source: Blob,
        /// What it is written in; CUDA C++ where nothing is said.
        #[serde(default, skip_serializing_if = "Language::is_default")]
        language: Language,
        /// The compiler, such as `nvrtc-13.0`; workers with another one refuse the job. Empty for any.
        toolchain: String,
        /// How many devices of one worker run it.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        devices: u32,
        /// Device buffers that start as zeros and are thrown away: their lengths in bytes.
        scratch: Vec<Quantity>,
        /// Run in order.
        stages: Vec<Stage>,
    },
    /// A kernel that ships with the worker, billed by its work.
    Builtin {
        /// Which, and what on.
        call: Builtin,
        /// keccak256 of the machine code that must run; a worker with other code refuses the job. `None` for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cubin: Option<B256>,
    },
    /// A container image, run without network: inputs are the files `/capa/inputs/<index>`, outputs those of
    /// `/capa/outputs/<index>`. Nobody can check its result by running it again.
    Oci {
        /// Digest of the image's manifest, such as `sha256:…`; a worker runs only those that its operator allows.
        image: String,
        /// What runs in it with its arguments; the image's own where this is empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        command: Vec<String>,
        /// How many GPUs it is handed.
        #[serde(default, skip_serializing_if = "is_zero")]
        devices: u32,
    },
}

/// What the source of a CUDA job is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Language {
    /// CUDA C++, compiled by NVRTC.
    #[default]
    Cuda,
    /// PTX assembly.
    Ptx,
}

impl Language {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

const fn one() -> u32 {
    1
}

const fn is_one(number: &u32) -> bool {
    *number == 1
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Launches that are repeated as a group, such as the two half-steps of a simulation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// How often, at least once.
    pub repeat: u32,
    /// Whether the launches are recorded as one CUDA graph, which is then launched `repeat` times.
    #[serde(default, skip_serializing_if = "is_false")]
    pub graph: bool,
    /// Run in order, each after the one before.
    pub launches: Vec<Launch>,
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Launch {
    /// Name of an `extern "C" __global__` function.
    pub kernel: String,
    /// Blocks in the grid.
    pub grid: [u32; 3],
    /// Threads in a block.
    pub block: [u32; 3],
    /// Dynamic shared memory per block, in bytes.
    pub shared_memory: u32,
    /// What the kernel is called with.
    pub arguments: Vec<Argument>,
}

/// An argument of a kernel. Scalars are decimal strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Argument {
    /// Device pointer to the input of that index.
    Input(u32),
    /// Device pointer to the output of that index.
    Output(u32),
    /// Device pointer to the scratch buffer of that index.
    Scratch(u32),
    /// Which of the job's devices makes the launch, counted from 0, as a 32-bit unsigned integer.
    Rank,
    /// A 32-bit unsigned integer.
    U32(u32),
    /// A 64-bit unsigned integer.
    U64(Quantity),
    /// A 32-bit float, by its bits, so that no text rounds it.
    F32Bits(u32),
    /// A 64-bit float, by its bits.
    F64Bits(Quantity),
}

impl Eq for Argument {}

impl Program {
    /// The blob that holds the code, where the client brings it.
    pub const fn code(&self) -> Option<&Blob> {
        match self {
            Self::Wasm { module, .. } => Some(module),
            Self::Cuda { source, .. } => Some(source),
            Self::Builtin { .. } | Self::Oci { .. } => None,
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Wasm { .. } => Kind::Wasm,
            Self::Cuda { .. } => Kind::Cuda,
            Self::Builtin { .. } => Kind::Builtin,
            Self::Oci { .. } => Kind::Oci,
        }
    }

    /// The unit that it is billed in: what it mainly uses, as no other resource measures that.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Wasm { .. } => Unit::CpuMs,
            Self::Cuda { .. } => Unit::GpuMs,
            Self::Builtin { call, .. } => call.unit(),
            Self::Oci { .. } => Unit::LeaseS,
        }
    }

    /// How many GPUs of one worker it needs.
    pub const fn devices(&self) -> u32 {
        match self {
            Self::Wasm { .. } => 0,
            Self::Builtin { .. } => 1,
            Self::Cuda { devices, .. } | Self::Oci { devices, .. } => *devices,
        }
    }

    /// Refuses a resource that does not measure what the program mainly uses: it would run for nothing.
    pub fn check_resource(&self, resource: &Resource) -> Result<(), String> {
        let (kind, unit) = (self.kind(), self.unit());
        if resource.unit != unit {
            return Err(format!(
                "a {kind} job is billed in {unit}, but {} is metered in {}: order a resource in {unit}",
                resource.name, resource.unit
            ));
        }
        match self {
            Self::Builtin { call, .. } if resource.name != call.class() => {
                Err(format!("this builtin is bought as {}, not as {}", call.class(), resource.name))
            }
            Self::Oci { devices, .. } if *devices > 0 && CPU_LEASES.contains(&resource.name.as_str()) => {
                Err(format!("{} is a lease without GPUs: buy one that is named after the GPU", resource.name))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn validate(
        &self,
        inputs: &[Blob],
        outputs: &[OutputBuffer],
        memory: Quantity,
    ) -> Result<(), EnvelopeError> {
        match self {
            Self::Wasm { .. } => Ok(()),
            Self::Cuda { devices, scratch, stages, .. } => validate_cuda(*devices, scratch, stages, inputs, outputs),
            Self::Builtin { call, .. } => call.validate(inputs, outputs, memory).map_err(EnvelopeError::Invalid),
            Self::Oci { image, command, devices } => validate_oci(image, command, *devices),
        }
    }
}

fn validate_cuda(
    devices: u32,
    scratch: &[Quantity],
    stages: &[Stage],
    inputs: &[Blob],
    outputs: &[OutputBuffer],
) -> Result<(), EnvelopeError> {
    let invalid = |text: String| Err(EnvelopeError::Invalid(text));
    if devices == 0 || devices > MAX_DEVICES {
        return invalid(format!("a cuda job needs 1 to {MAX_DEVICES} devices"));
    }
    if outputs.iter().any(|output| !output.length.get().is_multiple_of(u64::from(devices))) {
        return invalid(format!("the length of every output must be a multiple of the {devices} devices"));
    }
    if stages.is_empty() || stages.iter().any(|s| s.repeat == 0 || s.launches.is_empty()) {
        return invalid("a cuda job needs stages, each with launches and a repeat of at least 1".into());
    }
    if scratch.len() > MAX_BUFFERS {
        return invalid(format!("at most {MAX_BUFFERS} scratch buffers"));
    }
    for launch in stages.iter().flat_map(|stage| &stage.launches) {
        if launch.grid.contains(&0) || launch.block.contains(&0) {
            return invalid(format!("kernel {} has an empty grid or block", launch.kernel));
        }
        let known = launch.arguments.iter().all(|argument| match argument {
            Argument::Input(i) => (*i as usize) < inputs.len(),
            Argument::Output(i) => (*i as usize) < outputs.len(),
            Argument::Scratch(i) => (*i as usize) < scratch.len(),
            Argument::Rank | Argument::U32(_) | Argument::U64(_) | Argument::F32Bits(_) | Argument::F64Bits(_) => true,
        });
        if !known {
            return invalid(format!("kernel {} names a buffer that is not declared", launch.kernel));
        }
    }
    Ok(())
}

fn validate_oci(image: &str, command: &[String], devices: u32) -> Result<(), EnvelopeError> {
    let invalid = |text: String| Err(EnvelopeError::Invalid(text));
    let digest = image.strip_prefix("sha256:").unwrap_or_default();
    if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return invalid("the image must be a digest: sha256: and 64 lower-case hexadecimal digits".into());
    }
    if command.iter().any(|word| word.contains('\0')) {
        return invalid("the command contains a zero byte".into());
    }
    if devices > MAX_DEVICES {
        return invalid(format!("an oci job has at most {MAX_DEVICES} devices"));
    }
    Ok(())
}

/// Kinds of programs; a worker says which it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// WebAssembly on a CPU.
    Wasm,
    /// CUDA source on a GPU.
    Cuda,
    /// A kernel that ships with the worker, on a GPU.
    Builtin,
    /// A container image.
    Oci,
}

impl Kind {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Cuda => "cuda",
            Self::Builtin => "builtin",
            Self::Oci => "oci",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
