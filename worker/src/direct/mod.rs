//! The direct endpoint: the client's half of the wire, served by the provider itself.
//!
//! No keeper, no batch and no window: a voucher names the provider and is stored before it counts. `watch` redeems it on
//! chain whenever that is worth the gas, or at once when the client closes its channel.

mod api;
mod blobs;
mod intake;
mod pay;
mod socket;
mod view;

use crate::config::DirectConfig;
use crate::drain;
use crate::ledger::{Assignment, JobStage, LedgerError};
use crate::market::ReadError;
use crate::node::{Node, now};
use crate::observe;
use crate::outlet::{BlobError, Outlet, Standing};
use alloy::primitives::{Address, B256};
use blobs::BlobStore;
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::amount::{Quantity, Timestamp};
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::voucher::Fees;
use protocol::wire::{Code, Info, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, broadcast};

/// How often the protocol's fee rate is looked up.
const FEE_REFRESH: Duration = Duration::from_secs(30);
/// Changes that a slow client may lag behind before it is told everything anew.
const CHANGES: usize = 256;

/// Why a request of a direct client fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectError {
    /// A rule forbids it; the client is told which.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain could not be read.
    #[error(transparent)]
    Chain(#[from] ReadError),
    /// A blob failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<Standing> for DirectError {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Refused(refusal) => Self::Refused(refusal),
            Standing::Unknown(reason) => Self::Refused(Refusal::new(Code::Internal, reason)),
        }
    }
}

impl DirectError {
    /// What the client is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal.clone(),
            Self::Blob(error) => match error {
                BlobError::Refused { .. } => Refusal::new(Code::Limited, error.to_string()),
                BlobError::Unreachable(_) => Refusal::new(Code::Internal, error.to_string()),
                _ => error.refusal(),
            },
            Self::Ledger(_) | Self::Chain(_) => {
                Refusal::new(Code::Internal, "this endpoint failed; send the same request again in a moment")
            }
        }
    }
}

/// The endpoint.
pub(crate) struct Direct {
    node: Arc<Node>,
    config: DirectConfig,
    blobs: BlobStore,
    fee_bps: AtomicU16,
    changes: broadcast::Sender<JobId>,
    /// Held while an order is taken or a voucher counted: both decide by what was taken before.
    books: Mutex<()>,
}

impl Direct {
    pub(crate) async fn open(node: Arc<Node>, config: DirectConfig) -> Result<Arc<Self>, crate::RunError> {
        let folder = node.config.data.join("blobs");
        let blobs = BlobStore::open(folder, config.max_blob, config.max_store).map_err(LedgerError::Folder)?;
        let fee_bps = AtomicU16::new(node.market.direct_fee().await?);
        let changes = broadcast::channel(CHANGES).0;
        let direct = Self { node, config, blobs, fee_bps, changes, books: Mutex::default() };
        Ok(Arc::new(direct))
    }

