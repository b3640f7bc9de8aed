//! The epoch: how a guest is stopped by time, whatever its fuel says.
//!
//! A slice of fuel may take long where each instruction does, as with memory that is swapped out. So there is a second
//! reason to look whether the job is over: a thread advances the epoch of the engines while a job runs, and sleeps
//! otherwise. It is started by the first job, and not before: a thread has the locks of the one that starts it, and the
//! process of a job is fully locked only when it takes its first.

use crate::node::lock;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// How often the epoch advances.
const TICK: Duration = Duration::from_millis(100);

/// Advances the epochs of engines.
pub(super) struct Clock {
    shared: Arc<Shared>,
    started: OnceLock<bool>,
}

struct Shared {
    engines: Vec<Engine>,
    /// How many jobs run; `None` once the clock is dropped.
    running: Mutex<Option<usize>>,
    changed: Condvar,
}

/// Has the clock tick until it is dropped.
pub(super) struct Ticking(Arc<Shared>);

impl Clock {
    pub(super) fn new(engines: Vec<Engine>) -> Self {
        let shared = Shared { engines, running: Mutex::new(Some(0)), changed: Condvar::new() };
        Self { shared: Arc::new(shared), started: OnceLock::new() }
    }

    /// Ticks from now on; `None` where no thread can be had, and slices of fuel must do.
    pub(super) fn tick(&self) -> Option<Ticking> {
        let shared = self.shared.clone();
        let start = || std::thread::Builder::new().name("epoch".into()).spawn(move || shared.advance()).is_ok();
        if !*self.started.get_or_init(start) {
            return None;
        }
        self.shared.count(|running| running + 1);
        Some(Ticking(self.shared.clone()))
    }
}

impl Shared {
    fn count(&self, change: impl Fn(usize) -> usize) {
        let mut running = lock(&self.running);
        *running = running.map(change);
        self.changed.notify_one();
    }

    fn advance(&self) {
        let mut running = lock(&self.running);
        // Other jobs come and go in the meantime, and must not put off the tick of one that stays.
        let mut next = Instant::now() + TICK;
        loop {
            running = match *running {
                None => return,
                Some(0) => {
                    let woken = self.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
                    next = Instant::now() + TICK;
                    woken
                }
                Some(_) => {
                    let left = next.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.engines.iter().for_each(Engine::increment_epoch);
                        next = Instant::now() + TICK;
                        continue;
                    }
                    self.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.count(|running| running.saturating_sub(1));
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        *lock(&self.shared.running) = None;
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use wasmtime::{Config, Instance, Module, Store, Trap};

    #[test]
    fn jobs_that_come_and_go_do_not_put_off_the_tick() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = Clock::new(vec![engine.clone()]);
        let module = wat::parse_str(r#"(module (func (export "run") (loop (br 0))))"#).unwrap();
        let module = Module::from_binary(&engine, &module).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(2);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(clock.tick());
                    std::thread::sleep(TICK / 10);
                }
            });
            let ticking = clock.tick();
            let error = run.call(&mut store, ()).unwrap_err();
            drop(ticking);
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
        });
    }

    #[test]
    fn a_guest_is_stopped_by_the_epoch_alone() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = Clock::new(vec![engine.clone()]);
        let module = wat::parse_str(r#"(module (func (export "run") (loop (br 0))))"#).unwrap();
        let module = Module::from_binary(&engine, &module).unwrap();
        for _ in 0..2 {
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(2);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
            let ticking = clock.tick();
            let error = run.call(&mut store, ()).unwrap_err();
            drop(ticking);
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
        }
    }
}
