//! The repository's chores as plain Rust: `cargo xtask <command>`.
//!
//! `dev` runs the whole system, `test` checks the whole repository; both first install what is missing. Everything a
//! command calls is pinned (package-lock.json, Cargo.lock), and its exit status is this program's.

mod setup;

mod dev;
mod test;

mod analysis;
mod deep;
mod gas;
mod bench;
mod gpu;
mod production;

mod abi;
mod deploy;
mod lint;
mod sqlx;
mod tidy;

mod files;
mod guard;
mod workspace;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;
use workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install the pinned npm packages and build the web app; does nothing when both are fresh
    Setup,
    /// Build everything and run the whole system on an embedded chain (`--once`, `--json`, …: see `dev --help`)
    #[command(disable_help_flag = true)]
    Dev {
        /// Passed on to `capa-dev`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every test: contracts, web, Rust, and the rules of `tidy`
    Test,
    /// Check layers, budgets, documents and committed ABIs
    Tidy,
    /// Check formatting, clippy and dependencies (needs cargo-deny)
    Lint,
    /// Run everything that looks for errors and takes long
    Deep {
        /// Only these parts
        #[arg(long, value_enum)]
        only: Vec<deep::Part>,
    },
    /// Measure the contracts' gas, write contracts/snapshots, and compare with the bars and the peers
    Gas {
        /// Print one JSON document instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Measure what the worker costs, write docs/benchmarks/worker.md, and compare with the bars
    Bench(bench::Options),
    /// Run the worker's checks, sample jobs and bars on a GPU, and write docs/benchmarks/gpu.md
    Gpu(gpu::Options),
    /// Put faults into the contracts and see whether the tests notice
    Mutate(analysis::mutation::Options),
    /// Write the golden vectors that forge and cargo tests share
    Vectors,
    /// Write contracts/abi from the contracts
    Abi,
    /// Deploy the contracts of a network file, and write the chain's address book
    Deploy(deploy::Options),
    /// Write each store crate's checked queries (`.sqlx`) from its migrations
    Sqlx,
    /// Run a program that ends when this one's parent does
    #[command(hide = true, disable_help_flag = true)]
    Guard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            workspace::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let workspace = Workspace::here()?;
    match chore {
        Chore::Setup => setup::run(&workspace),
        Chore::Dev { arguments } => dev::run(&workspace, &arguments),
        Chore::Test => test::run(&workspace),
        Chore::Tidy => tidy::run(&workspace),
        Chore::Lint => lint::run(&workspace),
        Chore::Deep { only } => deep::run(&workspace, &only),
        Chore::Gas { json } => gas::run(&workspace, json),
        Chore::Bench(options) => bench::run(&workspace, &options),
        Chore::Gpu(options) => gpu::run(&workspace, &options),
        Chore::Mutate(options) => analysis::mutation::run(&workspace, &options),
        Chore::Vectors => abi::vectors(&workspace),
        Chore::Abi => abi::export(&workspace),
        Chore::Deploy(options) => deploy::run(&workspace, &options),
        Chore::Sqlx => sqlx::run(&workspace),
        Chore::Guard { command } => guard::run(&command),
    }
}
