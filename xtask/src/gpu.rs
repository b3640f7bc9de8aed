//! The worker on a machine with a GPU: one program that needs no source tree, its checks, its jobs and its bars.

use crate::bench::table;
use crate::files;
use crate::workspace::{self, Workspace, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The page that is written.
const DOCUMENT: &str = "docs/benchmarks/gpu.md";

/// What the program is asked for: checks with every sample job, then every bar.
const SUITE: [&str; 4] = ["bench", "--rows", "--suite", "--json"];

/// Where the program comes from and where it runs.
#[derive(Args)]
pub(crate) struct Options {
    /// Only build the program, and say how to run it on another machine
    #[arg(long, conflicts_with_all = ["binary", "results"])]
    build_only: bool,
    /// Run this program instead of building one
    #[arg(long, conflicts_with = "results")]
    binary: Option<PathBuf>,
    /// Write the page from what the program printed on another machine
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Runs the suite on this machine's GPU, or reads what it gave elsewhere, and writes the page. Without a GPU nothing is
/// written.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let document = match (&options.results, &options.binary) {
        (Some(results), _) => parse(&files::read(results)?)?,
        (None, Some(binary)) => suite(binary)?,
        (None, None) => {
            let binary = build(workspace)?;
            if options.build_only {
                say(&format!(
                    "copy {} to a machine with a GPU, run `capa-worker {} > gpu.json` there, and bring the file to \
                     `cargo xtask gpu --results gpu.json`",
                    binary.display(),
                    SUITE.join(" ")
                ));
                return Ok(());
            }
            suite(&binary)?
        }
    };
    files::write(&workspace.path(DOCUMENT), &page(&document)?)?;
    say(&format!("written: {DOCUMENT}"));
    print!("{}", table::text(&document)?);
    let failed = failed_checks(&document);
    let missed = table::missed(&document)?;
    if !failed.is_empty() || !missed.is_empty() {
        bail!("failed: {}", failed.into_iter().chain(missed).collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Builds the program in release mode. It links nothing but the C library, and finds CUDA's libraries when it runs.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    workspace::run(&mut workspace.cargo(&["build", "--release", "--package", "worker", "--bin", "capa-worker"]))?;
    let ldd = Command::new("ldd").arg("--version").output().ok();
    let text = ldd.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or("unknown");
    say(&format!("the program runs on Linux with the C library of this machine (glibc {version}) or a newer one"));
    Ok(workspace.target()?.join("release/capa-worker"))
}

fn suite(binary: &Path) -> Result<Value> {
    say(&format!("$ {} {}", binary.display(), SUITE.join(" ")));
    let output = Command::new(binary).args(SUITE).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", binary.display()))?;
    // A missed bar is told by the exit code too, and belongs on the page all the same.
    parse(std::str::from_utf8(&output.stdout).context("the suite did not print text")?)
}

/// The suite's document, if it comes from a GPU.
fn parse(text: &str) -> Result<Value> {
    let document: Value = serde_json::from_str(text).context("the suite did not print one JSON document")?;
    if document["machine"]["gpu"].as_str().is_none() {
        bail!(
            "there is no GPU on this machine that the worker can use, so nothing is written: `capa-worker doctor` says \
             what is missing; `cargo xtask gpu --build-only` builds the program for another machine"
        );
    }
    Ok(document)
}

fn checks(document: &Value) -> impl Iterator<Item = &Value> {
    document["doctor"]["checks"].as_array().into_iter().flatten()
}

fn failed_checks(document: &Value) -> Vec<&str> {
    checks(document).filter(|check| check["state"] == "fail").filter_map(|check| check["id"].as_str()).collect()
}

/// Machine, libraries, checks and bars.
fn page(document: &Value) -> Result<String> {
    let mut page =
        "# The worker on a GPU\n\nWritten by `cargo xtask gpu` from what it found and measured; do not edit. \
                    Ratios compare two measurements of the same\nrun that took turns; figures are medians.\n\n"
            .to_owned();
    page += &table::table(document)?;
    page += "\n## What `capa-worker doctor --full` found\n\n| check | state | found |\n| --- | --- | --- |\n";
    for check in checks(document) {
        let text = |name: &str| check[name].as_str().unwrap_or_default().replace('|', "\\|").replace('\n', " ");
        page += &format!("| `{}` | {} | {} |\n", text("id"), text("state"), text("found"));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(gpu: Value) -> Value {
        json!({
            "machine": { "cpu": "AMD EPYC", "cores": 16, "gpu": gpu, "kernel": "6.1" },
            "rows": {},
            "doctor": { "checks": [
                { "id": "gpu.driver", "state": "ok", "found": "/lib/libcuda.so.1: for CUDA 13.0" },
                { "id": "kernel.cuda.sha256", "state": "fail", "found": "the answer | is wrong" }
            ] }
        })
    }

    #[test]
    fn without_a_gpu_there_is_no_page() {
        let error = parse(&document(Value::Null).to_string()).unwrap_err().to_string();
        assert!(error.contains("nothing is written"), "{error}");
        assert!(parse("no JSON").is_err());
    }

    #[test]
    fn the_page_names_the_machine_and_what_was_found() {
        let document = parse(&document(json!("NVIDIA H200")).to_string()).unwrap();
        let page = page(&document).unwrap();
        assert!(page.contains("Machine: AMD EPYC, 16 cores, NVIDIA H200, Linux 6.1."), "{page}");
        assert!(page.contains("| `kernel.cuda.sha256` | fail | the answer \\| is wrong |"), "{page}");
        assert_eq!(failed_checks(&document), ["kernel.cuda.sha256"]);
    }
}
