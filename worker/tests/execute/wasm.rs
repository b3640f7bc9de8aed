//! WebAssembly: exact results, exact metering, and a clear end for every hostile module.

use crate::sample::{SAMPLES, blob, load, result_of, run};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Envelope, Kind, Limits, OutputBuffer, Program, Verify};
use protocol::resource::{FUEL_PER_CPU_MS, Unit, Usage};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{ExecuteError, JobInput, WasmConfig, WasmExecutor, run_here};

fn executor() -> WasmExecutor {
    WasmExecutor::new(WasmConfig::default()).unwrap()
}

/// A job of one module in text form, with the input `abcdef`, an output of 8 bytes, a MiB of memory and a second of
/// vCPU time.
fn job(module: &str) -> JobInput {
    binary(wat::parse_str(module).unwrap())
}

fn binary(module: Vec<u8>) -> JobInput {
    let input = Bytes::from_static(b"abcdef");
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module: blob(&module), toolchain: "wasmtime-48".into() },
        inputs: vec![blob(&input)],
        outputs: vec![OutputBuffer { length: Quantity(8) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(300_000) },
        verify: Verify::Reexecute,
    };
    JobInput {
        envelope,
        blobs: vec![module.into(), input],
        rank: 0,
        devices: vec![],
        unit: Unit::CpuMs,
        max_units: Quantity(1000),
    }
}

