//! Which CUDA libraries are found, where, and what they say of themselves: `capa-worker doctor` prints it.
//!
//! Made in a process of its own, as everything that loads the driver: it may hang, and the process that asked does not.

use super::super::CudaConfig;
use super::libraries;
use cudarc::cublaslt;
use cudarc::driver::{result, sys};
use cudarc::nvrtc;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::PathBuf;

/// The name that every driver installs; the plain one comes with development packages only.
pub(crate) const NVML: &str = "libnvidia-ml.so.1";
/// A kernel that only has to compile: NVRTC loads its built-ins no earlier.
const PROBE: &str = "extern \"C\" __global__ void probe() {}";
/// Versions of PTX by the CUDA version that introduced them (PTX ISA, release notes), the newest first.
const PTX: [(i32, &str); 11] = [
    (13_010, "9.1"),
    (13_000, "9.0"),
    (12_090, "8.8"),
    (12_080, "8.7"),
    (12_070, "8.6"),
    (12_050, "8.5"),
    (12_040, "8.4"),
    (12_030, "8.3"),
    (12_020, "8.2"),
    (12_010, "8.1"),
    (12_000, "8.0"),
];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    /// Every library that the worker uses.
    pub libraries: Vec<Library>,
    /// The newest PTX that the driver takes.
    pub ptx: Option<String>,
    /// The devices that the driver offers.
    pub devices: Vec<Device>,
}

/// A library of CUDA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Library {
    /// Its short name.
    pub name: String,
    /// The file that was loaded.
    pub path: Option<PathBuf>,
    /// What it says of itself, or why it cannot be used.
    pub version: Result<String, String>,
}

/// A device of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its compute capability, such as `9.0`.
    pub capability: String,
    /// Its memory in bytes.
    pub memory: u64,
}

impl Inventory {
    /// The library of that name.
    pub fn library(&self, name: &str) -> Option<&Library> {
        self.libraries.iter().find(|library| library.name == name)
    }
}

/// Loads every library as the executors do, and asks it what it is.
pub fn take(config: &CudaConfig) -> Inventory {
    libraries::preload(&config.libraries);
    let driver = driver();
    let devices = match driver {
        Ok(_) => devices().unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let compiler = compiler();
    // Held until its file was looked up: dropping it unloads the library.
    let nvml = Nvml::builder().lib_path(OsStr::new(NVML)).init();
    let found = [
        ("libcuda", driver.clone().map(|version| format!("for CUDA {}", dotted(version)))),
        ("libnvrtc", compiler.clone()),
        ("libnvrtc-builtins", compiler),
        ("libcublasLt", cublas_lt()),
        ("libnvidia-ml", management(&nvml)),
    ];
    // Last, when everything is loaded that ever will be.
    let mapped = mapped();
    let path = |name: &str| mapped.iter().find(|path| stem(path) == Some(name)).cloned();
    Inventory {
        libraries: found
            .into_iter()
            .map(|(name, version)| Library { name: name.into(), path: path(name), version })
            .collect(),
        ptx: driver.ok().and_then(newest_ptx).map(str::to_owned),
        devices,
    }
}

fn driver() -> Result<i32, String> {
    // SAFETY: it only tries to load a system library by name.
    if !unsafe { sys::is_culib_present() } {
        return Err("not found".into());
    }
    let mut version = 0;
    // SAFETY: the pointer is to an integer that lives through the call.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(|error| error.to_string())?;
    Ok(version)
}

fn devices() -> Result<Vec<Device>, result::DriverError> {
    result::init()?;
    let mut devices = Vec::new();
    for number in 0..result::device::get_count()? {
        let device = result::device::get(number)?;
        let part = |which| {
            // SAFETY: the device was just returned by the driver.
            unsafe { result::device::get_attribute(device, which) }
        };
        let major = part(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = part(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        devices.push(Device {
            name: result::device::get_name(device)?,
            capability: format!("{major}.{minor}"),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device) }? as u64,
        });
    }
    Ok(devices)
}

/// NVRTC's version, once it has compiled something.
fn compiler() -> Result<String, String> {
    // SAFETY: it only tries to load a system library by name.
    if !unsafe { nvrtc::sys::is_culib_present() } {
        return Err("not found".into());
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the pointers are to integers that live through the call.
    let version = unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    version.result().map_err(|error| error.to_string())?;
    nvrtc::compile_ptx(PROBE).map_err(|error| format!("it cannot compile: {error}"))?;
    Ok(format!("{major}.{minor}"))
}

fn cublas_lt() -> Result<String, String> {
    // SAFETY: it only tries to load a system library by name.
    if !unsafe { cublaslt::sys::is_culib_present() } {
        return Err("not found".into());
    }
    // SAFETY: the function takes nothing, and the library was found.
    Ok(unsafe { cublaslt::sys::cublasLtGetVersion() }.to_string())
}

fn management(nvml: &Result<Nvml, NvmlError>) -> Result<String, String> {
    let nvml = nvml.as_ref().map_err(ToString::to_string)?;
    nvml.sys_driver_version().map(|version| format!("driver {version}")).map_err(|error| error.to_string())
}

/// The version that CUDA writes as 1000 times the major number plus 10 times the minor one.
fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn newest_ptx(driver: i32) -> Option<&'static str> {
    PTX.iter().find(|(cuda, _)| driver >= *cuda).map(|(_, ptx)| *ptx)
}

/// The files that are mapped into this process: the loader's own answer to where a library came from.
fn mapped() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.dedup();
    paths
}

/// `libcuda` of `/usr/lib/libcuda.so.580.65.06`.
fn stem(path: &std::path::Path) -> Option<&str> {
    path.file_name()?.to_str()?.split_once(".so").map(|(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_takes_the_ptx_of_its_age() {
        assert_eq!(newest_ptx(13_000), Some("9.0"));
        assert_eq!(newest_ptx(12_060), Some("8.5"));
        assert_eq!(newest_ptx(11_080), None);
        assert_eq!(dotted(12_080), "12.8");
    }

    #[test]
    fn libraries_are_known_by_their_stem() {
        assert_eq!(stem("/usr/lib/libnvrtc-builtins.so.13.0".as_ref()), Some("libnvrtc-builtins"));
        assert_eq!(stem("/usr/lib/libcuda.so".as_ref()), Some("libcuda"));
        assert_eq!(stem("/usr/lib/locale/C.utf8".as_ref()), None);
    }

    #[test]
    fn this_program_is_mapped() {
        let here = std::env::current_exe().unwrap();
        assert!(mapped().contains(&here));
    }
}
