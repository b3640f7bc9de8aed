//! Jobs that behave, and jobs that fail by themselves.

use crate::machine::{Machine, WORKER};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::OutputBuffer;
use protocol::resource::Unit;
use serde_json::json;
use std::time::Instant;
use worker::execute::{ExecuteConfig, ExecuteError, Executor, OciConfig, OciExecutor, here};

#[test]
fn inputs_become_outputs_and_the_lease_is_metered() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    let mut job = machine.job("tr a-z A-Z < /capa/inputs/0 > /capa/outputs/0; echo ok > /capa/outputs/1");
    job.envelope.outputs.push(OutputBuffer { length: Quantity(3) });
    let started = Instant::now();
    let delivered = machine.run(&executor, job).unwrap();
    let seconds = started.elapsed().as_secs() + 1;
    assert_eq!(delivered.outputs, [Bytes::from_static(b"ABCDEF"), Bytes::from_static(b"ok\n")]);
    let usage = delivered.usage;
    assert!((1..=seconds).contains(&usage.lease_s.get()), "{usage:?}");
    assert_eq!(usage.memory_mib_s.get(), 64 * usage.lease_s.get());
    assert_eq!((usage.bytes_in, usage.bytes_out), (Quantity(6), Quantity(9)));
    machine.assert_clean();
}

#[test]
fn cpu_time_is_that_of_the_control_group() {
    let Some(machine) = Machine::new() else { return };
    let job = machine.job("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    let delivered = machine.run(&machine.executor(), job).unwrap();
    let cpu_ms = delivered.usage.cpu_ms.get();
    assert!(cpu_ms > 0 && cpu_ms <= 1000 * delivered.usage.lease_s.get(), "{cpu_ms}");
    assert_eq!(delivered.outputs, [Bytes::new()], "what was not written is delivered empty");
}

#[test]
fn a_failure_brings_its_code_and_its_last_words() {
    let Some(machine) = Machine::new() else { return };
    let detail = machine.failure_of("echo to the log; echo what went wrong >&2; exit 7");
    // runc carries the two streams apart, so their order is not kept.
    let told = ["exit code 7", "to the log", "what went wrong"].iter().all(|words| detail.contains(words));
    assert!(told, "{detail}");
    let silent = machine.failure_of("exit 9");
    assert!(silent.ends_with("exit code 9"), "{silent}");
    machine.assert_clean();
}

#[test]
fn a_command_that_is_not_there_is_the_clients_mistake() {
    let Some(machine) = Machine::new() else { return };
    let run = |command: &[&str]| machine.run(&machine.executor(), machine.command(command)).unwrap_err();
    let missing = run(&["no-such-program"]);
    assert!(
        matches!(&missing, ExecuteError::Program { detail, .. } if detail.contains("no-such-program")),
        "{missing:?}"
    );
    let none = run(&[]);
    assert!(matches!(&none, ExecuteError::Program { detail, .. } if detail.contains("names no command")), "{none:?}");
    machine.assert_clean();
}

#[test]
fn the_image_says_how_it_starts() {
    let config = json!({
        "Entrypoint": ["sh", "-c"], "Cmd": ["echo $GREETING $(pwd) $(id -u):$(id -g) > /capa/outputs/0"],
        "Env": ["GREETING=hello", "PATH=/bin"], "WorkingDir": "/bin", "User": "1000:2000"
    });
    let Some(machine) = Machine::with(config) else { return };
    let mut job = machine.command(&[]);
    job.envelope.outputs[0].length = Quantity(100);
    let delivered = machine.run(&machine.executor(), job).unwrap();
    assert_eq!(delivered.outputs, [Bytes::from_static(b"hello /bin 1000:2000\n")]);
    assert_eq!(machine.output_of("cat /capa/inputs/0 > /capa/outputs/0"), "abcdef", "its user can read the inputs");
}

#[test]
fn jobs_run_at_the_same_time() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..4)
            .map(|index| {
                let job = machine.job(&format!("sleep 1; echo {index} > /capa/outputs/0"));
                scope.spawn(|| machine.run(&executor, job).unwrap().outputs)
            })
            .collect();
        for (index, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().unwrap(), [Bytes::from(format!("{index}\n"))]);
        }
    });
    machine.assert_clean();
}

#[test]
fn nothing_of_one_job_is_left_for_the_next() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    let leave = "echo secret > /tmp/left; echo secret > /dev/shm/left; echo secret > /capa/outputs/more";
    machine.run(&executor, machine.job(leave)).unwrap();
    let mut look = machine.job("cat /tmp/* /dev/shm/* /capa/outputs/* > /capa/outputs/0 2>/dev/null; exit 0");
    look.envelope.outputs[0].length = Quantity(100);
    assert_eq!(machine.run(&executor, look).unwrap().outputs, [Bytes::new()]);
}

#[test]
fn jobs_that_this_worker_does_not_run_are_refused_before_they_start() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    let refused = |change: &dyn Fn(&mut worker::execute::JobInput), word: &str| {
        let mut job = machine.job("exit 0");
        change(&mut job);
        let error = machine.run(&executor, job).unwrap_err();
        assert!(matches!(&error, ExecuteError::Unsupported(reason) if reason.contains(word)), "{error:?}");
    };
    refused(&|job| job.unit = Unit::CpuMs, "billed in vCPU-ms");
    refused(&|job| job.envelope.limits.memory = Quantity(u64::MAX), "limits.memory");
    refused(&|job| job.envelope.limits.memory = Quantity(1 << 20), "a container needs");
    refused(&|job| job.envelope.outputs = vec![OutputBuffer { length: Quantity(1 << 40) }], "outputs exceed");
    let mut job = machine.job("exit 0");
    job.blobs.clear();
    assert!(matches!(machine.run(&executor, job).unwrap_err(), ExecuteError::Node(_)));
}

#[test]
fn container_jobs_are_off_unless_they_are_turned_on() {
    let reason = OciExecutor::find(&OciConfig::default(), WORKER.as_ref()).unwrap_err();
    assert!(reason.contains("execute.oci.enabled"), "{reason}");
    assert!(here(&ExecuteConfig::default(), WORKER.as_ref()).unwrap().is_empty());
    let half = ExecuteConfig { oci: OciConfig { enabled: true, ..OciConfig::default() }, ..ExecuteConfig::default() };
    let Err(error) = here(&half, WORKER.as_ref()) else { panic!("there is no image to run") };
    assert!(error.to_string().contains("execute.oci.images"), "{error}");
}

#[test]
fn the_executor_says_what_it_is() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    assert!(executor.toolchain().starts_with("runc-1."), "{}", executor.toolchain());
    let isolation = executor.isolation().unwrap();
    assert_eq!(isolation.level(), protocol::wire::IsolationLevel::Isolated, "{isolation:?}");
    let second = OciExecutor::find(&machine.config, WORKER.as_ref()).unwrap_err();
    assert!(second.contains("another worker"), "{second}");
}
