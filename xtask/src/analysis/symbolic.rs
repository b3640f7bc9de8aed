//! Symbolic execution by halmos: the checks of `contracts/test/symbolic` for every input at once.

use super::python::Python;
use crate::test::{Outcome, Runner, suite};
use crate::workspace::Workspace;
use anyhow::Result;

/// Where the checks are; forge builds only these and what they import.
const CHECKS: &str = "contracts/test/symbolic";
const OUT: &str = "target/analysis/symbolic";

/// No loop in the checks runs longer; halmos refuses a result where one would.
const LOOPS: &str = "66";

/// For one question to a solver. Undecided counts as failed.
const TIMEOUT: &str = "300s";

pub(crate) fn run(workspace: &Workspace) -> Result<Outcome> {
    let python = Python::install(workspace)?;
    let arguments = ["--forge-build-out", OUT, "--loop", LOOPS, "--solver-timeout-assertion", TIMEOUT, "--no-status"];
    let mut halmos = python.command(workspace, "halmos", &arguments)?;
    halmos.envs([("FOUNDRY_SRC", CHECKS), ("FOUNDRY_TEST", CHECKS), ("FOUNDRY_SCRIPT", CHECKS)]);
    halmos.envs([("FOUNDRY_OUT", OUT), ("FOUNDRY_CACHE_PATH", "target/analysis/symbolic-cache")]);
    // Linked the usual way: halmos knows no cheatcode that deploys from artifacts.
    halmos.env("FOUNDRY_DYNAMIC_TEST_LINKING", "false");
    suite("symbolic", Runner::Halmos, &mut halmos)
}
