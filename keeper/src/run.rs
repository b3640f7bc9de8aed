//! The keeper as a program: bind, then run until shutdown.

use crate::Engine;
use crate::api::{self, Api};
use crate::blobs::{BlobError, Blobs};
use crate::config::Config;
use crate::desk::{Desk, Terms};
use crate::error::DeskError;
use crate::onchain::{Onchain, Standing};
use crate::publish::Publisher;
use crate::settle::Settler;
use crate::watch::Watch;
use alloy::primitives::Address;
use keeper_store::{Identity, Store, StoreError};
use protocol::address_book::AddressBook;
use protocol::signature::SigningKey;
use service::chain::{Chain, ChainError, SendError, Sender};
use service::config::{ConfigError, read_json};
use service::health::Health;
use service::keystore::{KeystoreError, read_key};
use service::shutdown::Shutdown;
use service::telemetry::{self, Metrics};
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often time alone is looked at.
const SWEEP: Duration = Duration::from_millis(250);

/// Why a keeper does not start, or stops. Retrying helps where the inner error says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// The key file holds no private key.
    #[error("the key file holds no secp256k1 private key: create one with `capa wallet new`")]
    InvalidKey,
    /// The data folder cannot be made.
    #[error("the data folder {folder} cannot be used: {source}")]
    Data {
        /// Which.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process keeps this ledger. Two that sign for one ledger would promise more than there is.
    #[error("the data folder {folder} is in use by another keeper: stop that one first")]
    InUse {
        /// Which.
        folder: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain failed, or carries other contracts than the address book says.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The blobs failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Transactions cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The books cannot be opened.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The keeper has no bond.
    #[error(
        "keeper {keeper} is not active on chain ({standing:?}): post its bond with `capa keeper bond`, signed by this \
         key, and start again"
    )]
    NotBonded {
        /// The keeper.
        keeper: Address,
        /// Its standing.
        standing: Standing,
    },
    /// The address book cannot be read.
    #[error(transparent)]
    AddressBook(#[from] ConfigError),
    /// Settlement settles in another token than the address book's.
    #[error(
        "Settlement uses token {found}, the address book says {expected}: take the book that was written when this \
         Settlement was deployed"
    )]
    WrongToken {
        /// The book's.
        expected: Address,
        /// Settlement's.
        found: Address,
    },
    /// A server failed.
    #[error("a server failed: {0}")]
    Serve(std::io::Error),
    /// The ledger or a task failed while the keeper ran.
    #[error("the keeper failed, see the log; start it again: it reads everything back")]
    Broken,
}

/// A keeper that is bound to its addresses and has opened its books.
pub struct Keeper {
    /// Where the API listens.
    pub api_addr: SocketAddr,
    /// Where the admin port listens.
    pub admin_addr: SocketAddr,
    desk: Arc<Desk>,
    publisher: Publisher,
    settler: Settler,
    watch: Watch,
    api: TcpListener,
    admin: TcpListener,
    metrics: Metrics,
    /// Held as long as the keeper lives.
    lock: File,
}

impl Keeper {
    /// Reads the key, the chain and the ledger, and binds both ports.
    pub async fn bind(config: Config) -> Result<Self, KeeperError> {
        let metrics = telemetry::init("capa-keeper", false);
        let secret = read_key(&config.key)?;
        let key = SigningKey::from_bytes(&secret).ok_or(KeeperError::InvalidKey)?;
        let keeper = key.address();
        let chain = Chain::connect(&config.chain).await?;
        let book: AddressBook = read_json(&config.address_book)?;
        let onchain = Onchain::new(chain.clone(), &book);
        let (heartbeat, challenge) = check_chain(&onchain, &book).await?;
        let view = onchain.keeper(keeper, challenge).await?;
        if !view.standing.is_live() {
            return Err(KeeperError::NotBonded { keeper, standing: view.standing });
        }
        let lock = lock_data(&config.data)?;
        let (store, blobs) = open_data(&config, &book, keeper).await?;
        let (api, api_addr) = listen(config.listen).await?;
        let (admin, admin_addr) = listen(config.admin).await?;
        let sender = Sender::new(chain.clone(), &secret, store.clone(), config.sender.clone()).await?;
        let resources = onchain.resources().await?;
        let terms = Terms { domain: book.domain(), token: book.token(), key, config };
        let publisher = Publisher::new(keeper, store.clone());
        // Watching starts before the books are read, so that no close falls between the two.
        let desk = Desk::open(terms, store, blobs, onchain, view, resources).await?;
        let desk = Arc::new(desk);
        let watch = Watch::new(Arc::clone(&desk), book.catalog(), view.block);
        let settler = Settler::new(Arc::clone(&desk), sender, publisher.clone(), heartbeat, challenge);
        tracing::info!(%keeper, %api_addr, %admin_addr, "keeper ready");
        Ok(Self { api_addr, admin_addr, desk, publisher, settler, watch, api, admin, metrics, lock })
    }

