//! One page per state-changing function, which states the function as the contract has it.

use super::Repository;
use crate::abi;
use crate::files;
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeSet;

/// Each contract with the folder of its pages.
const FOLDERS: [(&str, &str); 4] = [
    ("Settlement", "docs/operations/settlement"),
    ("ComputeToken", "docs/operations/token"),
    ("ProviderRegistry", "docs/operations/registry"),
    ("ResourceCatalog", "docs/operations/catalog"),
];

/// What every page answers, in this order.
const SECTIONS: [&str; 6] = ["## Purpose", "## Checks", "## State before", "## State after", "## Event", "## Errors"];

pub(super) fn check(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for (contract, folder) in FOLDERS {
        let abi = abi::read(repository.workspace, contract)?;
        let functions: Vec<_> = abi.iter().filter(|item| changes_state(item)).collect();
        let expected: BTreeSet<_> = functions.iter().map(|item| page_name(item)).collect();
        for page in pages(repository, folder) {
            if !expected.contains(&page) {
                violations.push(format!("{folder}/{page}: {contract} has no such function"));
            }
        }
        for function in functions {
            let path = format!("{folder}/{}", page_name(function));
            match files::read(&repository.workspace.path(&path)) {
                Ok(page) => violations.extend(faults(&page, function, &abi).map(|fault| format!("{path}: {fault}"))),
                Err(_) => violations.push(format!("{path}: missing")),
            }
        }
    }
    Ok(violations)
}

fn pages<'a>(repository: &'a Repository<'_>, folder: &'a str) -> impl Iterator<Item = String> + 'a {
    let below = repository.sources.iter().filter_map(move |source| source.path.strip_prefix(folder)?.strip_prefix('/'));
    below.map(str::to_owned)
}

fn changes_state(item: &Value) -> bool {
    item["type"] == "function" && item["stateMutability"] != "view" && item["stateMutability"] != "pure"
}

fn page_name(function: &Value) -> String {
    format!("{}.md", function["name"].as_str().unwrap_or_default())
}

/// What a page says that its contract does not, and the other way round.
fn faults<'a>(page: &'a str, function: &Value, abi: &'a [Value]) -> impl Iterator<Item = String> + use<'a> {
    let signature = signature(function);
    let unstated = (!page.contains(&signature)).then(|| format!("does not state `{signature}`"));
    let mut rest = page;
    let missing = SECTIONS.iter().find(|section| match rest.split_once(&format!("\n{section}")) {
        Some((_, after)) => {
            rest = after;
            false
        }
        None => true,
    });
    let missing = missing.map(|section| format!("lacks the section `{section}`, or has it in another place"));
    let events = unknown(page, "## Event", "event", abi);
    let errors = unknown(page, "## Errors", "error", abi);
    unstated.into_iter().chain(missing).chain(events).chain(errors)
}

/// The function as in Solidity: `open(address signer, address keeper, uint64 amount)`.
fn signature(function: &Value) -> String {
    let inputs = function["inputs"].as_array().into_iter().flatten();
    let declared = |input: &Value| {
        let kind = input["internalType"].as_str().unwrap_or_default();
        let kind = kind.trim_start_matches("struct ").trim_start_matches("enum ");
        let kind = if kind.starts_with("contract ") { "address" } else { kind };
        format!("{kind} {}", input["name"].as_str().unwrap_or_default()).trim_end().to_owned()
    };
    let inputs: Vec<_> = inputs.map(declared).collect();
    format!("{}({})", function["name"].as_str().unwrap_or_default(), inputs.join(", "))
}

/// Names in a section's list (`- \`Name(…)\``) that the ABI does not have with these parameters.
fn unknown<'a>(
    page: &'a str,
    section: &str,
    kind: &'a str,
    abi: &'a [Value],
) -> impl Iterator<Item = String> + use<'a> {
    let section = page.split_once(&format!("\n{section}")).map_or("", |(_, after)| after);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let listed = section.lines().filter_map(|line| line.strip_prefix("- `")?.split_once('`')).map(|(name, _)| name);
    let known: Vec<_> = abi.iter().filter(|item| item["type"] == kind).map(signature).collect();
    listed.filter(move |name| !known.iter().any(|known| known == name)).map(move |name| format!("no {kind} `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(page: &str) -> Vec<String> {
        let input = |kind: &str, name: &str| json!({ "internalType": kind, "name": name });
        let item = |kind: &str, name: &str| json!({ "type": kind, "name": name, "inputs": [input("address", "keeper"), input("struct Item[]", "items")] });
        let abi = [item("function", "pay"), item("event", "Paid"), item("error", "Unpaid")];
        faults(page, &abi[0], &abi).collect()
    }

    #[test]
    fn a_page_states_its_function() {
        let sections = SECTIONS.map(|section| format!("\n{section}\ntext\n")).join("");
        let page = format!("# pay\n`pay(address keeper, Item[] items)`\n{sections}");
        assert!(found(&page).is_empty());
        assert!(found(&page.replace("Item[]", "Item"))[0].starts_with("does not state `pay("));
        assert!(found(&page.replace("## Checks", "## Check"))[0].contains("`## Checks`"));
    }

    #[test]
    fn events_and_errors_are_the_contracts() {
        let listed = "\n## Purpose\n\n## Checks\n\n## State before\n\n## State after\n\n## Event\n- `Paid(address keeper, Item[] items)`\n\n## Errors\n- `Broke(address keeper)` if so\n- `Unpaid(address keeper, Item[] items)`\n";
        assert_eq!(
            found(&format!("pay(address keeper, Item[] items)\n{listed}")),
            ["no error `Broke(address keeper)`"]
        );
    }
}
