//! CUDA without a GPU, for tests: an emulated driver that runs kernels of this repository on the CPU, and NVIDIA's real
//! compiler, which needs no GPU.
//!
//! A fake GPU is what a dishonest provider would want, so nothing but tests may depend on this crate: the device is
//! named `emulated`, and a worker refuses it unless its configuration allows it.
//!
//! The driver keeps to the real one's contract where the worker relies on it: calls return before the device is done,
//! memory is handed out dirty and keeps what is freed, addresses and lengths are checked, a module knows only the
//! kernels of its own machine code and has its variables as their source sets them, an access past the end of a buffer
//! is a fault, and a fault makes every later call fail until the context is reset. It does not show races between
//! threads, it runs one kernel at a time, and its PTX assembler knows mnemonics and no more.

pub mod nvrtc;

use libloading::os::unix::{Library, RTLD_LAZY};
use std::path::PathBuf;

/// The folder of the emulated `libcuda.so.1`, which has one device.
pub fn driver() -> PathBuf {
    PathBuf::from(env!("OUT_DIR"))
}

/// The folders that a worker is configured with (`cuda.libraries`) to use the emulated driver and the real compiler.
pub fn libraries() -> Result<Vec<PathBuf>, nvrtc::NvrtcError> {
    Ok(vec![driver(), nvrtc::ensure()?])
}

/// As [`libraries`], with 2 or 4 devices.
///
/// The driver reads the number from the name of its folder; or, in any folder, from `CAPA_EMULATED_DEVICES`, where the
/// environment reaches it.
pub fn libraries_with(devices: u32) -> Result<Vec<PathBuf>, nvrtc::NvrtcError> {
    Ok(vec![driver().join(format!("devices-{devices}")), nvrtc::ensure()?])
}

/// In a worker's environment this names a socket. Whoever listens there is asked by one byte, its number, for each device,
/// and answers with one byte and the descriptor of [`MEMORY`] bytes that can be mapped: the device's memory, which keeps
/// what a process leaves there. Without it each process has memory of its own.
pub const MEMORY_SOCKET: &str = "CAPA_EMULATED_MEMORY";
/// How much memory a device has, in bytes.
pub const MEMORY: u64 = 1 << 30;

/// What happened in the emulated driver of this process so far, over all devices.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels launched one by one.
    pub launches: u64,
    /// Graphs launched.
    pub graph_launches: u64,
    /// Modules loaded.
    pub module_loads: u64,
    /// Device memory in use now, in bytes.
    pub live_bytes: u64,
    /// Device memory that was freed and is kept for later.
    pub pooled_bytes: u64,
    /// Pinned memory of the host now.
    pub pinned_bytes: u64,
    /// Bytes of large copies that did not go through pinned memory.
    pub pageable_bytes: u64,
    /// Buffers that still held something when they were freed.
    pub dirty_frees: u64,
}

/// Asks the driver that [`libraries`] names, once it is loaded.
pub fn counters() -> Counters {
    let mut counters = Counters::default();
    // SAFETY: the library is the one that this crate built, and its function fills this very structure.
    unsafe {
        let driver =
            Library::open(Some(driver().join("libcuda.so.1")), RTLD_LAZY).expect("this crate built the driver");
        let tell = driver.get::<unsafe extern "C" fn(*mut Counters)>(b"emulated_counters").expect("it counts");
        tell(&raw mut counters);
    }
    counters
}
