//! An indexer as a whole: bound, then run until shutdown.

use crate::api::{self, Api};
use crate::apply::{self, Contracts};
use crate::config::Config;
use crate::lines::Fetcher;
use crate::network::Network;
use crate::observe;
use indexer_sqlite::SqliteStore;
use indexer_store::fact::{Block, Located};
use indexer_store::store::{Store, StoreError};
use service::chain::{BlockRef, Chain, ChainError, Change, Follow, Tag};
use service::config::{ConfigError, read_json};
use service::health::Health;
use service::shutdown::Shutdown;
use service::telemetry::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Part of the service's health: following the chain.
const CHAIN: &str = "chain";
/// Part of the service's health: the database.
const STORE: &str = "store";
/// Why an index that has not caught up is not ready.
const BEHIND: &str = "the index is behind the chain";
/// Blocks that a ready index may be behind: some are always on their way.
const SLACK: u64 = 5;
/// Pause between two looks at how far the chain is.
const LOOK: Duration = Duration::from_millis(500);
/// Pause before a store that did not answer is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Why an indexer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address book cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The chain, or a contract on it, cannot be read or is another one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder cannot be made.
    #[error("the data folder {0} cannot be used: {1}")]
    Folder(String, std::io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}; choose a free address")]
    Listen(SocketAddr, std::io::Error),
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Why a running indexer had to stop. It is not ended by what may pass.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The chain is not the one that was indexed.
    #[error("the chain cannot be followed: {0}")]
    Chain(ChainError),
    /// The database failed for good.
    #[error(transparent)]
    Store(StoreError),
    /// The API or admin server failed.
    #[error("a server failed: {0}")]
    Server(#[from] std::io::Error),
}

/// An indexer that is bound to its addresses and database.
pub struct Indexer {
    /// Where the API is served.
    pub api_addr: SocketAddr,
    /// Where health and metrics are served.
    pub admin_addr: SocketAddr,
    api: TcpListener,
    admin: TcpListener,
    chain: Chain,
    store: SqliteStore,
    network: Arc<Network>,
    metrics: Option<Metrics>,
    fetcher: Fetcher<SqliteStore>,
    changed: Arc<watch::Sender<()>>,
}

impl Indexer {
    /// Reaches the chain, opens the database, and takes the addresses.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let chain = Chain::connect(&config.chain).await?;
        let book = read_json(&config.address_book)?;
        let network = Arc::new(Network::read(&book, config.keepers, &chain).await?);
        std::fs::create_dir_all(&config.data)
            .map_err(|error| StartError::Folder(config.data.display().to_string(), error))?;
        let store = SqliteStore::open(&config.data.join("indexer.db"), network.scheme()).await?;
        let (api, api_addr) = listen(config.listen).await?;
        let (admin, admin_addr) = listen(config.admin).await?;
        let changed = Arc::new(watch::Sender::new(()));
        let fetcher =
            Fetcher::new(&store, &network.keepers, &changed).map_err(|error| StartError::Client(error.to_string()))?;
        Ok(Self { api_addr, admin_addr, api, admin, chain, store, network, metrics: None, fetcher, changed })
    }

    /// Serves these metrics instead of starting a recorder of its own.
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Follows the chain and serves until shutdown, or until something fails that cannot pass.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let health = Health::new();
        health.set(CHAIN, Err(BEHIND.to_owned()));
        health.set(STORE, Ok(()));
        let metrics = self.metrics.unwrap_or_else(|| service::telemetry::init("capa-indexer", false));
        let api = Api::new(self.store.clone(), self.network.clone(), health.clone(), &self.changed, shutdown.clone());
        let watching = watch_progress(self.chain.clone(), self.store.clone(), health.clone(), &shutdown);
        let follower = Follower {
            chain: self.chain,
            store: self.store,
            network: self.network,
            health: health.clone(),
            changed: self.changed,
        };
        let ending = shutdown.clone();
        let servers = async {
            tokio::try_join!(
                service::http::serve(self.api, api::router(api), shutdown.clone()),
                service::health::serve_admin(self.admin, health, metrics, shutdown.clone()),
            )
        };
        let fetching = self.fetcher.run(shutdown.clone());
        let work = async {
            let done = follower.run(&shutdown).await;
            // Whatever ended the following ends the servers too.
            ending.cancel();
            done
        };
        let (work, servers, (), ()) = tokio::join!(work, servers, fetching, watching);
        work.and(servers.map(|_| ()).map_err(RunError::from))
    }
}

/// Keeps saying whether the index is as far as the chain, whatever the following waits for.
async fn watch_progress(chain: Chain, store: SqliteStore, health: Health, shutdown: &Shutdown) {
    loop {
        let state = match (chain.head(Tag::Latest).await, store.as_of().await) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(head), Ok(newest)) if newest.number.saturating_add(SLACK) >= head.number => Ok(()),
            (Ok(_), Err(error)) if !matches!(error, StoreError::Empty) => Err(error.to_string()),
            _ => Err(BEHIND.to_owned()),
        };
        health.set(CHAIN, state);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(chain.poll().max(LOOK)) => {}
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Brings the chain's changes into the store.
struct Follower {
    chain: Chain,
    store: SqliteStore,
    network: Arc<Network>,
    health: Health,
    changed: Arc<watch::Sender<()>>,
}

impl Follower {
    async fn run(self, shutdown: &Shutdown) -> Result<(), RunError> {
        let recent = self.store.recent().await.map_err(RunError::Store)?;
        let recent = recent.into_iter().map(reference).collect();
        let mut follow = Follow::new(self.chain.clone(), self.network.addresses(), self.network.start_block, recent);
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                change = follow.next() => change,
            };
            match change {
                Ok(change) => self.take(change, shutdown).await?,
                Err(error) if error.is_retryable() => observe::chain_failed(&error),
                Err(error) => return Err(RunError::Chain(error)),
            }
        }
    }

    /// Writes a change, however often the store has to be asked.
    async fn take(&self, change: Change, shutdown: &Shutdown) -> Result<(), RunError> {
        let (block, facts) = match change {
            Change::Applied { block, logs, .. } => (block, Some(self.facts(&logs))),
            Change::Reverted { block } => (block, None),
        };
        let block = Block { number: block.number, hash: block.hash, timestamp: block.timestamp };
        loop {
            let done = match &facts {
                Some(facts) => self.store.apply(block, facts.clone()).await,
                None => self.store.undo(block.number).await,
            };
            match done {
                Ok(()) => break,
                Err(error) if error.is_retryable() => {
                    observe::store_failed(&error);
                    self.health.set(STORE, Err(error.to_string()));
                }
                Err(error) => return Err(RunError::Store(error)),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(STORE_PAUSE) => {}
            }
        }
        self.health.set(STORE, Ok(()));
        match &facts {
            Some(facts) => observe::block_applied(block, facts.len()),
            None => observe::block_reverted(block),
        }
        self.changed.send_replace(());
        Ok(())
    }

    fn facts(&self, logs: &[alloy::rpc::types::Log]) -> Vec<Located> {
        let contracts = Contracts {
            settlement: self.network.settlement,
            registry: self.network.registry,
            catalog: self.network.catalog,
        };
        logs.iter()
            .filter_map(|log| {
                apply::fact(&contracts, log).unwrap_or_else(|error| {
                    observe::log_unreadable(&error);
                    None
                })
            })
            .collect()
    }
}

const fn reference(block: Block) -> BlockRef {
    BlockRef { number: block.number, hash: block.hash, timestamp: block.timestamp }
}
