//! The sample jobs of `examples/` as jobs ready to run.

use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{
    Blob, Builtin, Envelope, Kind, Language, Limits, OutputBuffer, Program, Stage, Verify, result_hash,
};
use protocol::resource::Usage;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{Delivered, ExecuteError, Executor, JobInput, run_here};

pub(crate) const SAMPLES: [&str; 4] = ["asian-option", "heat-equation", "n-body", "sha256"];
/// Those that run the worker's own kernels.
pub(crate) const BUILTIN_SAMPLES: [&str; 3] = ["hash-search", "matrix-product", "option-price"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    version: u8,
    name: String,
    inputs: Vec<String>,
    outputs: Vec<Quantity>,
    limits: Limits,
    verify: Verify,
    wasm: Option<Wasm>,
    cuda: Option<Cuda>,
    builtin: Option<Shipped>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shipped {
    call: Builtin,
    expected: B256,
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
    let (code, program, expected) = match kind {
        Kind::Wasm => {
            let wasm = manifest.wasm.unwrap();
            let code = read(&wasm.module);
            let program = Program::Wasm { module: blob(&code), toolchain: wasm.toolchain };
            (Some(code), program, wasm.expected)
        }
        Kind::Cuda => {
            let cuda = manifest.cuda.unwrap();
            let code = read(&cuda.source);
            let (source, language) = (blob(&code), Language::Cuda);
            let Cuda { toolchain, scratch, stages, expected, .. } = cuda;
            (Some(code), Program::Cuda { source, language, toolchain, devices: 1, scratch, stages }, expected)
        }
        Kind::Builtin => {
            let Shipped { call, expected } = manifest.builtin.unwrap();
            (None, Program::Builtin { call, cubin: None }, expected)
        }
        Kind::Oci => unreachable!("no sample is a container"),
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
    let (unit, blobs) = (envelope.program.unit(), code.into_iter().chain(inputs).collect());
    let max_units = match &envelope.program {
        Program::Builtin { call, .. } => call.work(),
        _ => 100_000,
    };
    (JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units: Quantity(max_units) }, expected)
}

/// Runs a job with nobody listening.
pub(crate) fn run(executor: &dyn Executor, job: JobInput) -> Result<Delivered, ExecuteError> {
    run_here(executor, job, watch::channel(Usage::default()).0, CancellationToken::new())
}

pub(crate) fn result_of(outputs: &[Bytes]) -> B256 {
    result_hash(&outputs.iter().map(|bytes| blob(bytes)).collect::<Vec<_>>())
}
