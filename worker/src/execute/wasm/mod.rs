//! WebAssembly jobs, metered by fuel: the same module and inputs give the same outputs and the same fuel everywhere.
//!
//! Everything that could differ between two machines is turned off or pinned: no clock, no randomness, no threads,
//! canonical NaNs, deterministic relaxed SIMD, growth of memory that fails by trap. The guest runs in slices of
//! [`SLICE_FUEL`]; between two slices it is suspended, and limits are checked and progress is told. A slice ends
//! inside any loop, so an endless one is stopped too. Should a slice take long, the epoch (`clock`) has the limits of time
//! checked in its midst. Neither changes what the guest computes, for it cannot tell that it was looked at.
//!
//! Modules are compiled as [`rewrite`] changes them, where it knows all that is in them: it costs less, and the outputs and
//! the fuel of a job that succeeds are the same, as is whether its fuel suffices. Of a job that fails, what is billed is
//! what had been counted where it was last kept: at a call, at the end of a function, or at the end of a slice. How deep
//! calls can go depends on the frames that the compiler makes.
//!
//! Metering: `cpu_ms` is the fuel divided by [`FUEL_PER_CPU_MS`], rounded up. `memory_mib_s` is the memory that the
//! job reserves (`limits.memory` in MiB, rounded up) times its vCPU-seconds, rounded up; wall time would differ
//! between machines. `bytes_in` counts every byte handed to the guest, `bytes_out` the bytes of the outputs.

mod modules;
mod rewrite;
mod engines;
mod compile;
mod clock;
mod guest;
mod meter;

use super::{Compilations, ExecuteError, Executor, JobInput, Produced, Region, WasmConfig};
use bytes::Bytes;
use clock::Clock;
use compile::CompileError;
use engines::Engines;
use guest::{Guest, Halt, Stop};
use meter::Meter;
use modules::Modules;
use protocol::job::{Kind, Program};
use protocol::resource::Usage;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wasmtime::{Engine, Linker, Module, Store, StoreContextMut, Trap, UpdateDeadline};

#[cfg(doc)]
use protocol::resource::FUEL_PER_CPU_MS;

/// Fuel between two checks of the limits: two vCPU-milliseconds.
const SLICE_FUEL: u64 = 4_000_000;
/// Bytes of native stack for the guest; fixed, because running out of it is a result too.
const STACK_BYTES: usize = 1 << 20;
/// What counts the fuel. Another major version may count differently.
const TOOLCHAIN: &str = "wasmtime-48";

/// Runs WebAssembly jobs.
pub struct WasmExecutor {
    config: WasmConfig,
    engines: Engines,
    /// What guests may import, for rewritten modules and for all others.
    linkers: [Linker<Guest>; 2],
    modules: Modules,
    clock: Clock,
    /// Whether a compiler runs on past its job.
    runaway: AtomicBool,
}

impl WasmExecutor {
    /// Sets up the compiler and the functions that guests may import.
    pub fn new(config: WasmConfig) -> Result<Self, ExecuteError> {
        let node = |error: wasmtime::Error| ExecuteError::Node(format!("WebAssembly cannot be set up: {error:#}"));
        #[cfg(target_arch = "x86_64")]
        if !std::is_x86_feature_detected!("sse4.1") {
            let detail = "WebAssembly needs a processor with SSE4.1: without it floats are rounded by functions whose NaNs differ";
            return Err(ExecuteError::Node(detail.into()));
        }
        let engines = Engines::new().map_err(node)?;
        let linkers = [linker(&engines.rewritten).map_err(node)?, linker(&engines.canonical).map_err(node)?];
        let clock = Clock::new(vec![engines.rewritten.clone(), engines.canonical.clone()]);
        let (modules, runaway) = (Modules::default(), AtomicBool::new(false));
        Ok(Self { config, engines, linkers, modules, clock, runaway })
    }

    /// The job's module, compiled now or for an earlier job of this process.
    fn module(&self, job: &JobInput, stop: &Stop) -> Result<Module, ExecuteError> {
        let code = job.program()?;
        let hash = job.envelope.program.code().map(|code| code.hash);
        if let Some(module) = hash.and_then(|hash| self.modules.find(hash)) {
            return Ok(module);
        }
        let module = self.compile(code, stop)?;
        if let Some(hash) = hash {
            self.modules.keep(hash, code.len(), module.clone());
        }
        Ok(module)
    }

