//! The score, and every fault that no test noticed with the reason why none could.

use super::faults::Mutant;
use super::trial::Verdict;
use crate::files;
use crate::test::Counts;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

/// Why the surviving faults are no gaps in the tests: file, function, change, reason.
const EXPLAINED: &str = "contracts/tools/survivors.json";

const DOCUMENT: &str = "contracts/test/MUTATION.md";

/// Of a hundred valid faults, so many must be noticed in the sources that have to reach it.
const BAR: usize = 90;

/// The sources that have to: the first of the targets.
const BARRED: usize = 2;

const INTRODUCTION: &str = "\
# Mutation testing

`cargo xtask mutate --all` puts every one of these faults into the contracts, one at a time, and runs the tests: first the
unit tests, vectors and integration tests, then, for what those let pass, the stateful fuzz. A fault is another comparison,
operator or constant, a condition that is always or never true, half of a condition, a statement or a modifier left out; in
assembly too. Faults that do not compile are not counted. `cargo xtask deep` tries a sample.

";

/// What became of one target's faults.
#[derive(Default)]
struct Score {
    killed: usize,
    survived: usize,
    invalid: usize,
}

impl Score {
    fn valid(&self) -> usize {
        self.killed + self.survived
    }

    fn reaches(&self, bar: usize) -> bool {
        self.killed * 100 >= self.valid() * bar
    }
}

/// A finished campaign.
pub(super) struct Report {
    targets: Vec<String>,
    verdicts: Vec<(Mutant, Verdict)>,
    explained: Value,
}

impl Report {
    pub(super) fn new(workspace: &Workspace, targets: &[&str], verdicts: Vec<(Mutant, Verdict)>) -> Result<Self> {
        let explained = serde_json::from_str(&files::read(&workspace.path(EXPLAINED))?)
            .with_context(|| format!("{EXPLAINED} is not JSON"))?;
        Ok(Self { targets: targets.iter().map(ToString::to_string).collect(), verdicts, explained })
    }

    /// Noticed faults as passed; unexplained survivors, and a missed bar, as failed.
    pub(super) fn counts(&self) -> Counts {
        let killed = self.score(&self.targets).killed;
        let unexplained = self.survivors().filter(|mutant| self.reason(mutant).is_none()).count();
        let missed = usize::from(!self.score(self.barred()).reaches(BAR));
        Counts { passed: killed as u64, failed: (unexplained + missed) as u64 }
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for mutant in self.survivors() {
            let reason = self.reason(mutant).unwrap_or("NOT EXPLAINED");
            text.push_str(&format!("survived: {}\n          {reason}\n", mutant.describe()));
        }
        for (name, score) in self.scores() {
            text.push_str(&format!(
                "{name:<32} {:>4} of {:>4} noticed ({})\n",
                score.killed,
                score.valid(),
                percent(&score)
            ));
        }
        text
    }

    /// Writes `contracts/test/MUTATION.md`.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let mut page = INTRODUCTION.to_owned();
        page.push_str("| source | faults | noticed | survived | score |\n| --- | ---: | ---: | ---: | ---: |\n");
        for (name, score) in self.scores() {
            let (valid, killed, survived) = (score.valid(), score.killed, score.survived);
            writeln!(page, "| {name} | {valid} | {killed} | {survived} | {} |", percent(&score))?;
        }
        let invalid = self.score(&self.targets).invalid;
        writeln!(page, "\n{invalid} more did not compile. The bar for Escrow and Settlement together is {BAR} %.")?;
        page.push_str("\n## Survivors\n\n| where | fault | why no test notices it |\n| --- | --- | --- |\n");
        for mutant in self.survivors() {
            let reason = self.reason(mutant).unwrap_or("**not explained**");
            let change = mutant.change().replace('|', "\\|");
            writeln!(page, "| {} `{}` | `{change}` | {reason} |", mutant.file, mutant.function)?;
        }
        files::write(&workspace.path(DOCUMENT), &page)
    }

    fn scores(&self) -> Vec<(String, Score)> {
        let mut scores: Vec<_> =
            self.targets.iter().map(|target| (target.clone(), self.score(std::slice::from_ref(target)))).collect();
        scores.push(("Escrow and Settlement".into(), self.score(self.barred())));
        scores.push(("all".into(), self.score(&self.targets)));
        scores.retain(|(_, score)| score.valid() != 0);
        scores
    }

    fn barred(&self) -> &[String] {
        &self.targets[..BARRED.min(self.targets.len())]
    }

    fn score(&self, targets: &[String]) -> Score {
        let mut score = Score::default();
        for (_, verdict) in self.verdicts.iter().filter(|(mutant, _)| targets.contains(&mutant.file)) {
            match verdict {
                Verdict::Killed => score.killed += 1,
                Verdict::Survived => score.survived += 1,
                Verdict::Invalid => score.invalid += 1,
            }
        }
        score
    }

    fn survivors(&self) -> impl Iterator<Item = &Mutant> {
        self.verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Survived).map(|(mutant, _)| mutant)
    }

    fn reason(&self, mutant: &Mutant) -> Option<&str> {
        let (file, function, change) = (mutant.file.as_str(), mutant.function.as_str(), mutant.change());
        let about = |item: &&Value| item["file"] == file && item["function"] == function && item["change"] == *change;
        self.explained.as_array()?.iter().find(about)?["why"].as_str()
    }
}

fn percent(score: &Score) -> String {
    match score.valid() {
        0 => "none".into(),
        valid => format!("{:.1} %", score.killed as f64 * 100.0 / valid as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(verdicts: &[Verdict], explained: Value) -> Report {
        let mutant = |index: usize| Mutant {
            file: "Escrow.sol".into(),
            function: "open".into(),
            original: format!("{index}"),
            replacement: "0".into(),
            ..Mutant::default()
        };
        let verdicts = verdicts.iter().enumerate().map(|(index, verdict)| (mutant(index), *verdict)).collect();
        Report { targets: vec!["Escrow.sol".into(), "Settlement.sol".into()], verdicts, explained }
    }

    #[test]
    fn survivors_need_a_reason() {
        let mut verdicts = vec![Verdict::Killed; 9];
        verdicts.push(Verdict::Survived);
        assert_eq!(report(&verdicts, json!([])).counts(), Counts { passed: 9, failed: 1 });
        let why = json!([{ "file": "Escrow.sol", "function": "open", "change": "9 → 0", "why": "equal" }]);
        assert_eq!(report(&verdicts, why).counts(), Counts { passed: 9, failed: 0 });
    }

    #[test]
    fn reasons_do_not_raise_the_score() {
        let verdicts = [Verdict::Killed, Verdict::Survived];
        let why = json!([{ "file": "Escrow.sol", "function": "open", "change": "1 → 0", "why": "equal" }]);
        assert_eq!(report(&verdicts, why).counts(), Counts { passed: 1, failed: 1 });
    }

    #[test]
    fn faults_that_do_not_compile_do_not_count() {
        let verdicts = [Verdict::Killed, Verdict::Invalid];
        assert_eq!(report(&verdicts, json!([])).counts(), Counts { passed: 1, failed: 0 });
    }
}
