//! Mutation testing: small faults are put into the contracts, one at a time, and the tests have to notice each.
//!
//! slither-mutate exists, but it drops most comparisons (it replaces a comparison by its whole statement, which does not
//! compile), knows no assembly, works on the checkout itself and cannot take a sample. Faults are placed here by the
//! compiler's own syntax tree, assembly included.

mod faults;
mod journal;
mod report;
mod trial;

use crate::files;
use crate::test::Outcome;
use crate::workspace::{self, Workspace, say};
use anyhow::{Context, Result, ensure};
use clap::Args;
use faults::Mutant;
use journal::Journal;
use report::Report;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;
use trial::{Trial, Verdict};

/// The sources that move money, in the order of the report. The first two have to reach the bar.
const TARGETS: [&str; 13] = [
    "Escrow.sol",
    "Settlement.sol",
    "libraries/ChannelMath.sol",
    "libraries/CompactSignature.sol",
    "libraries/Fees.sol",
    "libraries/LeafTransfers.sol",
    "libraries/MessageHash.sol",
    "libraries/Packed.sol",
    "libraries/PaymentLog.sol",
    "libraries/SumTree.sol",
    "libraries/TokenMoves.sol",
    "libraries/VoucherFrame.sol",
    "libraries/WordMap.sol",
];

const OUT: &str = "target/mutation/syntax";

/// Faults that a sample tries.
const SAMPLE: usize = 40;

/// Which faults to try.
#[derive(Args)]
pub(crate) struct Options {
    /// Try every fault and write the report, contracts/test/MUTATION.md; goes on where it was interrupted
    #[arg(long)]
    all: bool,
    /// Try so many faults, spread evenly over the sources
    #[arg(long, default_value_t = SAMPLE, conflicts_with = "all")]
    sample: usize,
    /// Try so many side by side; each takes one core and a copy of the contracts
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// `cargo xtask mutate`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    crate::setup::run(workspace)?;
    crate::test::report(&[campaign(workspace, options)?])
}

/// The campaign's part of `cargo xtask deep`.
pub(crate) fn sample(workspace: &Workspace) -> Result<Outcome> {
    campaign(workspace, &Options { all: false, sample: SAMPLE, jobs: 1 })
}

fn campaign(workspace: &Workspace, options: &Options) -> Result<Outcome> {
    let start = Instant::now();
    let mutants = mutants(workspace)?;
    let all = mutants.len();
    let chosen = if options.all { mutants } else { spread(mutants, options.sample) };
    say(&format!("trying {} of {all} faults", chosen.len()));
    let verdicts = judge(workspace, chosen, options.jobs.max(1))?;
    let report = Report::new(workspace, &TARGETS, verdicts)?;
    println!("{}", report.text());
    if options.all {
        report.write(workspace)?;
    }
    Ok(Outcome { name: "mutation", counts: report.counts(), seconds: start.elapsed().as_secs_f64() })
}

/// Every fault of every target.
fn mutants(workspace: &Workspace) -> Result<Vec<Mutant>> {
    let cache = format!("{OUT}/cache");
    workspace::run(&mut workspace.forge(&[
        "build",
        "contracts/src",
        "--ast",
        "--out",
        OUT,
        "--cache-path",
        &cache,
    ])?)?;
    let mut mutants = Vec::new();
    for target in TARGETS {
        let file = target.rsplit('/').next().unwrap_or(target);
        let artifact = workspace.path(format!("{OUT}/{file}/{}.json", file.trim_end_matches(".sol")));
        let artifact: Value = serde_json::from_str(&files::read(&artifact)?).context("an artifact is not JSON")?;
        let source = files::read(&workspace.path(format!("contracts/src/{target}")))?;
        let found = faults::place(target, &source, &artifact["ast"]);
        ensure!(!found.is_empty(), "{target} has no faults to try: its syntax tree is not understood");
        mutants.extend(found);
    }
    Ok(mutants)
}

/// At most `count` of the faults, at even distances, always the same ones.
fn spread(mutants: Vec<Mutant>, count: usize) -> Vec<Mutant> {
    let all = mutants.len();
    let chosen = |index: usize| all <= count || (index + 1) * count / all > index * count / all;
    mutants.into_iter().enumerate().filter(|(index, _)| chosen(*index)).map(|(_, mutant)| mutant).collect()
}

/// Tries every fault, `jobs` at a time.
fn judge(workspace: &Workspace, mutants: Vec<Mutant>, jobs: usize) -> Result<Vec<(Mutant, Verdict)>> {
    let trials = (0..jobs).map(|number| Trial::prepare(workspace, number)).collect::<Result<Vec<_>>>()?;
    let journal = Journal::open(workspace)?;
    let all = mutants.len();
    let queue = Mutex::new(mutants.into_iter().enumerate().collect::<VecDeque<_>>());
    let next = || queue.lock().map_or(None, |mut queue| queue.pop_front());
    let work = |trial: &Trial| {
        let mut verdicts = Vec::new();
        while let Some((index, mutant)) = next() {
            let verdict = match journal.verdict(&mutant) {
                Some(known) => known,
                None => {
                    let verdict = trial.judge(&mutant)?;
                    say(&format!("{}/{all} {verdict:?}: {}", index + 1, mutant.describe()));
                    journal.write(&mutant, verdict)?;
                    verdict
                }
            };
            verdicts.push((index, mutant, verdict));
        }
        Ok::<_, anyhow::Error>(verdicts)
    };
    let mut verdicts = thread::scope(|scope| {
        let threads: Vec<_> = trials.iter().map(|trial| scope.spawn(|| work(trial))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a trial panicked"))?);
        joined.collect::<Result<Vec<_>>>().map(|verdicts| verdicts.into_iter().flatten().collect::<Vec<_>>())
    })?;
    verdicts.sort_by_key(|(index, ..)| *index);
    Ok(verdicts.into_iter().map(|(_, mutant, verdict)| (mutant, verdict)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly() {
        let mutant = |start| Mutant { start, ..Mutant::default() };
        let starts = |all: usize, count| {
            let chosen = spread((0..all).map(mutant).collect(), count);
            chosen.iter().map(|mutant| mutant.start).collect::<Vec<_>>()
        };
        assert_eq!(starts(10, 2), [4, 9]);
        assert_eq!(starts(10, 5), [1, 3, 5, 7, 9]);
        assert_eq!(starts(3, 5), [0, 1, 2]);
    }
}
