//! Putting a worker together: everything that can be wrong is found before the first job is taken.

use crate::admin;
use crate::config::{Config, ConfigError};
use crate::connect;
use crate::direct::Direct;
use crate::drain;
use crate::fleet::{Fleet, FleetConfig, FleetError};
use crate::keeper_api::LinkError;
use crate::ledger::{Ledger, LedgerError};
use crate::link::KeeperLink;
use crate::lookout::Lookout;
use crate::market::{Market, ReadError};
use crate::node::{Node, now};
use crate::outlet::Outlet;
use crate::watch::{self, Watch};
use alloy::primitives::Address;
use protocol::address_book::AddressBook;
use protocol::signature::SigningKey;
use protocol::wire::{Code, Refusal};
use sd_notify::NotifyState;
use service::chain::{Chain, ChainError, SendError, Sender, SenderConfig};
use service::config::read_json;
use service::health::{Health, serve_admin_with};
use service::keystore::{KeystoreError, read_key};
use service::shutdown::{Shutdown, Stages};
use service::telemetry::{self, Metrics};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// How long a shutdown waits for running jobs to write down how they ended.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a worker does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The worker key cannot be read.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// The key file holds no key.
    #[error("the keystore holds no valid key: make a new one")]
    InvalidKey,
    /// The key signs for somebody else, or for nobody.
    #[error(
        "worker key {worker} is not registered for provider {provider} (the registry says {found}): add it with the \
         provider's wallet, by `capa provider add-worker`"
    )]
    NotRegistered {
        /// This worker's key.
        worker: Address,
        /// The configured provider.
        provider: Address,
        /// Whom the registry names; zero for nobody.
        found: Address,
    },
    /// None of the offers is for a resource of the catalog.
    #[error("the ResourceCatalog has none of the resources that are offered: correct [[offers]]")]
    NothingToSell,
    /// The chain cannot be used, or carries other contracts than the address book says.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The address book cannot be read.
    #[error(transparent)]
    AddressBook(#[from] service::config::ConfigError),
    /// A contract cannot be read.
    #[error(transparent)]
    Contract(#[from] ReadError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is nothing to run jobs in.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Transactions cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The keeper's address is wrong.
    #[error("{0}")]
    Link(String),
    /// A port cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the worker ended by itself.
    #[error("{0} ended")]
    Ended(&'static str),
}

impl From<LinkError> for RunError {
    fn from(error: LinkError) -> Self {
        Self::Link(error.to_string())
    }
}

/// A worker that is ready to run: its ports are bound and its key is known to the registry.
pub struct Worker {
    node: Arc<Node>,
    sender: Arc<Sender<Ledger>>,
    link: Option<Arc<KeeperLink>>,
    direct: Option<(TcpListener, Arc<Direct>)>,
    admin: TcpListener,
    admin_addr: SocketAddr,
    direct_addr: Option<SocketAddr>,
    metrics: Metrics,
}

/// Runs a worker until the shutdown.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    Worker::bind(config).await?.run(shutdown).await
}

impl Worker {
    /// Opens everything that a worker needs and checks it.
    pub async fn bind(config: Config) -> Result<Self, RunError> {
        config.validate()?;
        let metrics = telemetry::init("worker", false);
        let (admin, admin_addr) = listen(config.admin).await?;
        let listener = match &config.direct {
            Some(direct) => Some(listen(direct.listen).await?),
            None => None,
        };
        let secret = read_key(&config.key)?;
        let key = SigningKey::from_bytes(&secret).ok_or(RunError::InvalidKey)?;
        let chain = Chain::connect(&config.chain).await?;
        let node = Arc::new(open(config, key, chain.clone()).await?);
        let sender = Sender::new(chain, &secret, node.ledger.clone(), SenderConfig::default()).await?;
        let sender = Arc::new(sender);
        let link = match &node.config.keeper {
            Some(base) => Some(Arc::new(KeeperLink::new(node.clone(), base.clone())?)),
            None => None,
        };
        let direct_addr = listener.as_ref().map(|(_, address)| *address);
        let direct = match (listener, node.config.direct.clone()) {
            (Some((listener, _)), Some(config)) => Some((listener, Direct::open(node.clone(), config).await?)),
            _ => None,
        };
        Ok(Self { node, sender, link, direct, admin, admin_addr, direct_addr, metrics })
    }

    /// Where health and metrics are served.
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where direct clients are served.
    pub const fn direct_addr(&self) -> Option<SocketAddr> {
        self.direct_addr
    }

    /// The worker key's address.
    pub fn address(&self) -> Address {
        self.node.key.address()
    }

    /// Works until the shutdown, which ends running jobs.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        self.run_draining(Stages { stop: shutdown, ..Stages::new() }).await
    }

    /// Works until it is told to drain, and has done so, or until it is told to stop.
    pub async fn run_draining(self, stages: Stages) -> Result<(), RunError> {
        let node = self.node;
        let (withdrawals, asked) = mpsc::channel(1);
        let lookout = Lookout::new(node.clone(), self.link.clone());
        let commands = admin::router(node.clone(), self.admin_addr, withdrawals)?.merge(lookout.routes());
        let mut parts: JoinSet<&'static str> = JoinSet::new();
        let (admin, health, metrics, stop) = (self.admin, node.health.clone(), self.metrics, node.shutdown.clone());
        parts.spawn(async move {
            if let Err(error) = serve_admin_with(admin, health, metrics, commands, stop).await {
                tracing::error!(%error, "the admin port failed");
            }
            "the admin port"
        });
        let mut outlets: Vec<Arc<dyn Outlet>> = Vec::new();
        if let Some(link) = self.link {
            outlets.push(link.clone());
            node.report_keeper(Err("not connected yet".into()));
            parts.spawn(async move {
                connect::run(link).await;
                "the connection to the keeper"
            });
        }
        parts.spawn(async move {
            lookout.run().await;
            "the look-out"
        });
        if let Some((listener, direct)) = self.direct {
            outlets.push(direct.clone());
            parts.spawn(async move {
                direct.serve(listener).await;
                "the direct endpoint"
            });
        }
        let (config, domain) = (node.config.clone(), node.domain.clone());
        let watch = Watch::new(config, domain, node.ledger.clone(), node.market.clone(), self.sender);
        let watched = node.clone();
        parts.spawn(async move {
            watch::run(watched, watch, outlets, asked).await;
            "the watch over batches"
        });
        tell_systemd(NotifyState::Ready);
        let ended = tokio::select! {
            () = stages.stop.cancelled() => None,
            () = drain::finished(&node, stages.drain) => None,
            ended = parts.join_next() => Some(ended.and_then(Result::ok).unwrap_or("a part of the worker")),
        };
        end(&node, parts).await;
        ended.map_or(Ok(()), |part| Err(RunError::Ended(part)))
    }
}

