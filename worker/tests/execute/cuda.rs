//! CUDA: the executor that production uses, on the emulated device, with NVIDIA's own compiler.

use crate::sample::{SAMPLES, blob, load, result_of, run};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Argument, Envelope, Kind, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify};
use protocol::resource::{Unit, Usage};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{CudaConfig, CudaExecutor, ExecuteError, Executor, JobInput, run_here};

pub(crate) fn config() -> CudaConfig {
    CudaConfig { libraries: emulated_cuda::libraries().unwrap(), allow_emulated: true, ..CudaConfig::default() }
}

static EXECUTOR: LazyLock<CudaExecutor> = LazyLock::new(|| CudaExecutor::find(&config()).unwrap());

/// A job of the kernels that misbehave, with an output of 8 bytes.
fn job(kernel: &str, repeat: u32, arguments: Vec<Argument>) -> JobInput {
    let source = include_bytes!("../../../testkit/emulated-cuda/kernels/faults.cu");
    source_job(source, kernel, repeat, arguments)
}

fn source_job(source: &[u8], kernel: &str, repeat: u32, arguments: Vec<Argument>) -> JobInput {
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
    envelope.validate().unwrap();
    JobInput {
        envelope,
        blobs: vec![Bytes::copy_from_slice(source)],
        rank: 0,
        devices: vec![],
        unit: Unit::GpuMs,
        max_units: Quantity(10_000),
    }
}

fn busy(repeat: u32, turns: u32) -> JobInput {
    job("keep_busy", repeat, vec![Argument::Output(0), Argument::U32(turns)])
}

fn launch_of(job: &mut JobInput) -> &mut Launch {
    match &mut job.envelope.program {
        Program::Cuda { stages, .. } => &mut stages[0].launches[0],
        _ => unreachable!("these are cuda jobs"),
    }
}

#[test]
fn samples_give_their_result() {
    for name in SAMPLES {
        let (job, expected) = load(name, Kind::Cuda);
        let bytes_in: u64 = job.blobs[1..].iter().map(|input| input.len() as u64).sum();
        let delivered = run(&*EXECUTOR, job).unwrap();
        assert_eq!(result_of(&delivered.outputs), expected, "{name}");
        assert!(delivered.usage.gpu_ms > Quantity::ZERO, "{name}");
        assert_eq!((delivered.usage.cpu_ms, delivered.usage.fuel), (Quantity::ZERO, Quantity::ZERO), "{name}");
        assert_eq!(delivered.usage.bytes_in, Quantity(bytes_in), "{name}");
    }
}

#[test]
fn both_kinds_of_a_sample_promise_the_same_result() {
    for name in SAMPLES {
        assert_eq!(load(name, Kind::Cuda).1, load(name, Kind::Wasm).1, "{name}");
    }
}

#[test]
fn the_emulated_device_is_refused_unless_it_is_allowed() {
    let reason = CudaExecutor::find(&CudaConfig { allow_emulated: false, ..config() }).err().unwrap();
    assert!(reason.contains("emulation"), "{reason}");
    assert_eq!(EXECUTOR.device().as_deref(), Some("emulated"));
    assert_eq!(EXECUTOR.toolchain(), "nvrtc-13.0");
    let off = CudaExecutor::find(&CudaConfig { enabled: false, ..config() }).err().unwrap();
    assert!(off.contains("cuda.enabled"), "{off}");
}

fn program_error(job: JobInput) -> String {
    match run(&*EXECUTOR, job) {
        Err(ExecuteError::Program { detail, .. }) => detail,
        other => panic!("not a program error: {other:?}"),
    }
}

#[test]
fn mistakes_are_named() {
    let mut cases = vec![
        (
            source_job(b"extern \"C\" __global__ void f() { oops(); }", "f", 1, vec![]),
            "identifier \"oops\" is undefined",
        ),
        (source_job(b"\0", "f", 1, vec![]), "zero byte"),
        (job("no_such_kernel", 1, vec![]), "the source has no kernel no_such_kernel"),
        (job("keep_busy", 1, vec![Argument::Output(0)]), "[8, 4] bytes long, the arguments given [8]"),
        (job("keep_busy", 1, vec![Argument::Output(0), Argument::U64(Quantity(1))]), "given [8, 8]"),
    ];
    let mut wide = busy(1, 1);
    launch_of(&mut wide).block = [1024, 2, 1];
    cases.push((wide, "2048 threads is more than the 1024"));
    let mut deep = busy(1, 1);
    launch_of(&mut deep).block = [1, 1, 65];
    cases.push((deep, "a block [1024, 1024, 64]"));
    let mut shared = busy(1, 1);
    launch_of(&mut shared).shared_memory = 1 << 30;
    cases.push((shared, "shared memory are more than there are"));
    let mut small = busy(1, 1);
    small.envelope.limits.memory = Quantity(23);
    cases.push((small, "its buffers need 24 bytes, limits.memory is 23"));
    for (job, words) in cases {
        let detail = program_error(job);
        assert!(detail.contains(words), "{detail:?} does not say {words:?}");
    }
}

