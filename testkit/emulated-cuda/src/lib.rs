//! CUDA without a GPU, for tests: an emulated driver that runs the sample jobs' kernels on the CPU, and NVIDIA's real
//! compiler, which needs no GPU.
//!
//! A fake GPU is what a dishonest provider would want, so nothing but tests may depend on this crate: the device is
//! named `emulated`, and a worker refuses it unless its configuration allows it.

pub mod nvrtc;

use std::path::PathBuf;

/// The folder of the emulated `libcuda.so.1`.
pub fn driver() -> PathBuf {
    PathBuf::from(env!("OUT_DIR"))
}

/// The folders that a worker is configured with (`cuda.libraries`) to use the emulated driver and the real compiler.
pub fn libraries() -> Result<Vec<PathBuf>, nvrtc::NvrtcError> {
    Ok(vec![driver(), nvrtc::ensure()?])
}
