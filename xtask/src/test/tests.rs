//! The runner itself: whatever goes wrong in a suite, it must be seen.

use super::*;
use std::fs;
use std::path::Path;

/// A project of one Solidity test, which asserts `condition`.
fn project(root: &Path, condition: &str) {
    let here = Workspace::here().unwrap();
    fs::create_dir(root.join("test")).unwrap();
    fs::write(root.join("foundry.toml"), "[profile.default]\nauto_detect_solc = false\n").unwrap();
    let contract = format!("contract OneTest {{ function test_one() external pure {{ assert({condition}); }} }}");
    let source = format!("// SPDX-License-Identifier: MIT\npragma solidity ^0.8.0;\n{contract}\n");
    fs::write(root.join("test/One.t.sol"), source).unwrap();
    std::os::unix::fs::symlink(here.path("node_modules"), root.join("node_modules")).unwrap();
    fs::create_dir(root.join("contracts")).unwrap();
    std::os::unix::fs::symlink(here.path("contracts/tools"), root.join("contracts/tools")).unwrap();
}

fn forge(condition: &str) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), condition);
    contracts(&Workspace::at(folder.path())).unwrap().counts
}

#[test]
fn a_failing_forge_test_fails_the_suite() {
    assert_eq!(forge("1 + 1 == 3"), Counts { passed: 0, failed: 1 });
}

#[test]
fn a_passing_forge_test_passes_it() {
    assert_eq!(forge("1 + 1 == 2"), Counts { passed: 1, failed: 0 });
}

#[test]
fn contracts_that_do_not_compile_fail_it() {
    assert_eq!(forge("nonsense("), Counts { passed: 0, failed: 1 });
}

fn shell(script: &str) -> Counts {
    suite("shell", Runner::Cargo, Command::new("sh").args(["-c", script])).unwrap().counts
}

#[test]
fn a_failing_exit_status_is_a_failure_whatever_was_printed() {
    assert_eq!(shell("echo 'test result: ok. 3 passed; 0 failed;'; exit 1"), Counts { passed: 3, failed: 1 });
}

#[test]
fn a_runner_that_ran_nothing_is_a_failure() {
    assert_eq!(shell("exit 0"), Counts { passed: 0, failed: 1 });
    assert_eq!(shell("echo 'test result: ok. 0 passed; 0 failed;'"), Counts { passed: 0, failed: 1 });
}

#[test]
fn failures_are_not_counted_twice() {
    assert_eq!(shell("echo 'test result: FAILED. 3 passed; 2 failed;'; exit 101"), Counts { passed: 3, failed: 2 });
}

#[test]
fn a_report_of_any_failure_is_an_error() {
    let outcome = |failed| Outcome { name: "suite", counts: Counts { passed: 1, failed }, seconds: 0.0 };
    assert!(report(&[outcome(0), outcome(0)]).is_ok());
    assert!(report(&[outcome(0), outcome(1)]).is_err());
}