#[test]
fn a_source_cannot_read_files() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.h");
    std::fs::write(&secret, "#error the_secret_is_out").unwrap();
    let source = format!("#include \"{}\"\nextern \"C\" __global__ void f() {{}}", secret.display());
    let confined = program_error(source_job(source.as_bytes(), "f", 1, vec![]));
    assert!(!confined.contains("the_secret_is_out"), "{confined}");
    // The same source without the confinement shows that the test can fail.
    let open = CudaExecutor::find(&CudaConfig { confine_compiler: false, ..config() }).unwrap();
    let shown = run(&open, source_job(source.as_bytes(), "f", 1, vec![])).unwrap_err().to_string();
    assert!(shown.contains("the_secret_is_out"), "{shown}");
    // And the confinement ended with its thread.
    assert!(std::fs::read(&secret).is_ok());
}

#[test]
fn a_fault_ends_the_job_and_not_the_worker() {
    let detail = program_error(job("always_trap", 1, vec![Argument::Output(0)]));
    assert!(detail.contains("a kernel failed on the device"), "{detail}");
    let delivered = run(&*EXECUTOR, busy(3, 1)).unwrap();
    assert_eq!(delivered.outputs[0][4..], [3, 0, 0, 0]);
}

#[test]
fn memory_is_clean_at_the_start() {
    let job = job("keep_busy", 1, vec![Argument::Output(0), Argument::U32(0)]);
    assert_eq!(run(&*EXECUTOR, job).unwrap().outputs[0], Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0, 0]));
}

#[test]
fn a_job_ends_at_its_limits_between_launches() {
    let mut job = busy(1_000_000, 1_000_000);
    job.max_units = Quantity(20);
    match run(&*EXECUTOR, job) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("all of its 20 GPU-ms"), "{detail}");
            assert_eq!(usage.gpu_ms, Quantity(20));
        }
        other => panic!("not a limit: {other:?}"),
    }
    let mut job = busy(1_000_000, 1_000_000);
    (job.max_units, job.envelope.limits.wall_ms) = (Quantity(u64::MAX), Quantity(500));
    match run(&*EXECUTOR, job) {
        Err(ExecuteError::Limit { detail, .. }) => assert!(detail.contains("limits.wallMs"), "{detail}"),
        other => panic!("not a limit: {other:?}"),
    }
}

#[test]
fn cancelling_ends_a_job_with_what_it_used() {
    let cancel = CancellationToken::new();
    let (sender, receiver) = watch::channel(Usage::default());
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            while receiver.borrow().gpu_ms == Quantity::ZERO {
                std::thread::sleep(Duration::from_millis(1));
            }
            cancel.cancel();
        })
    };
    let mut job = busy(1_000_000, 1_000_000);
    job.max_units = Quantity(u64::MAX);
    let ended = run_here(&*EXECUTOR, job, sender, cancel);
    canceller.join().unwrap();
    assert!(matches!(ended, Err(ExecuteError::Cancelled { usage }) if usage.gpu_ms > Quantity::ZERO), "{ended:?}");
}

#[test]
fn jobs_beyond_the_worker_are_refused_before_they_start() {
    let mut other = busy(1, 1);
    if let Program::Cuda { toolchain, .. } = &mut other.envelope.program {
        *toolchain = "nvrtc-99.0".into();
    }
    let mut large = busy(1, 1);
    large.envelope.limits.memory = Quantity(1 << 30);
    let mut cpu = busy(1, 1);
    cpu.unit = Unit::CpuMs;
    for (job, words) in [(other, "this worker has nvrtc-13.0"), (large, "this worker allows"), (cpu, "GPU-ms")] {
        match run(&*EXECUTOR, job) {
            Err(ExecuteError::Unsupported(detail)) => assert!(detail.contains(words), "{detail}"),
            other => panic!("it was not refused: {other:?}"),
        }
    }
}
