//! Runs every suite to its end and adds up what they say.

mod summary;

use crate::production;
use crate::setup;
use crate::tidy;
use crate::workspace::{Workspace, describe, say};
use anyhow::{Context, Result, bail};
use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;
pub(crate) use summary::{Counts, Runner};

/// One suite that has run.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
    pub(crate) seconds: f64,
}

/// Set-up, then every suite; an error if any of them failed.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    production::build(workspace)?;
    let mut outcomes = vec![contracts(workspace)?];
    outcomes.extend(web(workspace)?);
    outcomes.push(rules(workspace)?);
    outcomes.push(rust(workspace)?);
    report(&outcomes)
}

/// On the build that is deployed, whose gas must be what is committed.
fn contracts(workspace: &Workspace) -> Result<Outcome> {
    let mut tests = workspace.forge(&["test", "--gas-snapshot-check", "true"])?;
    suite("contracts", Runner::Forge, production::on(&mut tests))
}

/// The web tests, where the web app has any.
fn web(workspace: &Workspace) -> Result<Option<Outcome>> {
    let manifest: serde_json::Value = serde_json::from_str(&crate::files::read(&workspace.path("web/package.json"))?)?;
    if manifest["scripts"]["test"].is_null() {
        return Ok(None);
    }
    suite("web", Runner::Vitest, &mut workspace.npm(&["test", "--workspace", "web"])).map(Some)
}

fn rules(workspace: &Workspace) -> Result<Outcome> {
    say("$ cargo xtask tidy");
    let start = Instant::now();
    let counts = tidy::check(workspace)?;
    Ok(Outcome { name: "tidy", counts, seconds: start.elapsed().as_secs_f64() })
}

/// cargo-nextest where it is installed: it runs the tests of all crates side by side. Else `cargo test`.
fn rust(workspace: &Workspace) -> Result<Outcome> {
    let nextest = workspace.cargo(&["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let color = if io::stderr().is_terminal() { "always" } else { "never" };
    if nextest.is_ok_and(|status| status.success()) {
        let arguments = ["nextest", "run", "--workspace", "--no-fail-fast", "--color", color];
        suite("rust", Runner::Nextest, &mut workspace.cargo(&arguments))
    } else {
        say("cargo-nextest is not installed: using cargo test, which is slower");
        suite("rust", Runner::Cargo, &mut workspace.cargo(&["test", "--workspace", "--no-fail-fast"]))
    }
}

/// Runs a suite, showing its output while reading the counts from it.
///
/// A runner that fails without counting a failure, such as one that could not build, counts as one failure. So does
/// one that succeeds without saying that it ran a test: silence must not pass for success.
pub(crate) fn suite(name: &'static str, runner: Runner, command: &mut Command) -> Result<Outcome> {
    let text = describe(command);
    say(&format!("$ {text}"));
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    let stderr = child.stderr.take().context("a child without stderr")?;
    let stdout = child.stdout.take().context("a child without stdout")?;
    let stderr = thread::spawn(move || tee(stderr, io::stderr()));
    let stdout = tee(stdout, io::stdout())?;
    let stderr = stderr.join().map_err(|_| anyhow::anyhow!("reading the output of `{text}` failed"))??;
    let status = child.wait()?;

    let mut counts = runner.counts(&format!("{stdout}\n{stderr}"));
    if counts.failed == 0 && (!status.success() || counts.passed == 0) {
        say(&format!("`{text}` ended with {status} and reported {} tests passed", counts.passed));
        counts.failed = 1;
    }
    Ok(Outcome { name, counts, seconds: start.elapsed().as_secs_f64() })
}

/// Copies `from` to `to` as it comes, and returns it as text.
fn tee(mut from: impl Read, mut to: impl Write) -> io::Result<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&seen).into_owned());
        }
        to.write_all(&buffer[..count])?;
        to.flush()?;
        seen.extend_from_slice(&buffer[..count]);
    }
}

/// Prints one line per suite and the sum on a line of its own.
pub(crate) fn report(outcomes: &[Outcome]) -> Result<()> {
    println!();
    for Outcome { name, counts, seconds } in outcomes {
        println!("{name:<10} {:>5} passed {:>4} failed {seconds:>8.1} s", counts.passed, counts.failed);
    }
    let passed: u64 = outcomes.iter().map(|outcome| outcome.counts.passed).sum();
    let failed: u64 = outcomes.iter().map(|outcome| outcome.counts.failed).sum();
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("some tests failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
