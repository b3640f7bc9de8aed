//! Where a job stops.

use super::job::{EXECUTOR, busy, run, shared};
use protocol::amount::Quantity;
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{ExecuteError, run_here};

#[test]
fn a_job_ends_at_its_limits_between_launches() {
    let mut job = busy(1_000_000, 1_000_000);
    job.max_units = Quantity(20);
    match run(job) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("all of its 20 GPU-ms"), "{detail}");
            assert_eq!(usage.gpu_ms, Quantity(20));
        }
        other => panic!("not a limit: {other:?}"),
    }
    let mut job = busy(1_000_000, 1_000_000);
    (job.max_units, job.envelope.limits.wall_ms) = (Quantity(u64::MAX), Quantity(500));
    match run(job) {
        Err(ExecuteError::Limit { detail, .. }) => assert!(detail.contains("limits.wallMs"), "{detail}"),
        other => panic!("not a limit: {other:?}"),
    }
}

#[test]
fn cancelling_ends_a_job_with_what_it_used() {
    let _shared = shared();
    let cancel = CancellationToken::new();
    let (sender, receiver) = watch::channel(Usage::default());
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            // A job that fails drops its end, and is not waited for.
            while receiver.borrow().gpu_ms == Quantity::ZERO && receiver.has_changed().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            cancel.cancel();
        })
    };
    let mut job = busy(1_000_000, 1_000_000);
    job.max_units = Quantity(u64::MAX);
    let ended = run_here(&**EXECUTOR, job, sender, cancel);
    canceller.join().unwrap();
    assert!(matches!(ended, Err(ExecuteError::Cancelled { usage }) if usage.gpu_ms > Quantity::ZERO), "{ended:?}");
}

#[test]
fn no_more_device_time_is_billed_than_passed() {
    for _ in 0..3 {
        let begin = Instant::now();
        let delivered = run(busy(100, 20_000)).unwrap();
        let passed = begin.elapsed().as_millis() + 1;
        assert!(u128::from(delivered.usage.gpu_ms.get()) <= passed, "{:?} in {passed} ms", delivered.usage);
        let memory = delivered.usage.gpu_ms.get().div_ceil(1000);
        assert_eq!(delivered.usage.memory_mib_s, Quantity(memory), "one MiB is reserved");
    }
}

#[test]
fn usage_never_falls() {
    let _shared = shared();
    let (sender, mut receiver) = watch::channel(Usage::default());
    let listener = std::thread::spawn(move || {
        let mut seen = vec![*receiver.borrow_and_update()];
        while futures::executor::block_on(receiver.changed()).is_ok() {
            seen.push(*receiver.borrow_and_update());
        }
        seen
    });
    let delivered = run_here(&**EXECUTOR, busy(20_000, 2_000), sender, CancellationToken::new()).unwrap();
    let seen = listener.join().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].gpu_ms <= pair[1].gpu_ms), "{seen:?}");
    assert!(seen.last().unwrap().gpu_ms <= delivered.usage.gpu_ms);
}