    /// Serves clients until the shutdown.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        if let Err(error) = self.resume().await {
            observe::failing("queue", &error);
        }
        let router = api::router(self.clone());
        let serving = service::http::serve(listener, router, self.node.shutdown.clone());
        let (served, ()) = tokio::join!(serving, self.follow_fee());
        if let Err(error) = served {
            tracing::error!(%error, "the direct endpoint failed");
        }
    }

    /// Jobs that waited for a slot when the worker ended wait again; those that ended and owe nothing are closed.
    async fn resume(self: &Arc<Self>) -> Result<(), LedgerError> {
        for row in self.node.ledger.open_jobs(self.provider()).await? {
            if row.stage == JobStage::Queued {
                self.enqueue(row.assignment);
            } else {
                self.settle(row.assignment.job()).await;
            }
        }
        Ok(())
    }

    /// Closes a job that ended and owes nothing more: there is no voucher to wait for.
    async fn settle(&self, job: JobId) {
        match self.node.ledger.close_settled(job).await {
            Ok(true) => self.changed(job),
            Ok(false) => {}
            Err(error) => observe::failing("ledger", &error),
        }
    }

    /// Runs a queued job as soon as a slot is free.
    fn enqueue(self: &Arc<Self>, assignment: Assignment) {
        let job = assignment.job();
        let Some(stop) = self.node.register(job) else { return };
        let (direct, asked) = (self.clone(), Instant::now());
        tokio::spawn(async move {
            let node = &direct.node;
            let slot = tokio::select! {
                slot = node.slots.clone().acquire_owned() => slot.ok(),
                () = stop.token().cancelled() => None,
                () = node.drain.cancelled() => None,
                // The job stays queued in the ledger and waits again after the restart.
                () = node.shutdown.cancelled() => return,
            };
            let expired = is_expired(assignment.order.order.expiry)
                .then(|| Refusal::new(Code::Expired, "no slot was free before the order expired"));
            let drains = node.drain.is_cancelled().then(drain::refusal);
            let written = match (slot, stop.reason().or(expired).or(drains)) {
                (Some(slot), None) => match node.ledger.start_job(job).await {
                    Ok(true) => {
                        observe::waited("slot", asked.elapsed());
                        direct.changed(job);
                        node.run_to_its_end(direct.as_ref(), &assignment, &stop, slot).await;
                        direct.settle(job).await;
                        return;
                    }
                    // It was stopped in the meantime.
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                },
                (_, reason) => node.ledger.fail(job, None, &reason.unwrap_or_else(drain::refusal), now()).await,
            };
            node.unregister(job);
            if let Err(error) = written {
                observe::failing("ledger", &error);
            }
            direct.changed(job);
            direct.settle(job).await;
        });
    }

    async fn follow_fee(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(FEE_REFRESH) => {}
                () = self.node.shutdown.cancelled() => return,
            }
            match self.node.market.direct_fee().await {
                Ok(bps) => self.fee_bps.store(bps, Ordering::Relaxed),
                Err(error) => observe::failing("chain", &error),
            }
        }
    }

    fn provider(&self) -> Address {
        self.node.config.provider
    }

    fn fees(&self) -> Fees {
        Fees::direct(self.fee_bps.load(Ordering::Relaxed))
    }

    fn info(&self) -> Info {
        let node = &self.node;
        let sold = node.resources.iter().filter(|resource| node.least_price(resource).is_some());
        Info {
            keeper: self.provider(),
            chain_id: Quantity(node.domain.chain_id()),
            settlement: node.domain.settlement(),
            token: node.token,
            batch: 0,
            fees: self.fees(),
            resources: sold.cloned().collect(),
            interval_ms: Quantity(self.config.interval_ms),
            max_blob: self.config.max_blob,
        }
    }

    async fn check(&self, assignment: &Assignment) -> Result<(), Standing> {
        let channel = self.node.market.channel(self.provider(), assignment.channel).await;
        let channel = channel.map_err(|error| Standing::Unknown(error.to_string()))?;
        let refused = |code, text: &str| Err(Standing::Refused(Refusal::new(code, text)));
        if channel.closing {
            return refused(Code::ChannelClosing, "the channel is closing");
        }
        self.node.check_unaccepted(assignment).await?;
        let account = self.account(assignment.channel, &channel).await;
        let account = account.map_err(|error| Standing::Unknown(error.to_string()))?;
        if account.total >= channel.deposit {
            return refused(Code::InsufficientFunds, "the channel is used up: top it up");
        }
        Ok(())
    }
}

impl Outlet for Direct {
    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.interval_ms)
    }

    fn is_up(&self) -> bool {
        true
    }

    fn changed(&self, job: JobId) {
        // Nobody may be listening; every socket starts with what the ledger says.
        let _ = self.changes.send(job);
    }

    fn standing<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<(), Standing>> {
        Box::pin(self.check(assignment))
    }

    fn fetch(&self, hash: B256, limit: u64) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(self.blobs.get(hash, limit))
    }

    fn store(&self, bytes: Bytes) -> BoxFuture<'_, Result<Blob, BlobError>> {
        Box::pin(self.blobs.add(bytes))
    }
}

/// Orders that expired are not run any more.
fn is_expired(expiry: Timestamp) -> bool {
    now() > expiry
}
