//! The job envelope: everything that a worker needs to run a job, and that anyone needs to run it again.
//!
//! An envelope travels as JSON and is named by the keccak256 of exactly those bytes, which the order signs as `spec`.
//! Programs and inputs are named by the keccak256 of their bytes in the same way; all are blobs.

mod program;
mod builtin;

pub use builtin::{
    Builtin, Element, Exercise, Fold, FreivaldsError, GEMM_WORKSPACE, Key, MAX_KEYS, MAX_PREFIX_BYTES, OptionPricing,
    Right, freivalds,
};
pub use program::{Argument, Kind, Language, Launch, Program, Stage};

use crate::amount::Quantity;
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

/// The result that a final receipt signs: keccak256 over the outputs' hashes in order.
pub fn result_hash(outputs: &[Blob]) -> B256 {
    let hashes: Vec<u8> = outputs.iter().flat_map(|output| output.hash.0).collect();
    keccak256(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Resource, Unit};

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
