//! The sandbox, attacked from inside: real children, locked as in production, that try what a stranger's job would.
//!
//! This binary plays both sides. The test harness of the standard library starts threads before any test, and a process
//! must be locked while it has one, so that the cases are run by a harness of our own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod scene;
mod child;
mod attacks;
mod stage;
mod refused;
mod bounds;
mod life;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("child") => child::play(),
        Some("supervisor") => life::play_supervisor(),
        _ => harness::run(&[refused::CASES, bounds::CASES, life::CASES, work::CASES].concat()),
    }
}
