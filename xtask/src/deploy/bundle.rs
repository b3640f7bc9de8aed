//! What a block explorer needs to verify the sources: the compiler's input for each contract, and the arguments.

use super::plan::Plan;
use crate::files;
use crate::workspace::{Workspace, say};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Where the production build lies, by `foundry.toml`.
const ARTIFACTS: &str = "target/contracts/production";

/// Writes `<Contract>.json`, the compiler's standard JSON input, for each contract of ours, and `verification.json`, which
/// says what belongs to which address. Every input is compiled once more, as the explorer will, and must give the code
/// that was deployed.
pub(super) fn write(workspace: &Workspace, plan: &Plan, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut entries = Vec::new();
    let mut written: Vec<&str> = Vec::new();
    for planned in plan.contracts.values() {
        let Some(ours) = &planned.ours else { continue };
        let name = ours.name.as_str();
        let artifact = workspace.path(ARTIFACTS).join(format!("{name}.sol/{name}.json"));
        let artifact: Value = serde_json::from_str(&files::read(&artifact)?)?;
        let metadata = &artifact["metadata"];
        let source = source(metadata).with_context(|| format!("the artifact of {name} does not name its source"))?;
        if !written.contains(&name) {
            let input = input(metadata, |path| files::read(&workspace.path(path)))?;
            say(&format!("compiling {name} from its bundle"));
            compare(workspace, &input, (source, name), &ours.creation_code)?;
            files::write(&folder.join(format!("{name}.json")), &format!("{}\n", serde_json::to_string(&input)?))?;
            written.push(name);
        }
        entries.push(json!({
            "address": planned.address,
            "contract": format!("{source}:{name}"),
            "input": format!("{name}.json"),
            "compiler": format!("v{}", metadata["compiler"]["version"].as_str().unwrap_or_default()),
            "constructorArguments": ours.arguments,
        }));
    }
    let text = serde_json::to_string_pretty(&json!({ "chainId": plan.chain_id, "contracts": entries }))?;
    files::write(&folder.join("verification.json"), &format!("{text}\n"))
}

/// The source of the contract that the metadata is about.
fn source(metadata: &Value) -> Option<&str> {
    metadata["settings"]["compilationTarget"].as_object()?.keys().next().map(String::as_str)
}

/// The compiler's input that the metadata describes.
fn input(metadata: &Value, read: impl Fn(&str) -> Result<String>) -> Result<Value> {
    let mut settings = metadata["settings"].as_object().context("an artifact without settings")?.clone();
    settings.remove("compilationTarget");
    settings.insert("outputSelection".into(), json!({ "*": { "*": ["abi", "evm.bytecode.object"] } }));
    let sources = metadata["sources"].as_object().context("an artifact without sources")?;
    let content = |path: &String| Ok((path.clone(), json!({ "content": read(path)? })));
    let sources = sources.keys().map(content).collect::<Result<serde_json::Map<_, _>>>()?;
    Ok(json!({ "language": metadata["language"], "sources": sources, "settings": settings }))
}

/// An error unless the input compiles to this creation code.
fn compare(workspace: &Workspace, input: &Value, (source, name): (&str, &str), expected: &str) -> Result<()> {
    let solc = std::env::var_os("FOUNDRY_SOLC").unwrap_or_else(|| workspace.path("contracts/tools/solc").into());
    let mut command = workspace.command(solc);
    command.arg("--standard-json").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start the compiler")?;
    let mut stdin = child.stdin.take().context("the compiler takes no input")?;
    stdin.write_all(input.to_string().as_bytes()).context("the compiler ended early")?;
    drop(stdin);
    let output: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    let code = output["contracts"][source][name]["evm"]["bytecode"]["object"].as_str();
    let code = code.with_context(|| format!("{name} does not compile from its bundle: {}", output["errors"]))?;
    if code != expected.trim_start_matches("0x") {
        bail!("{name} compiles to other code from its bundle: an explorer could not verify it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_has_what_was_compiled_and_nothing_else() {
        let metadata = json!({
            "compiler": { "version": "0.8.37+commit.f401782d" },
            "language": "Solidity",
            "settings": { "viaIR": true, "compilationTarget": { "contracts/src/A.sol": "A" } },
            "sources": { "contracts/src/A.sol": { "keccak256": "0x00" }, "contracts/src/B.sol": {} },
        });
        assert_eq!(source(&metadata), Some("contracts/src/A.sol"));
        let input = input(&metadata, |path| Ok(format!("text of {path}"))).unwrap();
        let expected = json!({
            "language": "Solidity",
            "sources": {
                "contracts/src/A.sol": { "content": "text of contracts/src/A.sol" },
                "contracts/src/B.sol": { "content": "text of contracts/src/B.sol" },
            },
            "settings": { "viaIR": true, "outputSelection": { "*": { "*": ["abi", "evm.bytecode.object"] } } },
        });
        assert_eq!(input, expected);
    }
}
