//! What the worker costs above the same work done without it, held against the bars of its benchmark.

pub(crate) mod table;

use crate::files;
use crate::setup;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;

/// The page that a whole run writes.
const DOCUMENT: &str = "docs/benchmarks/worker.md";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The worker
    Worker,
}

/// What to measure, and how to tell it.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    subject: Subject,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins so; may be given several times. The page is then left as it is
    #[arg(long = "rows", value_delimiter = ',', conflicts_with = "results")]
    rows: Vec<String>,
    /// Measure nothing, but write the page from a document that was measured elsewhere
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Builds and measures in release mode, writes the page, and prints the table or the document; an error if a bar is
/// missed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let Subject::Worker = options.subject;
    let text = match &options.results {
        Some(results) => files::read(results)?,
        None => {
            setup::run(workspace)?;
            let mut bench = workspace.cargo(&["bench", "--package", "worker", "--bench", "worker", "--"]);
            workspace::output(bench.args(&options.rows))?
        }
    };
    let document: Value = serde_json::from_str(&text).context("what was measured is not one JSON document")?;
    if options.rows.is_empty() {
        files::write(&workspace.path(DOCUMENT), &table::page(&document)?)?;
    }
    if options.json {
        println!("{document:#}");
    } else {
        print!("{}", table::text(&document)?);
    }
    let missed = table::missed(&document)?;
    if !missed.is_empty() {
        bail!("over the bar: {}", missed.join(", "));
    }
    Ok(())
}
