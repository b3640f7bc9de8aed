//! A kernel that runs on past its job, in a process of its own because the device is out of use meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Argument, Blob, Envelope, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify};
use protocol::resource::{Unit, Usage};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{CudaConfig, CudaExecutor, Delivered, ExecuteError, JobInput, run_here};

const SOURCE: &[u8] = include_bytes!("../../testkit/emulated-cuda/kernels/faults.cu");

fn take(executor: &CudaExecutor, milliseconds: u32, wall_ms: u64) -> Result<Delivered, ExecuteError> {
    let launch = Launch {
        kernel: "take_time".into(),
        grid: [1, 1, 1],
        block: [1, 1, 1],
        shared_memory: 0,
        arguments: vec![Argument::Output(0), Argument::U32(milliseconds)],
    };
    let envelope = Envelope {
        version: 1,
        program: Program::Cuda {
            source: Blob { hash: keccak256(SOURCE), length: Quantity(SOURCE.len() as u64) },
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
    let job = JobInput {
        envelope,
        blobs: vec![Bytes::from_static(SOURCE)],
        rank: 0,
        devices: vec![],
        unit: Unit::GpuMs,
        max_units: Quantity(100_000),
    };
    run_here(executor, job, watch::channel(Usage::default()).0, CancellationToken::new())
}

#[test]
fn a_kernel_that_overruns_its_job_is_left_behind_until_it_ends() {
    let libraries = emulated_cuda::libraries().unwrap();
    let config = CudaConfig { libraries, allow_emulated: true, ..CudaConfig::default() };
    let executor = CudaExecutor::find(&config).unwrap();

    let in_time = take(&executor, 20, 60_000).unwrap();
    assert_eq!(in_time.outputs[0], Bytes::from_static(&[20, 0, 0, 0]));
    assert!(in_time.usage.gpu_ms >= Quantity(20));

    let begin = Instant::now();
    match take(&executor, 6000, 1000) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("did not return within the wall time"), "{detail}");
            assert!(usage.gpu_ms >= Quantity(1000));
        }
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "the executor waited for the kernel");
    match take(&executor, 1, 1000) {
        Err(ExecuteError::Node(detail)) => assert!(detail.contains("overran its job"), "{detail}"),
        other => panic!("the device was not busy: {other:?}"),
    }
    std::thread::sleep(Duration::from_secs(7).saturating_sub(begin.elapsed()));
    assert_eq!(take(&executor, 3, 60_000).unwrap().outputs[0], Bytes::from_static(&[3, 0, 0, 0]));
}
