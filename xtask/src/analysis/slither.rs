//! Known patterns of errors, by slither. Every finding is either explained in writing or a failure.

use super::python::Python;
use crate::files;
use crate::test::{Counts, Outcome};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::time::Instant;

/// Why the remaining findings are none: for each detector, where it may report something, and the reason.
const EXPLAINED: &str = "contracts/tools/slither-findings.json";

const OUT: &str = "target/analysis/slither";

/// Something slither reported.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    detector: String,
    /// `Contract.function`, or the name of what else it is about.
    place: String,
    description: String,
}

pub(crate) fn run(workspace: &Workspace) -> Result<Outcome> {
    let start = Instant::now();
    let python = Python::install(workspace)?;
    // slither would read the builds before this one as well.
    if workspace.path(OUT).exists() {
        fs::remove_dir_all(workspace.path(OUT)).with_context(|| format!("cannot clear {OUT}"))?;
    }
    let cache = format!("{OUT}/cache");
    let build = ["build", "contracts/src", "--force", "--build-info", "--out", OUT, "--cache-path", &cache];
    workspace::run(&mut workspace.forge(&build)?)?;
    let arguments = [".", "--ignore-compile", "--foundry-out-directory", OUT, "--fail-none", "--json", "-"];
    let mut slither = python.command(workspace, "slither", &arguments)?;
    let report = serde_json::from_str(&workspace::output(&mut slither)?).context("slither did not print JSON")?;
    let explained = serde_json::from_str(&files::read(&workspace.path(EXPLAINED))?)
        .with_context(|| format!("{EXPLAINED} is not JSON"))?;
    let counts = judge(&findings(&report)?, &explained)?;
    Ok(Outcome { name: "slither", counts, seconds: start.elapsed().as_secs_f64() })
}

/// Counts explained findings as passed; unexplained ones, and explanations of nothing, as failed.
fn judge(findings: &[Finding], explained: &Value) -> Result<Counts> {
    let explained = explained.as_array().context("the explanations are no list")?;
    let covers = |explanation: &Value, finding: &Finding| {
        let places = explanation["where"].as_array().into_iter().flatten();
        explanation["detector"] == *finding.detector && places.into_iter().any(|at| at == "*" || *at == *finding.place)
    };
    let mut counts = Counts::default();
    for finding in findings {
        if explained.iter().any(|explanation| covers(explanation, finding)) {
            counts.passed += 1;
        } else {
            counts.failed += 1;
            println!("not explained: {} in {}\n{}", finding.detector, finding.place, finding.description.trim_end());
        }
    }
    for explanation in explained {
        let detector = explanation["detector"].as_str().context("an explanation without a detector")?;
        explanation["why"].as_str().with_context(|| format!("{detector} is explained without a reason"))?;
        for place in explanation["where"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let found = |finding: &Finding| finding.detector == detector && (place == "*" || finding.place == place);
            if !findings.iter().any(found) {
                counts.failed += 1;
                println!("explained, but no longer found: {detector} in {place}");
            }
        }
    }
    Ok(counts)
}

fn findings(report: &Value) -> Result<Vec<Finding>> {
    // Without findings there is no list; without success there is nothing to trust.
    anyhow::ensure!(report["success"] == true, "slither failed: {}", report["error"]);
    let results = report["results"]["detectors"].as_array().map(Vec::as_slice).unwrap_or_default();
    results.iter().map(finding).collect()
}

fn finding(result: &Value) -> Result<Finding> {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let element = &result["elements"][0];
    let name = text(&element["name"]).context("a finding about nothing")?;
    let place = match text(&element["type_specific_fields"]["parent"]["name"]) {
        // A variable or a statement is reported with its function, and that with its contract.
        Some(parent) => {
            match text(&element["type_specific_fields"]["parent"]["type_specific_fields"]["parent"]["name"]) {
                Some(contract) => format!("{contract}.{parent}"),
                None => format!("{parent}.{name}"),
            }
        }
        None => name,
    };
    Ok(Finding {
        detector: text(&result["check"]).context("a finding without a detector")?,
        place,
        description: text(&result["description"]).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(detector: &str, place: &str) -> Finding {
        Finding { detector: detector.into(), place: place.into(), description: String::new() }
    }

    #[test]
    fn reads_the_place_of_a_finding() {
        let contract = json!({ "name": "Escrow", "type": "contract" });
        let function = json!({ "name": "open", "type_specific_fields": { "parent": contract } });
        let result = json!({ "check": "timestamp", "description": "x", "elements": [function.clone()] });
        assert_eq!(finding(&result).unwrap().place, "Escrow.open");
        let node = json!({ "name": "a == b", "type_specific_fields": { "parent": function } });
        let result = json!({ "check": "timestamp", "description": "x", "elements": [node] });
        assert_eq!(finding(&result).unwrap().place, "Escrow.open");
    }

    #[test]
    fn only_what_is_explained_passes() {
        let explained = json!([{ "detector": "timestamp", "where": ["A.f"], "why": "times are the protocol" }]);
        let judged = |findings: &[Finding]| judge(findings, &explained).unwrap();
        assert_eq!(judged(&[found("timestamp", "A.f")]), Counts { passed: 1, failed: 0 });
        assert_eq!(judged(&[found("timestamp", "A.f"), found("timestamp", "A.g")]), Counts { passed: 1, failed: 1 });
        assert_eq!(judged(&[found("assembly", "A.f")]), Counts { passed: 0, failed: 2 });
    }

    #[test]
    fn a_star_explains_every_place_and_needs_one() {
        let explained = json!([{ "detector": "assembly", "where": ["*"], "why": "hot paths" }]);
        assert_eq!(judge(&[found("assembly", "A.f")], &explained).unwrap(), Counts { passed: 1, failed: 0 });
        assert_eq!(judge(&[], &explained).unwrap(), Counts { passed: 0, failed: 1 });
    }

    #[test]
    fn a_failed_run_is_an_error() {
        assert!(findings(&json!({ "success": false, "error": "no build" })).is_err());
    }
}
