//! What settlement asks of the desk: the chain's newest view, and the close of a batch for all channels at once.

use super::books::Books;
use super::{Desk, Result, now_ms};
use crate::batch::{Heartbeat, is_due};
use crate::ledger::Filling;
use crate::observe;
use crate::onchain::{KeeperView, Standing};
use keeper_store::{Batch, Store};
use protocol::resource::Resource;
use protocol::voucher::BatchNumber;
use protocol::wire::{BatchState, Refusal, ToClient, ToWorker};
use std::sync::Arc;
use std::time::Instant;

/// Whether the batch being filled may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The chain's heartbeat.
    pub heartbeat: Heartbeat,
}

impl Desk {
    /// Takes in what the chain says of this keeper now.
    pub async fn see(&self, view: KeeperView) {
        let mut books = self.lock().await;
        books.seen_at = Instant::now();
        if books.view.standing != view.standing && view.standing != Standing::Active {
            tracing::error!(standing = ?view.standing, "the keeper's standing changed");
        }
        books.view = view;
        let rate = view.fee_bps_of(books.filling.batch.number);
        if let Some(rate) = rate.filter(|rate| *rate != books.filling.fees.protocol_bps) {
            books.filling.fees = self.terms.fees(rate);
            self.announce(&mut books);
        }
    }

    /// Takes in a changed catalog.
    pub async fn trade(&self, resources: Vec<Resource>) {
        let mut books = self.lock().await;
        if books.resources != resources {
            books.resources = resources;
            self.announce(&mut books);
        }
    }

    /// Tells everyone the terms.
    fn announce(&self, books: &mut Books) {
        let info = books.info(self);
        books.roster.broadcast(&ToWorker::Info { info: info.clone() });
        for tab in books.tabs.values_mut() {
            tab.send(&ToClient::Info { info: info.clone() });
        }
    }

    /// Closes the batch being filled if it is the one that the chain has open, and due. Later vouchers belong to the
    /// next one, in every channel.
    pub async fn close_batch(
        self: &Arc<Self>,
        view: &KeeperView,
        closing: Closing,
    ) -> std::result::Result<Option<BatchNumber>, Refusal> {
        let view = *view;
        self.whole(move |desk| async move {
            let closed = desk.try_close_batch(&view, closing).await;
            desk.guard("close of a batch", closed)
        })
        .await
    }

    async fn try_close_batch(&self, view: &KeeperView, closing: Closing) -> Result<Option<BatchNumber>> {
        let mut books = self.lock().await;
        let batch = &books.filling.batch;
        let number = batch.number;
        let open_on_chain = view.pending.is_none() && view.current == number;
        if !open_on_chain || !is_due(batch, &self.terms.config.batch, &closing.heartbeat, now_ms()) {
            return Ok(None);
        }
        // The next batch's rate is on chain while this one is open, so nobody pays for a batch of unknown rate.
        let Some(rate) = view.fee_bps_of(number.saturating_add(1)) else { return Ok(None) };
        let closed = Batch { state: BatchState::Closed, ..batch.clone() };
        let next = Batch::filling(number.saturating_add(1));
        self.store.close_batch(&closed, &next).await?;
        observe::batch_closed(number, closed.vouchers, closed.debits);
        books.filling = Filling::empty(next, self.terms.fees(rate));
        self.announce(&mut books);
        Ok(Some(number))
    }

    /// The keeper was wound down: what is not final pays through `recover` only.
    pub async fn wind_down(&self, view: &KeeperView) -> std::result::Result<(), Refusal> {
        let done = self.try_wind_down(view).await;
        self.guard("wind-down", done)
    }

    async fn try_wind_down(&self, view: &KeeperView) -> Result<()> {
        let mut books = self.lock().await;
        let from = view.current;
        for mut batch in self.store.batches(u32::MAX).await?.into_iter().take_while(|batch| batch.number >= from) {
            if batch.state != BatchState::Void {
                batch.state = BatchState::Void;
                self.store.put_batch(&batch).await?;
                if books.filling.batch.number == batch.number {
                    books.filling.batch.state = BatchState::Void;
                }
            }
        }
        Ok(())
    }
}
