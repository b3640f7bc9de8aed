//! Jobs of the test kit's kernels, and the device that they run on.

use crate::sample::blob;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Argument, Envelope, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify};
use protocol::resource::Unit;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use worker::execute::{CudaConfig, CudaExecutor, Delivered, ExecuteError, JobInput};

pub(crate) fn config() -> CudaConfig {
    CudaConfig { libraries: emulated_cuda::libraries().unwrap(), allow_emulated: true, ..CudaConfig::default() }
}

/// All tests of a process share it: a fault resets the one context that the device has there.
pub(crate) static EXECUTOR: LazyLock<Arc<CudaExecutor>> =
    LazyLock::new(|| Arc::new(CudaExecutor::find(&config()).unwrap()));

/// Held for writing by a test that looks at what the driver counts.
static COUNTED: RwLock<()> = RwLock::new(());

/// Keeps other tests off the device.
pub(super) fn alone() -> RwLockWriteGuard<'static, ()> {
    COUNTED.write().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps tests that count off the device.
pub(crate) fn shared() -> RwLockReadGuard<'static, ()> {
    COUNTED.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a job with nobody listening.
pub(super) fn run(job: JobInput) -> Result<Delivered, ExecuteError> {
    let _shared = shared();
    run_alone(job)
}

/// Runs a job while the caller holds [`alone`].
pub(super) fn run_alone(job: JobInput) -> Result<Delivered, ExecuteError> {
    job.envelope.validate().unwrap();
    crate::sample::run(&**EXECUTOR, job)
}

pub(super) fn program_error(job: JobInput) -> String {
    match run(job) {
        Err(ExecuteError::Program { detail, .. }) => detail,
        other => panic!("not a program error: {other:?}"),
    }
}

pub(super) const FAULTS: &[u8] = include_bytes!("../../../../testkit/emulated-cuda/kernels/faults.cu");
pub(super) const FAULTS_PTX: &[u8] = include_bytes!("../../../../testkit/emulated-cuda/kernels/faults.ptx");

/// A job of the kernels that misbehave, with an output of 8 bytes.
pub(super) fn job(kernel: &str, repeat: u32, arguments: Vec<Argument>) -> JobInput {
    source_job(FAULTS, kernel, repeat, arguments)
}

pub(super) fn source_job(source: &[u8], kernel: &str, repeat: u32, arguments: Vec<Argument>) -> JobInput {
    let launch = Launch { kernel: kernel.into(), grid: [1, 1, 1], block: [1, 1, 1], shared_memory: 0, arguments };
    let envelope = Envelope {
        version: 1,
        program: Program::Cuda {
            source: blob(source),
            language: Language::Cuda,
            toolchain: "nvrtc-13.0".into(),
            devices: 1,
            scratch: vec![Quantity(16)],
            stages: vec![Stage { repeat, graph: false, launches: vec![launch] }],
        },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(8) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(60_000) },
        verify: Verify::SameDevice,
    };
    JobInput {
        envelope,
        blobs: vec![Bytes::copy_from_slice(source)],
        rank: 0,
        devices: vec![],
        unit: Unit::GpuMs,
        max_units: Quantity(10_000),
    }
}

/// The same job, written in PTX.
pub(super) fn in_ptx(mut job: JobInput, text: &[u8]) -> JobInput {
    if let Program::Cuda { source, language, toolchain, .. } = &mut job.envelope.program {
        (*source, *language) = (blob(text), Language::Ptx);
        *toolchain = "ptx-13.0".into();
    }
    job.blobs[0] = Bytes::copy_from_slice(text);
    job
}

/// A job that adds up an input, as `add_up` does.
pub(super) fn adding(words: &[u32]) -> JobInput {
    let count = u32::try_from(words.len()).unwrap();
    let mut job = job("add_up", 1, vec![Argument::Input(0), Argument::Output(0), Argument::U32(count)]);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    job.envelope.inputs = vec![blob(&bytes)];
    job.envelope.limits.memory = Quantity((bytes.len() as u64 + 64).max(1 << 20));
    job.blobs.push(bytes.into());
    job
}

pub(super) fn busy(repeat: u32, turns: u32) -> JobInput {
    job("keep_busy", repeat, vec![Argument::Output(0), Argument::U32(turns)])
}

pub(super) fn launch_of(job: &mut JobInput) -> &mut Launch {
    &mut stage_of(job).launches[0]
}

pub(super) fn stage_of(job: &mut JobInput) -> &mut Stage {
    match &mut job.envelope.program {
        Program::Cuda { stages, .. } => &mut stages[0],
        _ => unreachable!("these are cuda jobs"),
    }
}

/// The little-endian words of an output.
pub(super) fn words(output: &Bytes) -> Vec<u32> {
    output.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}
