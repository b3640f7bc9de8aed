//! Starts chain, contracts and services, each service as its own process with its own configuration and key.

use crate::accounts::Accounts;
use crate::anvil::{Anvil, Mining};
use crate::deploy::{Stage, deploy};
use crate::dev::report::Timings;
use crate::layout::{Layout, Reserved, Tuning, http, loopback};
use crate::tools::Process;
use anyhow::{Context, bail};
use protocol::address_book::AddressBook;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A running network. Everything in it ends with this value, in reverse order of its start.
#[derive(Debug)]
pub struct Town {
    services: Vec<(Process, PathBuf)>,
    /// Its chain.
    pub anvil: Anvil,
    /// Its contracts.
    pub book: AddressBook,
    /// Its people.
    pub accounts: Accounts,
    /// Its files and ports.
    pub layout: Layout,
    /// So that two networks do not share a folder.
    _lock: fs::File,
    _ports: Reserved,
}

impl Town {
    /// Starts everything in `folder`, whose earlier content is replaced.
    pub async fn start(
        folder: &Path,
        free_ports: bool,
        tuning: &Tuning,
        timings: &mut Timings,
    ) -> anyhow::Result<Self> {
        let lock = lock(folder)?;
        let own = std::env::current_exe().context("finding this program")?;
        let ports = if free_ports { Reserved::new()? } else { Reserved::preferred()? };
        let layout = Layout::new(folder.to_path_buf(), ports.ports);
        let accounts = Accounts::local();

        let start = Instant::now();
        let anvil = Anvil::start(folder, Some(&own), layout.ports().chain, Mining::EverySecond).await?;
        timings.chain = start.elapsed().as_secs_f64();
        eprintln!("  chain     {}  (chain id {})", anvil.url(), crate::anvil::CHAIN_ID);

        let start = Instant::now();
        let book = deploy(&anvil, &accounts, &Stage::default()).await?;
        layout.write(&book, &accounts, tuning)?;
        timings.deploy = start.elapsed().as_secs_f64();
        eprintln!("  contracts settlement {}  token {}", book.settlement(), book.token());

        let start = Instant::now();
        let mut town = Self { services: Vec::new(), anvil, book, accounts, layout, _lock: lock, _ports: ports };
        for name in ["keeper", "indexer", "worker"] {
            town.spawn(name, &own)?;
        }
        town.wait_until_ready().await?;
        timings.services = start.elapsed().as_secs_f64();
        eprintln!("  keeper    {}", http(town.layout.keeper())?);
        eprintln!("  indexer   {}  (REST /v1, GraphQL /graphql, web page at /)", http(town.layout.indexer())?);
        eprintln!("  worker    {}  (direct channels)", http(town.layout.direct())?);
        Ok(town)
    }

    fn spawn(&mut self, name: &str, own: &Path) -> anyhow::Result<()> {
        let program = own.with_file_name(format!("capa-{name}"));
        if !program.is_file() {
            bail!("{} is not built: run `cargo build --workspace`", program.display());
        }
        let log = self.layout.file(&format!("{name}.log"));
        let config = self.layout.file(&format!("{name}.toml"));
        let command = [program.display().to_string(), "run".into(), "--config".into(), config.display().to_string()];
        self.services.push((Process::spawn(name, Some(own), &command, &log)?, log));
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let client = reqwest::Client::new();
        for admin in self.layout.ports().admin {
            let url = http(loopback(admin))?.join("readyz")?;
            loop {
                self.check()?;
                let last = match client.get(url.clone()).send().await {
                    Ok(answer) if answer.status().is_success() => break,
                    Ok(answer) => answer.text().await.unwrap_or_default(),
                    Err(error) => error.to_string(),
                };
                if start.elapsed() > Duration::from_secs(60) {
                    bail!("{url} did not become ready within 60 s: {last}; see the logs in {}", self.folder());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// An error once any service has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.services.iter_mut().try_for_each(|(process, log)| process.check(log))
    }

    fn folder(&self) -> String {
        self.layout.folder().display().to_string()
    }

    /// Ends the services in order, so that each can write what it knows.
    pub fn stop(mut self) {
        while let Some((process, _)) = self.services.pop() {
            process.terminate();
        }
    }
}

fn lock(folder: &Path) -> anyhow::Result<fs::File> {
    fs::create_dir_all(folder)?;
    let path = folder.with_extension("lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("another network runs in {}: stop it first, or name another folder with --folder", folder.display());
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    fs::create_dir_all(folder)?;
    Ok(file)
}
