//! The rows of a benchmark as a table, for people and for the page.

use crate::gas::thousands;
use anyhow::{Context, Result};
use serde_json::{Map, Value};

fn rows(document: &Value) -> Result<&Map<String, Value>> {
    document["rows"].as_object().context("the benchmark has no rows")
}

/// The rows that were measured and are over their bar.
pub(crate) fn missed(document: &Value) -> Result<Vec<&str>> {
    Ok(rows(document)?.iter().filter(|(_, row)| row["pass"] == false).map(|(key, _)| key.as_str()).collect())
}

/// One line a row.
pub(crate) fn text(document: &Value) -> Result<String> {
    let line = |(key, row): (&String, &Value)| {
        let [measured, reference, ratio, bar, verdict] = cells(row);
        format!("{key:<24} {measured:>22} {reference:>22} {ratio:>7}  {bar:<22} {verdict}\n")
    };
    Ok(rows(document)?.iter().map(line).collect())
}

/// The machine and the table in Markdown.
pub(crate) fn table(document: &Value) -> Result<String> {
    let mut page = machine(document);
    page += "| row | what | measured | reference | ratio | bar | |\n| --- | --- | ---: | ---: | ---: | --- | --- |\n";
    for (key, row) in rows(document)? {
        let [measured, reference, ratio, bar, verdict] = cells(row);
        let title = row["title"].as_str().unwrap_or_default();
        page += &format!("| `{key}` | {title} | {measured} | {reference} | {ratio} | {bar} | {verdict} |\n");
    }
    Ok(page)
}

/// The whole page of the worker's benchmark.
pub(crate) fn page(document: &Value) -> Result<String> {
    let head = "# Benchmark of the worker\n\nWritten by `cargo xtask bench worker` from what it measured; do not edit. \
                Ratios compare two measurements of\nthe same run that took turns; figures are medians. How each row is \
                measured stands in\n[worker/src/bench/rows](../../worker/src/bench/rows/mod.rs). Rows that need a GPU \
                are measured on one by\n`cargo xtask gpu`.\n\n";
    Ok(head.to_owned() + &table(document)?)
}

fn machine(document: &Value) -> String {
    let machine = &document["machine"];
    let text = |name: &str| machine[name].as_str().map_or_else(|| machine[name].to_string(), str::to_owned);
    let gpu = machine["gpu"].as_str().map_or_else(|| "no GPU".to_owned(), str::to_owned);
    format!("Machine: {}, {} cores, {gpu}, Linux {}.\n\n", text("cpu"), text("cores"), text("kernel"))
}

/// Measured, reference, ratio, bar and verdict of a row.
fn cells(row: &Value) -> [String; 5] {
    let nothing = String::new;
    if let Some(why) = row["skipped"].as_str() {
        return [nothing(), nothing(), nothing(), nothing(), format!("skipped: {why}")];
    }
    let bar = row["bar"].as_str().unwrap_or_default().to_owned();
    if let Some(why) = row["failed"].as_str() {
        return [nothing(), nothing(), nothing(), bar, format!("failed: {why}")];
    }
    let unit = row["unit"].as_str().unwrap_or_default();
    let figure = |value: &Value| value.as_u64().map_or_else(nothing, |value| format!("{} {unit}", thousands(value)));
    let ratio = row["ratio"].as_str().unwrap_or_default().to_owned();
    let verdict = if row["pass"] == true { "met" } else { "**missed**" };
    [figure(&row["measured"]), figure(&row["reference"]), ratio, bar, verdict.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "machine": { "cpu": "AMD EPYC", "cores": 2, "gpu": null, "kernel": "6.1" },
            "rows": {
                "wasm_loop": {
                    "title": "a loop", "measured": 1_200_000, "reference": 1_000_000, "ratio": "1.200", "unit": "ns",
                    "bar": "ratio <= 1.300", "pass": true
                },
                "sandbox_tax": {
                    "title": "a job", "measured": 12, "reference": 10, "ratio": "1.200", "unit": "ns",
                    "bar": "ratio <= 1.010", "pass": false
                },
                "gemm": { "title": "a product", "skipped": "there is no GPU" },
                "broken": { "title": "x", "failed": "it fell over", "bar": "measured <= 1", "pass": false }
            }
        })
    }

    #[test]
    fn what_is_over_its_bar_is_named() {
        assert_eq!(missed(&document()).unwrap(), ["broken", "sandbox_tax"]);
        assert!(missed(&json!({})).is_err());
    }

    #[test]
    fn the_page_names_the_machine_and_every_row() {
        let page = page(&document()).unwrap();
        assert!(page.contains("Machine: AMD EPYC, 2 cores, no GPU, Linux 6.1."), "{page}");
        assert!(page.contains("| `wasm_loop` | a loop | 1,200,000 ns | 1,000,000 ns | 1.200 | ratio <= 1.300 | met |"));
        assert!(page.contains("skipped: there is no GPU"), "{page}");
        assert!(page.contains("failed: it fell over"), "{page}");
    }
}
