//! NVIDIA's run-time compiler, from its Python package, kept in the user's cache folder.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package: of CUDA 13.0, whose machine code every driver since 580 takes.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.88";
/// Where the package keeps its libraries.
const LIBRARIES: &str = "nvidia/cu13/lib";
/// The compiler's file in that folder.
const COMPILER: &str = "libnvrtc.so.13";
/// Names a folder that holds the compiler already; nothing is fetched then.
const OVERRIDE: &str = "CAPA_NVRTC";

/// The compiler cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// `CAPA_NVRTC` names a folder without it.
    #[error("{OVERRIDE} names {0}, which has no {COMPILER}")]
    NotThere(PathBuf),
    /// There is no place to keep it.
    #[error("neither XDG_CACHE_HOME nor HOME is set: set {OVERRIDE} to a folder with {COMPILER}")]
    NoCache,
    /// Python's package tool failed.
    #[error("`{command}` failed: {detail}. Install Python 3 with pip, or set {OVERRIDE} to a folder with {COMPILER}")]
    Fetch {
        /// The command line.
        command: String,
        /// What it printed.
        detail: String,
    },
    /// The cache folder cannot be written.
    #[error("the cache folder {0} cannot be written: {1}")]
    Cache(PathBuf, io::Error),
}

/// The folder of the compiler, which is fetched on the first call on a machine.
pub fn ensure() -> Result<PathBuf, NvrtcError> {
    if let Some(folder) = std::env::var_os(OVERRIDE).map(PathBuf::from) {
        return holding(folder);
    }
    let cache = cache()?;
    let home = cache.join(PACKAGE.replace("==", "-"));
    let folder = home.join(LIBRARIES);
    if !folder.join(COMPILER).is_file() {
        fetch(&cache, &home)?;
    }
    Ok(folder)
}

fn holding(folder: PathBuf) -> Result<PathBuf, NvrtcError> {
    if folder.join(COMPILER).is_file() { Ok(folder) } else { Err(NvrtcError::NotThere(folder)) }
}

fn cache() -> Result<PathBuf, NvrtcError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(base.ok_or(NvrtcError::NoCache)?.join("capa"))
}

/// Fetches into a folder of its own and moves that into place, so that nobody ever sees half of it.
fn fetch(cache: &Path, home: &Path) -> Result<(), NvrtcError> {
    let failed = |error| NvrtcError::Cache(cache.to_owned(), error);
    std::fs::create_dir_all(cache).map_err(failed)?;
    let work = tempfile::tempdir_in(cache).map_err(failed)?;
    let (wheels, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE, "--dest"];
    python(Command::new("python3").args(pip).arg(&wheels))?;
    let wheel = std::fs::read_dir(&wheels).and_then(|mut files| files.next().transpose()).map_err(failed)?;
    let wheel = wheel.ok_or_else(|| failed(io::Error::other("pip fetched nothing")))?.path();
    python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked))?;
    match std::fs::rename(&unpacked, home) {
        // Another process was faster.
        Err(_) if home.join(LIBRARIES).join(COMPILER).is_file() => Ok(()),
        moved => moved.map_err(failed),
    }
}

fn python(command: &mut Command) -> Result<(), NvrtcError> {
    let name = format!("{command:?}");
    let failed = |detail: String| NvrtcError::Fetch { command: name.clone(), detail };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_hold_the_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let error = holding(folder.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("has no libnvrtc.so.13"), "{error}");
        std::fs::write(folder.path().join(COMPILER), "").unwrap();
        assert_eq!(holding(folder.path().to_owned()).unwrap(), folder.path());
    }

    #[test]
    fn a_failed_command_says_what_to_do() {
        let error =
            python(Command::new("python3").args(["-c", "raise SystemExit('no wheel')"])).unwrap_err().to_string();
        assert!(error.contains("no wheel") && error.contains(OVERRIDE), "{error}");
    }
}