/// A module whose `run` has this body, with all imports and a page of memory.
fn body(text: &str) -> JobInput {
    job(&format!(
        r#"(module
            (import "capa" "input_length" (func $input_length (param i32) (result i64)))
            (import "capa" "input_read" (func $input_read (param i32 i64 i32 i32) (result i32)))
            (import "capa" "output_write" (func $output_write (param i32 i64 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func $again (call $again))
            (func (export "run") (result i32) {text}))"#
    ))
}

const ENDLESS: &str = "(loop $l (br_if $l (i32.const 1))) (i32.const 0)";

/// The fuel is pinned: a change would be a change of what jobs cost, and needs a new name of the toolchain.
const FUEL: [u64; 4] = [545_368_465, 4_433_064_275, 1_088_608_589, 5_052_694_253];

#[test]
fn samples_give_their_result_and_their_fuel() {
    let executor = executor();
    for (name, fuel) in SAMPLES.iter().zip(FUEL) {
        let (job, expected) = load(name, Kind::Wasm);
        let first = run(&executor, job.clone()).unwrap();
        let second = run(&executor, job).unwrap();
        assert_eq!(first.usage, second.usage, "{name}");
        assert_eq!(first.usage.cpu_ms.get(), first.usage.fuel.get().div_ceil(FUEL_PER_CPU_MS), "{name}");
        assert_eq!(first.usage.memory_mib_s.get(), (16 * first.usage.cpu_ms.get()).div_ceil(1000), "{name}");
        assert_eq!(first.usage.fuel.get(), fuel, "{name}");
        assert_eq!(result_of(&first.outputs), expected, "{name}");
    }
}

#[test]
fn progress_rises_to_the_final_usage_while_the_guest_runs() {
    let (job, _) = load("heat-equation", Kind::Wasm);
    let (sender, receiver) = watch::channel(Usage::default());
    let watcher = std::thread::spawn(move || {
        let mut seen = vec![*receiver.borrow()];
        while receiver.has_changed().is_ok() {
            let now = *receiver.borrow();
            if now != seen[seen.len() - 1] {
                seen.push(now);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    });
    let delivered = run_here(&executor(), job, sender, CancellationToken::new()).unwrap();
    let seen = watcher.join().unwrap();
    assert!(seen.len() > 10, "only {} values were seen", seen.len());
    assert!(seen.windows(2).all(|pair| pair[1].covers(&pair[0])));
    assert!(delivered.usage.covers(&seen[seen.len() - 1]));
    assert!(seen[1].fuel < delivered.usage.fuel);
}

#[test]
fn imports_move_bytes_and_count_them() {
    let job = body(
        "(drop (call $input_read (i32.const 0) (i64.const 2) (i32.const 8) (i32.const 100)))
         (drop (call $output_write (i32.const 0) (i64.const 1) (i32.const 8) (i32.const 4)))
         (if (i64.ne (call $input_length (i32.const 0)) (i64.const 6)) (then unreachable))
         (if (i64.ne (call $input_length (i32.const 1)) (i64.const -1)) (then unreachable))
         (call $input_read (i32.const 0) (i64.const 6) (i32.const 8) (i32.const 100))",
    );
    let delivered = run(&executor(), job).unwrap();
    assert_eq!(delivered.outputs, [Bytes::from_static(b"\0cdef")]);
    assert_eq!((delivered.usage.bytes_in, delivered.usage.bytes_out), (Quantity(4), Quantity(5)));
}

fn program_error(job: JobInput) -> String {
    match run(&executor(), job) {
        Err(ExecuteError::Program { detail, .. }) => detail,
        other => panic!("not a program error: {other:?}"),
    }
}

fn limit_error(job: JobInput) -> (String, Usage) {
    match run(&executor(), job) {
        Err(ExecuteError::Limit { detail, usage }) => (detail, usage),
        other => panic!("not a limit: {other:?}"),
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (binary(b"\0asm nonsense".to_vec()), "does not compile"),
        (binary(vec![0; (8 << 20) + 1]), "at most 8388608"),
        (job("(module (func (export \"run\") (result i32) (i32.const 0)))"), "does not export its memory"),
        (job("(module (memory (export \"memory\") 1))"), "does not export a function `run`"),
        (
            job("(module (memory (export \"memory\") 1) (func (export \"run\") (param i32)))"),
            "must take nothing and return an i32",
        ),
        (
            job("(module (import \"wasi_snapshot_preview1\" \"clock_time_get\" (func)) (memory (export \"memory\") 1)
                (func (export \"run\") (result i32) (i32.const 0)))"),
            "wasi_snapshot_preview1::clock_time_get",
        ),
        (
            job("(module (import \"capa\" \"input_length\" (func (param i64))) (memory (export \"memory\") 1)
                (func (export \"run\") (result i32) (i32.const 0)))"),
            "input_length",
        ),
        (body("unreachable"), "unreachable"),
        (body("(i32.div_u (i32.const 1) (i32.const 0))"), "divide by zero"),
        (body("(i32.load (i32.const 65536))"), "out of bounds"),
        (body("(call $again) (i32.const 0)"), "call stack exhausted"),
        (body("(i32.const 7)"), "returned 7"),
        (body("(call $input_read (i32.const 3) (i64.const 0) (i32.const 0) (i32.const 1))"), "input 3 does not exist"),
        (body("(call $input_read (i32.const 0) (i64.const -1) (i32.const 0) (i32.const 1))"), "negative offset"),
        (body("(call $input_read (i32.const 0) (i64.const 0) (i32.const -1) (i32.const 4))"), "not inside its memory"),
        (
            body("(call $output_write (i32.const 0) (i64.const 0) (i32.const 65535) (i32.const 2))"),
            "not inside its memory",
        ),
        (
            body("(call $output_write (i32.const 0) (i64.const 5) (i32.const 0) (i32.const 4))"),
            "output 0 up to byte 9, beyond its declared length of 8",
        ),
        (
            body("(call $output_write (i32.const 0) (i64.const 0x7fffffffffffffff) (i32.const 0) (i32.const 4))"),
            "beyond its declared length",
        ),
        (
            body("(call $output_write (i32.const -1) (i64.const 0) (i32.const 0) (i32.const 4))"),
            "output -1 does not exist",
        ),
    ];
    for (job, words) in cases {
        let detail = program_error(job);
        assert!(detail.contains(words), "{detail:?} does not say {words:?}");
    }
}

#[test]
fn an_endless_loop_uses_exactly_what_was_ordered() {
    let (detail, usage) = limit_error(body(ENDLESS));
    assert!(detail.contains("all of its 1000 vCPU-ms"), "{detail}");
    assert_eq!((usage.cpu_ms, usage.fuel), (Quantity(1000), Quantity(1000 * FUEL_PER_CPU_MS)));
}

#[test]
fn an_endless_start_function_is_stopped_too() {
    let module = "(module (memory (export \"memory\") 1) (func $f (loop $l (br $l))) (start $f)
         (func (export \"run\") (result i32) (i32.const 0)))";
    assert!(limit_error(job(module)).0.contains("maxUnits"));
}

#[test]
fn wall_time_ends_a_job() {
    let mut job = body(ENDLESS);
    job.max_units = Quantity(u64::MAX);
    job.envelope.limits.wall_ms = Quantity(100);
    let begin = Instant::now();
    let (detail, usage) = limit_error(job);
    assert!(detail.contains("limits.wallMs"), "{detail}");
    assert!(usage.fuel > Quantity::ZERO);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_loop_of_imports_is_billed_and_stopped() {
    let read = "(loop $l (drop (call $input_length (i32.const 0))) (br $l)) (i32.const 0)";
    let (detail, usage) = limit_error(body(read));
    assert!(detail.contains("maxUnits"), "{detail}");
    assert_eq!(usage.cpu_ms, Quantity(1000));
    let mut job = body(read);
    job.max_units = Quantity(u64::MAX);
    job.envelope.limits.wall_ms = Quantity(100);
    assert!(limit_error(job).0.contains("limits.wallMs"));
}

#[test]
fn filling_memory_costs_by_the_byte() {
    let fill = |bytes: u32| {
        let job = body(&format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})) (i32.const 0)"));
        run(&executor(), job).unwrap().usage.fuel.get()
    };
    assert_eq!(fill(50_000) - fill(0), 50_000);
}

#[test]
fn cancelling_ends_a_job_with_what_it_used() {
    let mut job = body(ENDLESS);
    job.max_units = Quantity(u64::MAX);
    let cancel = CancellationToken::new();
    let (sender, receiver) = watch::channel(Usage::default());
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            while receiver.borrow().fuel == Quantity::ZERO {
                std::thread::sleep(Duration::from_millis(1));
            }
            cancel.cancel();
        })
    };
    let ended = run_here(&executor(), job, sender, cancel);
    canceller.join().unwrap();
    assert!(matches!(ended, Err(ExecuteError::Cancelled { usage }) if usage.fuel > Quantity::ZERO), "{ended:?}");
}

#[test]
fn memory_is_limited() {
    let (detail, _) = limit_error(body("(drop (memory.grow (i32.const 15))) (memory.grow (i32.const 1))"));
    assert!(detail.contains("1114112 bytes of memory, limits.memory of the envelope is 1048576"), "{detail}");
    let large = "(module (memory (export \"memory\") 100) (func (export \"run\") (result i32) (i32.const 0)))";
    assert!(limit_error(job(large)).0.contains("limits.memory"));
    let table = "(module (memory (export \"memory\") 1) (table $t 1 funcref)
        (func (export \"run\") (result i32) (table.grow $t (ref.null func) (i32.const 200000))))";
    assert!(limit_error(job(table)).0.contains("a table of 200001 elements"));
}

#[test]
fn other_units_limit_a_job_too() {
    let mut job = body(ENDLESS);
    (job.unit, job.max_units) = (Unit::MemoryMibS, Quantity(2));
    let (detail, usage) = limit_error(job);
    assert!(detail.contains("2 MiB-s"), "{detail}");
    assert_eq!((usage.memory_mib_s, usage.cpu_ms), (Quantity(2), Quantity(2000)));

    let mut job = body("(call $output_write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 8))");
    (job.unit, job.max_units) = (Unit::BytesOut, Quantity(7));
    assert!(limit_error(job).0.contains("more than 7 bytes"));
}

#[test]
fn jobs_beyond_the_worker_are_refused_before_they_start() {
    let mut cases = Vec::new();
    let mut other = body(ENDLESS);
    other.envelope.program = match other.envelope.program {
        Program::Wasm { module, .. } => Program::Wasm { module, toolchain: "wasmtime-99".into() },
        cuda => cuda,
    };
    cases.push((other, "this worker has wasmtime-48"));
    let mut large = body(ENDLESS);
    large.envelope.limits.memory = Quantity(1 << 40);
    cases.push((large, "this worker allows"));
    let mut wide = body(ENDLESS);
    wide.envelope.outputs = vec![OutputBuffer { length: Quantity(u64::MAX) }; 2];
    cases.push((wide, "outputs are larger"));
    let mut gpu = body(ENDLESS);
    gpu.unit = Unit::GpuMs;
    cases.push((gpu, "cannot be billed in GPU-ms"));
    for (job, words) in cases {
        match run(&executor(), job) {
            Err(ExecuteError::Unsupported(detail)) => assert!(detail.contains(words), "{detail}"),
            other => panic!("it was not refused: {other:?}"),
        }
    }
}

#[test]
fn a_nan_has_the_same_bits_everywhere() {
    let job = body(
        "(f64.store (i32.const 0) (f64.div (f64.const -0) (f64.const 0)))
         (call $output_write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 8))",
    );
    let delivered = run(&executor(), job).unwrap();
    assert_eq!(delivered.outputs, [Bytes::copy_from_slice(&0x7ff8_0000_0000_0000u64.to_le_bytes())]);
}
