//! The bars: what the worker may cost above the same work done without it.
//!
//! Each row compares two measurements of one run, or holds one against a fixed bar. A row that needs what this machine
//! has not is skipped by name; one that cannot be measured counts as missed.

mod wasm;
mod fleet;
mod gpu;

pub(crate) use gpu::anchors;

use super::MeasureError;
use super::machine::Machine;
use crate::doctor::trial::Trial;
use crate::execute::ExecuteConfig;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Name of the test kit's device, which is no GPU.
const EMULATED: &str = "emulated";

/// What is measured, and what it must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub key: &'static str,
    /// What is compared, in words.
    pub title: &'static str,
    /// Unit of both figures.
    pub unit: &'static str,
    /// The bar.
    pub bar: Bar,
}

/// A bar. Ratios are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// The measured time may be at most so many thousandths of the reference.
    TimeAtMost(u64),
    /// The reference's time must be at least so many thousandths of the measured one: that share of its speed.
    SpeedAtLeast(u64),
    /// The measured figure may be at most this.
    AtMost(u64),
    /// The measured figure must be at least this.
    AtLeast(u64),
}

/// Two figures, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// With the worker.
    pub measured: u64,
    /// Without it; `None` where the bar is a fixed one.
    pub reference: Option<u64>,
}

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// This machine has not what the row needs.
    #[error("{0}")]
    Skipped(String),
    /// It could not be measured.
    #[error(transparent)]
    Failed(#[from] MeasureError),
}

/// What became of a row.
pub type Outcome = Result<Measured, Missing>;

const fn row(key: &'static str, title: &'static str, unit: &'static str, bar: Bar) -> Row {
    Row { key, title, unit, bar }
}

/// Every row, in the order of the table.
pub const ROWS: [Row; 22] = [
    row(
        "gemm_bf16_8192",
        "matrix product, bf16, 8192^3, fp32 sums: against raw cuBLASLt",
        "ns",
        Bar::SpeedAtLeast(980),
    ),
    row("gemm_bf16_8192_rate", "the same in GFLOP/s, on an H200", "GFLOP/s", Bar::AtLeast(750_000)),
    row("pinned_copy_h2d", "copy of 1 GiB to the device: against the raw driver", "ns", Bar::SpeedAtLeast(970)),
    row("pinned_copy_d2h", "copy of 1 GiB from the device: against the raw driver", "ns", Bar::SpeedAtLeast(970)),
    row("warm_noop_p50", "empty CUDA job, request to signed receipt, median", "ns", Bar::AtMost(300_000)),
    row("warm_noop_p99", "the same, 99th percentile", "ns", Bar::AtMost(2_000_000)),
    row("warm_noop_rate", "the same, one after the other", "job/s", Bar::AtLeast(2_000)),
    row("warm_noop_wasm_p50", "empty WebAssembly job, request to signed receipt, median", "ns", Bar::AtMost(300_000)),
    row("warm_noop_wasm_p99", "the same, 99th percentile", "ns", Bar::AtMost(2_000_000)),
    row("warm_noop_wasm_rate", "the same, one after the other", "job/s", Bar::AtLeast(2_000)),
    row("tiny_launches_loop", "10,000 dependent tiny launches: against a raw loop", "ns", Bar::SpeedAtLeast(900)),
    row("tiny_launches_graph", "the same as a graph: against the raw loop", "ns", Bar::SpeedAtLeast(2_000)),
    row("compile_cached", "source to machine code, from the cache", "ns", Bar::AtMost(1_000_000)),
    row("sandbox_tax", "a job in its locked process: against the same in this one", "ns", Bar::TimeAtMost(1_010)),
    row("idle_supervisor_cpu", "an idle worker, parts per million of a core", "ppm", Bar::AtMost(10_000)),
    row("idle_supervisor_memory", "an idle worker's resident memory", "byte", Bar::AtMost(60_000_000)),
    row("wasm_loop", "integer loop: against plain wasmtime without fuel", "ns", Bar::TimeAtMost(1_300)),
    row("wasm_sha256", "the sample sha256: against plain wasmtime", "ns", Bar::TimeAtMost(1_300)),
    row("wasm_asian_option", "the sample asian-option: against plain wasmtime", "ns", Bar::TimeAtMost(1_300)),
    row("wasm_n_body", "the sample n-body: against plain wasmtime", "ns", Bar::TimeAtMost(1_300)),
    row("wasm_heat_equation", "the sample heat-equation: against plain wasmtime", "ns", Bar::TimeAtMost(1_300)),
    row("sign_receipt", "signing one receipt", "ns", Bar::AtMost(100_000)),
];

