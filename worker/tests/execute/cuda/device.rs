//! Several devices. A process sees one, as the fleet has it, so each is asked in a process of its own.

use super::job::{config, job, words};
use protocol::amount::Quantity;
use protocol::job::{Argument, Program};
use std::process::Command;
use worker::execute::{CudaExecutor, gpus};

const DEVICES: u32 = 3;
/// Tells a process which of the devices it has.
const RANK: &str = "CAPA_TEST_RANK";

/// Runs a test of this file that is ignored otherwise in a process with this environment.
fn in_own_process(test: &str, environment: &[(&str, String)]) {
    let test = format!("cuda::device::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &test, "--ignored"])
        .env_remove("CAPA_EMULATED_DEVICES")
        .env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.envs(environment.iter().cloned()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_device_of_a_job_makes_its_part() {
    for rank in 0..DEVICES {
        let environment = [
            ("CAPA_EMULATED_DEVICES", DEVICES.to_string()),
            ("CUDA_VISIBLE_DEVICES", rank.to_string()),
            (RANK, rank.to_string()),
        ];
        in_own_process("part_of_one_device", &environment);
    }
}

#[test]
#[ignore = "needs a device of several: each_device_of_a_job_makes_its_part runs it on each"]
fn part_of_one_device() {
    let executor = CudaExecutor::find(&config()).unwrap();
    let mut part = job("tell_rank", 1, vec![Argument::Output(0), Argument::Rank]);
    part.envelope.outputs[0].length = Quantity(u64::from(DEVICES) * 8);
    if let Program::Cuda { devices, .. } = &mut part.envelope.program {
        *devices = DEVICES;
    }
    part.envelope.validate().unwrap();
    part.rank = std::env::var(RANK).unwrap().parse().unwrap();
    let told = part.rank * 16 + 7;
    assert_eq!(words(&crate::sample::run(&executor, part.clone()).unwrap().outputs[0]), [told, 0]);
    assert!(executor.uuid().ends_with(&format!("{:02x}", part.rank)), "{}", executor.uuid());
}

#[test]
fn a_process_sees_all_devices_unless_it_is_told_which() {
    let count = ("CAPA_EMULATED_DEVICES", DEVICES.to_string());
    in_own_process("three_are_seen", std::slice::from_ref(&count));
    in_own_process("one_is_seen", &[count.clone(), ("CUDA_VISIBLE_DEVICES", "2,9,0".into())]);
    in_own_process("none_is_seen", &[count, ("CUDA_VISIBLE_DEVICES", "7".into())]);
}

#[test]
#[ignore = "needs three devices: a_process_sees_all_devices_unless_it_is_told_which runs it with them"]
fn three_are_seen() {
    let found: Vec<u32> = gpus(&config()).unwrap().iter().map(|gpu| gpu.number).collect();
    assert_eq!(found, [0, 1, 2]);
}

#[test]
#[ignore = "needs three devices: a_process_sees_all_devices_unless_it_is_told_which runs it with them"]
fn one_is_seen() {
    assert_eq!(gpus(&config()).unwrap().len(), 1);
    assert!(CudaExecutor::find(&config()).unwrap().uuid().ends_with("02"));
}

#[test]
#[ignore = "needs three devices: a_process_sees_all_devices_unless_it_is_told_which runs it with them"]
fn none_is_seen() {
    assert!(gpus(&config()).unwrap_err().contains("0 devices"));
}

#[test]
fn a_driver_tells_its_devices_by_its_folder() {
    // Another library than the one that this process has loaded.
    in_own_process("four_devices_by_folder", &[]);
}

#[test]
#[ignore = "needs the library with four devices: a_driver_tells_its_devices_by_its_folder runs it alone"]
fn four_devices_by_folder() {
    let libraries = emulated_cuda::libraries_with(4).unwrap();
    assert_eq!(gpus(&worker::execute::CudaConfig { libraries, ..config() }).unwrap().len(), 4);
}
