//! NVIDIA's run-time compiler and its headers, from their Python packages, kept in the user's cache folder.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package, and what is wanted of it.
struct Package {
    /// Name and version.
    name: &'static str,
    /// Where it keeps its files.
    folder: &'static str,
    /// A file in that folder.
    file: &'static str,
    /// Names a folder that holds the files already; nothing is fetched then.
    variable: &'static str,
}

/// The compiler: of CUDA 13.0, whose machine code every driver since 580 takes.
const COMPILER: Package = Package {
    name: "nvidia-cuda-nvrtc==13.0.88",
    folder: "nvidia/cu13/lib",
    file: "libnvrtc.so.13",
    variable: "CAPA_NVRTC",
};
/// The headers that go with it.
const HEADERS: Package = Package {
    name: "nvidia-cuda-runtime==13.0.96",
    folder: "nvidia/cu13/include",
    file: "cuda_fp16.h",
    variable: "CAPA_CUDA_HEADERS",
};

/// The compiler, or its headers, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// The variable names a folder without the file.
    #[error("{variable} names {folder}, which has no {file}")]
    NotThere {
        /// The variable.
        variable: &'static str,
        /// What it says.
        folder: PathBuf,
        /// What is looked for.
        file: &'static str,
    },
    /// There is no place to keep it.
    #[error("neither XDG_CACHE_HOME nor HOME is set: set {variable} to a folder with {file}")]
    NoCache {
        /// The variable to set instead.
        variable: &'static str,
        /// What it must hold.
        file: &'static str,
    },
    /// Python's package tool failed.
    #[error("`{command}` failed: {detail}. Install Python 3 with pip, or set {variable} to a folder with {file}")]
    Fetch {
        /// The command line.
        command: String,
        /// What it printed.
        detail: String,
        /// The variable to set instead.
        variable: &'static str,
        /// What it must hold.
        file: &'static str,
    },
    /// The cache folder cannot be written.
    #[error("the cache folder {0} cannot be written: {1}")]
    Cache(PathBuf, io::Error),
}

/// The folder of the compiler, which is fetched on the first call on a machine; `CAPA_NVRTC` names another.
pub fn ensure() -> Result<PathBuf, NvrtcError> {
    COMPILER.ensure()
}

/// The folder of CUDA's headers, in the same way; `CAPA_CUDA_HEADERS` names another.
pub fn headers() -> Result<PathBuf, NvrtcError> {
    HEADERS.ensure()
}

impl Package {
    fn ensure(&self) -> Result<PathBuf, NvrtcError> {
        if let Some(folder) = std::env::var_os(self.variable).map(PathBuf::from) {
            return self.holding(folder);
        }
        let cache = self.cache()?;
        let home = cache.join(self.name.replace("==", "-"));
        let folder = home.join(self.folder);
        if !folder.join(self.file).is_file() {
            self.fetch(&cache, &home)?;
        }
        Ok(folder)
    }

    fn holding(&self, folder: PathBuf) -> Result<PathBuf, NvrtcError> {
        if folder.join(self.file).is_file() {
            return Ok(folder);
        }
        Err(NvrtcError::NotThere { variable: self.variable, folder, file: self.file })
    }

    fn cache(&self) -> Result<PathBuf, NvrtcError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        Ok(base.ok_or(NvrtcError::NoCache { variable: self.variable, file: self.file })?.join("capa"))
    }

    /// Fetches into a folder of its own and moves that into place, so that nobody ever sees half of it.
    fn fetch(&self, cache: &Path, home: &Path) -> Result<(), NvrtcError> {
        let failed = |error| NvrtcError::Cache(cache.to_owned(), error);
        std::fs::create_dir_all(cache).map_err(failed)?;
        let work = tempfile::tempdir_in(cache).map_err(failed)?;
        let (wheels, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
        let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", self.name, "--dest"];
        self.python(Command::new("python3").args(pip).arg(&wheels))?;
        let wheel = std::fs::read_dir(&wheels).and_then(|mut files| files.next().transpose()).map_err(failed)?;
        let wheel = wheel.ok_or_else(|| failed(io::Error::other("pip fetched nothing")))?.path();
        self.python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked))?;
        match std::fs::rename(&unpacked, home) {
            // Another process was faster.
            Err(_) if home.join(self.folder).join(self.file).is_file() => Ok(()),
            moved => moved.map_err(failed),
        }
    }

    fn python(&self, command: &mut Command) -> Result<(), NvrtcError> {
        let name = format!("{command:?}");
        let (variable, file) = (self.variable, self.file);
        let failed = |detail: String| NvrtcError::Fetch { command: name.clone(), detail, variable, file };
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_hold_the_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let error = COMPILER.holding(folder.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("CAPA_NVRTC") && error.contains("has no libnvrtc.so.13"), "{error}");
        std::fs::write(folder.path().join(COMPILER.file), "").unwrap();
        assert_eq!(COMPILER.holding(folder.path().to_owned()).unwrap(), folder.path());
    }

    #[test]
    fn a_failed_command_says_what_to_do() {
        let mut command = Command::new("python3");
        let error = HEADERS.python(command.args(["-c", "raise SystemExit('no wheel')"])).unwrap_err().to_string();
        assert!(error.contains("no wheel") && error.contains("CAPA_CUDA_HEADERS"), "{error}");
    }
}
