//! `cargo xtask dev --once --json`: every service as its own process, from an empty chain to the first candle.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn walk(folder: &Path) -> anyhow::Result<Output> {
    let program = env!("CARGO_BIN_EXE_capa-dev");
    Ok(Command::new(program).args(["--free-ports", "--once", "--json", "--folder"]).arg(folder).output()?)
}

fn nano(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no decimal string"))
}

/// Processes whose command line names `folder`.
fn left_behind(folder: &Path) -> anyhow::Result<Vec<String>> {
    let needle = folder.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // Processes come and go while the list is read.
        let Ok(line) = std::fs::read_to_string(entry?.path().join("cmdline")) else { continue };
        if line.contains(&needle) {
            found.push(line.replace('\0', " "));
        }
    }
    Ok(found)
}

#[test]
fn the_walk_reports_one_document_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("town");
    let output = walk(&folder)?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout)?;

    let jobs = report["jobs"].as_array().expect("jobs");
    assert!(jobs.len() >= 4, "{told}");
    for job in jobs {
        assert_eq!(job["result"], job["expected"], "{job}");
        assert!(nano(&job["quantity"]) > 0 && nano(&job["amount"]) > 0, "{job}");
    }
    let earned: u64 = jobs.iter().map(|job| nano(&job["amount"])).sum();
    assert_eq!(nano(&report["claim"]["amount"]), earned, "the provider is paid what its jobs earned");
    let accounting = &report["accounting"];
    let credited: u64 = ["provider", "keeper", "protocol"].iter().map(|who| nano(&accounting[*who])).sum();
    assert_eq!(nano(&report["channel"]["spent"]), credited);
    let debits: u64 = report["batches"].as_array().expect("batches").iter().map(|b| nano(&b["debits"])).sum();
    assert_eq!(debits, credited);
    assert_eq!(report["supply"]["before"], report["supply"]["after"]);
    for candle in report["candles"].as_array().expect("candles") {
        let traded: u64 =
            jobs.iter().filter(|job| job["resource"] == candle["resource"]).map(|job| nano(&job["quantity"])).sum();
        assert_eq!(nano(&candle["volume"]), traded);
    }
    assert_eq!(left_behind(&folder)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_killed_network_takes_its_processes_with_it_and_starts_again() -> anyhow::Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("town");
    let program = env!("CARGO_BIN_EXE_capa-dev");
    let mut child = Command::new(program).args(["--free-ports", "--folder"]).arg(&folder).spawn()?;
    let keeper = folder.join("keeper.log");
    while !keeper.is_file() {
        assert!(child.try_wait()?.is_none(), "the network ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    for _ in 0..100 {
        if left_behind(&folder)?.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(left_behind(&folder)?, Vec::<String>::new());
    let again = walk(&folder)?;
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    Ok(())
}
