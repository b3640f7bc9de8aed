//! From source to machine code for one device: CUDA C++ by NVRTC, PTX by the driver.
//!
//! The same source, compiler and device give the same bytes: the file name and all options are fixed, and products
//! are not fused with sums (`--fmad=false`), so that a result does not hang on what an optimiser found.
//!
//! A compiler is the largest program that a client's bytes reach. It runs on a thread of its own that can open no file,
//! within bounds of time and memory. It cannot be interrupted: one that does not keep to the bounds is left behind, and
//! then this process can only be replaced.

use super::cache::{Cache, Code};
use super::context::Context;
use super::headers::Headers;
use super::image::Image;
use super::{nvrtc, ptx};
use crate::execute::{Compilations, JobInput};
use alloy::primitives::{B256, keccak256};
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};
use protocol::job::Language;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The part of the compiler's messages that the author is sent.
pub(super) const MAX_LOG_BYTES: usize = 16 << 10;
/// Largest machine code.
const MAX_CODE_BYTES: usize = 32 << 20;
/// What a compilation may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), memory: 2 << 30 };
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Stack of the compiler's thread: it descends as deep as a source is nested.
const STACK_BYTES: usize = 64 << 20;
/// Compiled once at the start, to find a broken compiler, and so that all its parts are loaded before files are denied.
const PROBE: &[u8] = b"extern \"C\" __global__ void probe(float *x) { x[threadIdx.x] = sqrtf(x[threadIdx.x]); }";

/// The compilers for one device.
pub(in crate::execute) struct Compiler {
    nvrtc: nvrtc::Version,
    /// The CUDA version of the driver, which assembles PTX, or why it cannot.
    assembler: Result<String, String>,
    capability: (i32, i32),
    confine: bool,
    headers: Arc<Headers>,
    /// Names all that machine code depends on beside its source.
    identity: B256,
    cache: Mutex<Cache>,
    memory: Memory,
}

/// How long a compilation may take, and how many bytes it may add to the process.
struct Bounds {
    time: Duration,
    memory: u64,
}

/// Why there is no machine code.
#[derive(Debug)]
pub(in crate::execute) enum CompileError {
    /// The author's mistake, with the compiler's messages.
    Source(String),
    /// The compiler still runs, past its bounds: this process must be replaced.
    Runaway(String),
    /// The compiler's own.
    Node(String),
}

impl CompileError {
    pub(super) fn into_detail(self) -> String {
        match self {
            Self::Source(detail) | Self::Runaway(detail) | Self::Node(detail) => detail,
        }
    }
}

impl Compiler {
    /// Checks that the compilers work for the device of this context.
    pub(super) fn new(
        context: &Context,
        capability: (i32, i32),
        driver: i32,
        headers: Headers,
        confine: bool,
    ) -> Result<Self, String> {
        let (broken, none) = (|detail| format!("NVRTC does not work: {detail}"), Headers::default());
        let probed = nvrtc::compile(PROBE, capability, &none).map_err(|error| broken(error.into_detail()))?;
        let nvrtc = nvrtc::Version::of(&probed)?;
        let assembled = ptx::assemble(context, &ptx::probe(capability)).map_err(CompileError::into_detail);
        let assembler = assembled.map(|_| format!("{}.{}", driver / 1000, driver % 1000 / 10));
        if let Err(reason) = &assembler {
            tracing::warn!(%reason, "PTX jobs are not accepted");
        }
        let memory = Memory::new();
        if confine {
            let deny = || deny_files().map_err(CompileError::Node);
            watched(deny, &BOUNDS, &memory, || false).map_err(|error| {
                let reason = error.into_detail();
                format!("{reason}: sources could read files; see cuda.confine_compiler in the configuration")
            })?;
        }
        let options = nvrtc::options(capability);
        let identity = format!("{} {assembler:?} {options:?} {}", nvrtc.build, headers.digest());
        let identity = keccak256(identity);
        let (headers, cache) = (Arc::new(headers), Mutex::default());
        Ok(Self { nvrtc, assembler, capability, confine, headers, identity, cache, memory })
    }

    /// Whose machine code a job in this language gets, such as `nvrtc-13.0` or `ptx-13.0`.
    pub(super) fn toolchain(&self, language: Language) -> Result<String, String> {
        match (language, &self.assembler) {
            (Language::Cuda, _) => Ok(format!("nvrtc-{}.{}", self.nvrtc.major, self.nvrtc.minor)),
            (Language::Ptx, Ok(version)) => Ok(format!("ptx-{version}")),
            (Language::Ptx, Err(reason)) => Err(reason.clone()),
        }
    }

