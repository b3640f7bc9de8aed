//! Jobs on several GPUs: all or none, joined in order of rank.

use crate::cuda::{emulated, job, serves};
use crate::setup::{ALICE, BOB, Site};
use alloy::primitives::Address;
use protocol::amount::Quantity;
use protocol::job::Argument;
use protocol::resource::Usage;
use std::time::Duration;
use worker::execute::ExecuteError;
use worker::fleet::{Device, DeviceState, FleetConfig};

fn two_gpus(config: &mut FleetConfig) {
    emulated(config);
    config.execute.cuda.libraries = emulated_cuda::libraries_with(2).unwrap();
}

/// Each device writes a word that tells its rank.
fn ranks(devices: u32) -> worker::execute::JobInput {
    job("tell_rank", devices, 4 * u64::from(devices), vec![Argument::Output(0), Argument::Rank])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_has_its_rank_and_its_part_of_the_output() {
    let site = Site::start(two_gpus).await;
    assert_eq!(site.fleet.inventory().devices, 2);
    let done = site.run(ALICE, ranks(2)).await.unwrap();
    assert_eq!(done.outputs[0], [7, 0, 0, 0, 23, 0, 0, 0].as_slice());
    let one = site.run(ALICE, ranks(1)).await.unwrap();
    assert_eq!(one.outputs[0], [7, 0, 0, 0].as_slice());
    match site.run(ALICE, ranks(3)).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("it needs 3 GPUs"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_all_devices_adds_up() {
    let site = Site::start(two_gpus).await;
    let wait =
        |devices| job("take_time", devices, 4 * u64::from(devices), vec![Argument::Output(0), Argument::U32(100)]);
    let both = site.run(ALICE, wait(2)).await.unwrap();
    assert!(both.usage.gpu_ms >= Quantity(200), "{:?}", both.usage);
    // Each has the limit of the order for itself, together they may not pass it either.
    let mut limited = job("keep_busy", 2, 16, vec![Argument::Output(0), Argument::U32(3_000_000)]);
    if let protocol::job::Program::Cuda { stages, .. } = &mut limited.envelope.program {
        stages[0].repeat = 100_000;
    }
    limited.max_units = Quantity(400);
    match site.run(ALICE, limited).await {
        Err(ExecuteError::Limit { usage, .. }) => assert!(usage.gpu_ms < Quantity(2_000), "{usage:?}"),
        other => panic!("not a limit: {other:?}"),
    }
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_need_all_devices_do_not_wait_for_each_other() {
    let site = Site::start(two_gpus).await;
    let jobs = (0..9u32).map(|i| {
        let (tenant, devices) = if i % 2 == 0 { (ALICE, 2) } else { (BOB, 1 + i % 3 % 2) };
        let site = &site;
        async move {
            let done = site.run(tenant, ranks(devices)).await.unwrap();
            assert_eq!(done.outputs[0].len(), 4 * devices as usize);
        }
    });
    let all = futures::future::join_all(jobs);
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("jobs wait for each other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_that_fails_ends_the_job_on_all() {
    let site = Site::start(two_gpus).await;
    let fault = job("always_trap", 2, 8, vec![Argument::Output(0)]);
    assert!(matches!(site.run(ALICE, fault).await, Err(ExecuteError::Program { .. })));
    assert_eq!(site.run(ALICE, ranks(2)).await.unwrap().outputs[0].len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_never_returns_is_killed_on_every_device() {
    let site = Site::start(two_gpus).await;
    let mut spin = job("spin_forever", 2, 8, vec![Argument::Output(0)]);
    spin.envelope.limits.wall_ms = Quantity(500);
    match site.run(ALICE, spin).await {
        Err(ExecuteError::Limit { usage, .. }) => assert!(usage != Usage::default(), "what it held is billed"),
        other => panic!("not a limit: {other:?}"),
    }
    assert_eq!(site.run(BOB, ranks(2)).await.unwrap().outputs[0].len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_for_a_gpu_that_is_lost_is_refused() {
    let site = Site::start(two_gpus).await;
    let long = job("take_time", 1, 4, vec![Argument::Output(0), Argument::U32(3_000)]);
    let run = |tenant: Address, job| {
        let fleet = site.fleet.clone();
        let nobody = tokio::sync::watch::channel(Usage::default()).0;
        tokio::spawn(async move { fleet.execute(tenant, job, nobody, Default::default()).await })
    };
    let busy = run(ALICE, long);
    crate::setup::until("the job's begin", || (site.fleet.devices()[0].1 == DeviceState::Busy).then_some(())).await;
    let waiting = run(BOB, ranks(2));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    site.fleet.quarantine(1, "it is gone");
    match waiting.await.unwrap() {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("1 of this worker are in order"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    assert!(
        matches!(&site.fleet.devices()[1], (Device::Gpu(1), DeviceState::Quarantined(reason)) if reason == "it is gone")
    );
    busy.await.unwrap().unwrap();
}
