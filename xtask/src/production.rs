//! The build of the contracts that is deployed.

use crate::workspace::{self, Workspace};
use anyhow::Result;
use std::process::Command;

/// Where its artifacts are, as foundry.toml says.
pub(crate) const ARTIFACTS: &str = "target/contracts/production";

pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    workspace::run(workspace.forge(&["build", "contracts/src"])?.env("FOUNDRY_PROFILE", "production"))
}

/// Lets forge tests deploy these artifacts instead of the quicker default build.
pub(crate) fn on(tests: &mut Command) -> &mut Command {
    tests.env("CAPA_ARTIFACTS", ARTIFACTS)
}