    /// The machine code of a job's source, made now or before.
    pub(super) fn compile(
        &self,
        context: &Context,
        language: Language,
        job: &JobInput,
        give_up: impl FnMut() -> bool,
    ) -> Result<Arc<Code>, CompileError> {
        let source = job.program().map_err(|error| CompileError::Node(error.to_string()))?;
        // Whoever fetched the blobs held them against their hashes.
        let hash = job.envelope.program.code().map_or(B256::ZERO, |blob| blob.hash);
        let key = self.key(language, hash);
        if let Some(code) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(code);
        }
        let (confine, capability, headers) = (self.confine, self.capability, self.headers.clone());
        let (context, source) = (context.clone(), source.clone());
        let bytes = watched(
            move || {
                if confine {
                    deny_files().map_err(CompileError::Node)?;
                }
                match language {
                    Language::Cuda => nvrtc::compile(&source, capability, &headers),
                    Language::Ptx => ptx::assemble(&context, &ptx::check(&source).map_err(CompileError::Source)?),
                }
            },
            &BOUNDS,
            &self.memory,
            give_up,
        )?;
        if bytes.len() > MAX_CODE_BYTES {
            let detail = format!("its machine code has {} bytes, at most {MAX_CODE_BYTES} are loaded", bytes.len());
            return Err(CompileError::Source(detail));
        }
        let broken = || CompileError::Node("the compiler's machine code is not an ELF image".into());
        let image = Image::inspect(&bytes).ok_or_else(broken)?;
        let code = Arc::new(Code { key, bytes, image });
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(code.clone());
        Ok(code)
    }

    /// How often sources were compiled, and how often their code was still there.
    pub(super) fn count(&self) -> Compilations {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    fn key(&self, language: Language, hash: B256) -> B256 {
        let language = match language {
            Language::Cuda => 0,
            Language::Ptx => 1,
        };
        keccak256([self.identity.as_slice(), &[language], hash.as_slice()].concat())
    }
}

/// What NVRTC makes of a source that ships with the worker, for devices of a compute capability.
pub(in crate::execute) fn machine_code(source: &[u8], capability: (i32, i32)) -> Result<Vec<u8>, String> {
    nvrtc::compile(source, capability, &Headers::default()).map_err(CompileError::into_detail)
}

/// Runs a compiler on a thread of its own, and leaves it there when it takes too much.
fn watched<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
    bounds: &Bounds,
    memory: &Memory,
    mut give_up: impl FnMut() -> bool,
) -> Result<T, CompileError> {
    let (done, result) = channel();
    let thread = std::thread::Builder::new().name("compiler".into()).stack_size(STACK_BYTES);
    let (begin, before) = (Instant::now(), memory.used());
    thread
        .spawn(move || {
            // Nobody listens any more if it took too long.
            let _ = done.send(work());
        })
        .map_err(|error| CompileError::Node(format!("the compiler's thread cannot be started: {error}")))?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(told) => return told,
            Err(RecvTimeoutError::Disconnected) => return Err(CompileError::Node("the compiler panicked".into())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let runaway = |detail: String| Err(CompileError::Runaway(detail));
        if give_up() {
            return runaway("it was still being compiled when the job was over".into());
        }
        if begin.elapsed() > bounds.time {
            return runaway(format!("it takes more than {} s to compile", bounds.time.as_secs()));
        }
        if memory.used() > before.saturating_add(bounds.memory) {
            return runaway(format!("it takes more than {} MiB of memory to compile", bounds.memory >> 20));
        }
    }
}

/// The memory of this process, read from a file that stays open as a job's process cannot open it later.
struct Memory(Option<File>);

impl Memory {
    fn new() -> Self {
        Self(File::open("/proc/self/status").ok())
    }

    /// Bytes in use; 0 where the system does not tell, so that nothing is bounded.
    fn used(&self) -> u64 {
        let mut text = [0; 4096];
        let read = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..read]);
        let kilobytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) << 10
    }
}

/// Takes all access to files from this thread, for good: an `#include` would show the worker's to the client.
fn deny_files() -> Result<(), String> {
    let failed = |error| format!("the compiler cannot be confined by Landlock: {error}");
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(failed)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("this kernel has no Landlock, so the compiler cannot be confined".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds { time: Duration::from_secs(20), memory: 64 << 20 };

    #[test]
    fn a_compiler_that_does_not_end_is_left_behind() {
        let stuck = || -> Result<(), CompileError> {
            std::thread::sleep(Duration::from_secs(3600));
            Ok(())
        };
        let error = watched(stuck, &BOUNDS, &Memory::new(), || true).unwrap_err();
        assert!(
            matches!(&error, CompileError::Runaway(detail) if detail.contains("when the job was over")),
            "{error:?}"
        );
        let short = Bounds { time: Duration::ZERO, ..BOUNDS };
        let error = watched(stuck, &short, &Memory::new(), || false).unwrap_err();
        assert!(matches!(&error, CompileError::Runaway(detail) if detail.contains("more than 0 s")), "{error:?}");
    }

    #[test]
    fn a_compiler_that_takes_too_much_memory_is_left_behind() {
        let (give_back, until) = channel::<()>();
        let greedy = move || -> Result<(), CompileError> {
            let taken = vec![1u8; 256 << 20];
            let _ = until.recv();
            drop(taken);
            Ok(())
        };
        let error = watched(greedy, &SMALL, &Memory::new(), || false).unwrap_err();
        drop(give_back);
        assert!(error.into_detail().contains("more than 64 MiB of memory to compile"));
    }

    #[test]
    fn a_compiler_that_panics_is_a_failure_of_the_node() {
        let broken = || -> Result<(), CompileError> { panic!("broken") };
        assert!(matches!(watched(broken, &BOUNDS, &Memory::new(), || false).unwrap_err(), CompileError::Node(_)));
    }

    #[test]
    fn a_confined_thread_opens_no_file() {
        let open = || deny_files().map_err(CompileError::Node).map(|()| std::fs::read("/etc/hostname").is_ok());
        match watched(open, &BOUNDS, &Memory::new(), || false) {
            Ok(opened) => assert!(!opened),
            Err(error) => println!("this machine has no Landlock: {}", error.into_detail()),
        }
        assert!(std::fs::read("/proc/self/stat").is_ok(), "the confinement ended with its thread");
    }
}
