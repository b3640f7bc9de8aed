//! Jobs that would go on for ever, take everything, or are not wanted any more.

use crate::machine::Machine;
use protocol::amount::Quantity;
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{ExecuteError, run_here};

const ENDLESS: &str = "while :; do :; done";

/// The machine serves the next job as if nothing had been.
fn serves_the_next(machine: &Machine) {
    machine.assert_clean();
    assert_eq!(machine.output_of("echo well > /capa/outputs/0"), "well\n");
}

#[test]
fn an_endless_program_is_stopped_at_its_wall_time_and_billed() {
    let Some(machine) = Machine::new() else { return };
    let mut job = machine.job(ENDLESS);
    job.envelope.limits.wall_ms = Quantity(2_500);
    let (sender, receiver) = watch::channel(Usage::default());
    let executor = machine.executor();
    let (error, seen) = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_here(&executor, job, sender, CancellationToken::new()).unwrap_err());
        let mut seen = vec![Usage::default()];
        while !run.is_finished() {
            let now = *receiver.borrow();
            assert!(now.covers(&seen[seen.len() - 1]), "{now:?} after {seen:?}");
            seen.push(now);
            std::thread::sleep(Duration::from_millis(10));
        }
        (run.join().unwrap(), seen)
    });
    let ExecuteError::Limit { detail, usage } = error else { panic!("{error:?}") };
    assert!(detail.contains("limits.wallMs"), "{detail}");
    assert_eq!(usage.lease_s, Quantity(3));
    let told = |seconds| seen.iter().any(|usage| usage.lease_s == Quantity(seconds));
    assert!(told(1) && told(2), "progress is told each second");
    assert!(seen.iter().all(|early| usage.covers(early)) && usage.cpu_ms.get() > 0);
    drop(executor);
    serves_the_next(&machine);
}

#[test]
fn a_lease_ends_with_the_units_of_the_order() {
    let Some(machine) = Machine::new() else { return };
    let mut job = machine.job("sleep 60");
    job.max_units = Quantity(1);
    let error = machine.run(&machine.executor(), job).unwrap_err();
    let ExecuteError::Limit { detail, usage } = error else { panic!("{error:?}") };
    assert!(detail.contains("maxUnits"), "{detail}");
    assert_eq!(usage.lease_s, Quantity(1));
}

#[test]
fn a_job_that_is_cancelled_ends_at_once() {
    let Some(machine) = Machine::new() else { return };
    let executor = machine.executor();
    let cancel = CancellationToken::new();
    let trigger = cancel.clone();
    let started = Instant::now();
    let error = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            trigger.cancel();
        });
        // A program that ignores polite signals.
        let job = machine.job("trap '' TERM INT HUP; sleep 600");
        run_here(&executor, job, watch::channel(Usage::default()).0, cancel).unwrap_err()
    });
    let ExecuteError::Cancelled { usage } = error else { panic!("{error:?}") };
    assert!(usage.lease_s >= Quantity(1) && started.elapsed() < Duration::from_secs(15), "{usage:?}");
    drop(executor);
    serves_the_next(&machine);
}

#[test]
fn a_fork_bomb_hits_the_limit_of_processes() {
    let Some(machine) = Machine::new() else { return };
    let detail = machine.failure_of("i=0; while [ $i -lt 200 ]; do sleep 30 & i=$((i+1)); done");
    assert!(detail.contains("fork"), "{detail}");
    let mut bomb = machine.job("bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done");
    bomb.envelope.limits.wall_ms = Quantity(3_000);
    let error = machine.run(&machine.executor(), bomb).unwrap_err();
    assert!(matches!(error, ExecuteError::Limit { .. } | ExecuteError::Program { .. }), "{error:?}");
    serves_the_next(&machine);
}

#[test]
fn a_memory_bomb_hits_the_limit_of_memory() {
    let Some(machine) = Machine::new() else { return };
    let error = machine.run(&machine.executor(), machine.job("tail -c 1000000000 /dev/zero")).unwrap_err();
    let ExecuteError::Limit { detail, usage } = error else { panic!("{error:?}") };
    assert!(detail.contains("limits.memory") && usage.lease_s >= Quantity(1), "{detail}");
    // Files in memory count as memory too.
    let error =
        machine.run(&machine.executor(), machine.job("dd if=/dev/zero of=/tmp/fill bs=1M count=1000")).unwrap_err();
    assert!(matches!(error, ExecuteError::Limit { .. } | ExecuteError::Program { .. }), "{error:?}");
    serves_the_next(&machine);
}

#[test]
fn outputs_are_no_longer_than_they_may_be() {
    let Some(machine) = Machine::new() else { return };
    let filled = machine.failure_of("dd if=/dev/zero of=/capa/outputs/0 bs=1M count=64");
    assert!(filled.contains("No space left"), "{filled}");
    let elsewhere = machine.failure_of("dd if=/dev/zero of=/capa/outputs/more bs=1M count=64");
    assert!(elsewhere.contains("No space left"), "{elsewhere}");
    let many = machine.failure_of("i=0; while [ $i -lt 100 ]; do echo > /capa/outputs/$i || exit 3; i=$((i+1)); done");
    assert!(many.contains("No space left"), "{many}");
    let one_more = machine.failure_of("echo 12345678 > /capa/outputs/0");
    assert!(one_more.contains("has 9 bytes, more than the 8"), "{one_more}");
    serves_the_next(&machine);
}

#[test]
fn a_flood_of_words_is_not_kept() {
    let Some(machine) = Machine::new() else { return };
    let detail = machine.failure_of("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 4");
    assert!(detail.ends_with("the end") && detail.len() < 5000, "{} bytes", detail.len());
}
