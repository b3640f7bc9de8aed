//! `capa-worker`: sells compute of this machine.

use clap::Parser;
use std::process::ExitCode;
use worker::command::Command;

fn main() -> ExitCode {
    match Command::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("capa-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
