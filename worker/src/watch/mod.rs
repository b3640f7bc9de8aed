//! Sees to it that what was promised is paid: follows the batches in which something is owed, stores their proofs,
//! challenges a keeper that shows none, claims, winds down a keeper that does not answer or stays away, recovers from the
//! channels, and redeems direct vouchers.
//!
//! All of it is decided from the ledger and the chain in every pass, so a pass that fails or a restart loses nothing.
//! What is paid counts as settled only at the chain's safe head: until then it is looked at again, and a reorganisation
//! that takes a payment back has it sent again.
//!
//! Payments go to the provider's address alone, which the contract takes from the signed messages: this needs the worker
//! key for gas, and never the provider's.

mod discover;
mod follow;
mod answer;
mod claim;
mod recover;
mod redeem;
mod send;

pub(crate) use send::{Payout, PayoutKind};

use crate::config::Config;
use crate::keeper_api::{KeeperApi, LinkError};
use crate::ledger::{Ledger, LedgerError};
use crate::market::{Market, ReadError};
use crate::node::{HOLD_SECONDS, Node, now};
use crate::observe;
use crate::outlet::Outlet;
use crate::prove::ProveError;
use alloy::primitives::Address;
use protocol::amount::{Amount, Overflow, Timestamp};
use protocol::signature::Domain;
use protocol::voucher::BatchNumber;
use service::chain::{ChainError, SendError, Sender};
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Why a step of a pass failed; the next pass tries it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Proof(#[from] ProveError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The contract lets only the address itself redeem, once it has bonded.
    #[error(
        "the payout address {0} has bonded as a keeper, so only itself can redeem its direct vouchers: take another \
         payout address, and redeem what is due from that address's wallet"
    )]
    PayoutKeepsBatches(Address),
}

impl WatchError {
    /// Whether the keeper says that it has nothing for the provider in that batch.
    const fn is_no_leaf(&self) -> bool {
        matches!(self, Self::Proof(ProveError::Link(LinkError::NotFound(_))))
    }
}

/// What is worth a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// What reaches the configured minimum and passes the profit guard, or cannot wait.
    Worthwhile,
    /// All that is due: the operator asked for it.
    Everything,
}

/// A request to pay out everything that is due, and where the answer goes.
pub(crate) type Withdrawal = oneshot::Sender<Result<Vec<Payout>, String>>;

/// Looks after the provider's money.
pub(crate) struct Watch {
    config: Config,
    domain: Domain,
    ledger: Ledger,
    market: Arc<Market>,
    sender: Arc<Sender<Ledger>>,
    /// Where each keeper is asked for proofs.
    keepers: HashMap<Address, KeeperApi>,
    /// Counts calls that were mined and reverted: each further one is a new intent.
    attempt: AtomicU32,
    /// The newest committed batch of each keeper that was looked at for a leaf.
    discovered: HashMap<Address, BatchNumber>,
    /// When the chain was last searched for an answer that holds a proof.
    searched: Mutex<HashMap<(Address, BatchNumber), Instant>>,
}

/// Looks after the provider's money until the shutdown. `outlets` are told of jobs that nobody ran any more.
pub(crate) async fn run(
    node: Arc<Node>,
    mut watch: Watch,
    outlets: Vec<Arc<dyn Outlet>>,
    mut withdrawals: mpsc::Receiver<Withdrawal>,
) {
    let mut passes = tokio::time::interval(Duration::from_millis(node.config.claim.poll_ms));
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let withdrawal = tokio::select! {
            _ = passes.tick() => None,
            Some(withdrawal) = withdrawals.recv() => Some(withdrawal),
            () = node.shutdown.cancelled() => return,
        };
        let demand = if withdrawal.is_some() { Demand::Everything } else { Demand::Worthwhile };
        let (paid, result) = tokio::select! {
            done = watch.pass(demand) => done,
            () = node.shutdown.cancelled() => return,
        };
        let result = result.and(node.fail_orphans(&outlets).await.map_err(Into::into));
        if let Err(error) = &result {
            observe::failing("payments", error);
        }
        let state = result.map_err(|error| error.to_string());
        if let Some(answer) = withdrawal {
            // Whoever asked may have given up waiting.
            let _ = answer.send(state.clone().map(|()| paid));
        }
        node.health.set("payments", state);
    }
}

impl Watch {
    pub(crate) fn new(
        config: Config,
        domain: Domain,
        ledger: Ledger,
        market: Arc<Market>,
        sender: Arc<Sender<Ledger>>,
    ) -> Self {
        Self {
            config,
            domain,
            ledger,
            market,
            sender,
            keepers: HashMap::new(),
            attempt: AtomicU32::new(0),
            discovered: HashMap::new(),
            searched: Mutex::default(),
        }
    }

    /// Pays out everything that is due, whatever the gas. What went wrong comes beside what was paid.
    pub(crate) async fn withdraw(&mut self) -> (Vec<Payout>, Result<(), WatchError>) {
        self.pass(Demand::Everything).await
    }

    /// Looks once at every keeper that owes something, and at the direct channels. One's failure does not hold up the
    /// others.
    async fn pass(&mut self, demand: Demand) -> (Vec<Payout>, Result<(), WatchError>) {
        let mut paid = Vec::new();
        let mut result = self.meet_keepers().await;
        result = result.and(self.discover().await);
        match self.ledger.owing_keepers().await {
            Ok(keepers) => {
                for keeper in keepers {
                    result = result.and(self.look_at(keeper, demand, &mut paid).await);
                }
            }
            Err(error) => result = result.and(Err(error.into())),
        }
        result = result.and(self.redeem(demand, &mut paid).await);
        let held_since = Timestamp(now().get().saturating_sub(HOLD_SECONDS));
        let closed = self.ledger.close_ended(self.provider(), held_since).await;
        (paid, result.and(closed.map(drop).map_err(Into::into)))
    }

    /// Takes up every keeper that was ever reached.
    async fn meet_keepers(&mut self) -> Result<(), WatchError> {
        for (keeper, url) in self.ledger.keepers().await? {
            if self.keepers.get(&keeper).is_none_or(|api| *api.base() != url) {
                self.keepers.insert(keeper, KeeperApi::new(url)?);
            }
        }
        Ok(())
    }

    async fn look_at(&self, keeper: Address, demand: Demand, paid: &mut Vec<Payout>) -> Result<(), WatchError> {
        let mut payable = Vec::new();
        let mut result = Ok(());
        for row in self.ledger.unsettled_batches(keeper).await? {
            match self.follow(keeper, row).await {
                Ok(due) => payable.extend(due),
                Err(error) => result = Err(error),
            }
        }
        result = result.and(self.claim(keeper, payable, demand, paid).await);
        result.and(self.recover(keeper, demand, paid).await)
    }

    const fn provider(&self) -> Address {
        self.config.provider
    }

    /// The least amount of direct vouchers worth a redemption.
    fn least_redemption(&self) -> Amount {
        // Vouchers from before the endpoint was taken out of the configuration are redeemed all the same.
        self.config.direct.as_ref().map_or(self.config.claim.minimum, |direct| direct.redeem)
    }
}