/// The row of that name.
pub fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

impl Row {
    /// The ratio that the bar is about, in thousandths, rounded to the worse side.
    fn ratio(&self, measured: Measured) -> Option<u64> {
        let reference = measured.reference?;
        let (above, below, up) = match self.bar {
            Bar::SpeedAtLeast(_) | Bar::AtLeast(_) => (reference, measured.measured, false),
            Bar::TimeAtMost(_) | Bar::AtMost(_) => (measured.measured, reference, true),
        };
        let (above, below) = (u128::from(above) * 1000, u128::from(below.max(1)));
        let ratio = if up { above.div_ceil(below) } else { above / below };
        u64::try_from(ratio).ok()
    }

    /// Whether the bar is met.
    pub fn passes(&self, measured: Measured) -> bool {
        match self.bar {
            Bar::TimeAtMost(bar) => self.ratio(measured).is_some_and(|ratio| ratio <= bar),
            Bar::SpeedAtLeast(bar) => self.ratio(measured).is_some_and(|ratio| ratio >= bar),
            Bar::AtMost(bar) => measured.measured <= bar,
            Bar::AtLeast(bar) => measured.measured >= bar,
        }
    }

    fn bar_text(&self) -> String {
        match self.bar {
            Bar::TimeAtMost(bar) => format!("ratio <= {}", decimal(bar)),
            Bar::SpeedAtLeast(bar) => format!("ratio >= {}", decimal(bar)),
            Bar::AtMost(bar) => format!("measured <= {bar}"),
            Bar::AtLeast(bar) => format!("measured >= {bar}"),
        }
    }

    /// The row's entry in the document.
    pub fn entry(&self, outcome: &Outcome) -> Value {
        match outcome {
            Ok(measured) => json!({
                "title": self.title,
                "measured": measured.measured,
                "reference": measured.reference,
                "ratio": self.ratio(*measured).map(decimal),
                "unit": self.unit,
                "bar": self.bar_text(),
                "pass": self.passes(*measured),
            }),
            Err(Missing::Skipped(why)) => json!({ "title": self.title, "skipped": why }),
            Err(Missing::Failed(error)) => {
                json!({ "title": self.title, "failed": error.to_string(), "bar": self.bar_text(), "pass": false })
            }
        }
    }
}

/// Thousandths as a decimal fraction.
fn decimal(thousandths: u64) -> String {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Which rows are wanted: those whose name begins with one of the given; all, where none is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(pub Vec<String>);

impl Selection {
    /// Whether a row is wanted.
    pub fn wants(&self, key: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| key.starts_with(wanted.as_str()))
    }

    fn wants_any(&self, prefix: &str) -> bool {
        ROWS.iter().any(|row| row.key.starts_with(prefix) && self.wants(row.key))
    }
}

/// The rows of the document: every wanted one, in the order of the table.
#[derive(Debug)]
pub struct Sheet {
    machine: Machine,
    entries: Vec<(&'static str, Outcome)>,
}

impl Default for Sheet {
    fn default() -> Self {
        Self::new()
    }
}

impl Sheet {
    /// An empty one of this machine.
    pub fn new() -> Self {
        Self { machine: Machine::here(), entries: Vec::new() }
    }

    /// Where it was measured.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Enters what became of a row.
    pub fn enter(&mut self, key: &'static str, outcome: Outcome) {
        self.entries.push((key, outcome));
    }

