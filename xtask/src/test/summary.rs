//! What each test runner says at its end.

use std::ops::AddAssign;

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A program that runs tests, by how it sums them up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runner {
    /// `Ran 3 test suites in 1.20s: 14 tests passed, 1 failed, 0 skipped (15 total tests)`
    Forge,
    /// `Tests  1 failed | 11 passed (12)`
    Vitest,
    /// `Summary [   0.1s] 12 tests run: 11 passed, 1 failed, 0 skipped`
    Nextest,
    /// `test result: ok. 5 passed; 0 failed; …`, once per binary
    Cargo,
    /// `Symbolic test result: 5 passed; 0 failed; …`, once per contract
    Halmos,
}

impl Runner {
    /// Adds up the closing lines in `text`.
    pub(crate) fn counts(self, text: &str) -> Counts {
        let mut sum = Counts::default();
        for line in plain(text).lines().map(str::trim_start).filter(|line| self.closes(line)) {
            sum += Counts {
                passed: before(line, &["passed", "tests passed", "test passed"]),
                failed: before(line, &["failed"]) + before(line, &["timed out"]),
            };
        }
        sum
    }

    fn closes(self, line: &str) -> bool {
        match self {
            Self::Forge => line.starts_with("Ran ") && line.contains(" test suite") && line.contains(" total tests)"),
            Self::Vitest => line.starts_with("Tests ") && line.ends_with(')'),
            Self::Nextest => line.starts_with("Summary [") && line.contains(" run: "),
            Self::Cargo => line.starts_with("test result: "),
            Self::Halmos => line.starts_with("Symbolic test result: "),
        }
    }
}

/// The number that stands right before one of `labels`; 0 if none does.
fn before(line: &str, labels: &[&str]) -> u64 {
    let parts = line.split([':', ',', ';', '|', '.', '(']).map(str::trim);
    let number = |part: &str| {
        let part = part.trim_start_matches("Tests").trim_start();
        let (number, label) = part.split_once(' ')?;
        let label = label.trim();
        labels.contains(&label).then(|| number.parse().ok()).flatten()
    };
    parts.filter_map(number).next().unwrap_or(0)
}

/// `text` without the escape sequences that colour it.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("\u{1b}[") {
        out.push_str(head);
        rest = tail.split_once(|end: char| end.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_runner() {
        let cases = [
            (
                Runner::Forge,
                "Ran 3 test suites in 1.20s (2.1s CPU time): 14 tests passed, 2 failed, 1 skipped (17 total tests)",
                14,
                2,
            ),
            (Runner::Forge, "Ran 1 test suite in 9ms: 1 tests passed, 0 failed, 0 skipped (1 total tests)", 1, 0),
            (Runner::Vitest, " Test Files  1 passed (1)\n      Tests  12 passed (12)", 12, 0),
            (
                Runner::Vitest,
                "\u{1b}[2m      Tests \u{1b}[22m \u{1b}[31m1 failed\u{1b}[39m | \u{1b}[32m11 passed\u{1b}[39m (12)",
                11,
                1,
            ),
            (Runner::Nextest, "     Summary [   4.2s] 12 tests run: 12 passed (1 slow), 3 skipped", 12, 0),
            (Runner::Nextest, "Summary [ 4.2s] 9/12 tests run: 7 passed, 1 failed, 1 timed out, 3 skipped", 7, 2),
            (
                Runner::Cargo,
                "test result: ok. 5 passed; 0 failed; 0 ignored\ntest result: FAILED. 2 passed; 1 failed;",
                7,
                1,
            ),
            (Runner::Cargo, "error: could not compile", 0, 0),
            (Runner::Halmos, "Symbolic test result: 4 passed; 1 failed; time: 1.71s", 4, 1),
        ];
        for (runner, text, passed, failed) in cases {
            assert_eq!(runner.counts(text), Counts { passed, failed }, "{text}");
        }
    }

    #[test]
    fn counts_only_closing_lines() {
        let text = "3 passed; 4 failed\nRan 2 tests for A.t.sol:A\nSuite result: ok. 2 passed; 0 failed; 0 skipped";
        assert_eq!(Runner::Forge.counts(text), Counts::default());
    }
}
