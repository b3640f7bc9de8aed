//! From source to machine code for one device, by NVRTC.
//!
//! The same source, compiler and device give the same bytes: the file name and all options are fixed, and products
//! are not fused with sums (`--fmad=false`), so that a result does not hang on what an optimiser found.

use super::super::ExecuteError;
use super::run::Meter;
use cudarc::nvrtc::{result, sys};
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};
use std::ffi::CString;

/// Largest source.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// The part of the compiler's messages that the author is sent.
const MAX_LOG_BYTES: usize = 16 << 10;
/// Compiled once at the start, to find a broken compiler, and so that all its parts are loaded before files are denied.
const PROBE: &[u8] = b"extern \"C\" __global__ void probe(float *x) { x[threadIdx.x] = sqrtf(x[threadIdx.x]); }";

/// NVRTC, for one device.
pub(super) struct Compiler {
    version: (i32, i32),
    capability: (i32, i32),
    confine: bool,
}

/// Why there is no machine code.
enum CompileError {
    /// The author's mistake, with the compiler's messages.
    Source(String),
    /// The compiler's own.
    Node(String),
}

impl Compiler {
    /// Checks that the compiler works for a device of this compute capability.
    pub(super) fn new(capability: (i32, i32), confine: bool) -> Result<Self, String> {
        let mut version = (0, 0);
        // SAFETY: both are pointers to integers that live through the call.
        let code = unsafe { sys::nvrtcVersion(&raw mut version.0, &raw mut version.1) };
        code.result().map_err(|error| format!("NVRTC does not tell its version: {error}"))?;
        let compiler = Self { version, capability, confine };
        compile(PROBE, capability).map_err(|error| match error {
            CompileError::Source(detail) | CompileError::Node(detail) => format!("NVRTC does not work: {detail}"),
        })?;
        if confine {
            on_own_thread(deny_files)?.map_err(|reason| {
                format!("{reason}: sources could read files; see cuda.confine_compiler in the configuration")
            })?;
        }
        Ok(compiler)
    }

    pub(super) fn toolchain(&self) -> String {
        format!("nvrtc-{}.{}", self.version.0, self.version.1)
    }

    /// Compiles a source that ships with the worker.
    pub(super) fn compile_trusted(&self, source: &[u8]) -> Result<Vec<u8>, String> {
        machine_code(source, self.capability)
    }

    pub(super) const fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Compiles a job's source on a thread that can open no file: an `#include` would show the worker's to the client.
    pub(super) fn compile(&self, source: &[u8], meter: &mut Meter) -> Result<Vec<u8>, ExecuteError> {
        let compiled = on_own_thread(|| {
            if self.confine {
                deny_files().map_err(CompileError::Node)?;
            }
            compile(source, self.capability)
        })
        .unwrap_or_else(|panic| Err(CompileError::Node(panic)));
        compiled.map_err(|error| match error {
            CompileError::Source(detail) => ExecuteError::Program { detail, usage: meter.usage() },
            CompileError::Node(detail) => ExecuteError::Node(detail),
        })
    }
}

/// What NVRTC makes of a source for devices of a compute capability.
pub(in crate::execute) fn machine_code(source: &[u8], capability: (i32, i32)) -> Result<Vec<u8>, String> {
    compile(source, capability).map_err(|error| match error {
        CompileError::Source(detail) | CompileError::Node(detail) => detail,
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| "the CUDA compiler panicked".into())
}

/// Takes all access to files from this thread, for good.
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

fn compile(source: &[u8], (major, minor): (i32, i32)) -> Result<Vec<u8>, CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        let detail = format!("the source has {} bytes, at most {MAX_SOURCE_BYTES} are compiled", source.len());
        return Err(CompileError::Source(detail));
    }
    let source = CString::new(source).map_err(|_| CompileError::Source("the source contains a zero byte".into()))?;
    let node = |error: result::NvrtcError| CompileError::Node(format!("NVRTC failed: {error}"));
    let options = [format!("--gpu-architecture=sm_{major}{minor}"), "--fmad=false".into(), "--std=c++17".into()];
    let program = Source(result::create_program(&source, Some(c"job.cu")).map_err(node)?);
    // SAFETY: the program was created above and is destroyed when `program` is dropped, after `source` was last used.
    match unsafe { result::compile_program(program.0, &options) } {
        Ok(()) => program.machine_code().map_err(node),
        Err(result::NvrtcError(sys::nvrtcResult::NVRTC_ERROR_COMPILATION)) => {
            Err(CompileError::Source(format!("the source does not compile:\n{}", program.log())))
        }
        Err(error) => Err(node(error)),
    }
}

/// A program of NVRTC, destroyed with this value.
struct Source(sys::nvrtcProgram);

impl Source {
    fn machine_code(&self) -> Result<Vec<u8>, result::NvrtcError> {
        let mut size = 0;
        // SAFETY: the program is alive, and `size` lives through the call.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &raw mut size) }.result()?;
        let mut code = vec![0u8; size];
        // SAFETY: NVRTC writes exactly the size that it told before.
        unsafe { sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()) }.result()?;
        Ok(code)
    }

    fn log(&self) -> String {
        // SAFETY: the program is alive.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|c| c.cast_unsigned()).filter(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LOG_BYTES)]).trim_end().to_owned()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: nothing uses the program after this. A failure would only leak it.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}
