//! What the deployment script found and would do, as it writes it down.

use crate::files;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The most that a chain takes of one contract (EIP-170).
const MAX_CODE_SIZE: u64 = 24_576;

/// What belongs on a chain.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) chain_id: String,
    pub(super) deployer: String,
    pub(super) salt: String,
    pub(super) contracts: BTreeMap<String, Planned>,
}

/// One contract of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    pub(super) address: String,
    pub(super) code_hash: String,
    /// In bytes.
    pub(super) code_size: String,
    /// What it is created from; nothing for a contract of others.
    #[serde(flatten)]
    pub(super) ours: Option<Ours>,
    /// Whether it stood before the run.
    pub(super) standing: bool,
}

/// A contract of ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ours {
    /// Its name in the sources.
    pub(super) name: String,
    pub(super) creation_code: String,
    pub(super) arguments: String,
}

impl Plan {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let plan = serde_json::from_str(&files::read(path)?);
        let plan: Self = plan.with_context(|| format!("{} is not a plan", path.display()))?;
        plan.require_small()?;
        Ok(plan)
    }

    /// Forge takes code of any size; a chain does not.
    fn require_small(&self) -> Result<()> {
        for (key, planned) in &self.contracts {
            let size: u64 = planned.code_size.parse().with_context(|| format!("the size of {key}'s code"))?;
            if size > MAX_CODE_SIZE {
                bail!("{key} has {size} bytes of code, and a chain takes at most {MAX_CODE_SIZE} (EIP-170)");
            }
        }
        Ok(())
    }

    pub(super) fn contract(&self, key: &str) -> Result<&Planned> {
        self.contracts.get(key).with_context(|| format!("the deployment script planned no {key}"))
    }

    /// An error unless the chain has everything.
    pub(super) fn require_standing(&self) -> Result<()> {
        let missing: Vec<_> =
            self.contracts.iter().filter(|(_, planned)| !planned.standing).map(|(key, _)| key.as_str()).collect();
        if !missing.is_empty() {
            bail!("the chain does not have {} yet: run this again, it goes on where it stopped", missing.join(", "));
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chain {}", self.chain_id)?;
        for (key, planned) in &self.contracts {
            let state = if planned.standing { "stands" } else { "to create" };
            writeln!(f, "  {key:<15} {}  {state:<9}  code {}", planned.address, planned.code_hash)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A plan of four contracts, a stablecoin and its Settlement; every contract's bytes repeat its place.
    pub(in crate::deploy) fn example() -> Plan {
        let keys = ["token", "settlement", "registry", "catalog", "stablecoin", "stablecoinToken"];
        let contract = |(place, key): (usize, &&str)| {
            let repeat = |count: usize| format!("0x{}", format!("{:02x}", 0xa0 + place).repeat(count));
            let mut planned =
                json!({ "address": repeat(20), "codeHash": repeat(32), "codeSize": "24576", "standing": true });
            if *key != "stablecoinToken" {
                planned["name"] = json!("Name");
                planned["creationCode"] = json!(repeat(3));
                planned["arguments"] = json!(repeat(2));
            }
            ((*key).to_owned(), planned)
        };
        let contracts: serde_json::Map<_, _> = keys.iter().enumerate().map(contract).collect();
        let deployer = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
        let salt = format!("0x{}", "00".repeat(32));
        let plan = json!({ "chainId": "10", "deployer": deployer, "salt": salt, "contracts": contracts });
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn code_that_no_chain_takes_is_named() {
        let mut plan = example();
        plan.require_small().unwrap();
        plan.contracts.get_mut("settlement").unwrap().code_size = "24577".into();
        let error = plan.require_small().unwrap_err().to_string();
        assert!(error.starts_with("settlement has 24577 bytes"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut plan = example();
        plan.require_standing().unwrap();
        plan.contracts.get_mut("catalog").unwrap().standing = false;
        let error = plan.require_standing().unwrap_err().to_string();
        assert!(error.contains("does not have catalog yet"), "{error}");
        assert!(plan.to_string().contains("catalog         0xa3a3"), "{plan}");
    }
}
