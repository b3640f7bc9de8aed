//! What can be typed.

use crate::{channel, job, keeper, market, provider, wallet};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use url::Url;

/// Buy compute with CAPA, sell it, and look at the market.
#[derive(Debug, Parser)]
#[command(name = "capa", version, arg_required_else_help = true, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// Where everything is.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command. Each can stand in the configuration file as well.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Configuration file [default: ~/.config/capa/config.toml]
    #[arg(
        long,
        global = true,
        env = "CAPA_CONFIG",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Settings"
    )]
    pub config: Option<PathBuf>,
    /// JSON-RPC endpoint of the chain
    #[arg(
        long,
        global = true,
        env = "CAPA_RPC",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Settings"
    )]
    pub rpc: Option<Url>,
    /// Chain id that the address book must name
    #[arg(
        long,
        global = true,
        env = "CAPA_CHAIN_ID",
        hide_env_values = true,
        value_name = "ID",
        help_heading = "Settings"
    )]
    pub chain_id: Option<u64>,
    /// Address book of the deployment (JSON)
    #[arg(
        long,
        global = true,
        env = "CAPA_ADDRESS_BOOK",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Settings"
    )]
    pub address_book: Option<PathBuf>,
    /// Keeper, or a provider's direct endpoint
    #[arg(
        long,
        global = true,
        env = "CAPA_KEEPER",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Settings"
    )]
    pub keeper: Option<Url>,
    /// Indexer, for history
    #[arg(
        long,
        global = true,
        env = "CAPA_INDEXER",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Settings"
    )]
    pub indexer: Option<Url>,
    /// Key that holds CAPA and sends transactions
    #[arg(
        long,
        global = true,
        env = "CAPA_WALLET",
        hide_env_values = true,
        value_name = "KEYSTORE",
        help_heading = "Settings"
    )]
    pub wallet: Option<PathBuf>,
    /// Key that signs orders and vouchers, and can spend a channel's deposit only
    #[arg(
        long,
        global = true,
        env = "CAPA_SESSION",
        hide_env_values = true,
        value_name = "KEYSTORE",
        help_heading = "Settings"
    )]
    pub session: Option<PathBuf>,
    /// File whose first line is the password of the keystores; without it you are asked
    #[arg(
        long,
        global = true,
        env = "CAPA_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Settings"
    )]
    pub password_file: Option<PathBuf>,
    /// Folder of what sessions must not forget
    #[arg(
        long,
        global = true,
        env = "CAPA_STATE",
        hide_env_values = true,
        value_name = "FOLDER",
        help_heading = "Settings"
    )]
    pub state: Option<PathBuf>,
    /// Print JSON: one document, or one per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Never ask for a confirmation
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    /// Print no progress and no hints
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print what happens inside; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keys, and what they hold
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// The deposit that jobs are paid from
    #[command(subcommand)]
    Channel(channel::ChannelCommand),
    /// Order jobs, pay for them, fetch their results
    #[command(subcommand)]
    Job(job::JobCommand),
    /// What is traded, at which prices
    #[command(subcommand)]
    Market(market::MarketCommand),
    /// A provider's record and its worker keys
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// A keeper's bond
    #[command(subcommand)]
    Keeper(keeper::KeeperCommand),
    /// The settings in use
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting and where it comes from
    Show,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// A field of a command that bears the name of a setting would take its place, of another type.
    #[test]
    fn no_command_hides_a_setting() {
        let key = "0x00000000000000000000000000000000000000aa";
        let job = format!("0x{}", "11".repeat(32));
        let settings = [
            ("--config", "c"),
            ("--rpc", "http://127.0.0.1:1"),
            ("--chain-id", "7"),
            ("--address-book", "n"),
            ("--keeper", "http://127.0.0.1:2"),
            ("--indexer", "http://127.0.0.1:3"),
            ("--wallet", "w"),
            ("--session", "s"),
            ("--password-file", "p"),
            ("--state", "f"),
        ];
        Cli::command().debug_assert();
        for command in [
            "wallet new",
            "wallet import -",
            "wallet show",
            &format!("wallet balance {key}"),
            &format!("channel open 1 --with {key}"),
            &format!("channel status --with {key}"),
            "channel close",
            "channel withdraw",
            "job submit x --kind wasm --max-total 1 --max-price 1 --max-units 1 --resource r --watch --out o",
            "job watch",
            "job list",
            &format!("job show {job}"),
            &format!("job result {job} --out o"),
            &format!("job cancel {job}"),
            "market resources",
            "market book 1",
            "market offers",
            "market candles 1 --pending",
            "provider register --endpoint e",
            "provider add-worker --worker-key k --worker-password-file p",
            &format!("provider remove-worker {key}"),
            &format!("provider consent {key} --worker-key k"),
            "provider status",
            &format!("keeper bond 1 --owner {key}"),
            "keeper status",
            "config show",
            "completions bash",
        ] {
            let flags = settings.iter().flat_map(|(flag, value)| [*flag, *value]);
            let line: Vec<_> = std::iter::once("capa").chain(command.split(' ')).chain(flags).collect();
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert_eq!(cli.global.keeper.unwrap().as_str(), "http://127.0.0.1:2/", "{command}");
            assert_eq!(cli.global.chain_id, Some(7), "{command}");
        }
    }
}
