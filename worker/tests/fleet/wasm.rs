//! WebAssembly in children: work, limits, tenants, and programs that misbehave.

use crate::setup::{ALICE, BOB, Site, body, counting, endless, is_running, kill, until, wasm};
use alloy::primitives::Address;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Kind, Program};
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{ExecuteError, WasmConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_through_a_child_and_back() {
    let site = Site::start(|_| {}).await;
    let inventory = site.fleet.inventory();
    assert_eq!((inventory.kinds.as_slice(), inventory.devices), ([Kind::Wasm].as_slice(), 0));
    assert_eq!(inventory.toolchains, ["wasmtime-48"]);
    println!("in force here: {:?}; missing: {:?}", inventory.isolation, inventory.missing);

    let echo = body(
        "(drop (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.wrap_i64 (call $length (i32.const 0)))))
         (drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 5)))
         (i32.const 0)",
    );
    let (sender, _progress) = watch::channel(Usage::default());
    let job = wasm(&echo, vec![Bytes::from("hello")], 64);
    let done = site.fleet.execute(ALICE, job, sender, CancellationToken::new()).await.unwrap();
    // The output is as long as was written, not as was declared.
    assert_eq!(done.outputs, [Bytes::from("hello")]);
    assert_eq!((done.usage.bytes_in, done.usage.bytes_out), (Quantity(5), Quantity(5)));
    assert!(done.usage.fuel > Quantity::ZERO && done.usage.gpu_ms == Quantity::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_inputs_and_outputs_travel_in_shared_memory() {
    let site = Site::start(|_| {}).await;
    let copy = r#"(module
        (import "capa" "input_read" (func $read (param i32 i64 i32 i32) (result i32)))
        (import "capa" "output_write" (func $write (param i32 i64 i32 i32) (result i32)))
        (memory (export "memory") 80)
        (func (export "run") (result i32)
          (drop (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 5000000)))
          (drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 5000000)))
          (i32.const 0)))"#;
    let input: Vec<u8> = (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut job = wasm(copy, vec![Bytes::from(input.clone())], 5_000_000);
    job.envelope.limits.memory = Quantity(80 << 16);
    let done = site.run(ALICE, job).await.unwrap();
    assert!(done.outputs[0] == input);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_child_answers_quickly() {
    let site = Site::start(|_| {}).await;
    let job = counting(1);
    site.run(ALICE, job.clone()).await.unwrap();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        site.run(ALICE, job.clone()).await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    // The module is compiled for each job; the bench of this crate times what is asked for in a release build.
    println!("warm no-op job: p50 {:?}, p99 {:?} (this build)", times[100], times[198]);
    assert_eq!(site.children().len(), 2, "the tenant's child, and a blank one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_gets_another_process() {
    let site = Site::start(|_| {}).await;
    let first = site.only_child().await;
    site.serves(ALICE).await;
    site.serves(ALICE).await;
    assert!(is_running(first), "the same tenant keeps its process");
    site.serves(BOB).await;
    assert!(!is_running(first), "Bob's job ran while Alice's process lived on the same device");
    assert!(!site.children().contains(&first));
}

/// Fills all of its memory with a pattern, and writes some of it out.
fn leave_traces() -> String {
    body(
        "(memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 65536))
         (drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 65536)))
         (i32.const 0)",
    )
}

