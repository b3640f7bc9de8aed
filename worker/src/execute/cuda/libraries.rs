//! Finding the driver and the compiler. Both are loaded at run time, so that a worker without a GPU starts as well.

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::{Path, PathBuf};

/// Loaded in this order: NVRTC looks for its built-ins by a name that only a loaded library answers to.
const NAMES: [&str; 4] = ["libcuda.so", "libnvrtc-builtins.so", "libnvrtc.so", "libcublasLt.so"];

/// Loads the libraries that lie in the operator's folders, so that later loads by name find these.
pub(super) fn preload(directories: &[PathBuf]) {
    for name in NAMES {
        let Some(path) = directories.iter().find_map(|directory| library(directory, name)) else { continue };
        // SAFETY: loading runs the library's initialisers. The operator chose the folder, as with any library of the
        // worker itself.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            // Kept for the life of the process: its symbols are looked up much later, by name.
            Ok(library) => std::mem::forget(library),
            Err(error) => tracing::warn!(path = %path.display(), %error, "a CUDA library cannot be loaded"),
        }
    }
}

/// The file of that name, whatever version follows it.
fn library(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
        .collect();
    found.sort();
    found.pop()
}

/// Says which library is missing. The bindings panic when they are called without theirs, so this comes first.
pub(super) fn require() -> Result<(), String> {
    // SAFETY: both only try to load a system library by name.
    let (driver, compiler) =
        unsafe { (cudarc::driver::sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
    if !driver {
        return Err("there is no NVIDIA driver (libcuda.so.1)".into());
    }
    if !compiler {
        return Err("NVRTC is missing (libnvrtc.so.13 or .12): install it, for instance by pip from \
                    nvidia-cuda-nvrtc, and name its folder in cuda.libraries"
            .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_whatever_its_version() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["libnvrtc.so.12", "libnvrtc-builtins.so.12.9", "libnvrtc.alt.so.12"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(library(folder.path(), "libnvrtc.so"), Some(folder.path().join("libnvrtc.so.12")));
        assert_eq!(library(folder.path(), "libcuda.so"), None);
        assert_eq!(library(Path::new("/no/such/folder"), "libcuda.so"), None);
    }
}
