//! A whole network for one test: chain, contracts, services, and a client in front of it.

use crate::accounts::Accounts;
use crate::anvil::{Anvil, CHAIN_ID, Mining};
use crate::deploy::{Stage, deploy};
use crate::facts::Facts;
use crate::layout::{Layout, Reserved, Tuning, http};
use crate::services::{Host, Running, Service};
use crate::tools;
use alloy::primitives::Address;
use anyhow::{Context, bail};
use client::anchor::ChainAnchor;
use client::manifest::{self, Prepared};
use client::session::rules::Policy;
use client::session::{Session, SessionConfig, Terms};
use client::wallet::Wallet;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, NANO, Price, Quantity, Timestamp};
use protocol::job::Kind;
use protocol::resource::{Resource, ResourceId};
use protocol::signature::SigningKey;
use protocol::voucher::ChannelId;
use service::chain::{Chain, ChainConfig, Tag};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use url::Url;

/// Longest that a test waits for any single thing.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The network. Its parts end with it.
#[derive(Debug)]
pub struct World {
    /// Running services.
    pub services: Vec<Running>,
    /// The chain.
    pub anvil: Anvil,
    /// The contracts.
    pub book: AddressBook,
    /// The people.
    pub accounts: Accounts,
    /// Files and ports.
    pub layout: Layout,
    folder: tempfile::TempDir,
    _ports: Reserved,
}

/// Where a network will lie, known before it starts so that proxies can be put in front of it.
#[derive(Debug)]
pub struct Plan {
    folder: tempfile::TempDir,
    ports: Reserved,
    /// Its files and ports.
    pub layout: Layout,
}

impl Plan {
    /// A folder of its own and free ports.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = Reserved::new()?;
        let layout = Layout::new(folder.path().to_path_buf(), ports.ports);
        Ok(Self { folder, ports, layout })
    }
}

/// Settings for tests: batches close quickly and jobs are billed often.
pub fn quick() -> Tuning {
    Tuning { close_after_ms: 2_000, interval_ms: 200, ..Tuning::default() }
}

impl World {
    /// A chain with contracts and seeded accounts, and nothing running yet.
    pub async fn new(plan: Plan, tuning: &Tuning) -> anyhow::Result<Self> {
        let Plan { folder, ports, layout } = plan;
        let anvil = Anvil::start(folder.path(), None, layout.ports().chain, Mining::EverySecond).await?;
        let accounts = Accounts::local();
        let book = deploy(&anvil, &accounts, &Stage::default()).await?;
        layout.write(&book, &accounts, tuning)?;
        Ok(Self { services: Vec::new(), anvil, book, accounts, layout, folder, _ports: ports })
    }

    /// The same with keeper, indexer and worker running as tasks of this process.
    pub async fn with_services(tuning: &Tuning) -> anyhow::Result<Self> {
        let mut world = Self::new(Plan::new()?, tuning).await?;
        for service in [Service::Keeper, Service::Indexer, Service::Worker] {
            world.start(service, &Host::Task).await?;
        }
        Ok(world)
    }

    /// Starts a service.
    pub async fn start(&mut self, service: Service, host: &Host) -> anyhow::Result<()> {
        let running = Running::start(service, &self.layout, host).await?;
        self.services.push(running);
        Ok(())
    }

    /// What the chain says.
    pub fn facts(&self) -> Facts {
        Facts::new(self.anvil.provider().clone(), self.book.clone())
    }

    /// A connection to the chain.
    pub async fn chain(&self) -> anyhow::Result<Chain> {
        let endpoints = vec![self.layout.chain()?];
        Ok(Chain::connect(&ChainConfig { endpoints, chain_id: CHAIN_ID, timeout_ms: 5_000, poll_ms: 100 }).await?)
    }

    /// The client's wallet.
    pub async fn wallet(&self) -> anyhow::Result<Wallet> {
        let chain = self.chain().await?;
        Ok(Wallet::new(chain, self.book.clone(), self.accounts.client.clone()).await?)
    }

    /// Opens the client's channel for `signer` with `keeper` and waits until it counts (the chain's safe head).
    pub async fn open_channel(&self, signer: Address, keeper: Address, amount: Amount) -> anyhow::Result<ChannelId> {
        let wallet = self.wallet().await?;
        let opened = wallet.open_channel(signer, keeper, amount).await?;
        let chain = self.chain().await?;
        eventually("the deposit to be safe", async || {
            Ok((chain.head(Tag::Safe).await?.number >= opened.block).then_some(()))
        })
        .await?;
        Ok(ChannelId::of(self.accounts.client.address(), signer, keeper))
    }

    /// A session of the client at `endpoint`.
    pub async fn session(&self, endpoint: Url, keeper: Address, key: &SigningKey) -> anyhow::Result<Session> {
        let anchor = ChainAnchor::new(self.chain().await?, self.book.clone());
        let config = SessionConfig {
            endpoint,
            book: self.book.clone(),
            payer: self.accounts.client.address(),
            keeper,
            key: key.clone(),
            folder: self.folder.path().join("client"),
            policy: Policy::default(),
        };
        Ok(Session::open(config, anchor, PATIENCE).await?)
    }

    /// Opens a channel of 100 CAPA to the keeper and a session on it.
    pub async fn keeper_session(&self) -> anyhow::Result<(ChannelId, Session)> {
        let (signer, keeper) = (&self.accounts.session, self.accounts.keeper.address());
        let channel = self.open_channel(signer.address(), keeper, Amount(100 * NANO)).await?;
        Ok((channel, self.session(self.keeper_url()?, keeper, signer).await?))
    }

    /// The keeper's API.
    pub fn keeper_url(&self) -> anyhow::Result<Url> {
        http(self.layout.keeper())
    }

    /// A file of this test's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.layout.file(name)
    }
}

/// A sample job of `examples/`.
pub fn sample(name: &str, kind: Kind) -> anyhow::Result<Prepared> {
    Ok(manifest::prepare(&tools::root().join("examples").join(name), Some(kind))?)
}

/// A resource of the local chain.
pub fn resource(name: &str) -> anyhow::Result<Resource> {
    crate::deploy::resource(name).with_context(|| format!("no resource {name}"))
}

/// Terms that every sample fits in.
pub fn terms(resource: ResourceId) -> anyhow::Result<Terms> {
    Ok(Terms {
        resource,
        max_price: Price(5 * NANO),
        max_units: Quantity(600_000),
        max_total: Amount(2 * NANO),
        expiry: Timestamp(unix_now()? + 300),
    })
}

/// Seconds since the epoch.
pub fn unix_now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Asks until there is an answer; gives up after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match ask().await.with_context(|| format!("waiting for {what}"))? {
            Some(found) => return Ok(found),
            None if start.elapsed() > PATIENCE => bail!("gave up waiting for {what} after {} s", PATIENCE.as_secs()),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
