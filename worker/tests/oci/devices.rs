//! GPUs, as the Container Device Interface describes them; here they are devices that every machine has.

use crate::machine::Machine;
use protocol::amount::Quantity;
use protocol::job::Program;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use worker::execute::{ExecuteError, JobInput};

/// A job that asks for devices and holds these.
fn with_devices(mut job: JobInput, asked: u32, held: &[u32]) -> JobInput {
    if let Program::Oci { devices, .. } = &mut job.envelope.program {
        *devices = asked;
    }
    job.devices = held.to_vec();
    job
}

/// Two GPUs, a library and a hook.
fn describe_devices(machine: &mut Machine) {
    let folder = machine.folder.path().join("cdi");
    std::fs::create_dir(&folder).unwrap();
    let library = machine.folder.path().join("libcuda.so.1");
    std::fs::write(&library, "library").unwrap();
    // As nvidia-ctk's hooks do, it finds the root file system by the state that it is given, and writes to it.
    let hook = r#"bundle=$(sed -n 's/.*"bundle":"\([^"]*\)".*/\1/p')
        cat $bundle/config.json > /dev/null && echo hooked > $bundle/rootfs/hooked"#;
    let text = json!({
        "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
        "devices": [
            { "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidia0", "hostPath": "/dev/zero" }] } },
            { "name": "1", "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidia1", "hostPath": "/dev/full" }] } }
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "mounts": [{ "hostPath": library, "containerPath": "/usr/lib/libcuda.so.1", "options": ["ro", "bind"] }],
            "hooks": [{ "hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", hook] }]
        }
    });
    std::fs::write(folder.join("nvidia.json"), text.to_string()).unwrap();
    machine.config.cdi = vec![folder];
}

#[test]
fn a_job_gets_its_devices_with_their_libraries_and_hooks() {
    let Some(mut machine) = Machine::new() else { return };
    describe_devices(&mut machine);
    let executor = machine.executor();
    let script = "exec > /capa/outputs/0; head -c 3 /dev/nvidia1 | wc -c; ls /dev/nvidia0
        cat /hooked /usr/lib/libcuda.so.1; echo; echo $NVIDIA_VISIBLE_DEVICES";
    let mut job = with_devices(machine.job(script), 1, &[1]);
    job.envelope.outputs[0].length = Quantity(1000);
    let delivered = machine.run(&executor, job).unwrap();
    let text = String::from_utf8_lossy(&delivered.outputs[0]).into_owned();
    assert_eq!(text, "3\nhooked\nlibrary\nvoid\n", "only the device that it holds is there");
    let plain = machine.run(&executor, machine.job("ls /hooked /dev/nvidia1")).unwrap_err();
    assert!(
        matches!(&plain, ExecuteError::Program { detail, .. } if detail.matches("No such file").count() == 2),
        "{plain:?}"
    );
    machine.assert_clean();
}

#[test]
fn devices_that_nothing_describes_are_the_nodes_failure() {
    let Some(mut machine) = Machine::new() else { return };
    machine.config.cdi = vec![machine.folder.path().join("cdi")];
    let executor = machine.executor();
    let run =
        |asked, held: &[u32]| machine.run(&executor, with_devices(machine.job("exit 0"), asked, held)).unwrap_err();
    let error = run(1, &[0]);
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("nvidia-ctk cdi generate")), "{error:?}");
    let error = run(2, &[0]);
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("not given the devices")), "{error:?}");
}

#[test]
fn a_container_that_cannot_be_ended_keeps_its_devices() {
    let Some(mut machine) = Machine::new() else { return };
    describe_devices(&mut machine);
    // As where a process hangs in a driver: nothing that runc does ends it.
    let broken = machine.folder.path().join("broken");
    let runc = machine.folder.path().join("runc");
    let script =
        format!("#!/bin/sh\n[ -e {} ] && case $* in *kill*|*delete*) exit 1;; esac\nexec runc $*\n", broken.display());
    std::fs::write(&runc, script).unwrap();
    std::fs::set_permissions(&runc, std::fs::Permissions::from_mode(0o755)).unwrap();
    machine.config.runc = runc;
    let executor = machine.executor();
    std::fs::write(&broken, "").unwrap();
    let mut job = with_devices(machine.job("sleep 600"), 1, &[1]);
    job.envelope.limits.wall_ms = Quantity(1_000);
    let error = machine.run(&executor, job).unwrap_err();
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("could not be ended")), "{error:?}");

    let on = |device| machine.run(&executor, with_devices(machine.job("exit 0"), 1, &[device]));
    let error = on(1).unwrap_err();
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("still held")), "{error:?}");
    std::fs::remove_file(&broken).unwrap();
    on(1).unwrap();
    machine.assert_clean();
}
