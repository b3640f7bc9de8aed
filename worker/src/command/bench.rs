//! `capa-worker bench`: measures this machine, and signs what was measured.

use crate::bench::machine::Machine;
use crate::bench::rows::{self, Selection};
use crate::bench::{cpu, document, gpu_figures, signed};
use crate::config::this_program;
use crate::doctor::{self, Options};
use crate::execute::CudaConfig;
use crate::execute::ExecuteConfig;
use crate::execute::anchor::{self, Sizes};
use anyhow::{Context, bail};
use clap::Args;
use protocol::address_book::AddressBook;
use protocol::signature::SigningKey;
use serde_json::{Value, json};
use service::config::read_json;
use service::keystore::read_key;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to measure.
#[derive(Debug, Args)]
pub struct Bench {
    /// The configuration, whose worker key signs the benchmark; without one it is not signed.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Also write the JSON document into this file, which must not exist.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Measure the bars instead: the worker against the same work done without it. This is not signed.
    #[arg(long)]
    rows: bool,
    /// Of the bars only those whose name begins so; may be given several times.
    #[arg(long = "row", requires = "rows")]
    selected: Vec<String>,
    /// Before the bars, make the checks of `doctor --full`, and put both into the document.
    #[arg(long, requires = "rows")]
    suite: bool,
}

impl Bench {
    /// Measures and prints. The exit code is 1 if a bar is missed.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (document, text, passed) = if self.rows { self.bars().await? } else { self.figures().await? };
        if let Some(path) = &self.out {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{document:#}"));
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            println!("{document:#}");
        } else {
            println!("{text}");
        }
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn figures(&self) -> anyhow::Result<(Value, String, bool)> {
        // Everything that signing needs is looked at before ten seconds are spent on measuring.
        let signer = self.signer()?;
        let execute = self.execute()?;
        let mut figures = tokio::task::spawn_blocking(cpu::figures).await??;
        let (gpu, more) = gpu_figures(&this_program(), &execute.cuda).await;
        figures.extend(more);
        let machine = Machine { gpu, ..Machine::here() };
        let mut text = String::new();
        for (name, figure) in &figures {
            text += &format!("{name:<22} {:>16} {}\n", figure.value, figure.unit);
        }
        let document = document(&machine, &figures);
        let Some((config, domain, key)) = signer else {
            return Ok((document, text + "not signed: no --config names a worker key", true));
        };
        let signed = signed(document, config.provider, &domain, &key)?;
        let text = text + &format!("signed by {} for {}", signed.worker, signed.provider);
        Ok((serde_json::to_value(&signed)?, text, true))
    }

    fn execute(&self) -> anyhow::Result<ExecuteConfig> {
        Ok(match &self.config {
            Some(path) => super::load(path)?.execute,
            None => ExecuteConfig::default(),
        })
    }

    fn signer(&self) -> anyhow::Result<Option<(crate::Config, protocol::signature::Domain, SigningKey)>> {
        let Some(path) = &self.config else { return Ok(None) };
        let config = super::load(path)?;
        let book: AddressBook = read_json(&config.address_book)?;
        let Some(key) = SigningKey::from_bytes(&*read_key(&config.key)?) else {
            bail!("{} holds no valid key: make a new one with `capa-worker init`", config.key.keystore.display());
        };
        Ok(Some((config, book.domain(), key)))
    }

    async fn bars(&self) -> anyhow::Result<(Value, String, bool)> {
        let execute = self.execute()?;
        let selection = Selection(self.selected.clone());
        let checks = match self.suite {
            true => {
                let options = Options { config: self.config.clone(), full: true, program: this_program() };
                Some(doctor::examine(&options).await)
            }
            false => None,
        };
        let sheet = rows::measure(&selection, &this_program(), &execute).await;
        let rows = sheet.rows(&selection);
        let passed = rows.values().all(|row| row["pass"] != false);
        let text = table(&rows);
        let mut document = json!({ "machine": sheet.machine(), "rows": rows });
        if let Some(report) = checks {
            document["doctor"] = serde_json::to_value(&report)?;
        }
        Ok((document, text, passed))
    }
}

/// The hidden verb that measures the first GPU and prints the figures, or why there are none: its process may hang, the
/// one that asked does not.
pub(super) fn measure_anchors() -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let config: CudaConfig = serde_json::from_str(&text)?;
    println!("{}", serde_json::to_string(&anchor::measure(&config, &Sizes::FULL))?);
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &serde_json::Map<String, Value>) -> String {
    let line = |(key, row): (&String, &Value)| {
        let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
        match (row["skipped"].as_str(), row["failed"].as_str()) {
            (Some(why), _) => format!("{key:<24} skipped: {why}"),
            (_, Some(why)) => format!("{key:<24} FAILED: {why}"),
            _ => {
                let verdict = if row["pass"] == true { "ok" } else { "MISSED" };
                let (measured, ratio, bar) = (text("measured"), text("ratio"), text("bar"));
                format!("{key:<24} {measured:>14} {:<9} ratio {ratio:<7} {bar:<22} {verdict}", text("unit"))
            }
        }
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
