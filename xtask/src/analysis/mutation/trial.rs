//! Runs the tests on one fault after another, in a copy of the contracts.

use super::faults::Mutant;
use crate::files;
use crate::workspace::{Workspace, describe};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Quick tests, which notice nearly everything.
const QUICK: [&str; 2] = ["--match-path", "contracts/test/{unit/settlement,unit/libraries,vectors}/*"];

/// The others, for what the quick ones let pass. Gas would notice faults that change nothing else, and deployment refuses
/// this build, which is made to compile quickly and is too large.
const SLOW: [&str; 2] = ["--no-match-path", "contracts/test/{gas/*,symbolic/*,unit/*,vectors/*,integration/Deploy*}"];

/// Longer than any run of the tests; a fault that makes one endless is noticed.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the tests say to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Killed,
    Survived,
    /// It does not compile, so there is nothing to notice.
    Invalid,
}

/// A copy of the contracts and their tests.
pub(super) struct Trial {
    workspace: Workspace,
    solc: PathBuf,
}

impl Trial {
    /// Copies what is tested and makes sure that the tests pass without a fault.
    pub(super) fn prepare(workspace: &Workspace, number: usize) -> Result<Self> {
        let root = workspace.path(format!("target/mutation/{number}"));
        let contracts = root.join("contracts");
        if contracts.exists() {
            fs::remove_dir_all(&contracts).context("cannot clear the copy of the contracts")?;
        }
        for file in files::below(&workspace.path("contracts"))? {
            let copy = root.join(file.strip_prefix(workspace.root())?);
            fs::create_dir_all(copy.parent().context("a file in no folder")?)?;
            fs::copy(&file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        fs::copy(workspace.path("foundry.toml"), root.join("foundry.toml")).context("cannot copy foundry.toml")?;
        let modules = root.join("node_modules");
        if !modules.exists() {
            std::os::unix::fs::symlink(workspace.path("node_modules").canonicalize()?, &modules)?;
        }
        let trial = Self { workspace: Workspace::at(&root), solc: workspace.solc() };
        for tests in [QUICK, SLOW] {
            ensure!(
                trial.verdict(&tests)? == Verdict::Survived,
                "the tests fail without any fault: see `cargo xtask test`"
            );
        }
        Ok(trial)
    }

    /// Puts a fault in, asks the tests, and takes it out again.
    pub(super) fn judge(&self, mutant: &Mutant) -> Result<Verdict> {
        let path = self.workspace.path(format!("contracts/src/{}", mutant.file));
        let source = files::read(&path)?;
        files::write(&path, &mutant.apply(&source))?;
        let verdict = match self.verdict(&QUICK) {
            Ok(Verdict::Survived) => self.verdict(&SLOW),
            other => other,
        };
        files::write(&path, &source)?;
        verdict.with_context(|| mutant.describe())
    }

    fn verdict(&self, tests: &[&str]) -> Result<Verdict> {
        let mut forge = self.workspace.forge(&["test", "--fail-fast"])?;
        // A fault may leave a variable unused, which is only a warning.
        forge.args(tests).env("FOUNDRY_DENY", "never").env("FOUNDRY_SOLC", &self.solc);
        // Compiling is most of the time, and half of that is optimizing.
        forge.env("FOUNDRY_OPTIMIZER", "false");
        // Short campaigns: they are repeated for every fault that the quick tests let pass.
        forge.envs([("FOUNDRY_INVARIANT_RUNS", "8"), ("FOUNDRY_FUZZ_RUNS", "32")]);
        let (ended, output) = wait(&mut forge)?;
        match ended {
            None => Ok(Verdict::Killed),
            Some(true) => Ok(Verdict::Survived),
            Some(false) if output.contains("Compiler run failed") => Ok(Verdict::Invalid),
            Some(false) if output.contains("Compilation failed") => Ok(Verdict::Invalid),
            Some(false) if output.contains("[FAIL") => Ok(Verdict::Killed),
            // Whatever happened, no test noticed the fault.
            Some(false) => bail!("`{}` failed without a failing test:\n{output}", describe(&forge)),
        }
    }
}

/// Runs a command to its end: whether it succeeded, or nothing if it took too long, and what it printed.
fn wait(command: &mut Command) -> Result<(Option<bool>, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("a child without stdout")?;
    let mut stderr = child.stderr.take().context("a child without stderr")?;
    thread::scope(|scope| {
        let out = scope.spawn(move || text(&mut stdout));
        let err = scope.spawn(move || text(&mut stderr));
        let start = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status.success());
            }
            if start.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let output = out.join().unwrap_or_default() + &err.join().unwrap_or_default();
        Ok((ended, output))
    })
}

fn text(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is all there is.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Option<bool>, String) {
        wait(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn both_outputs_are_read() {
        assert_eq!(shell("echo a; echo b >&2; exit 1"), (Some(false), "a\nb\n".to_owned()));
        assert_eq!(shell("exit 0"), (Some(true), String::new()));
    }
}
