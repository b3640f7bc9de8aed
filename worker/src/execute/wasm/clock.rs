//! The epoch: how a guest is stopped by time, whatever its fuel says.
//!
//! A slice of fuel may take long where each instruction does, as with memory that is swapped out. So there is a second
//! reason to look whether the job is over: a thread advances the epoch of the engines while a job runs, and sleeps
//! otherwise. It is started by the first job, and not before: a thread has the locks of the one that starts it, and the
//! process of a job is fully locked only when it takes its first.

use crate::node::lock;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
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
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many jobs run.
    running: usize,
    /// Whether the thread sleeps until it is woken.
    is_asleep: bool,
    /// Whether the clock is dropped.
    is_over: bool,
}

/// Has the clock tick until it is dropped.
pub(super) struct Ticking(Arc<Shared>);

impl Clock {
    pub(super) fn new(engines: Vec<Engine>) -> Self {
        let shared = Shared { engines, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), started: OnceLock::new() }
    }

    /// Ticks from now on; `None` where no thread can be had, and slices of fuel must do.
    pub(super) fn tick(&self) -> Option<Ticking> {
        let shared = self.shared.clone();
        let start = || std::thread::Builder::new().name("epoch".into()).spawn(move || shared.advance()).is_ok();
        if !*self.started.get_or_init(start) {
            return None;
        }
        let mut state = lock(&self.shared.state);
        state.running += 1;
        // To wake a thread costs more than an empty job, so it is left alone while it only waits for its next tick.
        if state.is_asleep {
            self.shared.changed.notify_one();
        }
        Some(Ticking(self.shared.clone()))
    }
}

impl Shared {
    fn advance(&self) {
        let mut state = lock(&self.state);
        while !state.is_over {
            state = if state.running == 0 { self.sleep(state) } else { self.wait(state) };
            self.engines.iter().for_each(Engine::increment_epoch);
        }
    }

    /// Sleeps until a job runs.
    fn sleep<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.is_asleep = true;
        let idle = |state: &mut State| state.running == 0 && !state.is_over;
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        state.is_asleep = false;
        state
    }

    /// Waits for the next tick, whatever jobs come and go in the meantime.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, TICK, |state| !state.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.running = state.running.saturating_sub(1);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        lock(&self.shared.state).is_over = true;
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
