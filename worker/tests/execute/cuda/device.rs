//! Several devices. They are those of another driver library, so each test runs in a process of its own.

use super::job::{config, job, words};
use bytes::Bytes;
use protocol::job::{Argument, Program};
use std::process::Command;
use worker::execute::{CudaConfig, CudaExecutor};

/// Runs a test of this file that is ignored otherwise in a process with this environment.
fn in_own_process(test: &str, devices: &str) {
    let test = format!("cuda::device::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &test, "--ignored"]).env("CAPA_EMULATED_DEVICES", devices).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_device_of_a_job_makes_its_part() {
    in_own_process("parts_of_three_devices", "3");
}

#[test]
#[ignore = "needs three devices: each_device_of_a_job_makes_its_part runs it with them"]
fn parts_of_three_devices() {
    let device = |device| CudaExecutor::find(&CudaConfig { device, ..config() }).unwrap();
    let executors: Vec<CudaExecutor> = (0..3).map(device).collect();
    assert!(CudaExecutor::find(&CudaConfig { device: 3, ..config() }).is_err());
    let uuids: std::collections::BTreeSet<&str> = executors.iter().map(CudaExecutor::uuid).collect();
    assert_eq!(uuids.len(), 3);
    let mut whole = job("tell_rank", 1, vec![Argument::Output(0), Argument::Rank]);
    whole.envelope.outputs[0].length = protocol::amount::Quantity(12);
    if let Program::Cuda { devices, .. } = &mut whole.envelope.program {
        *devices = 3;
    }
    whole.envelope.validate().unwrap();
    let mut parts: Vec<Bytes> = Vec::new();
    for (rank, executor) in (0..).zip(&executors) {
        whole.rank = rank;
        parts.extend(crate::sample::run(executor, whole.clone()).unwrap().outputs);
    }
    let ranks: Vec<u32> = parts.iter().flat_map(words).collect();
    assert_eq!(ranks, [7, 23, 39]);
}

#[test]
fn a_fault_on_one_device_leaves_the_other_alone() {
    in_own_process("fault_on_one_of_two", "2");
}

#[test]
#[ignore = "needs two devices: a_fault_on_one_device_leaves_the_other_alone runs it with them"]
fn fault_on_one_of_two() {
    let device = |device| CudaExecutor::find(&CudaConfig { device, ..config() }).unwrap();
    let (one, two) = (device(0), device(1));
    let trap = || job("always_trap", 1, vec![Argument::Output(0)]);
    let tell = || job("tell_rank", 1, vec![Argument::Output(0), Argument::Rank]);
    for _ in 0..2 {
        assert!(crate::sample::run(&one, trap()).is_err());
        assert_eq!(words(&crate::sample::run(&two, tell()).unwrap().outputs[0]), [7, 0]);
    }
    assert_eq!(words(&crate::sample::run(&one, tell()).unwrap().outputs[0]), [7, 0]);
}

#[test]
fn a_driver_tells_its_devices_by_its_folder() {
    // Another library than the one that this process has loaded: it is asked in a process without the variable.
    let test = "cuda::device::four_devices_by_folder";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env_remove("CAPA_EMULATED_DEVICES")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "needs the library with four devices: a_driver_tells_its_devices_by_its_folder runs it alone"]
fn four_devices_by_folder() {
    let libraries = emulated_cuda::libraries_with(4).unwrap();
    let with = |device| CudaConfig { device, libraries: libraries.clone(), ..config() };
    assert!(CudaExecutor::find(&with(3)).is_ok());
    assert!(CudaExecutor::find(&with(4)).is_err());
}
