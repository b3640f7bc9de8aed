//! Runs cases one after the other, with the options that cargo's test runners use.

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A case by its name.
pub(crate) type Case = (&'static str, fn());

/// Lists or runs the cases that the command line asks for.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut list, mut exact, mut ignored) = (false, false, false);
    let (mut only, mut skipped) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => list = true,
            "--exact" => exact = true,
            "--ignored" => ignored = true,
            "--skip" => skipped.extend(arguments.next()),
            "--format" | "--test-threads" | "--color" | "--logfile" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            filter => only.push(filter.to_owned()),
        }
    }
    let matches = |name: &str, filter: &String| if exact { name == filter } else { name.contains(filter) };
    let chosen = cases.iter().filter(|(name, _)| {
        let wanted = only.is_empty() || only.iter().any(|filter| matches(name, filter));
        // No case is marked as ignored.
        wanted && !ignored && !skipped.iter().any(|filter| matches(name, filter))
    });
    if list {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, case) in chosen {
        println!("test {name} ...");
        match catch_unwind(case) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(name),
        }
    }
    println!("\ntest result: {passed} passed; {} failed {failed:?}\n", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
