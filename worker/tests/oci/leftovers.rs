//! What a worker that was killed leaves is ended at the next start.

use crate::machine::{Machine, WORKER};
use nix::mount::{MsFlags, mount};
use protocol::amount::Quantity;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use worker::execute::{OciConfig, OciExecutor};

/// In the environment of a process of this test that is to be the worker, and is told where to write its configuration.
const SUPERVISE: &str = "CAPA_TEST_SUPERVISE";
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

    let executor = OciExecutor::find(&machine.config, WORKER.as_ref()).unwrap();
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
fn a_container_does_not_outlive_its_worker_however_that_ends() {
    if let Some(told) = std::env::var_os(SUPERVISE) {
        supervise(Path::new(&told));
        return;
    }
    if Machine::new().is_none() {
        return;
    }
    // The worker cannot clear its own folder away.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let told = folder.path().join("config.json");
    let name = "leftovers::a_container_does_not_outlive_its_worker_however_that_ends";
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .env(SUPERVISE, &told)
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let config: OciConfig = until("the worker", || serde_json::from_slice(&std::fs::read(&told).ok()?).ok());
    let program = until("the container", || sleeper(&config.state));
    worker.kill().unwrap();
    worker.wait().unwrap();
    until("the container's end", || (!is_running(program)).then_some(()));
    // Its folders are what the next start clears away.
    drop(OciExecutor::find(&config, WORKER.as_ref()).unwrap());
    assert_eq!(config.state.join("jobs").read_dir().unwrap().count(), 0);
}

/// Runs a job that never ends, as a worker.
fn supervise(told: &Path) {
    let machine = Machine::new().unwrap();
    let draft = told.with_extension("draft");
    std::fs::write(&draft, serde_json::to_vec(&machine.config).unwrap()).unwrap();
    std::fs::rename(draft, told).unwrap();
    let mut job = machine.job("exec sleep 600");
    job.envelope.limits.wall_ms = Quantity(600_000);
    let _ = machine.run(&machine.executor(), job);
}

/// The process of a container that sleeps.
fn sleeper(state: &Path) -> Option<u64> {
    let container = state.join("runc").read_dir().ok()?.next()?.ok()?;
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(container.path().join("state.json")).ok()?).ok()?;
    let pid = state["init_process_pid"].as_u64()?;
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.contains("sleep").then_some(pid)
}

fn is_running(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = get() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited 60 s in vain for {what}");
}

#[test]
fn the_state_must_be_within_reach_of_containers() {
    let Some(mut machine) = Machine::new() else { return };
    let closed = machine.folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    machine.config.state = closed.join("state");
    let reason = OciExecutor::find(&machine.config, WORKER.as_ref()).unwrap_err();
    assert!(reason.contains("chmod o+x") && reason.contains("closed"), "{reason}");
}
