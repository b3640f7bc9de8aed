//! The table, for a terminal and as a page.

use super::rows::Measured;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Gas

`cargo xtask gas` measures these figures, writes this page and fails if a ceiling is passed. Each is the gas of whole
transactions (21,000, calldata and execution, refunds taken off) on the production build, between parties that have dealt
before; the tests are `contracts/test/gas`, and `test_Calibration` there checks the measure itself against sums done by hand.
Figures per job are complete runs: every voucher collected, the batch committed, every provider paid.

";

const NOTES: &str = "
- *Each further* is the difference between a long list and one item, divided by the items between.
- *Claim, each further batch* is a claim of eight batches less a claim of four, divided by four. Four batches share one word
  of paid amounts; its first use (17,100 gas more than a later one) is in the figure.
- *Open, later* adds to the same channel. A payer's second channel costs 17,100 gas more.
- A transaction may use 2^24 gas (EIP-7825) and 128 KiB. `Limits.t.sol` holds these lists below both when every provider is
  paid for the first time: `collect` 900, `redeem` 900, `distribute` 500, `recover` 180 vouchers, `claim` 150 batches.
- Peers' figures were measured the same way, by running their contracts at the commits below, in steady state. Those of
  distributors (EigenLayer, Merkl, Morpho, 1inch) include no check of what a client signed. Figures per job are computed from
  measured calls, for jobs spread at random over clients and providers.
";

/// For a terminal.
pub(super) fn text(measured: &[Measured], peers: &Value) -> Result<String> {
    let mut text = format!("{:<48} {:>8} {:>8}       peers\n", "", "gas", "ceiling");
    for Measured { label, value, ceiling, .. } in measured {
        let verdict = if value <= ceiling { "ok" } else { "OVER" };
        let (value, ceiling) = (thousands(*value), thousands(*ceiling));
        let line = format!("{label:<48} {value:>8} {ceiling:>8} {verdict:>5} ");
        let figures = figures(measured, label, peers)?;
        writeln!(text, "{}", format!("{line} {figures}").trim_end())?;
    }
    Ok(text)
}

/// As `docs/benchmarks/gas.md`.
pub(super) fn page(measured: &[Measured], peers: &Value) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| | gas | ceiling | peers |\n| --- | ---: | ---: | --- |\n");
    for Measured { label, value, ceiling, .. } in measured {
        let figures = figures(measured, label, peers)?;
        writeln!(page, "| {label} | {} | {} | {figures} |", thousands(*value), thousands(*ceiling))?;
    }
    page.push_str(NOTES);
    page.push_str("\n| peer | repository and commit |\n| --- | --- |\n");
    for (peer, source) in peers["sources"].as_object().context("the peers have no sources")? {
        writeln!(page, "| {peer} | {} |", source.as_str().unwrap_or_default())?;
    }
    Ok(page)
}

/// What the peers spend on the same.
fn figures(measured: &[Measured], label: &str, peers: &Value) -> Result<String> {
    let row = measured.iter().find(|measured| measured.label == label).context("a label without a row")?;
    let figure = |figure: &Value| {
        let peer = figure["peer"].as_str().unwrap_or_default();
        let what = figure["operation"].as_str().map(|what| format!(" ({what})")).unwrap_or_default();
        format!("{peer} {}{what}", thousands(figure["gas"].as_u64().unwrap_or_default()))
    };
    let figures = peers["rows"][&row.key].as_array();
    Ok(figures.map(|figures| figures.iter().map(figure).collect::<Vec<_>>().join("; ")).unwrap_or_default())
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let grouped = [0, 999, 1_000, 16_777_216].map(thousands);
        assert_eq!(grouped, ["0", "999", "1,000", "16,777,216"]);
    }
}