/// Writes all of its memory out, which it has not touched.
fn look_for_traces() -> String {
    body(
        "(drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 65536)))
         (i32.const 0)",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_finds_what_another_left_in_memory() {
    let site = Site::start(|_| {}).await;
    // The same tenant's next job, and then another tenant's.
    for next in [ALICE, BOB] {
        let traces = site.run(ALICE, wasm(&leave_traces(), vec![], 65_536)).await.unwrap();
        assert!(traces.outputs[0].iter().all(|byte| *byte == 0xa5), "the test could not fail");
        let found = site.run(next, wasm(&look_for_traces(), vec![], 65_536)).await.unwrap();
        assert_eq!(found.outputs[0].len(), 65_536);
        assert!(found.outputs[0].iter().all(|byte| *byte == 0), "something was left in memory for {next}");
    }
    // An output that is written only at its end starts with zeros.
    let gap = body(
        "(drop (call $write (i32.const 0) (i64.const 4095) (i32.const 0) (i32.const 1)))
         (i32.const 0)",
    );
    let found = site.run(BOB, wasm(&gap, vec![], 4_096)).await.unwrap();
    assert!(found.outputs[0].iter().all(|byte| *byte == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_at_every_limit() {
    let site = Site::start(|_| {}).await;
    let mut job = endless();
    job.envelope.limits.wall_ms = Quantity(300);
    match site.run(ALICE, job).await {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("wall time"), "{detail}");
            assert!(usage.cpu_ms > Quantity::ZERO, "what it used is billed");
        }
        other => panic!("not a limit: {other:?}"),
    }
    site.serves(ALICE).await;

    let mut job = endless();
    job.max_units = Quantity(50);
    match site.run(ALICE, job).await {
        Err(ExecuteError::Limit { usage, .. }) => assert_eq!(usage.cpu_ms, Quantity(50)),
        other => panic!("not a limit: {other:?}"),
    }
    site.serves(BOB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_a_job_with_what_it_used() {
    let site = Site::start(|_| {}).await;
    let (sender, mut progress) = watch::channel(Usage::default());
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (fleet, cancel) = (site.fleet.clone(), cancel.clone());
        async move { fleet.execute(ALICE, endless(), sender, cancel).await }
    });
    let mut last = Usage::default();
    for _ in 0..5 {
        progress.changed().await.unwrap();
        let usage = *progress.borrow();
        assert!(usage.covers(&last), "usage fell from {last:?} to {usage:?}");
        last = usage;
    }
    cancel.cancel();
    match run.await.unwrap() {
        Err(ExecuteError::Cancelled { usage }) => assert!(usage.covers(&last), "{usage:?} is less than {last:?}"),
        other => panic!("not cancelled: {other:?}"),
    }
    site.serves(ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_caller_goes_away_is_cancelled() {
    let site = Site::start(|_| {}).await;
    let (sender, mut progress) = watch::channel(Usage::default());
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        async move { fleet.execute(ALICE, endless(), sender, CancellationToken::new()).await }
    });
    progress.changed().await.unwrap();
    run.abort();
    // The only slot is free again.
    tokio::time::timeout(Duration::from_secs(10), site.serves(BOB)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_killed_fails_the_job_and_nothing_else() {
    let site = Site::start(|_| {}).await;
    let busy = site.only_child().await;
    let (sender, mut progress) = watch::channel(Usage::default());
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        async move { fleet.execute(ALICE, endless(), sender, CancellationToken::new()).await }
    });
    progress.changed().await.unwrap();
    kill(busy);
    match run.await.unwrap() {
        Err(error @ ExecuteError::Node(_)) => assert_eq!(error.usage(), Usage::default(), "nothing is billed"),
        other => panic!("not the node's failure: {other:?}"),
    }
    site.serves(ALICE).await;
    // Idle ones may die as well, even while a job is sent to them: then the next has it.
    for tenant in [ALICE, BOB, ALICE] {
        for pid in site.children() {
            kill(pid);
        }
        site.serves(tenant).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_misbehave_fail_and_the_next_job_is_served() {
    let site = Site::start(|_| {}).await;
    let trap = body("unreachable");
    let recursion = r#"(module (memory (export "memory") 1)
        (func $f (call $f)) (func (export "run") (result i32) (call $f) (i32.const 0)))"#;
    let import = r#"(module (import "env" "system" (func)) (memory (export "memory") 1)
        (func (export "run") (result i32) (i32.const 0)))"#;
    let beyond = body(
        "(drop (call $write (i32.const 0) (i64.const 1) (i32.const 0) (i32.const 8)))
         (i32.const 0)",
    );
    for (text, words) in [
        (trap.as_str(), "unreachable"),
        (recursion, "stack"),
        (import, "env"),
        (beyond.as_str(), "beyond its declared length"),
    ] {
        match site.run(ALICE, wasm(text, vec![], 8)).await {
            Err(ExecuteError::Program { detail, .. }) => assert!(detail.contains(words), "{detail}"),
            other => panic!("not the program's failure: {other:?}"),
        }
        site.serves(ALICE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_ends_at_its_limit() {
    let site = Site::start(|_| {}).await;
    let bomb = body("(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (i32.const 0)");
    match site.run(ALICE, wasm(&bomb, vec![], 8)).await {
        Err(ExecuteError::Limit { detail, .. }) => assert!(detail.contains("limits.memory"), "{detail}"),
        other => panic!("not a limit: {other:?}"),
    }
    site.serves(ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_the_slots() {
    let site = Site::start(|config| config.slots = 2).await;
    let jobs = (0..12u64).map(|i| {
        let tenant = Address::repeat_byte(0xa1 + (i % 3) as u8);
        let site = &site;
        async move { (i, site.run(tenant, counting(1_000 + i)).await) }
    });
    for (i, done) in futures::future::join_all(jobs).await {
        let stranger = i % 3 != 0;
        match done {
            Ok(done) => assert_eq!(done.outputs[0], (1_000 + i).to_le_bytes().as_slice()),
            Err(ExecuteError::Unsupported(text)) if stranger => assert!(text.contains("sandbox.require"), "{text}"),
            Err(error) => panic!("job {i}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_cannot_do_is_refused_before_it_starts() {
    let site =
        Site::start(|config| config.execute.wasm = WasmConfig { max_memory: 1 << 16, ..WasmConfig::default() }).await;
    match site.run(ALICE, counting(1)).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("limits.memory"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    // Nothing is made for it: neither memory nor a place in a queue.
    let mut large = counting(1);
    large.envelope.limits.memory = Quantity(1 << 16);
    large.envelope.outputs[0].length = Quantity(1 << 62);
    match site.run(ALICE, large).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("outputs are larger"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    let mut other = counting(1);
    other.envelope.program = Program::Oci { image: String::new(), command: vec![], devices: 0 };
    match site.run(ALICE, other).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("oci jobs are not run here"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_child_is_released() {
    let site = Site::start(|config| config.sandbox.idle_s = 1).await;
    let first = site.only_child().await;
    site.serves(ALICE).await;
    until("the idle child's end", || (!is_running(first)).then_some(())).await;
    site.serves(ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_every_child() {
    let site = Site::start(|config| config.slots = 2).await;
    site.serves(ALICE).await;
    let children = site.children();
    assert!(!children.is_empty());
    site.fleet.close().await;
    for pid in children {
        assert!(!is_running(pid), "{pid} still runs");
    }
}

/// A few kilobytes that keep a compiler busy for hours: loops in each other, and locals that change in the innermost.
fn compiler_bomb() -> String {
    let (locals, depth) = (6_000, 300);
    let step = |i| format!("(local.set {i} (i32.add (local.get {i}) (i32.const 1)))");
    format!(
        r#"(module (memory (export "memory") 1) (func (export "run") (result i32) (local {}) {}{}{} (i32.const 0)))"#,
        "i32 ".repeat(locals),
        "(loop ".repeat(depth),
        (0..locals).map(step).collect::<String>(),
        "(br_if 0 (local.get 0)))".repeat(depth),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_keeps_the_compiler_busy_ends_with_its_process() {
    let site = Site::start(|config| config.sandbox.grace_ms = 20_000).await;
    let busy = site.only_child().await;
    let mut bomb = wasm(&compiler_bomb(), vec![], 8);
    bomb.envelope.limits.wall_ms = Quantity(500);
    let begin = Instant::now();
    match site.run(ALICE, bomb).await {
        Err(ExecuteError::Limit { detail, .. }) => assert!(detail.contains("longer than its wall time"), "{detail}"),
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(15), "it was left to the supervisor: {:?}", begin.elapsed());
    assert!(!is_running(busy), "the compiler goes on in it");
    site.serves(ALICE).await;
}
