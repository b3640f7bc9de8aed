//! The committed ABIs are what forge makes of the contracts.

use super::Repository;
use crate::abi::{self, CONTRACTS};
use crate::workspace::output;
use anyhow::{Context, Result};
use serde_json::Value;

pub(super) fn check(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for contract in CONTRACTS {
        let made = output(&mut repository.workspace.forge(&["inspect", contract, "abi", "--json"])?)?;
        let made: Vec<Value> = serde_json::from_str(&made).context("forge printed no ABI")?;
        if made != abi::read(repository.workspace, contract)? {
            violations.push(format!("{}: run `cargo xtask abi`", abi::committed(contract)));
        }
    }
    Ok(violations)
}
