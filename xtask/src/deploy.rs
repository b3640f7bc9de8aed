//! Puts the contracts on a chain and writes down what stands where: the address book that every program reads, and
//! what an explorer needs to verify the sources.

mod plan;
mod records;
mod book;
mod bundle;

use crate::files;
use crate::setup;
use crate::workspace::{self, Workspace, say};
use anyhow::{Context, Result, bail};
use book::Book;
use plan::Plan;
use records::Records;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// What forge writes about the transactions that it sent.
const RECORDS: &str = "target/contracts/broadcast";
/// Where the script writes its plan.
const PLANS: &str = "target/contracts/deploy";
/// Address books and verification bundles.
const DEPLOYMENTS: &str = "contracts/deployments";

/// The command line of `deploy`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Network file, such as contracts/script/networks/local.json
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// JSON-RPC endpoint of the chain [default: the network file's `rpc`]
    #[arg(long, env = "CAPA_RPC_URL", hide_env_values = true, value_name = "URL")]
    rpc_url: Option<String>,
    /// Print what would be created, and where, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// How forge signs, after `--`: `--account NAME` (its keystore), `--ledger`, `--trezor`, or `--unlocked`
    #[arg(last = true, value_name = "FORGE OPTIONS")]
    signer: Vec<OsString>,
}

/// What this program reads of a network file; the script reads the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkFile {
    chain_id: String,
    rpc: Option<String>,
    stablecoin: Option<Stablecoin>,
}

#[derive(Deserialize)]
struct Stablecoin {
    symbol: String,
}

/// One deployment in progress.
struct Deployment<'a> {
    workspace: &'a Workspace,
    file: PathBuf,
    network: NetworkFile,
    rpc_url: String,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    refuse_keys(&options.signer)?;
    setup::run(workspace)?;
    let deployment = Deployment::open(workspace, options)?;
    let plan = deployment.plan()?;
    let books = deployment.books();
    for (path, key) in &books {
        Book::read(path)?.map_or(Ok(()), |known| known.require_same(&plan, key, path))?;
    }
    print!("{plan}");
    if options.dry_run {
        return Ok(());
    }
    let folder = workspace.path(RECORDS).join("Deploy.s.sol").join(&deployment.network.chain_id);
    records::keep(&folder)?;
    deployment.send(&options.signer)?;

    // A repeated run sends nothing and reads everything from the chain: it is the check of what was just done.
    let plan = deployment.plan()?;
    plan.require_standing()?;
    let records = Records::read(&folder)?;
    for (path, key) in &books {
        let book = Book::new(&plan, key, &records, Book::read(path)?.as_ref())?;
        files::write(path, &book.to_json()?)?;
        say(&format!("wrote {}", path.display()));
    }
    let bundle = workspace.path(DEPLOYMENTS).join(&deployment.network.chain_id);
    bundle::write(workspace, &plan, &bundle)?;
    say(&format!("wrote {} for explorers", bundle.display()));
    Ok(())
}

impl<'a> Deployment<'a> {
    fn open(workspace: &'a Workspace, options: &Options) -> Result<Self> {
        let file = &options.network;
        let file = file.canonicalize().with_context(|| format!("cannot read the network file {}", file.display()))?;
        let network: NetworkFile = serde_json::from_str(&files::read(&file)?)
            .with_context(|| format!("{} is not a network file", file.display()))?;
        let symbol = network.stablecoin.as_ref().map_or("none", |stablecoin| &stablecoin.symbol);
        if [symbol, &network.chain_id].iter().any(|part| !part.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            bail!("chainId {:?} and symbol {symbol:?} name files: use letters and digits only", network.chain_id);
        }
        let rpc_url = options.rpc_url.clone().or_else(|| network.rpc.clone());
        let rpc_url = rpc_url.context("no endpoint: give --rpc-url, or set CAPA_RPC_URL")?;
        std::fs::create_dir_all(workspace.path(PLANS)).context("the folder of plans")?;
        std::fs::create_dir_all(workspace.path(DEPLOYMENTS)).context("the folder of address books")?;
        Ok(Self { workspace, file, network, rpc_url })
    }

    /// Each address book with the plan's key of its Settlement.
    fn books(&self) -> Vec<(PathBuf, &'static str)> {
        let folder = self.workspace.path(DEPLOYMENTS);
        let id = &self.network.chain_id;
        let mut books = vec![(folder.join(format!("{id}.json")), "settlement")];
        if let Some(stablecoin) = &self.network.stablecoin {
            books.push((folder.join(format!("{id}-{}.json", stablecoin.symbol)), "stablecoin"));
        }
        books
    }

    /// What stands and what is missing, by a run that sends nothing.
    fn plan(&self) -> Result<Plan> {
        say("reading the chain");
        // Where the script fails, forge prints every call that it made; the reason is on stderr.
        workspace::output(&mut self.script()?)?;
        Plan::read(&self.plan_path())
    }

    /// Sends what is missing, one transaction after the other.
    fn send(&self, signer: &[OsString]) -> Result<()> {
        let mut script = self.script()?;
        workspace::run(script.args(["--broadcast", "--slow"]).args(signer))
    }

    /// The endpoint goes by the environment, since its address often is a secret and arguments are shown.
    fn script(&self) -> Result<Command> {
        let mut command = self.workspace.forge(&[
            "script",
            "contracts/script/Deploy.s.sol",
            "--skip",
            "test",
            "--non-interactive",
        ])?;
        command
            .env("FOUNDRY_PROFILE", "production")
            .env("FOUNDRY_BROADCAST", RECORDS)
            // A remembered state of the chain proves nothing about the chain.
            .env("FOUNDRY_NO_STORAGE_CACHING", "true")
            .env("FOUNDRY_ETH_RPC_URL", &self.rpc_url)
            .env("CAPA_NETWORK", &self.file)
            .env("CAPA_DEPLOY_PLAN", self.plan_path());
        Ok(command)
    }

    fn plan_path(&self) -> PathBuf {
        self.workspace.path(PLANS).join(format!("{}.json", self.network.chain_id))
    }
}

/// A key on the command line is in the shell's history and in every process list.
fn refuse_keys(signer: &[OsString]) -> Result<()> {
    let bare = ["--private-key", "--mnemonic", "--interactives"];
    let is_bare = |word: &OsString| bare.iter().any(|option| word.to_string_lossy().starts_with(option));
    match signer.iter().find(|word| is_bare(word)) {
        Some(word) => bail!("{} is refused: use --account, --ledger or --trezor", word.to_string_lossy()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_taken_from_the_command_line() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        refuse_keys(&words("--account deployer --sender 0x1")).unwrap();
        for text in
            ["--private-key 0x1", "--private-key=0x1", "--private-keys 1", "--mnemonics a", "--mnemonic-passphrases"]
        {
            assert!(refuse_keys(&words(text)).is_err(), "{text}");
        }
    }
}
