//! `capa`: buy compute, run a provider's account, post a keeper's bond, look at the market.
//!
//! `capa NOUN VERB`, one file per noun: [`wallet`], [`channel`], [`job`], [`market`], [`provider`], [`keeper`]. Data goes
//! to stdout and nothing else does; progress, hints and errors go to stderr. `--json` prints one document, or one per
//! line where it is a stream. Settings come from flags, then the environment (`CAPA_*`), then the configuration file,
//! then defaults ([`settings`]). Exit codes are those of [`error::CliError::exit_code`].

pub mod args;
pub mod context;
pub mod error;
pub mod keys;
pub mod output;
pub mod settings;

pub mod channel;
pub mod job;
pub mod keeper;
pub mod market;
pub mod provider;
pub mod wallet;

use args::{Cli, Command, ConfigCommand};
use clap::{CommandFactory, FromArgMatches};
use context::Context;
use error::CliError;
use output::Output;
use settings::Settings;
use std::ffi::OsString;
use std::process::ExitCode;

/// The program: parses, runs until it is done or interrupted, and tells how it went.
pub async fn main(arguments: Vec<OsString>) -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    output::log(cli.global.verbose);
    let result = match Settings::resolve(&cli.global, &matches) {
        Ok(settings) => run(cli.command, settings, &output).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs one command.
pub async fn run(command: Command, settings: Settings, output: &Output) -> Result<(), CliError> {
    let context = Context::new(settings, output.clone());
    match command {
        // A watch ends its session in good order, so it handles the interruption itself.
        Command::Job(command) => job::run(command, &context).await,
        Command::Wallet(command) => interruptible(wallet::run(command, &context)).await,
        Command::Channel(command) => interruptible(channel::run(command, &context)).await,
        Command::Market(command) => interruptible(market::run(command, &context)).await,
        Command::Provider(command) => interruptible(provider::run(command, &context)).await,
        Command::Keeper(command) => interruptible(keeper::run(command, &context)).await,
        Command::Config(ConfigCommand::Show) => context.settings.show(output),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "capa", &mut std::io::stdout());
            Ok(())
        }
    }
}

async fn interruptible(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    }
}
