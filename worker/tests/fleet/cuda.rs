//! CUDA in children, on the emulated driver with NVIDIA's own compiler.

use crate::setup::{ALICE, BOB, Site, blob, children, is_running, kill, until};
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::amount::Quantity;
use protocol::job::{Argument, Envelope, Kind, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify};
use protocol::resource::{Unit, Usage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{CudaConfig, ExecuteError, JobInput};
use worker::fleet::{Device, DeviceState, FleetConfig, Reaper};
use worker::sandbox::{Exit, Process, Unkillable};

const FAULTS: &[u8] = include_bytes!("../../../testkit/emulated-cuda/kernels/faults.cu");

pub(crate) fn emulated(config: &mut FleetConfig) {
    let libraries = emulated_cuda::libraries().unwrap();
    config.execute.cuda = CudaConfig { libraries, allow_emulated: true, ..CudaConfig::default() };
    config.slots = 0;
}

/// A launch of a kernel that misbehaves, with an output of so many bytes.
pub(crate) fn job(kernel: &str, devices: u32, output: u64, arguments: Vec<Argument>) -> JobInput {
    let launch = Launch { kernel: kernel.into(), grid: [1, 1, 1], block: [1, 1, 1], shared_memory: 0, arguments };
    let envelope = Envelope {
        version: 1,
        program: Program::Cuda {
            source: blob(FAULTS),
            language: Language::Cuda,
            toolchain: String::new(),
            devices,
            scratch: vec![],
            stages: vec![Stage { repeat: 1, graph: false, launches: vec![launch] }],
        },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(60_000) },
        verify: Verify::SameDevice,
    };
    envelope.validate().unwrap();
    JobInput {
        envelope,
        blobs: vec![Bytes::from_static(FAULTS)],
        rank: 0,
        devices: vec![],
        unit: Unit::GpuMs,
        max_units: Quantity(100_000),
    }
}

fn take_time(milliseconds: u32) -> JobInput {
    job("take_time", 1, 4, vec![Argument::Output(0), Argument::U32(milliseconds)])
}

