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
        env = "CAPA_NETWORK",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Settings"
    )]
    pub network: Option<PathBuf>,
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
