//! The sample jobs of `examples/` as jobs ready to run.

use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Kind, Language, Limits, OutputBuffer, Program, Stage, Verify, result_hash};
use protocol::resource::{Unit, Usage};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{Delivered, ExecuteError, Executor, JobInput, run_here};

pub(crate) const SAMPLES: [&str; 4] = ["asian-option", "heat-equation", "n-body", "sha256"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    version: u8,
    name: String,
    inputs: Vec<String>,
    outputs: Vec<Quantity>,
    limits: Limits,
    verify: Verify,
    wasm: Wasm,
    cuda: Cuda,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wasm {
    module: String,
    toolchain: String,
    expected: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cuda {
    source: String,
    toolchain: String,
    scratch: Vec<Quantity>,
    stages: Vec<Stage>,
    expected: B256,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

pub(crate) fn blob(bytes: &[u8]) -> Blob {
    Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) }
}

/// A sample as a job, and the result that it must give.
pub(crate) fn load(name: &str, kind: Kind) -> (JobInput, B256) {
    let read = |file: &str| Bytes::from(std::fs::read(folder(name).join(file)).unwrap());
    let manifest: Manifest = serde_json::from_slice(&read("job.json")).unwrap();
    assert_eq!((manifest.version, manifest.name.as_str()), (1, name));
    let inputs: Vec<Bytes> = manifest.inputs.iter().map(|file| read(file)).collect();
    let (code, program, expected, unit) = match kind {
        Kind::Wasm => {
            let code = read(&manifest.wasm.module);
            let program = Program::Wasm { module: blob(&code), toolchain: manifest.wasm.toolchain };
            (code, program, manifest.wasm.expected, Unit::CpuMs)
        }
        Kind::Cuda => {
            let code = read(&manifest.cuda.source);
            let (toolchain, scratch, stages) = (manifest.cuda.toolchain, manifest.cuda.scratch, manifest.cuda.stages);
            let program =
                Program::Cuda { source: blob(&code), language: Language::Cuda, toolchain, devices: 1, scratch, stages };
            (code, program, manifest.cuda.expected, Unit::GpuMs)
        }
        Kind::Builtin | Kind::Oci => unreachable!("the samples bring their own code"),
    };
    let envelope = Envelope {
        version: 1,
        program,
        inputs: inputs.iter().map(|bytes| blob(bytes)).collect(),
        outputs: manifest.outputs.into_iter().map(|length| OutputBuffer { length }).collect(),
        limits: manifest.limits,
        verify: manifest.verify,
    };
    envelope.validate().unwrap();
    let blobs = std::iter::once(code).chain(inputs).collect();
    (JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units: Quantity(100_000) }, expected)
}

/// Runs a job with nobody listening.
pub(crate) fn run(executor: &dyn Executor, job: JobInput) -> Result<Delivered, ExecuteError> {
    run_here(executor, job, watch::channel(Usage::default()).0, CancellationToken::new())
}

pub(crate) fn result_of(outputs: &[Bytes]) -> B256 {
    result_hash(&outputs.iter().map(|bytes| blob(bytes)).collect::<Vec<_>>())
}
