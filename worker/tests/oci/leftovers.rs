//! What a worker that was killed leaves is ended at the next start.

use crate::machine::Machine;
use nix::mount::{MsFlags, mount};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use worker::execute::OciExecutor;

const LEFT: &str = "capa-0123456789abcdef";

fn runc(machine: &Machine, arguments: &[&str]) {
    let mut command = Command::new("runc");
    command.arg("--root").arg(machine.state().join("runc")).args(arguments);
    // A container that goes on running must not hold pipes of this test.
    let log = File::create(machine.folder.path().join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let status = command.status().unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(machine.folder.path().join("log")).unwrap());
}

#[test]
fn containers_and_folders_of_a_crashed_worker_are_removed() {
    let Some(machine) = Machine::new() else { return };
    let folder = machine.state().join("jobs").join(LEFT);
    std::fs::create_dir(&folder).unwrap();
    mount(Some("capa"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
    std::fs::write(folder.join("input"), "secret").unwrap();
    let pid = start_sleeper(&machine);
    assert!(Path::new("/proc").join(&pid).exists());

    let executor = OciExecutor::find(&machine.config).unwrap();
    machine.assert_clean();
    assert!(!Path::new("/proc").join(&pid).join("exe").exists(), "the container's process has ended");
    drop(executor);
    assert_eq!(machine.output_of("echo well > /capa/outputs/0"), "well\n");
}

/// A container that sleeps, as a worker that was killed leaves it.
fn start_sleeper(machine: &Machine) -> String {
    let bundle = machine.folder.path().join("bundle");
    std::fs::create_dir_all(bundle.join("rootfs/bin")).unwrap();
    std::fs::copy("/bin/busybox", bundle.join("rootfs/bin/sleep")).unwrap();
    let path = bundle.to_str().unwrap();
    runc(machine, &["spec", "--bundle", path]);
    let file = bundle.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/bin/sleep", "600"]);
    config["process"]["rlimits"] = serde_json::json!([]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "cgroup");
    std::fs::write(&file, config.to_string()).unwrap();
    let pid = bundle.join("pid");
    runc(machine, &["run", "--detach", "--pid-file", pid.to_str().unwrap(), "--bundle", path, LEFT]);
    std::fs::read_to_string(pid).unwrap()
}

#[test]
fn the_state_must_be_within_reach_of_containers() {
    let Some(mut machine) = Machine::new() else { return };
    let closed = machine.folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    machine.config.state = closed.join("state");
    let reason = OciExecutor::find(&machine.config).unwrap_err();
    assert!(reason.contains("chmod o+x") && reason.contains("closed"), "{reason}");
}