    /// Serves until `shutdown`, or until the ledger fails.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), KeeperError> {
        // A failure ends this keeper, not others that share the token in one process.
        let stop = shutdown.child_token();
        let _lock = self.lock;
        let broken = self.desk.broken().clone();
        let health = Health::new();
        health.set("chain", Ok(()));
        health.set("settlement", Err("has not looked at the chain yet".into()));
        let api = Api::new(Arc::clone(&self.desk), self.publisher, stop.clone());
        let settling = spawn(&stop, self.settler.run(health.clone(), stop.clone()));
        let watching = spawn(&stop, self.watch.run(health.clone(), stop.clone()));
        let sweeping = spawn(&stop, sweep(Arc::clone(&self.desk), stop.clone()));
        let serving = spawn(&stop, service::http::serve(self.api, api::router(api), stop.clone()));
        let admin = spawn(&stop, service::health::serve_admin(self.admin, health, self.metrics, stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = broken.cancelled() => stop.cancel(),
        }
        let (served, administered) = (serving.await, admin.await);
        let mut failed = broken.is_cancelled();
        for task in [settling, watching, sweeping] {
            failed |= task.await.is_err();
        }
        for served in [served, administered] {
            failed |= served.is_err();
            served.unwrap_or(Ok(())).map_err(KeeperError::Serve)?;
        }
        if failed { Err(KeeperError::Broken) } else { Ok(()) }
    }
}

/// The program: everything from a configuration to a clean end.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), KeeperError> {
    Keeper::bind(config).await?.run(shutdown).await
}

/// Runs a part of the keeper that ends only with `stop`. One that ends by itself has failed, and stops all: a keeper
/// that goes on without, say, its settlement loses its bond.
fn spawn<T: Send + 'static>(stop: &Shutdown, part: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        part.await
    })
}

async fn sweep(desk: Arc<Desk>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        // A refusal is logged where it arises; a failing ledger ends the keeper.
        let _ = desk.sweep().await;
    }
}

async fn check_chain(onchain: &Onchain, book: &AddressBook) -> Result<(u64, u64), KeeperError> {
    onchain.chain().verify_deployment(book.chain_id.get(), book.code()).await?;
    let found = onchain.token().await?;
    if found != book.token() {
        return Err(KeeperError::WrongToken { expected: book.token(), found });
    }
    Ok(onchain.heartbeat_and_challenge().await?)
}

/// Makes the data folder and takes it into use; the system gives it back when the process ends in any way.
fn lock_data(folder: &Path) -> Result<File, KeeperError> {
    let name = folder.display().to_string();
    let unusable = |source| KeeperError::Data { folder: name.clone(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let file = File::create(folder.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeeperError::InUse { folder: name.clone() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

async fn open_data(config: &Config, book: &AddressBook, keeper: Address) -> Result<(Engine, Blobs), KeeperError> {
    let store = Engine::connect(&config.data.join("keeper.db")).await?;
    let identity = Identity { chain_id: book.chain_id.get(), settlement: book.settlement(), keeper };
    store.claim(&identity).await?;
    let blobs = Blobs::in_folder(&config.data.join("blobs"), config.max_blobs_total).await?;
    Ok((store, blobs))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), KeeperError> {
    let failed = |source| KeeperError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_stops_the_keeper() {
        let stop = Shutdown::new();
        let lasts = spawn(&stop, stop.clone().cancelled_owned());
        let fails = spawn(&stop, async { assert!(std::hint::black_box(false), "a bug") });
        assert!(fails.await.is_err());
        lasts.await.unwrap();
    }
}
