//! Which branches of the contracts the tests take.

use crate::files;
use crate::test::{Counts, Outcome};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::Instant;

const REPORT: &str = "target/analysis/lcov.info";

/// Only the product's own sources count.
const SOURCES: &str = "contracts/src/";

/// Branches taken, of a hundred.
const BAR: usize = 98;

/// Branches of one file: how often each was taken, by line and number.
type Branches = BTreeMap<(String, u32, String), u64>;

/// Branches inside assembly are not counted, because the compiler reports no positions for them: mutation testing and the
/// symbolic checks look after those.
pub(crate) fn run(workspace: &Workspace) -> Result<Outcome> {
    let start = Instant::now();
    std::fs::create_dir_all(workspace.path("target/analysis")).context("cannot make target/analysis")?;
    let mut coverage = workspace.forge(&["coverage", "--report", "lcov", "--report-file", REPORT])?;
    // Compiled without the optimizer, the contracts cost more, are too large for the deployment's own check, and warn.
    coverage.args(["--no-match-path", "contracts/test/{gas/*,symbolic/*,integration/Deploy*}"]);
    // Long campaigns add no branch that a short one does not reach.
    coverage.envs([("FOUNDRY_DENY", "never"), ("FOUNDRY_INVARIANT_RUNS", "8"), ("FOUNDRY_FUZZ_RUNS", "32")]);
    let output = coverage.output().context("cannot start forge coverage")?;
    if !output.status.success() {
        anyhow::bail!("`{}` failed:\n{}", workspace::describe(&coverage), String::from_utf8_lossy(&output.stdout));
    }
    let branches = branches(&files::read(&workspace.path(REPORT))?)?;
    let counts = judge(&branches);
    Ok(Outcome { name: "coverage", counts, seconds: start.elapsed().as_secs_f64() })
}

/// Prints the branches that no test takes. They count as failed if there are too many of them.
fn judge(branches: &Branches) -> Counts {
    let missed: Vec<_> = branches.iter().filter(|(_, taken)| **taken == 0).map(|(branch, _)| branch).collect();
    for (file, line, number) in &missed {
        println!("{file}:{line}: branch {number} is taken by no test");
    }
    let (all, taken) = (branches.len(), branches.len() - missed.len());
    println!("{taken} of {all} branches are taken");
    let enough = all != 0 && taken * 100 >= all * BAR;
    Counts { passed: taken as u64, failed: if enough { 0 } else { missed.len().max(1) as u64 } }
}

/// Reads `SF:file` and `BRDA:line,block,branch,taken`; `-` means that the line was never reached.
fn branches(lcov: &str) -> Result<Branches> {
    let mut branches = Branches::new();
    let mut file = "";
    for line in lcov.lines() {
        if let Some(name) = line.strip_prefix("SF:") {
            file = name;
        } else if let Some(branch) = line.strip_prefix("BRDA:").filter(|_| file.starts_with(SOURCES)) {
            let mut fields = branch.split(',');
            let mut field = || fields.next().with_context(|| format!("not a branch: {line}"));
            let (line, block, number, taken) = (field()?.parse()?, field()?, field()?, field()?);
            let taken = if taken == "-" { 0 } else { taken.parse()? };
            *branches.entry((file.to_owned(), line, format!("{block}.{number}"))).or_default() += taken;
        }
    }
    Ok(branches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_branches_of_the_product() {
        let lcov = "SF:contracts/src/A.sol\nBRDA:3,0,0,5\nBRDA:3,0,1,-\nend_of_record\n\
                    SF:node_modules/B.sol\nBRDA:1,0,0,0\nSF:contracts/src/C.sol\nBRDA:9,1,0,0\n";
        let branches = branches(lcov).unwrap();
        assert_eq!(branches.values().copied().collect::<Vec<_>>(), [5, 0, 0]);
        assert_eq!(judge(&branches), Counts { passed: 1, failed: 2 });
    }

    #[test]
    fn the_bar_is_a_share() {
        let all =
            |missed: u32| (0..100).map(|n| (("A".to_owned(), n, "0.0".to_owned()), u64::from(n >= missed))).collect();
        assert_eq!(judge(&all(2)).failed, 0);
        assert_eq!(judge(&all(3)).failed, 3);
        assert_eq!(judge(&Branches::new()).failed, 1);
    }
}