/// Lets what runs write down how it ended, and closes everything.
async fn end(node: &Node, mut parts: JoinSet<&'static str>) {
    tell_systemd(NotifyState::Stopping);
    node.shutdown.cancel();
    let slots = node.slots.acquire_many(node.config.slots);
    if tokio::time::timeout(FAREWELL, slots).await.is_err() {
        tracing::warn!("jobs did not end in time; they are reported as failed at the next start");
    }
    while parts.join_next().await.is_some() {}
    node.fleet.close().await;
    node.ledger.close().await;
}

/// Tells the service manager, where one started the worker and wants to know.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let fail = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

/// Reads all that does not change while the worker runs, and settles what a crash left behind.
async fn open(config: Config, key: SigningKey, chain: Chain) -> Result<Node, RunError> {
    let book: AddressBook = read_json(&config.address_book)?;
    chain.verify_deployment(book.chain_id.get(), book.code()).await?;
    let market = Market::open(chain, &book, Duration::from_millis(config.limits.chain_age_ms)).await?;
    let found = market.provider_of(key.address()).await?;
    if found != config.provider && key.address() != config.provider {
        return Err(RunError::NotRegistered { worker: key.address(), provider: config.provider, found });
    }
    if key.address() == config.provider {
        tracing::warn!("the worker key is the payout address itself: give the worker a key of its own");
    }
    let resources = market.resources().await?;
    if !config.offers.iter().any(|offer| resources.iter().any(|resource| resource.name == offer.resource)) {
        return Err(RunError::NothingToSell);
    }
    let token = market.token().await?;
    let ledger = Ledger::open(&config.data).await?;
    let offered = ledger.live_offers(now()).await?;
    let refusal = Refusal::new(Code::NodeFailed, "the worker was restarted while the job ran");
    let interrupted = ledger.fail_interrupted(&refusal, now()).await?;
    if interrupted > 0 {
        tracing::warn!(interrupted, "jobs that ran when the worker ended are reported as failed");
    }
    let health = Health::new();
    let (program, data) = (config.runner.clone(), config.data.clone());
    let fleet = FleetConfig::new(program, data, config.slots, config.execute.clone(), config.sandbox.clone());
    let fleet = Fleet::start(fleet, health.clone()).await?;
    introduce(&fleet);
    Ok(Node {
        fleet,
        slots: Arc::new(Semaphore::new(config.slots as usize)),
        domain: book.domain(),
        key,
        ledger,
        market: Arc::new(market),
        token,
        resources,
        health,
        shutdown: Shutdown::new(),
        running: Default::default(),
        drain: Shutdown::new(),
        unaccepted: Default::default(),
        offered: Mutex::new(offered.into_iter().map(|signed| signed.offer).collect()),
        config,
    })
}

/// Tells the operator what this node runs, and whom it will turn away.
fn introduce(fleet: &Fleet) {
    let inventory = fleet.inventory();
    let (kinds, toolchains) = (&inventory.kinds, &inventory.toolchains);
    tracing::info!(?kinds, ?toolchains, gpus = inventory.devices, isolation = ?inventory.isolation, "jobs are accepted");
    for reason in &inventory.missing {
        tracing::info!(%reason, "jobs are kept apart less well than they could be");
    }
    // Nobody is the zero address, so this is what a stranger is told.
    if let Err(reason) = fleet.admit(Address::ZERO) {
        tracing::warn!(%reason, "only jobs of friends are run");
    }
}
