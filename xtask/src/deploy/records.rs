//! Which transaction created which contract, from the records that forge keeps of its runs.

use crate::files;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a contract was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Creation {
    pub(super) transaction: String,
    pub(super) block: u64,
}

/// The newest known creation at each address, in small letters.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<String, Creation>);

#[derive(Deserialize)]
struct Run {
    transactions: Vec<Transaction>,
    receipts: Vec<Receipt>,
    timestamp: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    hash: Option<String>,
    transaction_type: String,
    contract_address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: String,
    block_number: String,
    status: String,
}

/// Forge replaces the record of the latest run by the next, also where neither was completed: this one is kept.
pub(super) fn keep(folder: &Path) -> Result<()> {
    let latest = folder.join("run-latest.json");
    if latest.is_file() {
        let kept = folder.join(format!("run-{}.json", read(&latest)?.timestamp));
        if !kept.exists() {
            fs::copy(&latest, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        }
    }
    Ok(())
}

impl Records {
    /// All runs of a chain.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut runs = paths(folder)?.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
        // A local chain begins anew each time, with the same addresses: what was recorded last is what counts.
        runs.sort_by_key(|run| run.timestamp);
        let mut records = Self::default();
        for run in runs {
            records.add(&run)?;
        }
        Ok(records)
    }

    pub(super) fn creation(&self, address: &str) -> Option<&Creation> {
        self.0.get(&address.to_lowercase())
    }

    fn add(&mut self, run: &Run) -> Result<()> {
        for created in run.transactions.iter().filter(|sent| sent.transaction_type == "CREATE2") {
            let (Some(hash), Some(address)) = (&created.hash, &created.contract_address) else { continue };
            let mined = |receipt: &&Receipt| receipt.transaction_hash == *hash && receipt.status == "0x1";
            let Some(receipt) = run.receipts.iter().find(mined) else { continue };
            let block = u64::from_str_radix(receipt.block_number.trim_start_matches("0x"), 16)
                .with_context(|| format!("the block of {hash} is {:?}", receipt.block_number))?;
            self.0.insert(address.to_lowercase(), Creation { transaction: hash.clone(), block });
        }
        Ok(())
    }
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    // Beside the runs lies a folder of those that sent nothing.
    let of_a_run =
        |path: &PathBuf| path.parent() == Some(folder) && path.extension().is_some_and(|kind| kind == "json");
    Ok(files::below(folder)?.into_iter().filter(of_a_run).collect())
}

fn read(path: &Path) -> Result<Run> {
    serde_json::from_str(&files::read(path)?).with_context(|| format!("{} is not forge's record", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn write(folder: &Path, name: &str, timestamp: u64, hash: &str, status: &str) {
        let run: Value = json!({
            "transactions": [
                { "hash": hash, "transactionType": "CREATE2", "contractAddress": "0xAb" },
                { "hash": "0x99", "transactionType": "CALL", "contractAddress": "0xcd" },
                { "hash": null, "transactionType": "CREATE2", "contractAddress": "0xef" },
            ],
            "receipts": [
                { "transactionHash": hash, "blockNumber": "0x10", "status": status },
                { "transactionHash": "0x99", "blockNumber": "0x11", "status": "0x1" },
            ],
            "timestamp": timestamp,
        });
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), run.to_string()).unwrap();
    }

    #[test]
    fn the_newest_creation_that_was_mined_counts() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "run-1.json", 1, "0x01", "0x1");
        write(folder.path(), "run-3.json", 3, "0x03", "0x0");
        write(folder.path(), "run-latest.json", 2, "0x02", "0x1");
        write(&folder.path().join("dry-run"), "run-latest.json", 9, "0x09", "0x1");
        let records = Records::read(folder.path()).unwrap();
        let creation = Creation { transaction: "0x02".into(), block: 16 };
        assert_eq!(records.creation("0xaB"), Some(&creation));
        assert_eq!(records.creation("0xcd"), None, "a call creates nothing");
        assert_eq!(records.creation("0xef"), None, "it was never sent");
    }

    #[test]
    fn an_interrupted_run_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path()).unwrap();
        assert!(Records::read(&folder.path().join("none")).unwrap().0.is_empty());
        write(folder.path(), "run-latest.json", 7, "0x07", "0x1");
        keep(folder.path()).unwrap();
        write(folder.path(), "run-latest.json", 8, "0x08", "0x0");
        let records = Records::read(folder.path()).unwrap();
        assert_eq!(records.creation("0xab").unwrap().transaction, "0x07");
    }
}
