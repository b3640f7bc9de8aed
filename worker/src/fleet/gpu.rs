//! How a child is shown exactly one GPU: by the driver's own variables, and by the device files that it may open.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What every child for a GPU is told: GPUs are numbered as by `nvidia-smi`, code is loaded before anything is locked,
/// and nothing is kept in files.
const FIXED: [(&str, &str); 3] =
    [("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("CUDA_MODULE_LOADING", "EAGER"), ("CUDA_CACHE_DISABLE", "1")];
/// The GPUs that a process sees, in its order.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// What a child learns from the supervisor's own environment: where libraries are, and settings of the driver.
const PASSED: [&str; 4] = ["LD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "CAPA_EMULATED_"];
/// Where the driver describes its GPUs.
const DRIVER: &str = "/proc/driver/nvidia/gpus";

/// A whole environment.
pub(super) type Environment = Vec<(OsString, OsString)>;

/// What children learn of the supervisor's own environment.
pub(super) fn passed() -> Environment {
    let is_passed = |name: &OsString| PASSED.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
    std::env::vars_os().filter(|(name, _)| is_passed(name)).collect()
}

/// The environment of a child that sees all GPUs that the supervisor was given.
pub(super) fn all(passed: &[(OsString, OsString)]) -> Environment {
    let others = passed.iter().filter(|(name, _)| FIXED.iter().all(|(fixed, _)| name != fixed)).cloned();
    others.chain(FIXED.map(|(name, value)| (name.into(), value.into()))).collect()
}

/// The environment of a child that sees the GPU of that number, and no other.
pub(super) fn only(passed: &[(OsString, OsString)], number: u32) -> Environment {
    let mut environment = all(passed);
    environment.retain(|(name, _)| name != VISIBLE);
    environment.push((VISIBLE.into(), selector(number, visible(passed)).into()));
    environment
}

fn visible(passed: &[(OsString, OsString)]) -> Option<&str> {
    passed.iter().find(|(name, _)| name == VISIBLE).and_then(|(_, value)| value.to_str())
}

/// The name of a GPU for [`VISIBLE`], where the supervisor itself may see only some.
fn selector(number: u32, visible: Option<&str>) -> String {
    let named = visible.and_then(|list| list.split(',').nth(number as usize)).map(str::trim);
    named.map_or_else(|| number.to_string(), str::to_owned)
}

/// The device files of a GPU: its own, where that can be told, and those that all share.
pub(super) fn files(passed: &[(OsString, OsString)], number: u32) -> Vec<PathBuf> {
    present(Path::new("/dev"), minor(Path::new(DRIVER), &selector(number, visible(passed))))
}

/// The device files of all GPUs.
pub(super) fn all_files() -> Vec<PathBuf> {
    present(Path::new("/dev"), None)
}

/// The number in the name of a GPU's device file.
fn minor(driver: &Path, selector: &str) -> Option<u32> {
    let mut folders: Vec<PathBuf> = fs::read_dir(driver).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // The folders are named by PCI address, which is the order asked for.
    folders.sort();
    let described: Vec<String> =
        folders.iter().map(|folder| fs::read_to_string(folder.join("information")).unwrap_or_default()).collect();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim().to_owned()))
    };
    let text = match selector.parse::<usize>() {
        Ok(position) => described.get(position)?,
        Err(_) => described.iter().find(|text| field(text, "GPU UUID").is_some_and(|id| id.starts_with(selector)))?,
    };
    field(text, "Device Minor")?.parse().ok()
}

fn present(folder: &Path, minor: Option<u32>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let rest = path.file_name()?.to_str()?.strip_prefix("nvidia")?;
        let wanted = match rest.parse::<u32>() {
            Ok(number) => minor.is_none_or(|minor| minor == number),
            Err(_) => matches!(rest, "ctl" | "-uvm" | "-uvm-tools"),
        };
        wanted.then_some(path)
    });
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_keeps_its_name_where_only_some_are_visible() {
        assert_eq!(selector(1, None), "1");
        assert_eq!(selector(1, Some("3, 5")), "5");
        assert_eq!(selector(0, Some("GPU-8a")), "GPU-8a");
    }

    #[test]
    fn the_device_file_is_found_by_position_and_by_name() {
        let driver = tempfile::tempdir().unwrap();
        for (address, id, minor) in [("0000:81:00.0", "GPU-bb", 0), ("0000:01:00.0", "GPU-aa", 1)] {
            fs::create_dir(driver.path().join(address)).unwrap();
            let text = format!("Model: \t\t NVIDIA H200\nGPU UUID: \t {id}-11\nDevice Minor: \t {minor}\n");
            fs::write(driver.path().join(address).join("information"), text).unwrap();
        }
        assert_eq!(minor(driver.path(), "0"), Some(1));
        assert_eq!(minor(driver.path(), "GPU-bb"), Some(0));
        assert_eq!(minor(driver.path(), "7"), None);
        assert_eq!(minor(Path::new("/no/such/folder"), "0"), None);
    }

    #[test]
    fn a_child_is_given_its_own_device_file() {
        let dev = tempfile::tempdir().unwrap();
        for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "sda"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        let names = |minor| -> Vec<String> {
            let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            present(dev.path(), minor).iter().map(name).collect()
        };
        assert_eq!(names(Some(1)), ["nvidia-uvm", "nvidia-uvm-tools", "nvidia1", "nvidiactl"]);
        assert_eq!(names(None), ["nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia1", "nvidiactl"]);
    }

    #[test]
    fn a_child_sees_its_gpu_only() {
        let shown = only(&[(VISIBLE.into(), "7,8,9".into()), ("CUDA_LOG_FILE".into(), "x".into())], 2);
        let seen: Vec<_> = shown.iter().filter(|(name, _)| name == VISIBLE).collect();
        assert_eq!(seen, [&(VISIBLE.into(), "9".into())]);
        assert!(shown.contains(&("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into())));
        assert!(shown.contains(&("CUDA_LOG_FILE".into(), "x".into())));
        assert!(!passed().iter().any(|(name, _)| name == "HOME" || name == "PATH"));
    }
}
