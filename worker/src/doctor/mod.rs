//! `capa-worker doctor`: looks at everything that keeps a worker from earning, and says what to do about it.
//!
//! Each check says what it looked at, what it found and where, and, unless all is well, what to do. The checks stand in
//! the order in which a worker needs what they look at: [`setup`] (configuration, key, disk), [`network`] (chain, clock,
//! registry), [`machine`] (sandbox, GPU, and real kernels run inside the sandbox), [`market`]. One that needs what an
//! earlier one did not find is skipped, so that the first failure is the one to repair.

mod setup;
mod network;
mod machine;
mod users;
pub mod samples;
pub(crate) mod trial;
mod market;

use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What a check is about. Its number is the exit code when it is the first to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The configuration file.
    Config = 2,
    /// The worker key.
    Key = 3,
    /// The chain's endpoint and the contracts.
    Chain = 4,
    /// What the registry knows of the provider and the worker key.
    Registry = 5,
    /// What separates jobs from the machine.
    Sandbox = 6,
    /// The GPU and its libraries.
    Gpu = 7,
    /// Space for the ledger and for jobs.
    Disk = 8,
    /// The machine's clock.
    Clock = 9,
    /// The keeper, and what buyers see.
    Market = 10,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All is well.
    Ok,
    /// The worker runs, but not as well as it could.
    Warn,
    /// The worker cannot earn like this.
    Fail,
    /// Not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, which does not change between versions.
    pub id: String,
    /// What it is about.
    pub class: Class,
    /// How it ended.
    pub state: State,
    /// What was found, and where.
    pub found: String,
    /// What to do, unless all is well.
    pub advice: Option<String>,
}

impl Check {
    fn new(class: Class, id: impl Into<String>, state: State, found: impl fmt::Display) -> Self {
        Self { id: id.into(), class, state, found: found.to_string(), advice: None }
    }

    fn ok(class: Class, id: impl Into<String>, found: impl fmt::Display) -> Self {
        Self::new(class, id, State::Ok, found)
    }

    fn skipped(class: Class, id: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(class, id, State::Skipped, why)
    }

    fn warn(class: Class, id: impl Into<String>, found: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { advice: Some(advice.to_string()), ..Self::new(class, id, State::Warn, found) }
    }

    fn fail(class: Class, id: impl Into<String>, found: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { advice: Some(advice.to_string()), ..Self::new(class, id, State::Fail, found) }
    }
}

/// All checks, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// 0 if nothing failed, else the number of the first failure's class.
    pub fn exit_code(&self) -> u8 {
        self.checks.iter().find(|check| check.state == State::Fail).map_or(0, |check| check.class as u8)
    }

    fn add(&mut self, check: Check) {
        self.checks.push(check);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let state = match check.state {
                State::Ok => "ok",
                State::Warn => "WARN",
                State::Fail => "FAIL",
                State::Skipped => "-",
            };
            writeln!(f, "{state:<5} {:<28} {}", check.id, check.found)?;
            if let Some(advice) = &check.advice {
                writeln!(f, "{:<5} {:<28} -> {advice}", "", "")?;
            }
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        write!(f, "{} failed, {} warned, {} fine", count(State::Fail), count(State::Warn), count(State::Ok))
    }
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct Options {
    /// The worker's configuration; without one only the machine is looked at, with the defaults.
    pub config: Option<PathBuf>,
    /// Runs every sample job instead of the quickest.
    pub full: bool,
    /// The program that looks at libraries and runs jobs: `capa-worker` itself.
    pub program: PathBuf,
}

/// Makes every check.
///
/// Nothing is changed, on the machine or on the chain. Where the configuration cannot be read, the machine is looked at
/// all the same.
pub async fn examine(options: &Options) -> Report {
    let mut report = Report::default();
    let config = match &options.config {
        Some(path) => setup::config(&mut report, path),
        None => None,
    };
    if let Some(config) = &config {
        let worker = setup::key(&mut report, config);
        let chain = network::chain(&mut report, config).await;
        if let Some((chain, book)) = &chain {
            network::registry(&mut report, config, chain, book, worker).await;
        }
        setup::disk(&mut report, config);
    }
    machine::examine(&mut report, config.as_ref(), options).await;
    if let Some(config) = &config {
        market::examine(&mut report, config).await;
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_exit_code() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), 0);
        report.add(Check::warn(Class::Config, "config.file", "odd", "look"));
        report.add(Check::fail(Class::Gpu, "gpu.driver", "absent", "install it"));
        report.add(Check::fail(Class::Market, "market.keeper", "silent", "ask it"));
        assert_eq!(report.exit_code(), 7);
        assert!(report.to_string().ends_with("2 failed, 1 warned, 0 fine"), "{report}");
        assert!(report.to_string().contains("-> install it"), "{report}");
    }
}
