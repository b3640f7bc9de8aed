//! PTX assembly: checked to be text, and assembled by the driver, which alone knows its device's machine code.
//!
//! The driver also takes machine code where it takes PTX, and does not check that. So what is not plain PTX text never
//! reaches it.

use super::compile::{CompileError, MAX_LOG_BYTES};
use super::context::Context;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{self, CUjit_option as JitOption};
use std::ffi::{CString, c_void};

/// Largest text.
const MAX_BYTES: usize = 4 << 20;

/// Checks that bytes are PTX: text that begins, after comments, with its version.
pub(super) fn check(source: &[u8]) -> Result<CString, String> {
    if source.len() > MAX_BYTES {
        return Err(format!("the PTX has {} bytes, at most {MAX_BYTES} are assembled", source.len()));
    }
    if !source.is_ascii() {
        return Err("it is not PTX: PTX is ASCII text, and machine code is not taken".into());
    }
    let text = CString::new(source).map_err(|_| "the PTX contains a zero byte".to_owned())?;
    if !after_comments(source).starts_with(b".version") {
        return Err("it is not PTX: its first statement must be .version".into());
    }
    Ok(text)
}

/// What is left when leading space and comments are taken away.
fn after_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let (open, close): (&[u8], &[u8]) = match text {
            [b'/', b'/', ..] => (b"//", b"\n"),
            [b'/', b'*', ..] => (b"/*", b"*/"),
            _ => return text,
        };
        let inside = &text[open.len()..];
        let Some(end) = inside.windows(close.len()).position(|window| window == close) else { return b"" };
        text = &inside[end + close.len()..];
    }
}

/// A program that does nothing, for the oldest device that can run it: assembled once at the start, to find out
/// whether the driver can, and so that all its parts are loaded before files are denied.
pub(super) fn probe((major, minor): (i32, i32)) -> CString {
    let target = (major * 10 + minor).min(75);
    let text =
        format!(".version 6.4\n.target sm_{target}\n.address_size 64\n.visible .entry probe()\n{{\n  ret;\n}}\n");
    // The text has no zero byte.
    CString::new(text).unwrap_or_default()
}

/// Machine code for the device of the context.
pub(super) fn assemble(context: &Context, text: &CString) -> Result<Vec<u8>, CompileError> {
    let node = |error: DriverError| CompileError::Node(format!("the driver cannot assemble PTX: {error}"));
    context.make_current().map_err(node)?;
    let mut log = vec![0u8; MAX_LOG_BYTES];
    let mut options = [JitOption::CU_JIT_ERROR_LOG_BUFFER, JitOption::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The size is passed in place of a pointer, as the driver's interface has it.
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
    let mut raw = std::ptr::null_mut();
    // SAFETY: there are two options and two values. The log outlives the link, which is destroyed with `link` below.
    unsafe { sys::cuLinkCreate_v2(2, options.as_mut_ptr(), values.as_mut_ptr(), &raw mut raw) }
        .result()
        .map_err(node)?;
    let link = Link(raw);
    let told = link.add(text).and_then(|()| link.complete());
    drop(link);
    told.map_err(|error| match error.0 {
        sys::CUresult::CUDA_ERROR_INVALID_PTX
        | sys::CUresult::CUDA_ERROR_INVALID_SOURCE
        | sys::CUresult::CUDA_ERROR_INVALID_IMAGE
        | sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let said = String::from_utf8_lossy(&log[..end]).trim_end().to_owned();
            CompileError::Source(format!("the PTX does not assemble: {error}\n{said}"))
        }
        _ => node(error),
    })
}

/// A link in the making, destroyed with this value.
struct Link(sys::CUlinkState);

impl Link {
    fn add(&self, text: &CString) -> Result<(), DriverError> {
        let bytes = text.as_bytes_with_nul();
        let (none, kind) = (std::ptr::null_mut(), sys::CUjitInputType::CU_JIT_INPUT_PTX);
        let start = bytes.as_ptr().cast_mut().cast();
        // SAFETY: the link lives. The driver reads the text, whose end the size and a zero byte both tell.
        unsafe {
            sys::cuLinkAddData_v2(self.0, kind, start, bytes.len(), c"job.ptx".as_ptr(), 0, std::ptr::null_mut(), none)
        }
        .result()
    }

    fn complete(&self) -> Result<Vec<u8>, DriverError> {
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: the link lives, and both places live through the call.
        unsafe { sys::cuLinkComplete(self.0, &raw mut start, &raw mut size) }.result()?;
        // SAFETY: the driver owns so many bytes there until the link is destroyed; they are copied here.
        Ok(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size) }.to_vec())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: nothing uses the link after this.
        let _ = unsafe { sys::cuLinkDestroy(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_begins_with_its_version_is_ptx() {
        for good in [".version 8.0", "\n // one\n /* two\n */ /**/.version 7.8\n", "//\n.version"] {
            assert_eq!(check(good.as_bytes()).unwrap().as_bytes(), good.as_bytes());
        }
        let cases: [(&[u8], &str); 8] = [
            (b"\x7fELF\x02\x01\x01", "first statement must be .version"),
            (b"\x50\xed\x55\xba\x01", "is not taken"),
            (b".version 8.0\0\x7fELF", "a zero byte"),
            (b"!<arch>\n", ".version"),
            (b"/* .version 8.0", ".version"),
            (b"// .version 8.0", ".version"),
            (b"", ".version"),
            (".version 8.0 // \u{e9}".as_bytes(), "ASCII"),
        ];
        for (source, words) in cases {
            let error = check(source).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(check(&vec![b' '; MAX_BYTES + 1]).unwrap_err().contains("at most"));
        assert!(check(probe((9, 0)).as_bytes()).is_ok());
    }
}
