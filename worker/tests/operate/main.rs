//! The verbs of an operator, as an operator runs them: by the program, and judged by what it prints and its exit code.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../pay/chain.rs"]
#[allow(dead_code, reason = "it serves the tests of payment too")]
mod chain;
mod place;

mod doctor;
mod running;
mod bench;
