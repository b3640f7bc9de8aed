//! Programs that mean harm, or are broken. After each the device serves the next job.

use super::job::{
    EXECUTOR, FAULTS_PTX, adding, alone, busy, config, in_ptx, job, program_error, run, source_job, stage_of, words,
};
use protocol::amount::Quantity;
use protocol::job::{Argument, Launch};
use worker::execute::{CudaConfig, CudaExecutor, ExecuteError, Executor};

fn still_works() {
    let delivered = run(busy(3, 1)).unwrap();
    assert_eq!(words(&delivered.outputs[0])[1], 3);
    assert!(!EXECUTOR.must_restart());
}

#[test]
fn a_source_cannot_read_files() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.h");
    std::fs::write(&secret, "#error the_secret_is_out").unwrap();
    let source = format!("#include \"{}\"\nextern \"C\" __global__ void f() {{}}", secret.display());
    let confined = program_error(source_job(source.as_bytes(), "f", 1, vec![]));
    assert!(!confined.contains("the_secret_is_out"), "{confined}");
    // The same source without the confinement shows that the test can fail.
    let _alone = alone();
    let open = CudaExecutor::find(&CudaConfig { confine_compiler: false, ..config() }).unwrap();
    let shown = crate::sample::run(&open, source_job(source.as_bytes(), "f", 1, vec![])).unwrap_err().to_string();
    assert!(shown.contains("the_secret_is_out"), "{shown}");
    // And the confinement ended with its thread.
    assert!(std::fs::read(&secret).is_ok());
}

#[test]
fn a_file_of_the_system_is_not_shown() {
    for directive in ["#include \"/etc/passwd\"", "#include </etc/passwd>", "#include \"../../etc/passwd\""] {
        let source = format!("{directive}\nextern \"C\" __global__ void f() {{}}");
        let detail = program_error(source_job(source.as_bytes(), "f", 1, vec![]));
        assert!(detail.contains("error") && !detail.contains("root:"), "{detail}");
    }
}

#[test]
fn a_fault_ends_the_job_and_not_the_worker() {
    let trap = program_error(job("always_trap", 1, vec![Argument::Output(0)]));
    assert!(trap.contains("a kernel failed on the device"), "{trap}");
    still_works();
    for beyond in [1 << 10, 1 << 16] {
        let arguments = vec![Argument::Output(0), Argument::U32(2), Argument::U32(beyond)];
        let detail = program_error(job("write_beyond", 1, arguments));
        assert!(detail.contains("illegal memory access"), "{detail}");
        still_works();
    }
}

#[test]
fn what_was_used_before_a_fault_is_billed() {
    let mut ended = job("take_time", 1, vec![Argument::Output(0), Argument::U32(60)]);
    let arguments = vec![Argument::Scratch(0)];
    let trap = Launch { kernel: "always_trap".into(), grid: [1; 3], block: [1; 3], shared_memory: 0, arguments };
    stage_of(&mut ended).launches.push(trap);
    for graph in [false, true] {
        stage_of(&mut ended).graph = graph;
        match run(ended.clone()) {
            Err(ExecuteError::Program { usage, .. }) => assert!(usage.gpu_ms >= Quantity(60), "{usage:?}"),
            other => panic!("not a fault: {other:?}"),
        }
    }
    still_works();
}

#[test]
fn machine_code_is_never_taken() {
    let cubin = b"\x7fELF\x02\x01\x01\x41\x08\0\0\0\0\0\0\0\x02\0\xbe\0";
    for code in [cubin.as_slice(), b"\x50\xed\x55\xba\x01\x00\x10\x00", b"!<arch>\n"] {
        let as_ptx = program_error(in_ptx(busy(1, 1), code));
        assert!(as_ptx.contains("it is not PTX"), "{as_ptx}");
        assert!(matches!(run(source_job(code, "f", 1, vec![])), Err(ExecuteError::Program { .. })));
    }
    // Nor where text hides it from a glance at its first bytes.
    let hidden = [FAULTS_PTX, b"\0", cubin].concat();
    assert!(program_error(in_ptx(adding(&[1]), &hidden)).contains("not PTX"));
    still_works();
}

#[test]
fn a_huge_log_is_cut() {
    let many = "__attribute__((bogus)) int x; ".repeat(20_000);
    let source = format!("extern \"C\" __global__ void f() {{ {many} }}");
    let detail = program_error(source_job(source.as_bytes(), "f", 1, vec![]));
    assert!(detail.len() < 20_000, "{} bytes", detail.len());
    let large = vec![b' '; (1 << 20) + 1];
    assert!(program_error(source_job(&large, "f", 1, vec![])).contains("at most 1048576 are compiled"));
}

#[test]
fn variables_of_a_module_count_as_memory() {
    let source = b"__device__ char hoard[1u << 30]; extern \"C\" __global__ void f(int *o) { o[0] = hoard[o[1]]; }";
    let detail = program_error(source_job(source, "f", 1, vec![Argument::Output(0)]));
    assert!(detail.contains("limits.memory is 1048576"), "{detail}");
}
