//! Settings: flag, else environment, else configuration file, else default; each remembers where it came from.

use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, table};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use url::Url;

/// The configuration file. All keys are optional; unknown ones are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    rpc: Option<Url>,
    chain_id: Option<u64>,
    address_book: Option<PathBuf>,
    keeper: Option<Url>,
    indexer: Option<Url>,
    wallet: Option<PathBuf>,
    session: Option<PathBuf>,
    password_file: Option<PathBuf>,
    state: Option<PathBuf>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
    /// Built in.
    Default,
    /// Nowhere.
    Unset,
}

/// A setting and its origin.
#[derive(Debug, Clone)]
pub struct Setting<T> {
    /// The value, if there is one.
    pub value: Option<T>,
    /// Where it comes from.
    pub origin: Origin,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file, whether or not it exists.
    pub file: PathBuf,
    /// JSON-RPC endpoint.
    pub rpc: Setting<Url>,
    /// Chain id that the address book must name.
    pub chain_id: Setting<u64>,
    /// Address book.
    pub address_book: Setting<PathBuf>,
    /// Keeper or direct endpoint.
    pub keeper: Setting<Url>,
    /// Indexer.
    pub indexer: Setting<Url>,
    /// Wallet keystore.
    pub wallet: Setting<PathBuf>,
    /// Session keystore.
    pub session: Setting<PathBuf>,
    /// Password file.
    pub password_file: Setting<PathBuf>,
    /// Folder of session states.
    pub state: Setting<PathBuf>,
    /// Never ask.
    pub yes: bool,
}

impl<T: Clone> Setting<T> {
    fn resolve(given: Option<&T>, source: Option<ValueSource>, file: Option<T>, default: Option<T>) -> Self {
        match (given, file, default) {
            (Some(value), _, _) => {
                let environment = source == Some(ValueSource::EnvVariable);
                let origin = if environment { Origin::Environment } else { Origin::Flag };
                Self { value: Some(value.clone()), origin }
            }
            (None, Some(value), _) => Self { value: Some(value), origin: Origin::File },
            (None, None, Some(value)) => Self { value: Some(value), origin: Origin::Default },
            (None, None, None) => Self { value: None, origin: Origin::Unset },
        }
    }
}

/// One line of `config show`.
#[derive(Debug, Serialize)]
struct Shown {
    key: &'static str,
    value: Option<String>,
    origin: Origin,
}

impl Settings {
    /// Merges all sources.
    pub fn resolve(given: &Global, matches: &ArgMatches) -> Result<Self, CliError> {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
        let config = folder("XDG_CONFIG_HOME", &home, ".config");
        let state = folder("XDG_STATE_HOME", &home, ".local/state");
        let path = given.config.clone().unwrap_or_else(|| config.join("config.toml"));
        let file = read(&path, given.config.is_some())?;
        let source = |id: &str| matches.value_source(id);
        Ok(Self {
            rpc: Setting::resolve(given.rpc.as_ref(), source("rpc"), file.rpc, None),
            chain_id: Setting::resolve(given.chain_id.as_ref(), source("chain_id"), file.chain_id, None),
            address_book: Setting::resolve(
                given.address_book.as_ref(),
                source("address_book"),
                file.address_book,
                None,
            ),
            keeper: Setting::resolve(given.keeper.as_ref(), source("keeper"), file.keeper, None),
            indexer: Setting::resolve(given.indexer.as_ref(), source("indexer"), file.indexer, None),
            wallet: Setting::resolve(
                given.wallet.as_ref(),
                source("wallet"),
                file.wallet,
                Some(config.join("wallet.json")),
            ),
            session: Setting::resolve(
                given.session.as_ref(),
                source("session"),
                file.session,
                Some(config.join("session.json")),
            ),
            password_file: Setting::resolve(
                given.password_file.as_ref(),
                source("password_file"),
                file.password_file,
                None,
            ),
            state: Setting::resolve(given.state.as_ref(), source("state"), file.state, Some(state)),
            yes: given.yes,
            file: path,
        })
    }

    /// Prints every setting and its origin.
    pub fn show(&self, output: &Output) -> Result<(), CliError> {
        let path = |setting: &Setting<PathBuf>| setting.value.as_ref().map(|path| path.display().to_string());
        let url = |setting: &Setting<Url>| setting.value.as_ref().map(Url::to_string);
        let rows = [
            ("rpc", url(&self.rpc), self.rpc.origin),
            ("chain_id", self.chain_id.value.map(|id| id.to_string()), self.chain_id.origin),
            ("address_book", path(&self.address_book), self.address_book.origin),
            ("keeper", url(&self.keeper), self.keeper.origin),
            ("indexer", url(&self.indexer), self.indexer.origin),
            ("wallet", path(&self.wallet), self.wallet.origin),
            ("session", path(&self.session), self.session.origin),
            ("password_file", path(&self.password_file), self.password_file.origin),
            ("state", path(&self.state), self.state.origin),
        ]
        .map(|(key, value, origin)| Shown { key, value, origin });
        let mut view = table(&["setting", "value", "from"]);
        for row in &rows {
            let origin = format!("{:?}", row.origin).to_lowercase();
            view.add_row([row.key.to_owned(), row.value.clone().unwrap_or_default(), origin]);
        }
        output.note(&format!("configuration file: {}", self.file.display()));
        output.data(&rows, &view)
    }
}

fn folder(variable: &str, home: &Path, default: &str) -> PathBuf {
    let base = std::env::var_os(variable).filter(|value| !value.is_empty());
    base.map_or_else(|| home.join(default), PathBuf::from).join("capa")
}

/// A file that was named must be there; the default one need not.
fn read(path: &Path, named: bool) -> Result<File, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(File::default()),
        Err(error) => {
            return Err(CliError::Usage(format!("the configuration file {} cannot be read: {error}", path.display())));
        }
    };
    toml::from_str(&text).map_err(|error| CliError::Usage(format!("{} is not valid: {error}", path.display())))
}
