//! A keeper, its client and a worker, on a chain of their own.

use crate::chain::World;
use crate::job;
use crate::keeper::Keeper;
use crate::setup::{PAYER, Running, config, keeper_key, session_key, until, world};
use protocol::order::SignedOrder;
use protocol::receipt::Receipt;
use protocol::signature::{Domain, SigningKey};
use protocol::wire::Refusal;

/// About 0.6 s of a standard vCPU, and some seconds of it.
pub(crate) const SHORT: u64 = 200_000_000;
pub(crate) const LONG: u64 = 60_000_000_000;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) domain: Domain,
    pub(crate) keeper: Keeper,
    pub(crate) folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let (world, domain) = world().await;
        let keeper = Keeper::start(&world, &domain).await;
        world.open_channel(PAYER, session_key().address(), keeper_key().address(), 50_000_000).await;
        Self { world, domain, keeper, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> worker::Config {
        let mut config = config(&self.world, self.folder.path());
        config.keeper = Some(self.keeper.url.parse().unwrap());
        config
    }

    pub(crate) async fn start(&self, config: worker::Config) -> Running {
        let logins = self.keeper.book().hellos.len();
        let running = Running::start(config).await;
        until("the worker connects", async || (self.keeper.book().hellos.len() > logins).then_some(())).await;
        running
    }

    pub(crate) fn order(&self, rounds: u64, code: u32, salt: u64) -> SignedOrder {
        let module = job::module(rounds, code);
        let envelope = job::envelope(&module);
        self.keeper.put(&module);
        self.keeper.put(&envelope);
        job::order(PAYER, &session_key(), &self.domain, &envelope, salt)
    }

    /// A long job of another channel.
    pub(crate) fn order_from(&self, session: &SigningKey, salt: u64) -> SignedOrder {
        let module = job::module(LONG, 0);
        let envelope = job::envelope(&module);
        self.keeper.put(&module);
        self.keeper.put(&envelope);
        job::order(PAYER, session, &self.domain, &envelope, salt)
    }

    /// The receipt with the result.
    pub(crate) async fn last_receipt(&self) -> Receipt {
        until("the last receipt", async || {
            self.keeper.book().receipts.iter().find(|receipt| receipt.statement.is_final()).cloned()
        })
        .await
    }

    /// What all receipts together bill.
    pub(crate) fn billed(&self) -> u64 {
        let mut newest = std::collections::HashMap::new();
        for receipt in &self.keeper.book().receipts {
            newest.insert(receipt.statement.job, receipt.statement.amount.get());
        }
        newest.values().sum()
    }

    /// How the first jobs failed.
    pub(crate) async fn failures(&self, count: usize) -> Vec<Refusal> {
        until("the jobs fail", async || {
            let book = self.keeper.book();
            let failed = || book.failed.iter().map(|(_, refusal)| refusal.clone()).collect();
            (book.failed.len() >= count).then(failed)
        })
        .await
    }

    /// The worker's own view and the market's, as `capa-worker status --json` prints them.
    pub(crate) async fn status(&self) -> serde_json::Value {
        worker::status(&self.config()).await.unwrap().document()
    }

    /// The ledger's figures, once the job is paid to its end.
    pub(crate) async fn paid(&self) -> serde_json::Value {
        until("the job is paid", async || {
            let status = self.status().await;
            (status["jobs"]["closed"] == 1).then_some(status)
        })
        .await
    }

    pub(crate) async fn failure(&self) -> Refusal {
        until("the job fails", async || self.keeper.book().failed.first().map(|(_, refusal)| refusal.clone())).await
    }
}

/// What keepers owe by acceptances, claimed or not final yet: in nano, from a status document.
pub(crate) fn owed(status: &serde_json::Value) -> u64 {
    let keepers = status["money"]["keepers"].as_array().unwrap();
    let parts = keepers.iter().flat_map(|keeper| [&keeper["accepted"], &keeper["unclaimed"]]);
    parts.map(|amount| amount.as_str().unwrap().parse::<u64>().unwrap()).sum()
}
