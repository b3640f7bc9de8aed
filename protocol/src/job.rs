//! The job envelope: everything that a worker needs to run a job, and that anyone needs to run it again.
//!
//! An envelope travels as JSON and is named by the keccak256 of exactly those bytes, which the order signs as `spec`.
//! Programs and inputs are named by the keccak256 of their bytes in the same way; all are blobs.

mod builtin;

pub use builtin::{
    Builtin, Element, Exercise, Fold, FreivaldsError, GEMM_WORKSPACE, Key, MAX_KEYS, MAX_PREFIX_BYTES, OptionPricing,
    Right, freivalds,
};

use crate::amount::Quantity;
use crate::resource::{Resource, Unit};
use alloy::primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

/// A whole envelope is at most this long; programs and inputs are blobs of their own.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;
/// At most this many inputs, outputs, and scratch buffers each.
pub const MAX_BUFFERS: usize = 64;
/// A job runs on at most this many devices of one worker.
pub const MAX_DEVICES: u32 = 16;
/// Classes of leases that hold processors and no GPU. Whoever buys one of these is handed none.
pub const CPU_LEASES: [&str; 2] = ["lease.x86-64", "lease.aarch64"];

/// A job, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// Version of this format: 1.
    pub version: u8,
    /// What runs.
    pub program: Program,
    /// Its read-only inputs, in order.
    pub inputs: Vec<Blob>,
    /// Its outputs, in order. A WASM job may write less than the length given here, a CUDA job writes exactly that.
    pub outputs: Vec<OutputBuffer>,
    /// Where it is stopped.
    pub limits: Limits,
    /// How the result may be checked.
    pub verify: Verify,
}

/// Bytes, by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blob {
    /// keccak256 of the bytes.
    pub hash: B256,
    /// Their number.
    pub length: Quantity,
}

/// An output, declared before the job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputBuffer {
    /// Length in bytes.
    pub length: Quantity,
}

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

/// Where a job is stopped, besides the order's `maxUnits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Memory of the program (WASM memory, or all device buffers), in bytes.
    pub memory: Quantity,
    /// Wall time, in milliseconds.
    pub wall_ms: Quantity,
}

/// How a result may be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Verify {
    /// Running it again gives the same bytes, on any machine.
    Reexecute,
    /// Running it again gives the same bytes on the same device class and toolchain.
    SameDevice,
    /// The client checks by itself.
    None,
}

/// Bytes are not an envelope that can be run.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON that this version reads.
    #[error("the job envelope is not valid: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The bytes hash to something else than the order's `spec`.
    #[error("the job envelope hashes to {found}, but the order signs {expected}")]
    WrongHash {
        /// What the order signs.
        expected: B256,
        /// What the bytes hash to.
        found: B256,
    },
    /// Larger than any envelope may be.
    #[error("the job envelope has {0} bytes, more than {MAX_ENVELOPE_BYTES}: put data into inputs")]
    TooLarge(usize),
    /// A rule of the format is broken.
    #[error("the job envelope is not valid: {0}")]
    Invalid(String),
}

