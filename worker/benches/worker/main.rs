//! The bars of the worker: `cargo xtask bench worker` runs this in release mode and prints its one JSON document.
//!
//! The rows are measured by `worker::bench`, which `capa-worker bench --rows` runs as well. Only what needs a chain is
//! measured here: how much a real, idle worker takes of its machine.

mod idle;

use anyhow::Context;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use worker::bench::rows::{self, Selection};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // Cargo passes `--bench`; every other word is the beginning of a row's name.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !rows::ROWS.iter().any(|row| row.key.starts_with(*wanted))) {
        anyhow::bail!("no row begins with {unknown}");
    }
    let selection = Selection(wanted);
    let program = Path::new(env!("CARGO_BIN_EXE_capa-worker"));
    let mut sheet = rows::measure(&selection, program, &Default::default()).await;
    if selection.wants(idle::CPU) || selection.wants(idle::MEMORY) {
        let measured = idle::measure(program).await.context("measuring an idle worker");
        idle::enter(&mut sheet, measured);
    }
    let rows = sheet.rows(&selection);
    println!("{:#}", json!({ "machine": sheet.machine(), "rows": rows }));
    Ok(ExitCode::SUCCESS)
}