pub(crate) async fn serves(site: &Site, tenant: alloy::primitives::Address) {
    let done = site.run(tenant, take_time(3)).await.unwrap();
    assert_eq!(done.outputs[0], 3u32.to_le_bytes().as_slice());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_on_the_gpu_of_its_own_process() {
    let site = Site::start(emulated).await;
    let inventory = site.fleet.inventory();
    assert_eq!((inventory.kinds.contains(&Kind::Cuda), inventory.kinds.contains(&Kind::Wasm)), (true, false));
    assert_eq!((inventory.device.as_deref(), inventory.devices), (Some("emulated"), 1));
    println!("in force here: {:?}; missing: {:?}", inventory.isolation, inventory.missing);
    let first = site.only_child().await;
    let done = site.run(ALICE, take_time(30)).await.unwrap();
    assert_eq!(done.outputs[0], 30u32.to_le_bytes().as_slice());
    assert!(done.usage.gpu_ms >= Quantity(30), "{:?}", done.usage);
    assert!(done.usage.gpu_ms <= Quantity(5_000) && done.usage.fuel == Quantity::ZERO, "{:?}", done.usage);
    serves(&site, ALICE).await;
    assert!(is_running(first), "the same tenant keeps its process");
    serves(&site, BOB).await;
    assert!(!is_running(first), "another tenant got the same process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_does_not_return_is_killed_with_its_child() {
    let site = Site::start(emulated).await;
    let busy = site.only_child().await;
    let mut endless = take_time(600_000);
    endless.envelope.limits.wall_ms = Quantity(1_000);
    let begin = Instant::now();
    match site.run(ALICE, endless).await {
        Err(ExecuteError::Limit { detail, .. }) => assert!(detail.contains("wall time"), "{detail}"),
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(!is_running(busy), "the process with the kernel lives on");
    serves(&site, ALICE).await;
    assert_eq!(site.fleet.devices(), [(Device::Gpu(0), DeviceState::Free)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_faults_fails_its_job_only() {
    let site = Site::start(emulated).await;
    match site.run(ALICE, job("always_trap", 1, 4, vec![Argument::Output(0)])).await {
        Err(ExecuteError::Program { detail, .. }) => assert!(detail.contains("failed on the device"), "{detail}"),
        other => panic!("not the program's failure: {other:?}"),
    }
    serves(&site, ALICE).await;
    serves(&site, BOB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_cannot_read_files() {
    let site = Site::start(emulated).await;
    let source = Bytes::from_static(b"#include \"/etc/passwd\"\nextern \"C\" __global__ void f() {}");
    let mut include = job("f", 1, 4, vec![]);
    if let Program::Cuda { source: code, .. } = &mut include.envelope.program {
        *code = blob(&source);
    }
    include.blobs = vec![source];
    match site.run(ALICE, include).await {
        Err(ExecuteError::Program { detail, .. }) => assert!(!detail.contains("root:"), "{detail}"),
        other => panic!("not the program's failure: {other:?}"),
    }
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn device_memory_is_clear_for_every_job() {
    let site = Site::start(emulated).await;
    let busy = |turns| job("keep_busy", 1, 8, vec![Argument::Output(0), Argument::U32(turns)]);
    for next in [ALICE, BOB] {
        let traces = site.run(ALICE, busy(7)).await.unwrap();
        assert_ne!(traces.outputs[0][..4], [0; 4], "the test could not fail");
        let found = site.run(next, busy(0)).await.unwrap();
        assert_eq!(found.outputs[0], [0, 0, 0, 0, 1, 0, 0, 0].as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_something_else_finds_broken_ends_its_job_and_comes_back() {
    let site = Site::start(emulated).await;
    let mut changes = site.fleet.changes();
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        let nobody = watch::channel(Usage::default()).0;
        async move { fleet.execute(ALICE, take_time(600_000), nobody, CancellationToken::new()).await }
    });
    until("the job's begin", || (site.fleet.devices()[0].1 == DeviceState::Busy).then_some(())).await;
    site.fleet.quarantine(0, "Xid 79: the GPU has fallen off the bus");
    match run.await.unwrap() {
        Err(ExecuteError::Node(text)) => assert!(text.contains("Xid 79"), "{text}"),
        other => panic!("not the node's failure: {other:?}"),
    }
    changes.changed().await.unwrap();
    let inventory = changes.borrow_and_update().clone();
    assert_eq!((inventory.devices, inventory.kinds.len()), (0, 0), "the keeper is told that nothing can be run");
    match site.run(ALICE, take_time(1)).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("cuda jobs are not run here"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    until("the end of the quarantine", || (site.fleet.devices()[0].1 == DeviceState::Free).then_some(())).await;
    assert_eq!(changes.borrow_and_update().devices, 1);
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_processes_give_their_gpu_back() {
    let site = Site::start(|config| {
        emulated(config);
        config.sandbox.idle_s = 1;
    })
    .await;
    serves(&site, ALICE).await;
    until("nothing to run", || children(site.folder.path()).is_empty().then_some(())).await;
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_child_that_is_killed_is_the_nodes_failure() {
    let site = Site::start(emulated).await;
    let busy = site.only_child().await;
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        let nobody = watch::channel(Usage::default()).0;
        async move { fleet.execute(ALICE, take_time(600_000), nobody, CancellationToken::new()).await }
    });
    until("the job's begin", || (site.fleet.devices()[0].1 == DeviceState::Busy).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    kill(busy);
    assert!(matches!(run.await.unwrap(), Err(ExecuteError::Node(_))));
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_beyond_this_machines_memory_are_refused_before_any_is_taken() {
    let bounded = |config: &mut FleetConfig| {
        emulated(config);
        config.execute.cuda.max_outputs = 1_000;
    };
    let site = Site::start(bounded).await;
    let mut large = take_time(1);
    large.envelope.outputs[0].length = Quantity(1_001);
    match site.run(ALICE, large).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("larger than 1000 bytes"), "{text}"),
        other => panic!("{other:?}"),
    }
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_whose_sources_only_compile_is_refused_after_a_while() {
    // Each level instantiates two of the next, all different.
    const BOMB: &[u8] = b"template <int N, long P> struct bomb { static const long value = bomb<N - 1, 2 * P>::value \
        + bomb<N - 1, 2 * P + 1>::value; }; template <long P> struct bomb<0, P> { static const long value = P; }; \
        extern \"C\" __global__ void take_time(unsigned *out, unsigned n) { *out = bomb<40, 0>::value; }";
    let stranger = alloy::primitives::Address::repeat_byte(0x57);
    let strict = |config: &mut FleetConfig| {
        emulated(config);
        config.sandbox.unbilled_s = 0;
        config.sandbox.require = protocol::wire::IsolationLevel::Process;
    };
    let site = Site::start(strict).await;
    assert_eq!(site.fleet.admit(stranger), Ok(()));
    let mut bomb = take_time(1);
    if let Program::Cuda { source, .. } = &mut bomb.envelope.program {
        *source = blob(BOMB);
    }
    bomb.blobs = vec![Bytes::from_static(BOMB)];
    // However it ends, at its wall time or because the compiler gives up before, and however soon: nothing is billed.
    bomb.envelope.limits.wall_ms = Quantity(1_000);
    let error = site.run(stranger, bomb).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Limit { .. } | ExecuteError::Program { .. }), "{error}");
    assert_eq!(error.usage().gpu_ms, Quantity::ZERO);
    let refused = site.fleet.admit(stranger).unwrap_err();
    assert!(refused.contains("beyond what they were billed for"), "{refused}");
    assert_eq!(site.fleet.admit(BOB), Ok(()), "nobody else is");
    serves(&site, BOB).await;
}

/// Takes its time to tell that a process is gone.
struct Slow;

impl Reaper for Slow {
    fn reap(&self, process: Process, deadline: Duration) -> BoxFuture<'static, Result<Exit, Box<Unkillable>>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            process.reap(deadline).await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_is_found_broken_before_its_job_begins_takes_none() {
    let site = Site::with_reaper(Arc::new(Slow), emulated).await;
    serves(&site, ALICE).await;
    // Bob's job has the GPU already, and waits for the end of Alice's process.
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        let nobody = watch::channel(Usage::default()).0;
        async move { fleet.execute(BOB, take_time(1), nobody, CancellationToken::new()).await }
    });
    until("the job's turn", || (site.fleet.devices()[0].1 == DeviceState::Busy).then_some(())).await;
    site.fleet.quarantine(0, "Xid 48: a memory error");
    match run.await.unwrap() {
        Err(ExecuteError::Node(text)) => assert!(text.contains("Xid 48"), "{text}"),
        other => panic!("not the node's failure: {other:?}"),
    }
    let (_, state) = site.fleet.devices()[0].clone();
    assert!(matches!(&state, DeviceState::Quarantined(reason) if reason.contains("Xid 48")), "{state:?}");
    until("the end of the quarantine", || (site.fleet.devices()[0].1 == DeviceState::Free).then_some(())).await;
    serves(&site, BOB).await;
}