impl Envelope {
    /// The bytes that travel and are hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope holds only strings, integers and lists")
    }

    /// Reads an envelope that must hash to `spec`, and checks all that can be checked without running it.
    pub fn from_bytes(bytes: &[u8], spec: B256) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let found = keccak256(bytes);
        if found != spec {
            return Err(EnvelopeError::WrongHash { expected: spec, found });
        }
        let envelope: Self = serde_json::from_slice(bytes)?;
        envelope.validate()?;
        Ok(envelope)
    }

    /// Every blob that a worker must fetch before it can start: the program first, if it is one, then the inputs.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        self.program.code().copied().into_iter().chain(self.inputs.iter().copied())
    }

    /// Checks the rules of the format.
    pub fn validate(&self) -> Result<(), EnvelopeError> {
        let invalid = |text: String| Err(EnvelopeError::Invalid(text));
        if self.version != 1 {
            return invalid(format!("version {} is unknown, this software reads version 1", self.version));
        }
        if self.inputs.len() > MAX_BUFFERS || self.outputs.len() > MAX_BUFFERS {
            return invalid(format!("at most {MAX_BUFFERS} inputs and outputs each"));
        }
        if self.outputs.is_empty() {
            return invalid("a job needs at least one output".into());
        }
        if self.limits.wall_ms == Quantity::ZERO || self.limits.memory == Quantity::ZERO {
            return invalid("limits.wallMs and limits.memory must be above zero".into());
        }
        self.program.validate(&self.inputs, &self.outputs, self.limits.memory)
    }
}

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

    fn validate(&self, inputs: &[Blob], outputs: &[OutputBuffer], memory: Quantity) -> Result<(), EnvelopeError> {
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

/// The result that a final receipt signs: keccak256 over the outputs' hashes in order.
pub fn result_hash(outputs: &[Blob]) -> B256 {
    let hashes: Vec<u8> = outputs.iter().flat_map(|output| output.hash.0).collect();
    keccak256(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        let blob = Blob { hash: keccak256("x"), length: Quantity(1) };
        Envelope {
            version: 1,
            program: Program::Cuda {
                source: blob,
                language: Language::Cuda,
                toolchain: String::new(),
                devices: 1,
                scratch: vec![Quantity(64)],
                stages: vec![Stage {
                    repeat: 3,
                    graph: false,
                    launches: vec![Launch {
                        kernel: "step".into(),
                        grid: [1, 1, 1],
                        block: [32, 1, 1],
                        shared_memory: 0,
                        arguments: vec![Argument::Input(0), Argument::Scratch(0), Argument::U32(7)],
                    }],
                }],
            },
            inputs: vec![blob],
            outputs: vec![OutputBuffer { length: Quantity(4) }],
            limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(1000) },
            verify: Verify::SameDevice,
        }
    }

    #[test]
    fn round_trips_by_its_hash() {
        let bytes = envelope().to_bytes();
        assert_eq!(Envelope::from_bytes(&bytes, keccak256(&bytes)).unwrap(), envelope());
        assert!(matches!(Envelope::from_bytes(&bytes, keccak256("other")), Err(EnvelopeError::WrongHash { .. })));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = String::from_utf8(envelope().to_bytes()).unwrap().replacen('{', "{\"extra\":1,", 1);
        assert!(matches!(Envelope::from_bytes(text.as_bytes(), keccak256(&text)), Err(EnvelopeError::Malformed(_))));
    }

    #[test]
    fn nothing_runs_for_nothing() {
        let class = |name: &str, unit| Resource {
            id: crate::resource::ResourceId(1),
            name: name.into(),
            unit,
            scale: Quantity(1),
        };
        let cuda = envelope().program;
        assert_eq!(cuda.check_resource(&class("gpu.h200", Unit::GpuMs)), Ok(()));
        assert!(cuda.check_resource(&class("cpu.x86-64", Unit::CpuMs)).unwrap_err().contains("billed in GPU-ms"));
        let call = Builtin::Hashsearch { start: Quantity(0), count: Quantity(1) };
        let builtin = Program::Builtin { call, cubin: None };
        assert_eq!(builtin.check_resource(&class("hashsearch.keccak256", Unit::Hash)), Ok(()));
        let other = builtin.check_resource(&class("hashsearch.md5", Unit::Hash)).unwrap_err();
        assert!(other.contains("bought as hashsearch.keccak256"), "{other}");
        let container = |devices| Program::Oci { image: String::new(), command: vec![], devices };
        let (gpu, cpu) = (class("lease.h200", Unit::LeaseS), class("lease.x86-64", Unit::LeaseS));
        assert_eq!((container(2).check_resource(&gpu), container(0).check_resource(&cpu)), (Ok(()), Ok(())));
        let cheap = container(1).check_resource(&cpu).unwrap_err();
        assert!(cheap.contains("without GPUs"), "{cheap}");
    }

    #[test]
    fn broken_rules_are_named() {
        let mut broken: Vec<(Envelope, &str)> = Vec::new();
        let mut e = envelope();
        e.version = 2;
        broken.push((e, "version 2"));
        let mut e = envelope();
        e.outputs.clear();
        broken.push((e, "at least one output"));
        let mut e = envelope();
        e.inputs.clear();
        broken.push((e, "not declared"));
        let mut e = envelope();
        if let Program::Cuda { stages, .. } = &mut e.program {
            stages[0].launches[0].block[1] = 0;
        }
        broken.push((e, "empty grid or block"));
        let mut e = envelope();
        if let Program::Cuda { devices, .. } = &mut e.program {
            *devices = 3;
        }
        broken.push((e, "multiple of the 3 devices"));
        let mut e = envelope();
        e.program = Program::Oci { image: "alpine:3".into(), command: vec![], devices: 0 };
        broken.push((e, "must be a digest"));
        for (envelope, word) in broken {
            let error = envelope.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
