//! What every step of the protocol costs on chain, beside what it may cost and what the peers' contracts spend.

mod rows;
mod table;

use crate::files;
use crate::production::{self, ARTIFACTS};
use crate::setup;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail};
use rows::{Measured, ROWS, SIZE_CEILING};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
pub(crate) use table::thousands;

/// What the gas tests measured: a number for each row.
const BARS: &str = "contracts/snapshots/Bars.json";

/// What peers spend, each figure with the commit that it was measured at.
const PEERS: &str = "contracts/test/gas/peers.json";

const DOCUMENT: &str = "docs/benchmarks/gas.md";

/// Measures, writes snapshots and the benchmark page, and prints the table or one JSON document; an error if a bar is
/// missed.
pub(crate) fn run(workspace: &Workspace, as_json: bool) -> Result<()> {
    setup::run(workspace)?;
    production::build(workspace)?;
    // Their own assertions hold every transaction below 2^24 gas and 128 KiB.
    let mut tests = workspace.forge(&["test", "--match-path", "contracts/test/gas/*"])?;
    workspace::run(production::on(&mut tests))?;

    let measured = measured(workspace)?;
    let peers: Value = parse(workspace, PEERS)?;
    files::write(&workspace.path(DOCUMENT), &table::page(&measured, &peers)?)?;
    if as_json {
        println!("{:#}", document(&measured));
    } else {
        print!("{}", table::text(&measured, &peers)?);
    }
    let missed: Vec<_> = measured.iter().filter(|measured| !measured.passes()).map(|measured| &*measured.key).collect();
    if !missed.is_empty() {
        bail!("over the bar: {}", missed.join(", "));
    }
    Ok(())
}

/// Every row of the table, then the size of every contract.
fn measured(workspace: &Workspace) -> Result<Vec<Measured>> {
    let bars = parse(workspace, BARS)?;
    let mut measured = Vec::new();
    for row in &ROWS {
        let value = bars[row.key].as_str().and_then(|value| value.parse().ok());
        let value = value.with_context(|| format!("{BARS} has no {}", row.key))?;
        measured.push(Measured { key: row.key.into(), label: row.label.into(), value, ceiling: row.ceiling });
    }
    for (contract, value) in sizes(workspace)? {
        let (key, label) = (format!("size_{contract}"), format!("bytes of {contract}"));
        measured.push(Measured { key, label, value, ceiling: SIZE_CEILING });
    }
    Ok(measured)
}

/// Every contract of `contracts/src` that can be deployed, with the length of its code.
fn sizes(workspace: &Workspace) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for path in files::below(&workspace.path("contracts/src"))? {
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let artifact = format!("{ARTIFACTS}/{name}.sol/{name}.json");
        if !workspace.path(&artifact).is_file() {
            continue;
        }
        let artifact = parse(workspace, &artifact)?;
        let code = artifact["deployedBytecode"]["object"].as_str().unwrap_or_default();
        let length = code.trim_start_matches("0x").len() / 2;
        // Interfaces have no code, and libraries whose functions are all internal next to none.
        let library = artifact["abi"].as_array().is_none_or(|abi| abi.iter().all(|item| item["type"] == "error"));
        if length != 0 && !library {
            sizes.insert(name.to_owned(), length as u64);
        }
    }
    Ok(sizes)
}

/// One key for each row.
fn document(measured: &[Measured]) -> Value {
    let row = |measured: &Measured| {
        let value = json!({ "gas": measured.value, "ceiling": measured.ceiling, "pass": measured.passes() });
        (measured.key.clone(), value)
    };
    Value::Object(measured.iter().map(row).collect::<Map<_, _>>())
}

fn parse(workspace: &Workspace, path: &str) -> Result<Value> {
    serde_json::from_str(&files::read(&workspace.path(path))?).with_context(|| format!("{path} is not JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: u64) -> Measured {
        Measured { key: "collect_marginal".into(), label: "collect".into(), value, ceiling: 11_000 }
    }

    #[test]
    fn a_ceiling_may_be_reached_and_not_passed() {
        assert!(one(11_000).passes());
        assert!(!one(11_001).passes());
    }

    #[test]
    fn the_document_has_a_key_for_each_row() {
        let document = document(&[one(10_900)]);
        assert_eq!(document, json!({ "collect_marginal": { "gas": 10_900, "ceiling": 11_000, "pass": true } }));
    }

    #[test]
    fn every_peer_belongs_to_a_row_and_names_its_source() {
        let peers = parse(&Workspace::here().unwrap(), PEERS).unwrap();
        for (key, figures) in peers["rows"].as_object().unwrap() {
            assert!(ROWS.iter().any(|row| row.key == key), "{key}");
            for figure in figures.as_array().unwrap() {
                assert!(figure["gas"].is_u64(), "{figure}");
                let source = peers["sources"][figure["peer"].as_str().unwrap()].as_str().unwrap();
                assert!(source.contains(" @ "), "{source}");
            }
        }
    }
}