    /// Every wanted row; one that nobody entered was not measured here.
    pub fn rows(&self, selection: &Selection) -> Map<String, Value> {
        let wanted = ROWS.iter().filter(|row| selection.wants(row.key));
        let entry = |row: &Row| {
            let entered = self.entries.iter().find(|(key, _)| *key == row.key).map(|(_, outcome)| row.entry(outcome));
            entered.unwrap_or_else(|| row.entry(&Err(Missing::Skipped("it is measured by `cargo xtask bench`".into()))))
        };
        wanted.map(|row| (row.key.to_owned(), entry(row))).collect()
    }
}

/// Measures every wanted row that this program can measure by itself. `program` is `capa-worker`, which runs the jobs.
pub async fn measure(selection: &Selection, program: &Path, execute: &ExecuteConfig) -> Sheet {
    let mut sheet = Sheet::new();
    if selection.wants_any("wasm_") {
        wasm::measure(&mut sheet, selection);
    }
    if selection.wants("sign_receipt") {
        sheet.enter("sign_receipt", fleet::sign_receipt());
    }
    gpu::measure(&mut sheet, selection, program, &execute.cuda).await;
    let in_fleet = ["warm_noop", "sandbox_tax"];
    if in_fleet.iter().any(|prefix| selection.wants_any(prefix)) {
        match Trial::start(program, execute, &Default::default()).await {
            Ok(trial) => {
                let device = trial.fleet.inventory().device.filter(|name| name != EMULATED);
                sheet.machine.gpu = sheet.machine.gpu.or(device);
                fleet::measure(&mut sheet, selection, &trial).await;
                trial.close().await;
            }
            Err(error) => {
                for row in ROWS.iter().filter(|row| in_fleet.iter().any(|prefix| row.key.starts_with(prefix))) {
                    sheet.enter(row.key, Err(MeasureError::new(row.key, &error).into()));
                }
            }
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(measured: u64, reference: u64) -> Measured {
        Measured { measured, reference: Some(reference) }
    }

    #[test]
    fn a_ratio_is_never_rounded_in_the_workers_favour() {
        let overhead = find("wasm_loop").unwrap();
        assert_eq!(overhead.ratio(measured(1_300, 1_000)), Some(1_300));
        assert!(overhead.passes(measured(1_300, 1_000)));
        assert_eq!(overhead.ratio(measured(13_000_001, 10_000_000)), Some(1_301));
        assert!(!overhead.passes(measured(13_000_001, 10_000_000)));
        let speed = find("tiny_launches_loop").unwrap();
        assert_eq!(speed.ratio(measured(1_000, 900)), Some(900));
        assert!(speed.passes(measured(1_000, 900)));
        assert!(!speed.passes(measured(10_000_000, 8_999_999)));
    }

    #[test]
    fn fixed_bars_need_no_reference() {
        let most = find("warm_noop_p50").unwrap();
        assert!(most.passes(Measured { measured: 300_000, reference: None }));
        assert!(!most.passes(Measured { measured: 300_001, reference: None }));
        let least = find("warm_noop_rate").unwrap();
        assert!(!least.passes(Measured { measured: 1_999, reference: None }));
        assert!(!find("wasm_loop").unwrap().passes(Measured { measured: 1, reference: None }), "a ratio of nothing");
    }

    #[test]
    fn entries_say_all_that_is_needed() {
        let row = find("sandbox_tax").unwrap();
        let entry = row.entry(&Ok(measured(1_005, 1_000)));
        assert_eq!(entry["ratio"], "1.005");
        assert_eq!((&entry["bar"], &entry["pass"]), (&json!("ratio <= 1.010"), &json!(true)));
        let skipped = row.entry(&Err(Missing::Skipped("no GPU".into())));
        assert_eq!((&skipped["skipped"], &skipped["pass"]), (&json!("no GPU"), &Value::Null));
        let failed = row.entry(&Err(MeasureError::new("x", "y").into()));
        assert_eq!(failed["pass"], false);
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_name() {
        let some = Selection(vec!["warm_noop_wasm".into(), "compile".into()]);
        assert!(some.wants("warm_noop_wasm_p50") && some.wants("compile_cached") && !some.wants("warm_noop_p50"));
        let rows = Sheet::new().rows(&some);
        assert_eq!(rows.len(), 4);
        assert!(rows["compile_cached"]["skipped"].is_string());
        assert_eq!(Sheet::new().rows(&Selection::default()).len(), ROWS.len());
    }
}
