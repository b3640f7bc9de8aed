//! Everything that looks for errors and takes long.

use crate::analysis::{coverage, mutation, slither, symbolic};
use crate::production;
use crate::setup;
use crate::test::{Counts, Outcome, Runner, report, suite};
use crate::workspace::{Workspace, say};
use anyhow::Result;
use clap::ValueEnum;

/// A part of the campaign.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Unit, fuzz and invariant tests on the production build, with the profile `deep` of foundry.toml
    Fuzz,
    /// Random histories replayed on the contracts and on the Rust model
    Model,
    /// Proofs by symbolic execution (halmos)
    Symbolic,
    /// Known patterns of errors (slither)
    Slither,
    /// Branches that no test takes
    Coverage,
    /// A sample of faults that tests must notice; `cargo xtask mutate --all` tries every one
    Mutation,
}

/// Steps of the random histories.
const STEPS: &str = "10000";

/// Runs the named parts, or all of them, each to its end; an error if any failed.
pub(crate) fn run(workspace: &Workspace, only: &[Part]) -> Result<()> {
    setup::run(workspace)?;
    let parts = if only.is_empty() { Part::value_variants() } else { only };
    let outcomes: Vec<_> = parts.iter().map(|part| outcome(workspace, *part)).collect();
    report(&outcomes)
}

/// What a part says. One that could not run has failed, and the others still run.
fn outcome(workspace: &Workspace, part: Part) -> Outcome {
    let name = part.name();
    say(&format!("== {name} =="));
    part.run(workspace).unwrap_or_else(|error| {
        say(&format!("{name}: {error:#}"));
        Outcome { name, counts: Counts { passed: 0, failed: 1 }, seconds: 0.0 }
    })
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Fuzz => "fuzz",
            Self::Model => "model",
            Self::Symbolic => "symbolic",
            Self::Slither => "slither",
            Self::Coverage => "coverage",
            Self::Mutation => "mutation",
        }
    }

    fn run(self, workspace: &Workspace) -> Result<Outcome> {
        match self {
            Self::Fuzz => {
                production::build(workspace)?;
                // Gas is measured with the default profile only.
                let mut tests = workspace.forge(&["test", "--no-match-path", "contracts/test/gas/*"])?;
                suite("fuzz", Runner::Forge, production::on(&mut tests).env("FOUNDRY_PROFILE", "deep"))
            }
            Self::Model => {
                let mut test = workspace.cargo(&["test", "--package", "testkit", "--test", "differential"]);
                suite("model", Runner::Cargo, test.env("CAPA_STEPS", STEPS))
            }
            Self::Symbolic => symbolic::run(workspace),
            Self::Slither => slither::run(workspace),
            Self::Coverage => coverage::run(workspace),
            Self::Mutation => mutation::sample(workspace),
        }
    }
}