    fn compile(&self, code: &Bytes, stop: &Stop) -> Result<Module, ExecuteError> {
        if self.must_restart() {
            let detail = "a compiler runs on past its job: this process must be replaced";
            return Err(ExecuteError::Node(detail.into()));
        }
        let usage = Usage::default();
        compile::compile(&self.engines, code, stop).map_err(|error| {
            // Once a compiler has run away, what becomes of other jobs does not bring it back.
            self.runaway.fetch_or(matches!(error, CompileError::Runaway(_)), Ordering::Relaxed);
            match error {
                CompileError::Module(detail) => ExecuteError::Program { detail, usage },
                CompileError::Runaway(None) => ExecuteError::Program { detail: CompileError::too_long(), usage },
                CompileError::Runaway(Some(Halt::Cancelled)) => ExecuteError::Cancelled { usage },
                CompileError::Runaway(Some(halt)) => ExecuteError::Limit { detail: halt.to_string(), usage },
                CompileError::Node(detail) => ExecuteError::Node(detail),
            }
        })
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    guest::define_imports(&mut linker)?;
    Ok(linker)
}

fn store(module: &Module, guest: Guest, fuel: u64) -> wasmtime::Result<Store<Guest>> {
    let mut store = Store::new(module.engine(), guest);
    store.limiter(|guest| guest);
    store.set_fuel(fuel)?;
    store.fuel_async_yield_interval(Some(SLICE_FUEL))?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context: StoreContextMut<'_, Guest>| {
        context.data().stop.check()?;
        Ok(UpdateDeadline::Continue(1))
    });
    Ok(store)
}

impl Executor for WasmExecutor {
    fn kind(&self) -> Kind {
        Kind::Wasm
    }

    fn toolchain(&self) -> String {
        TOOLCHAIN.into()
    }

    fn device(&self) -> Option<String> {
        None
    }

    fn memory(&self) -> u64 {
        self.config.max_memory
    }

    fn must_restart(&self) -> bool {
        self.runaway.load(Ordering::Relaxed)
    }

    fn compilations(&self) -> Compilations {
        self.modules.count()
    }

    fn check(&self, job: &JobInput) -> Result<(), ExecuteError> {
        let Program::Wasm { toolchain, .. } = &job.envelope.program else {
            return Err(ExecuteError::Unsupported("it is not a wasm job".into()));
        };
        job.require_toolchain(toolchain, TOOLCHAIN)?;
        let memory = job.require_memory(self.config.max_memory)?;
        require_outputs(job, self.config.max_outputs)?;
        Meter::new(job, memory).map(drop)
    }

    fn execute(
        &self,
        job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        self.check(&job)?;
        let memory = job.envelope.limits.memory.get();
        let meter = Arc::new(Meter::new(&job, memory)?);
        let stop = Stop::new(job.envelope.limits.wall_ms.get(), cancel);
        let module = self.module(&job, &stop)?;

        let guest = Guest::new(&job, memory, Arc::clone(&meter), stop);
        let node = |error: wasmtime::Error| ExecuteError::Node(format!("a guest cannot be set up: {error:#}"));
        let mut store = store(&module, guest, meter.fuel_limit()).map_err(node)?;
        let ticking = self.clock.tick();
        let outcome = self.drive(&mut store, &module, &meter, &progress);
        drop(ticking);
        let left = store.get_fuel().map_err(node)?;
        meter.burned_all_but(left);
        match outcome {
            // The runtime looks at the fuel only here and there. What counts is the sum, wherever it was looked at.
            Ok(_) if left == 0 => Err(ExecuteError::Limit { detail: meter.exhausted(), usage: meter.usage() }),
            Ok(0) => Ok(deliver(store.into_data(), outputs, &meter)),
            Ok(code) => {
                Err(ExecuteError::Program { detail: format!("`run` returned {code}, not 0"), usage: meter.usage() })
            }
            Err(error) => Err(explain(&error, &meter)),
        }
    }
}

