//! A provider with a worker that is ready to start.

use crate::chain::World;
use crate::job::PRICE;
use alloy::primitives::Address;
use protocol::amount::{Amount, Quantity};
use protocol::signature::{Domain, SigningKey};
use service::keystore::{KeySource, write_key_with};
use service::shutdown::Stages;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use worker::config::{ClaimConfig, Limits, OfferConfig};
use worker::ledger::Ledger;
use worker::{Config, RunError, Worker};

pub(crate) const PROVIDER: Address = Address::repeat_byte(0x70);
pub(crate) const PAYER: Address = Address::repeat_byte(0xa1);

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn worker_key() -> SigningKey {
    key(0x51)
}

pub(crate) fn keeper_key() -> SigningKey {
    key(0x52)
}

pub(crate) fn session_key() -> SigningKey {
    key(0x53)
}

pub(crate) async fn world() -> (World, Domain) {
    let world = World::start(&[PAYER, keeper_key().address()]).await;
    world.register(PROVIDER, &worker_key()).await;
    let domain = Domain::new(crate::chain::CHAIN_ID, *world.settlement.address());
    (world, domain)
}

pub(crate) fn config(world: &World, folder: &std::path::Path) -> Config {
    let (keystore, password_file) = (folder.join("key.json"), folder.join("password"));
    if !keystore.exists() {
        std::fs::write(&password_file, "secret").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&password_file, private).unwrap();
        write_key_with(&keystore, &worker_key().to_bytes(), "secret", 4).unwrap();
    }
    let any_port = "127.0.0.1:0".parse().unwrap();
    Config {
        keeper: None,
        indexer: None,
        provider: PROVIDER,
        key: KeySource { keystore, password_file },
        chain: world.chain_config(),
        address_book: deployment::write(&world.book, folder).unwrap(),
        data: folder.join("data"),
        admin: any_port,
        slots: 1,
        offers: vec![OfferConfig {
            resource: "cpu.x86-64".into(),
            price: PRICE,
            capacity: Quantity(10_000_000),
            lifetime: 3_600,
        }],
        limits: Limits { chain_age_ms: 100, ..Limits::default() },
        claim: ClaimConfig { minimum: Amount(1), poll_ms: 100, batches: 8, ..ClaimConfig::default() },
        direct: None,
        drain: Default::default(),
        execute: Default::default(),
        sandbox: Default::default(),
        runner: env!("CARGO_BIN_EXE_capa-worker").into(),
    }
}

/// A worker in a runtime of its own, so that it can be ended as a crash would end it.
pub(crate) struct Running {
    pub(crate) direct: Option<std::net::SocketAddr>,
    stages: Stages,
    task: JoinHandle<Result<(), RunError>>,
    runtime: Option<Runtime>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let worker = runtime.spawn(Worker::bind(config)).await.unwrap().unwrap();
        let direct = worker.direct_addr();
        let stages = Stages::new();
        let task = runtime.spawn(worker.run_draining(stages.clone()));
        Self { direct, stages, task, runtime: Some(runtime) }
    }

    pub(crate) async fn stop(mut self) {
        self.stages.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }

    /// Has it finish what it has.
    pub(crate) fn drain(&self) {
        self.stages.drain.cancel();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) {
        tokio::time::timeout(Duration::from_secs(60), &mut self.task).await.expect("it ends").unwrap().unwrap();
    }

    /// Ends the worker at once and in the middle of whatever it does.
    pub(crate) fn crash(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until `get` gives something.
pub(crate) async fn until<T>(what: &str, mut get: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_500 {
        if let Some(found) = get().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 30 s in vain: {what}");
}

/// Opens the ledger of a worker that runs. No program can: this takes the lock away.
pub(crate) async fn ledger_beside(config: &Config) -> Ledger {
    std::fs::remove_file(config.data.join("ledger.lock")).unwrap();
    Ledger::open(&config.data).await.unwrap()
}
