//! CUDA: the executor that production uses, on the emulated device, with NVIDIA's own compiler.

mod anchor;
mod attack;
mod code;
mod compile;
mod device;
mod graph;
pub(crate) mod job;
mod limit;
mod memory;

use crate::sample::{SAMPLES, load, result_of};
use job::{EXECUTOR, busy, config, job, launch_of, program_error, run, source_job};
use protocol::amount::Quantity;
use protocol::job::{Argument, Kind, Program};
use protocol::resource::Unit;
use worker::execute::{CudaConfig, CudaExecutor, ExecuteError, Executor};

#[test]
fn samples_give_their_result() {
    for name in SAMPLES {
        let (job, expected) = load(name, Kind::Cuda);
        let bytes_in: u64 = job.blobs[1..].iter().map(|input| input.len() as u64).sum();
        let delivered = run(job).unwrap();
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
    assert_eq!(EXECUTOR.uuid(), "656d756c617465640000000000000000");
    assert_eq!(EXECUTOR.toolchains(), ["nvrtc-13.0", "ptx-13.0"]);
    let off = CudaExecutor::find(&CudaConfig { enabled: false, ..config() }).err().unwrap();
    assert!(off.contains("cuda.enabled"), "{off}");
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
    for (job, words) in cases {
        let detail = program_error(job);
        assert!(detail.contains(words), "{detail:?} does not say {words:?}");
    }
}

#[test]
fn a_kernel_has_the_most_shared_memory_that_a_launch_of_it_asks_for() {
    let mut job = busy(1, 1);
    if let Program::Cuda { stages, .. } = &mut job.envelope.program {
        let mut large = stages[0].launches[0].clone();
        large.shared_memory = 200 << 10;
        stages[0].launches[0].shared_memory = 100 << 10;
        stages[0].launches.insert(0, large);
    }
    assert_eq!(run(job).unwrap().outputs[0][4..], [2, 0, 0, 0]);
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
        match run(job) {
            Err(ExecuteError::Unsupported(detail)) => assert!(detail.contains(words), "{detail}"),
            other => panic!("it was not refused: {other:?}"),
        }
    }
}

#[test]
fn an_output_that_cannot_fit_is_refused_before_memory_is_taken() {
    let mut vast = busy(1, 1);
    vast.envelope.outputs[0].length = Quantity(1 << 60);
    let detail = program_error(vast);
    assert!(detail.contains("limits.memory is 1048576"), "{detail}");
}
