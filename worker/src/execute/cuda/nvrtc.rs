//! NVRTC: CUDA C++ to machine code.

use super::compile::{CompileError, MAX_LOG_BYTES};
use super::headers::Headers;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char};

/// Largest source.
const MAX_SOURCE_BYTES: usize = 1 << 20;

/// Which NVRTC this is.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) major: i32,
    pub(super) minor: i32,
    /// In full, such as `13.0.88`: machine code may differ between builds of one version.
    pub(super) build: String,
}

impl Version {
    /// The version of the NVRTC that made this machine code, which tells the build.
    pub(super) fn of(code: &[u8]) -> Result<Self, String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both are pointers to integers that live through the call.
        let told = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
        told.result().map_err(|error| format!("NVRTC does not tell its version: {error}"))?;
        let build = build(code, major, minor).unwrap_or_else(|| format!("{major}.{minor}"));
        Ok(Self { major, minor, build })
    }
}

/// The full version that a compiler notes in its machine code, as `V13.0.88`.
fn build(code: &[u8], major: i32, minor: i32) -> Option<String> {
    let version = format!("{major}.{minor}.");
    let mark = format!("V{version}").into_bytes();
    let at = code.windows(mark.len()).position(|window| window == mark)?;
    let digits = code[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let digits: String = digits.map(|byte| char::from(*byte)).collect();
    if digits.is_empty() { None } else { Some(version + &digits) }
}

/// All options, none of which a client chooses.
pub(super) fn options((major, minor): (i32, i32)) -> [String; 4] {
    let fixed = ["--fmad=false", "--std=c++17", "--device-as-default-execution-space"].map(String::from);
    let [fmad, standard, space] = fixed;
    [format!("--gpu-architecture=sm_{major}{minor}"), fmad, standard, space]
}

/// Machine code for devices of this compute capability.
pub(super) fn compile(source: &[u8], capability: (i32, i32), headers: &Headers) -> Result<Vec<u8>, CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        let detail = format!("the source has {} bytes, at most {MAX_SOURCE_BYTES} are compiled", source.len());
        return Err(CompileError::Source(detail));
    }
    let text = CString::new(source).map_err(|_| CompileError::Source("the source contains a zero byte".into()))?;
    let node = |error: result::NvrtcError| CompileError::Node(format!("NVRTC failed: {error}"));
    let program = Program::new(&text, &headers.reached_by(source)).map_err(node)?;
    // SAFETY: the program was created above and is destroyed when it is dropped, after `text` was last used.
    match unsafe { result::compile_program(program.0, &options(capability)) } {
        Ok(()) => program.machine_code().map_err(node),
        Err(result::NvrtcError(sys::nvrtcResult::NVRTC_ERROR_COMPILATION)) => {
            Err(CompileError::Source(format!("the source does not compile:\n{}", program.log())))
        }
        Err(error) => Err(node(error)),
    }
}

/// A program of NVRTC, destroyed with this value.
struct Program(sys::nvrtcProgram);

impl Program {
    fn new(source: &CStr, headers: &[(&CStr, &CStr)]) -> Result<Self, result::NvrtcError> {
        let names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
        let texts: Vec<*const c_char> = headers.iter().map(|(_, text)| text.as_ptr()).collect();
        let count = i32::try_from(headers.len()).unwrap_or(i32::MAX);
        let mut raw = std::ptr::null_mut();
        // SAFETY: there are so many names and texts, all end with a zero byte, and NVRTC copies them.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut raw,
                source.as_ptr(),
                c"job.cu".as_ptr(),
                count,
                texts.as_ptr(),
                names.as_ptr(),
            )
        }
        .result()?;
        Ok(Self(raw))
    }

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
        let text = log.iter().map(|letter| letter.cast_unsigned()).filter(|byte| *byte != 0);
        let bytes: Vec<u8> = text.take(MAX_LOG_BYTES).collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: nothing uses the program after this. A failure would only leak it.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_read_from_machine_code() {
        let code = b"\x7fELF..V12.0.1\0release 13.0, V13.0.88\0";
        assert_eq!(build(code, 13, 0).as_deref(), Some("13.0.88"));
        assert_eq!(build(code, 13, 1), None);
        assert_eq!(build(b"V13.0.", 13, 0), None);
    }
}
