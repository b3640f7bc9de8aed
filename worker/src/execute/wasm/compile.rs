//! From a module's bytes to machine code, within a bound of time.
//!
//! What a compiler makes of every join of control flow grows with the locals that meet there, so that a few kilobytes
//! can keep it busy for hours, and none of that is billed. It cannot be interrupted: one that takes too long is left
//! behind on its thread, and then this process must be replaced.

use super::engines::Engines;
use super::guest::{Halt, Stop};
use bytes::Bytes;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use wasmtime::{ExternType, Module, ValType};

/// Largest module.
const MAX_BYTES: usize = 8 << 20;
/// A module up to this length compiles in moments whatever is in it, and is not worth a thread.
const SMALL: usize = 4 << 10;
/// Longest that compiling may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at whether the job is over.
const LOOK: Duration = Duration::from_millis(10);
/// Stack of the compiler's thread: it descends as deep as a module is nested.
const STACK_BYTES: usize = 64 << 20;

/// Why there is no machine code.
#[derive(Debug)]
pub(super) enum CompileError {
    /// The author's mistake.
    Module(String),
    /// The compiler still runs, past the bound of time or past the job's end.
    Runaway(Option<Halt>),
    /// The compiler's own.
    Node(String),
}

/// Compiles a module and checks what a job needs of it.
pub(super) fn compile(engines: &Engines, code: &Bytes, stop: &Stop) -> Result<Module, CompileError> {
    let refuse = |detail: String| Err(CompileError::Module(detail));
    if code.len() > MAX_BYTES {
        return refuse(format!("the module has {} bytes, at most {MAX_BYTES} are compiled", code.len()));
    }
    let compiled = if code.len() <= SMALL { engines.compile(code) } else { watched(engines, code, stop, PATIENCE)? };
    let module = match compiled {
        Ok(module) => module,
        Err(error) => return refuse(format!("the module does not compile: {error:#}")),
    };
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return refuse("the module does not export its memory as `memory`".into());
    }
    let run = match module.get_export("run") {
        Some(ExternType::Func(run)) => run,
        _ => return refuse("the module does not export a function `run`".into()),
    };
    let results: Vec<_> = run.results().collect();
    if run.params().len() != 0 || !matches!(results.as_slice(), [ValType::I32]) {
        return refuse("the exported function `run` must take nothing and return an i32".into());
    }
    Ok(module)
}

/// Runs the compiler on a thread of its own, and leaves it there when it takes too long.
fn watched(
    engines: &Engines,
    code: &Bytes,
    stop: &Stop,
    patience: Duration,
) -> Result<wasmtime::Result<Module>, CompileError> {
    let (done, result) = channel();
    let (engines, code, begin) = (engines.clone(), code.clone(), Instant::now());
    let thread = std::thread::Builder::new().name("compiler".into()).stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = done.send(engines.compile(&code));
    });
    started.map_err(|error| CompileError::Node(format!("the compiler's thread cannot be started: {error}")))?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(compiled) => return Ok(compiled),
            Err(RecvTimeoutError::Disconnected) => return Err(CompileError::Node("the compiler panicked".into())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(halt) = stop.check() {
            return Err(CompileError::Runaway(Some(halt)));
        }
        if begin.elapsed() > patience {
            return Err(CompileError::Runaway(None));
        }
    }
}

impl CompileError {
    /// For the job's author.
    pub(super) fn too_long() -> String {
        format!("it takes more than {} s to compile: divide it into smaller functions", PATIENCE.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    /// Loops in each other, and locals that change in the innermost: each meets itself again at the head of every loop.
    fn bomb(locals: usize, depth: usize) -> Bytes {
        let step = |i| format!("(local.set {i} (i32.add (local.get {i}) (i32.const 1)))");
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "run") (result i32) (local {})
               {}{}{} (i32.const 0)))"#,
            "i32 ".repeat(locals),
            "(loop ".repeat(depth),
            (0..locals).map(step).collect::<String>(),
            "(br_if 0 (local.get 0)))".repeat(depth),
        );
        wat::parse_str(text).unwrap().into()
    }

    #[test]
    fn a_module_that_takes_too_long_is_given_up() {
        let (engines, bomb) = (Engines::new().unwrap(), bomb(6_000, 300));
        assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
        let endless = Stop::new(u64::MAX, CancellationToken::new());
        let given_up = watched(&engines, &bomb, &endless, Duration::from_millis(200));
        assert!(matches!(given_up, Err(CompileError::Runaway(None))), "{given_up:?}");
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let given_up = compile(&engines, &bomb, &Stop::new(u64::MAX, cancelled));
        assert!(matches!(given_up, Err(CompileError::Runaway(Some(Halt::Cancelled)))), "{given_up:?}");
        let given_up = compile(&engines, &bomb, &Stop::new(1, CancellationToken::new()));
        assert!(matches!(given_up, Err(CompileError::Runaway(Some(Halt::WallTime)))), "{given_up:?}");
    }

    /// CPU time of this thread, in the kernel's ticks: other work of the machine does not count.
    fn ticks() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The name may contain anything; user and system time are the 12th and 13th field behind it.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    #[test]
    fn what_is_compiled_on_the_spot_takes_moments() {
        let (engines, stop) = (Engines::new().unwrap(), Stop::new(u64::MAX, CancellationToken::new()));
        // As much of both as fits.
        let worst = bomb(360, 140);
        assert!((SMALL - 600..=SMALL).contains(&worst.len()), "{} bytes", worst.len());
        let begin = ticks();
        compile(&engines, &worst, &stop).unwrap();
        let seconds = (ticks() - begin) / rustix::param::clock_ticks_per_second();
        assert!(seconds < 20, "{seconds} s of CPU time");
    }
}