impl WasmExecutor {
    /// Runs the guest slice by slice.
    fn drive(
        &self,
        store: &mut Store<Guest>,
        module: &Module,
        meter: &Meter,
        progress: &watch::Sender<Usage>,
    ) -> wasmtime::Result<i32> {
        let stop = store.data().stop.clone();
        let [rewritten, canonical] = &self.linkers;
        let linker = if self.engines.is_rewritten(module) { rewritten } else { canonical };
        let mut running = pin!(async {
            let instance = linker.instantiate_async(&mut *store, module).await?;
            let run = instance.get_typed_func::<(), i32>(&mut *store, "run")?;
            run.call_async(&mut *store, ()).await
        });
        let mut context = Context::from_waker(Waker::noop());
        loop {
            // Nothing but the end of a slice suspends the guest, so it can be resumed at once, without a waker.
            if let Poll::Ready(outcome) = running.as_mut().poll(&mut context) {
                return outcome;
            }
            meter.burned(SLICE_FUEL);
            progress.send_replace(meter.usage());
            stop.check()?;
        }
    }
}

fn require_outputs(job: &JobInput, allowed: u64) -> Result<(), ExecuteError> {
    let declared = job.envelope.outputs.iter().try_fold(0u64, |sum, output| sum.checked_add(output.length.get()));
    match declared {
        Some(sum) if sum <= allowed => Ok(()),
        _ => Err(ExecuteError::Unsupported(format!("its outputs are larger than {allowed} bytes together"))),
    }
}

fn deliver(guest: Guest, outputs: &mut [Region], meter: &Meter) -> Produced {
    let mut lengths = Vec::with_capacity(outputs.len());
    for (region, written) in outputs.iter_mut().zip(guest.into_outputs()) {
        region[..written.len()].copy_from_slice(&written);
        lengths.push(written.len() as u64);
    }
    let bytes_out = lengths.iter().sum::<u64>().into();
    Produced { usage: Usage { bytes_out, ..meter.usage() }, lengths }
}

/// What went wrong, in the words of the job's author.
fn explain(error: &wasmtime::Error, meter: &Meter) -> ExecuteError {
    let usage = meter.usage();
    match (error.downcast_ref::<Halt>(), error.downcast_ref::<Trap>()) {
        (Some(Halt::Cancelled), _) => ExecuteError::Cancelled { usage },
        (Some(halt), _) if halt.is_limit() => ExecuteError::Limit { detail: halt.to_string(), usage },
        (Some(halt), _) => ExecuteError::Program { detail: halt.to_string(), usage },
        (None, Some(Trap::OutOfFuel)) => ExecuteError::Limit { detail: meter.exhausted(), usage },
        (None, Some(trap)) => ExecuteError::Program { detail: trap.to_string(), usage },
        (None, None) => ExecuteError::Program { detail: format!("{error:#}"), usage },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::keccak256;
    use protocol::amount::Quantity;
    use protocol::job::{Blob, Envelope, Limits, Verify};
    use protocol::resource::Unit;

    fn endless() -> JobInput {
        let code: Bytes = wat::parse_str(
            r#"(module (memory (export "memory") 1)
                (func (export "run") (result i32) (loop $l (br $l)) (unreachable)))"#,
        )
        .unwrap()
        .into();
        let module = Blob { hash: keccak256(&code), length: Quantity(code.len() as u64) };
        let envelope = Envelope {
            version: 1,
            program: Program::Wasm { module, toolchain: TOOLCHAIN.into() },
            inputs: vec![],
            outputs: vec![],
            limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(150) },
            verify: Verify::Reexecute,
        };
        let max_units = Quantity(u64::MAX);
        JobInput { envelope, blobs: vec![code], rank: 0, devices: vec![], unit: Unit::CpuMs, max_units }
    }

    #[test]
    fn a_guest_whose_slice_never_ends_is_stopped_by_the_epoch() {
        let (executor, job) = (WasmExecutor::new(WasmConfig::default()).unwrap(), endless());
        for cancelled in [false, true] {
            let cancel = CancellationToken::new();
            let stop = Stop::new(job.envelope.limits.wall_ms.get(), cancel.clone());
            let module = executor.module(&job, &stop).unwrap();
            let meter = Arc::new(Meter::new(&job, 1 << 20).unwrap());
            let guest = Guest::new(&job, 1 << 20, meter.clone(), stop);
            let mut store = store(&module, guest, meter.fuel_limit()).unwrap();
            store.fuel_async_yield_interval(None).unwrap();
            if cancelled {
                cancel.cancel();
            }
            let ticking = executor.clock.tick();
            let ended = executor.drive(&mut store, &module, &meter, &watch::channel(Usage::default()).0);
            drop(ticking);
            let halt = ended.unwrap_err().downcast::<Halt>().unwrap();
            assert_eq!(halt, if cancelled { Halt::Cancelled } else { Halt::WallTime });
        }
    }
}
