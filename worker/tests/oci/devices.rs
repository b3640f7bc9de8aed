//! GPUs, as the Container Device Interface describes them; here they are devices that every machine has.

use crate::machine::Machine;
use protocol::amount::Quantity;
use protocol::job::Program;
use serde_json::json;
use worker::execute::{ExecuteError, JobInput};

/// A job that asks for devices and holds these.
fn with_devices(mut job: JobInput, asked: u32, held: &[u32]) -> JobInput {
    if let Program::Oci { devices, .. } = &mut job.envelope.program {
        *devices = asked;
    }
    job.devices = held.to_vec();
    job
}

#[test]
fn a_job_gets_its_devices_with_their_libraries_and_hooks() {
    let Some(mut machine) = Machine::new() else { return };
    let folder = machine.folder.path().join("cdi");
    std::fs::create_dir(&folder).unwrap();
    let library = machine.folder.path().join("libcuda.so.1");
    std::fs::write(&library, "library").unwrap();
    // As nvidia-ctk's hooks do, it finds the root file system by the state that it is given, and writes to it.
    let hook = r#"bundle=$(sed -n 's/.*"bundle":"\([^"]*\)".*/\1/p'); cat $bundle/config.json > /dev/null && echo hooked > $bundle/rootfs/hooked"#;
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
    let executor = machine.executor();
    let script = "exec > /capa/outputs/0; head -c 3 /dev/nvidia1 | wc -c; ls /dev/nvidia0; cat /hooked /usr/lib/libcuda.so.1; echo; echo $NVIDIA_VISIBLE_DEVICES";
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
