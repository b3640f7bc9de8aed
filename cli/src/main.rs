//! `capa`: the command line of Capa. See the crate `cli`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main(std::env::args_os().collect()).await
}
