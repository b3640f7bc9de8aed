//! Watching the chain block by block: a close counts from the newest block, so a closing channel is stopped as soon
//! as its block is seen.

use crate::desk::Desk;
use crate::onchain::Onchain;
use alloy::primitives::Address;
use alloy::rpc::types::Log;
use protocol::bindings::{catalog, settlement};
use protocol::voucher::ChannelId;
use service::chain::{Change, Follow, Tag};
use service::health::Health;
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// How often every open channel is read again. A log may have been missed, or have come while a channel was read; a
/// close that is found this late is still days from its withdrawal.
const RECHECK: Duration = Duration::from_secs(600);

/// What follows the chain for the desk.
pub struct Watch {
    desk: Arc<Desk>,
    catalog: Address,
    start: u64,
}

impl Watch {
    /// Watches from the block at which the keeper's state was read; the books were opened after it.
    pub const fn new(desk: Arc<Desk>, catalog: Address, start: u64) -> Self {
        Self { desk, catalog, start }
    }

    /// Watches until `shutdown`.
    pub async fn run(self, health: Health, shutdown: Shutdown) {
        tokio::join!(self.follow(health, shutdown.clone()), self.recheck(shutdown));
    }

    async fn recheck(&self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RECHECK) => {}
            }
            self.read_again(&shutdown).await;
        }
    }

    async fn follow(&self, health: Health, shutdown: Shutdown) {
        let addresses = vec![self.desk.onchain().settlement(), self.catalog];
        let chain = self.desk.onchain().chain().clone();
        let mut follow = Follow::new(chain.clone(), addresses.clone(), self.start, Vec::new());
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => return,
                change = follow.next() => change,
            };
            health.set("chain", change.as_ref().map(|_| ()).map_err(ToString::to_string));
            match change {
                Ok(Change::Applied { logs, .. }) => self.apply(&logs).await,
                Ok(Change::Reverted { .. }) => self.read_again(&shutdown).await,
                Err(error) if error.is_retryable() => {}
                Err(error) => {
                    // Nothing here is derived from old blocks, so watching can begin anew at the head.
                    tracing::warn!(%error, "the chain was replaced further back than it is remembered");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if let Ok(head) = chain.head(Tag::Latest).await {
                        follow = Follow::new(chain.clone(), addresses.clone(), head.number, Vec::new());
                        self.read_again(&shutdown).await;
                    }
                }
            }
        }
    }

    async fn apply(&self, logs: &[Log]) {
        for log in logs {
            // A refusal is logged where it arises, and the next round of settlement shows a lasting failure.
            if log.address() == self.catalog {
                if log.log_decode::<catalog::ResourceAdded>().is_ok() {
                    self.read_catalog(self.desk.onchain()).await;
                }
            } else if let Ok(closing) = log.log_decode::<settlement::ChannelClosing>() {
                let _ = self.desk.close_channel(ChannelId(closing.inner.channelId)).await;
            } else if let Ok(opened) = log.log_decode::<settlement::ChannelOpened>() {
                let _ = self.desk.refresh_channel(ChannelId(opened.inner.channelId)).await;
            } else if let Ok(withdrawn) = log.log_decode::<settlement::Withdrawn>() {
                let _ = self.desk.refresh_channel(ChannelId(withdrawn.inner.channelId)).await;
            }
        }
    }

    async fn read_again(&self, shutdown: &Shutdown) {
        for channel in self.desk.open_channels().await {
            if shutdown.is_cancelled() {
                return;
            }
            let _ = self.desk.refresh_channel(channel).await;
        }
    }

    async fn read_catalog(&self, onchain: &Onchain) {
        match onchain.resources().await {
            Ok(resources) => self.desk.trade(resources).await,
            Err(error) => tracing::warn!(%error, "the resource catalog changed and cannot be read"),
        }
    }
}
