//! What does not end by itself, in a process of its own: there it goes on until the process ends.

#![allow(clippy::unwrap_used, clippy::panic)]

use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Argument, Blob, Envelope, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify};
use protocol::resource::{Unit, Usage};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{CudaConfig, CudaExecutor, Delivered, ExecuteError, Executor, JobInput, run_here};

const SOURCE: &[u8] = include_bytes!("../../testkit/emulated-cuda/kernels/faults.cu");
/// Doubles the types at every level, forty levels deep.
const BOMB: &[u8] = b"template <long depth, long way> struct bomb {\n\
        typedef typename bomb<depth - 1, way * 2>::type left;\n\
        typedef typename bomb<depth - 1, way * 2 + 1>::type type;\n\
    };\n\
    template <long way> struct bomb<0, way> { typedef int type; };\n\
    extern \"C\" __global__ void f(int *o) { bomb<40, 0>::type x = 0; o[0] = x; }";

fn executor() -> CudaExecutor {
    let libraries = emulated_cuda::libraries().unwrap();
    CudaExecutor::find(&CudaConfig { libraries, allow_emulated: true, ..CudaConfig::default() }).unwrap()
}

fn job(source: &'static [u8], kernel: &str, arguments: Vec<Argument>, wall_ms: u64) -> JobInput {
    let launch = Launch { kernel: kernel.into(), grid: [1, 1, 1], block: [1, 1, 1], shared_memory: 0, arguments };
    let envelope = Envelope {
        version: 1,
        program: Program::Cuda {
            source: Blob { hash: keccak256(source), length: Quantity(source.len() as u64) },
            language: Language::Cuda,
            toolchain: String::new(),
            devices: 1,
            scratch: vec![],
            stages: vec![Stage { repeat: 1, graph: false, launches: vec![launch] }],
        },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(4) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(wall_ms) },
        verify: Verify::SameDevice,
    };
    JobInput {
        envelope,
        blobs: vec![Bytes::from_static(source)],
        rank: 0,
        devices: vec![],
        unit: Unit::GpuMs,
        max_units: Quantity(100_000),
    }
}

fn take(executor: &CudaExecutor, milliseconds: u32) -> JobInput {
    assert!(!executor.must_restart());
    job(SOURCE, "take_time", vec![Argument::Output(0), Argument::U32(milliseconds)], 60_000)
}

fn run(executor: &CudaExecutor, job: JobInput, cancel: CancellationToken) -> Result<Delivered, ExecuteError> {
    run_here(executor, job, watch::channel(Usage::default()).0, cancel)
}

/// After what did not end, the executor is of no more use, and says so.
fn is_lost(executor: &CudaExecutor) {
    assert!(executor.must_restart());
    match run(executor, job(SOURCE, "take_time", vec![], 1000), CancellationToken::new()) {
        Err(ExecuteError::Node(detail)) => assert!(detail.contains("this process must be replaced"), "{detail}"),
        other => panic!("the device was not lost: {other:?}"),
    }
}

/// Runs a test that is ignored otherwise in a process of its own.
fn in_own_process(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_kernel_that_overruns_its_job_costs_the_process() {
    in_own_process("overrunning_kernel");
}

#[test]
#[ignore = "the device is of no use after it: a_kernel_that_overruns_its_job_costs_the_process runs it alone"]
fn overrunning_kernel() {
    let executor = executor();
    let in_time = run(&executor, take(&executor, 20), CancellationToken::new()).unwrap();
    assert_eq!(in_time.outputs[0], Bytes::from_static(&[20, 0, 0, 0]));
    assert!(in_time.usage.gpu_ms >= Quantity(20));
    let begin = Instant::now();
    match run(&executor, job(SOURCE, "spin_forever", vec![Argument::Output(0)], 3_000), CancellationToken::new()) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("limits.wallMs"), "{detail}");
            assert!(usage.gpu_ms >= Quantity(500), "what it used is billed: {usage:?}");
        }
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "the executor waited for the kernel");
    is_lost(&executor);
}

#[test]
fn a_kernel_that_ignores_a_cancellation_costs_the_process() {
    in_own_process("uncancellable_kernel");
}

#[test]
#[ignore = "the device is of no use after it: a_kernel_that_ignores_a_cancellation_costs_the_process runs it alone"]
fn uncancellable_kernel() {
    let executor = executor();
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    let (sender, progress) = watch::channel(Usage::default());
    let canceller = std::thread::spawn(move || {
        // A kernel that runs is told of before it returns.
        while progress.borrow().gpu_ms == Quantity::ZERO && progress.has_changed().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        later.cancel();
    });
    let spin = job(SOURCE, "spin_forever", vec![Argument::Output(0)], 3_600_000);
    let ended = run_here(&executor, spin, sender, cancel);
    canceller.join().unwrap();
    assert!(matches!(ended, Err(ExecuteError::Cancelled { usage }) if usage.gpu_ms > Quantity::ZERO), "{ended:?}");
    is_lost(&executor);
}

#[test]
fn a_source_that_compiles_for_ever_costs_the_process() {
    in_own_process("template_bomb");
}

#[test]
#[ignore = "the compiler runs on after it: a_source_that_compiles_for_ever_costs_the_process runs it alone"]
fn template_bomb() {
    let executor = executor();
    let begin = Instant::now();
    match run(&executor, job(BOMB, "f", vec![Argument::Output(0)], 1000), CancellationToken::new()) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("limits.wallMs"), "{detail}");
            assert_eq!(usage, Usage::default(), "a compiler uses no device time");
        }
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "the executor waited for the compiler");
    is_lost(&executor);
}
