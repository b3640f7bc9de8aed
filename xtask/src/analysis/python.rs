//! The analysers that are Python programs, in a virtual environment of their own.

use crate::files;
use crate::workspace::{self, Workspace, say};
use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Every package with its version.
const REQUIREMENTS: &str = "contracts/tools/requirements.txt";

/// Records, inside the environment, what was installed into it.
const INSTALLED: &str = ".capa-requirements";

/// An environment in which the pinned packages are installed.
pub(super) struct Python {
    bin: PathBuf,
}

impl Python {
    /// Makes the environment if it is missing or stale.
    pub(super) fn install(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target()?.join("python");
        let bin = folder.join("bin");
        let requirements = files::read(&workspace.path(REQUIREMENTS))?;
        let stamp = folder.join(INSTALLED);
        if files::read(&stamp).is_ok_and(|installed| installed == requirements) {
            return Ok(Self { bin });
        }
        say("installing the pinned analysers");
        let mut create = workspace.command("python3");
        workspace::run(create.args(["-m", "venv", "--clear"]).arg(&folder))
            .context("Python cannot make virtual environments: `sudo apt-get install -y python3-venv`")?;
        let mut install = workspace.command(bin.join("pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement", REQUIREMENTS]);
        workspace::run(&mut install).context("the analysers could not be installed")?;
        files::write(&stamp, &requirements)?;
        Ok(Self { bin })
    }

    /// One of the installed programs. The environment's other programs and the pinned forge come first on its path.
    pub(super) fn command(&self, workspace: &Workspace, program: &str, arguments: &[&str]) -> Result<Command> {
        let forge = workspace.forge_path()?;
        let forge = forge.parent().context("forge is in no folder")?.to_path_buf();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.bin.clone(), forge].into_iter().chain(env::split_paths(&path)))?;
        let mut command = workspace.command(self.bin.join(program));
        command.args(arguments).env("PATH", path).env("FOUNDRY_SOLC", workspace.solc());
        Ok(command)
    }
}
