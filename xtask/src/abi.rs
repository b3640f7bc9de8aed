//! What is derived from the contracts and committed: ABIs and golden vectors.

use crate::files;
use crate::setup;
use crate::workspace::{self, Workspace, output};
use anyhow::{Context, Result};
use serde_json::Value;

/// The contracts that others talk to. `protocol/build.rs` binds the same ones.
pub(crate) const CONTRACTS: [&str; 5] =
    ["ComputeToken", "Settlement", "ProviderRegistry", "ResourceCatalog", "Messages"];

/// Writes `contracts/abi/<contract>.json` for each contract.
pub(crate) fn export(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    for contract in CONTRACTS {
        let abi = output(&mut workspace.forge(&["inspect", contract, "abi", "--json"])?)?;
        files::write(&workspace.path(committed(contract)), &format!("{}\n", abi.trim_end()))?;
    }
    Ok(())
}

/// Writes `contracts/test/vectors`, which forge and cargo tests both read.
pub(crate) fn vectors(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    workspace::run(&mut workspace.cargo(&["run", "--package", "protocol", "--example", "vectors"]))
}

/// Where a contract's ABI is committed.
pub(crate) fn committed(contract: &str) -> String {
    format!("contracts/abi/{contract}.json")
}

/// The committed ABI of a contract.
pub(crate) fn read(workspace: &Workspace, contract: &str) -> Result<Vec<Value>> {
    let path = workspace.path(committed(contract));
    serde_json::from_str(&files::read(&path)?).with_context(|| format!("{} is not an ABI", path.display()))
}
