//! Only a crate boundary enforces a layer: which crates of ours each may use.

use super::Repository;
use anyhow::{Context, Result};
use serde_json::Value;

/// Each crate and the crates of ours it may use, in the order of the layers.
const LAYERS: [(&str, &[&str]); 16] = [
    ("protocol", &[]),
    ("service", &[]),
    ("keeper-store", &["protocol", "service"]),
    ("keeper-sqlite", &["protocol", "service", "keeper-store"]),
    ("keeper", &["protocol", "service", "keeper-store", "keeper-sqlite"]),
    ("indexer-store", &["protocol", "service"]),
    ("indexer-sqlite", &["protocol", "service", "indexer-store"]),
    ("indexer", &["protocol", "service", "indexer-store", "indexer-sqlite"]),
    ("worker", &["protocol", "service"]),
    ("client", &["protocol", "service"]),
    ("cli", &["protocol", "service", "client"]),
    ("interop", &["protocol"]),
    (
        "testkit",
        &[
            "protocol",
            "service",
            "keeper-store",
            "keeper-sqlite",
            "keeper",
            "indexer-store",
            "indexer-sqlite",
            "indexer",
            "worker",
            "client",
            "cli",
            "deployment",
            "emulated-cuda",
        ],
    ),
    ("deployment", &["protocol"]),
    ("emulated-cuda", &[]),
    ("xtask", &[]),
];

/// Kits without products in them, which the tests of any crate may use.
const TEST_KITS: [&str; 2] = ["deployment", "emulated-cuda"];

pub(super) fn check(repository: &Repository<'_>) -> Result<Vec<String>> {
    violations(&repository.workspace.metadata()?)
}

fn violations(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: Vec<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut violations = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            violations.push(format!("{name}: add the crate to LAYERS"));
            continue;
        };
        let used = package["dependencies"].as_array().into_iter().flatten();
        let used = used.filter(|used| !(used["kind"] == "dev" && TEST_KITS.iter().any(|kit| used["name"] == *kit)));
        let used = used.filter_map(|dependency| dependency["name"].as_str());
        for below in used.filter(|used| names.contains(used) && !allowed.contains(used)) {
            violations.push(format!("{name} must not use {below}"));
        }
    }
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn packages(name: &str, uses: &[&str]) -> Value {
        let uses: Vec<_> = uses.iter().map(|name| json!({ "name": name })).collect();
        let package = |name, uses: &[Value]| json!({ "name": name, "dependencies": uses });
        json!({ "packages": [package(name, &uses), package("protocol", &[]), package("keeper", &[])] })
    }

    #[test]
    fn a_lower_layer_may_be_used_and_no_other() {
        assert!(violations(&packages("worker", &["protocol", "serde"])).unwrap().is_empty());
        assert_eq!(violations(&packages("worker", &["keeper"])).unwrap(), ["worker must not use keeper"]);
        assert_eq!(violations(&packages("service", &["protocol"])).unwrap(), ["service must not use protocol"]);
    }

    #[test]
    fn a_test_kit_serves_tests_only() {
        let mut metadata = packages("worker", &["emulated-cuda"]);
        metadata["packages"][1]["name"] = json!("emulated-cuda");
        assert_eq!(violations(&metadata).unwrap(), ["worker must not use emulated-cuda"]);
        metadata["packages"][0]["dependencies"][0]["kind"] = json!("dev");
        assert!(violations(&metadata).unwrap().is_empty());
    }

    #[test]
    fn a_new_crate_must_be_given_a_layer() {
        assert_eq!(violations(&packages("novel", &[])).unwrap(), ["novel: add the crate to LAYERS"]);
    }
}
