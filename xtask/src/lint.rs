//! Formatting, lints and dependency rules: everything that needs no test run.

use crate::setup;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    workspace::run(&mut workspace.cargo(&["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    workspace::run(&mut workspace.forge(&["fmt", "--check"])?).context("run `forge fmt`")?;
    workspace::run(&mut workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Advisories need a database from the network and change with time, so they are not part of a repeatable check.
    let deny = ["deny", "--offline", "check", "bans", "licenses", "sources"];
    workspace::run(&mut workspace.cargo(&deny)).context("if cargo-deny is missing: `cargo install --locked cargo-deny`")
}
