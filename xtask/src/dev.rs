//! Builds the workspace and becomes `capa-dev`, which runs the whole system.

use crate::setup;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

/// Returns only if something failed. Signals reach `capa-dev` directly, since it takes this process's place.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::run(workspace)?;
    // The whole workspace, so that each dependency has the features that `cargo xtask test` builds it with.
    workspace::run(&mut workspace.cargo(&["build", "--workspace"]))?;
    let program = workspace.target()?.join("debug/capa-dev");
    let error = std::process::Command::new(&program).args(arguments).current_dir(workspace.root()).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
