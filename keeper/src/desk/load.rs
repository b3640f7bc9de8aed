//! The books, read back from the store and the chain.

use super::books::{Books, Tab};
use super::{Desk, PUBLIC_READS, Result, Terms, offers, orders};
use crate::Engine;
use crate::blobs::Blobs;
use crate::ledger::Filling;
use crate::onchain::{KeeperView, Onchain};
use keeper_store::{Batch, Job, Store, StoreError};
use protocol::resource::Resource;
use protocol::wire::JobState;
use service::shutdown::Shutdown;
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore};

impl Desk {
    /// Opens the desk on what the store and the chain say.
    pub async fn open(
        terms: Terms,
        store: Engine,
        blobs: Blobs,
        onchain: Onchain,
        view: KeeperView,
        resources: Vec<Resource>,
    ) -> Result<Self> {
        let filling = filling(&terms, &store, &view).await?;
        let books = Books::new(filling, resources, view, store.last_sequence().await?);
        let desk = Self {
            terms,
            store,
            blobs,
            onchain,
            broken: Shutdown::new(),
            books: Mutex::new(books),
            public_reads: Semaphore::new(PUBLIC_READS),
        };
        desk.read_back().await?;
        Ok(desk)
    }

    async fn read_back(&self) -> Result<()> {
        let mut books = self.lock().await;
        for stored in self.store.offers().await? {
            books.market.add_ask(offers::ask(stored));
        }
        for job in self.store.open_jobs().await? {
            self.read_back_tab(&mut books, &job).await?;
            if job.state == JobState::Queued {
                books.market.add_bid(orders::bid(&job));
            }
            let worker = job.matched.map(|matched| matched.worker);
            books.enter(job);
            if let Some(worker) = worker {
                books.roster.miss(worker, Instant::now());
            }
        }
        Ok(())
    }

    async fn read_back_tab(&self, books: &mut Books, job: &Job) -> Result<()> {
        if books.tabs.contains_key(&job.channel) {
            return Ok(());
        }
        let facts = self.onchain.channel(job.channel).await?;
        let channel = self.store.channel(job.channel).await?;
        let channel = channel.ok_or_else(|| StoreError::corrupt(format!("channel {} is missing", job.channel)))?;
        books.tabs.insert(job.channel, Tab::new(channel, facts.deposit));
        Ok(())
    }
}

/// The batch being filled: the newest in the store, or the first that the chain has not committed.
async fn filling(terms: &Terms, store: &Engine, view: &KeeperView) -> Result<Filling> {
    let batch = match store.batches(1).await?.into_iter().next() {
        Some(batch) => batch,
        None => {
            let batch = Batch::filling(view.uncommitted());
            store.put_batch(&batch).await?;
            batch
        }
    };
    let number = batch.number;
    let Some(rate) = view.fee_bps_of(number) else {
        return Err(StoreError::corrupt(format!(
            "it fills batch {number}, but the first batch that the chain has not committed is {}",
            view.uncommitted()
        ))
        .into());
    };
    let mut filling = Filling::empty(batch, terms.fees(rate));
    filling.owed = store.owed(number).await?;
    filling.lines = store.lines(number).await?.into_iter().map(|line| (line.job, line)).collect();
    Ok(filling)
}
