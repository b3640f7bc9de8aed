//! The address book, as `protocol::address_book` reads it.

use super::plan::{Ours, Plan};
use super::records::Records;
use crate::files;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A chain's contracts around one Settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Book {
    chain_id: String,
    start_block: String,
    deployer: String,
    salt: String,
    contracts: Contracts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Contracts {
    token: Contract,
    settlement: Contract,
    registry: Contract,
    catalog: Contract,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timelock: Option<Contract>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Contract {
    address: String,
    code_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creation: Option<Creation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Creation {
    transaction: String,
    arguments: String,
}

/// Contracts that one address book names, and where their creations are known from.
struct Sources<'a> {
    plan: &'a Plan,
    records: &'a Records,
    known: Option<&'a Book>,
}

impl Book {
    /// The book of the Settlement with this key in the plan.
    pub(super) fn new(plan: &Plan, settlement: &str, records: &Records, known: Option<&Self>) -> Result<Self> {
        let sources = Sources { plan, records, known };
        let has_timelock = plan.contracts.contains_key("timelock");
        let contracts = Contracts {
            token: sources.contract(token_of(settlement))?,
            settlement: sources.contract(settlement)?,
            registry: sources.contract("registry")?,
            catalog: sources.contract("catalog")?,
            timelock: has_timelock.then(|| sources.contract("timelock")).transpose()?,
        };
        Ok(Self {
            chain_id: plan.chain_id.clone(),
            start_block: sources.start_block(&contracts)?.to_string(),
            deployer: plan.deployer.clone(),
            salt: plan.salt.clone(),
            contracts,
        })
    }

    /// The book in a file; nothing where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let book = serde_json::from_str(&files::read(path)?);
        book.map(Some).with_context(|| format!("{} is not an address book", path.display()))
    }

    pub(super) fn to_json(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// An error where this book describes another deployment than the plan: changed sources, arguments or salt give
    /// other addresses, and nobody means to replace a whole deployment by repeating it.
    pub(super) fn require_same(&self, plan: &Plan, settlement: &str, path: &Path) -> Result<()> {
        let contracts = &self.contracts;
        for (key, known) in [
            (token_of(settlement), &contracts.token),
            (settlement, &contracts.settlement),
            ("registry", &contracts.registry),
            ("catalog", &contracts.catalog),
        ] {
            let planned = plan.contract(key)?;
            if !planned.address.eq_ignore_ascii_case(&known.address) {
                bail!(
                    "{} has {key} at {}, and it would now be created at {}: the sources or the network file have \
                     changed since. Deploy from what they were, or move the book away to deploy all of it anew",
                    path.display(),
                    known.address,
                    planned.address
                );
            }
        }
        Ok(())
    }
}

impl Contracts {
    fn all(&self) -> impl Iterator<Item = &Contract> {
        [&self.token, &self.settlement, &self.registry, &self.catalog].into_iter().chain(&self.timelock)
    }
}

impl Sources<'_> {
    fn contract(&self, key: &str) -> Result<Contract> {
        let planned = self.plan.contract(key)?;
        let creation = planned.ours.as_ref().map(|ours| self.creation(key, &planned.address, ours)).transpose()?;
        Ok(Contract { address: planned.address.clone(), code_hash: planned.code_hash.clone(), creation })
    }

    fn creation(&self, key: &str, address: &str, ours: &Ours) -> Result<Creation> {
        let recorded = self.records.creation(address).map(|creation| creation.transaction.clone());
        let known = || {
            let book = self.known?;
            let same = book.contracts.all().find(|known| known.address.eq_ignore_ascii_case(address))?;
            same.creation.as_ref().map(|creation| creation.transaction.clone())
        };
        let transaction = recorded.or_else(known).with_context(|| {
            format!(
                "no record says which transaction created {key} at {address}: copy target/contracts/broadcast from \
                 where it was deployed, and run this again"
            )
        })?;
        Ok(Creation { transaction, arguments: ours.arguments.clone() })
    }

    /// The first block of the contracts' creations.
    fn start_block(&self, contracts: &Contracts) -> Result<u64> {
        let recorded = contracts.all().filter_map(|contract| self.records.creation(&contract.address));
        let recorded = recorded.map(|creation| creation.block).min();
        let complete = contracts
            .all()
            .all(|contract| contract.creation.is_none() || self.records.creation(&contract.address).is_some());
        let known = self.known.filter(|_| !complete).map(|book| book.start_block.parse()).transpose()?;
        recorded.into_iter().chain(known).min().context("no record has the block of any creation")
    }
}

/// The plan's key of what a Settlement settles in.
fn token_of(settlement: &str) -> &'static str {
    if settlement == "stablecoin" { "stablecoinToken" } else { "token" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::plan::tests::example;
    use serde_json::json;
    use std::fs;

    /// Records in which the contract in place `n` of the example was created in block `100 - n`.
    fn records(folder: &Path, places: &[u8]) -> Records {
        let address = |place: &u8| format!("0x{}", format!("{:02x}", 0xa0 + place).repeat(20));
        let hash = |place: &u8| format!("0x{}", format!("{:02x}", 0xb0 + place).repeat(32));
        let run = json!({
            "transactions": places.iter().map(|place| json!({
                "hash": hash(place), "transactionType": "CREATE2", "contractAddress": address(place),
            })).collect::<Vec<_>>(),
            "receipts": places.iter().map(|place| json!({
                "transactionHash": hash(place), "blockNumber": format!("0x{:x}", 100 - place), "status": "0x1",
            })).collect::<Vec<_>>(),
            "timestamp": 1,
        });
        fs::write(folder.join("run-1.json"), run.to_string()).unwrap();
        Records::read(folder).unwrap()
    }

    #[test]
    fn the_book_is_the_one_that_programs_read() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(&example(), "settlement", &records(folder.path(), &[0, 1, 2, 3, 4]), None).unwrap();
        assert_eq!(book.to_json().unwrap(), include_str!("../../../contracts/test/vectors/address-book.json"));
    }

    #[test]
    fn a_stablecoin_has_a_book_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(&example(), "stablecoin", &records(folder.path(), &[0, 1, 2, 3, 4]), None).unwrap();
        assert_eq!(book.contracts.token.address, format!("0x{}", "a5".repeat(20)));
        assert_eq!(book.contracts.token.creation, None, "others deployed it");
        assert_eq!(book.contracts.settlement.address, format!("0x{}", "a4".repeat(20)));
        assert_eq!(book.start_block, "96");
    }

    #[test]
    fn what_an_earlier_run_did_is_taken_from_its_book() {
        let folder = tempfile::tempdir().unwrap();
        let first = Book::new(&example(), "settlement", &records(folder.path(), &[0, 1, 2, 3]), None).unwrap();
        let later = records(folder.path(), &[0]);
        assert_eq!(Book::new(&example(), "settlement", &later, Some(&first)).unwrap(), first);
        let error = Book::new(&example(), "settlement", &later, None).unwrap_err().to_string();
        assert!(error.contains("created settlement at 0xa1a1"), "{error}");
    }

    #[test]
    fn a_repeated_deployment_does_not_replace_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = example();
        let book = Book::new(&plan, "settlement", &records(folder.path(), &[0, 1, 2, 3]), None).unwrap();
        let path = Path::new("contracts/deployments/10.json");
        book.require_same(&plan, "settlement", path).unwrap();
        plan.contracts.get_mut("registry").unwrap().address = "0x99".into();
        let error = book.require_same(&plan, "settlement", path).unwrap_err().to_string();
        assert!(error.contains("10.json has registry at 0xa2a2") && error.contains("at 0x99"), "{error}");
    }
}
