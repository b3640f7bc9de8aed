//! What time alone changes: expiry, leases, and jobs that nobody pays.

use super::books::Books;
use super::{Desk, Result, now};
use keeper_store::Store;
use protocol::voucher::ChannelId;
use protocol::wire::{Code, Refusal};
use std::time::{Duration, Instant};

impl Desk {
    /// Ends what is over.
    pub async fn sweep(&self) -> std::result::Result<(), Refusal> {
        let swept = self.try_sweep().await;
        self.guard("sweep", swept)
    }

    async fn try_sweep(&self) -> Result<()> {
        let mut books = self.lock().await;
        let offers = books.market.asks().count();
        for id in books.market.expire(now()) {
            let expired = Refusal::new(Code::Expired, "Nothing matched before the order expired.");
            self.end(&mut books, id, expired).await?;
        }
        if books.market.asks().count() < offers {
            self.store.drop_offers_before(now()).await?;
        }
        let lease = Duration::from_millis(self.terms.config.lease_ms);
        for id in books.roster.overdue(Instant::now(), lease) {
            let lost = Refusal::new(Code::WorkerLost, "The worker vanished; what was paid until then stays paid.");
            self.end(&mut books, id, lost).await?;
        }
        books.pass_on(Duration::from_millis(self.terms.config.market.turn_ms));
        let patience = Duration::from_millis(self.terms.config.market.pay_within_ms);
        let over: Vec<_> =
            books.waiting.iter().filter(|(_, wait)| wait.since.elapsed() >= patience).map(|(id, _)| *id).collect();
        for id in over {
            let Some(job) = books.jobs.get(&id) else { continue };
            let unpaid =
                || Refusal::new(Code::LimitReached, "The client did not pay the job's newest receipt in time.");
            // A job that was stopped ends as such, though its worker never said so.
            let failure = job.failure.clone().filter(|_| !job.is_unpaid()).unwrap_or_else(unpaid);
            self.end(&mut books, id, failure).await?;
        }
        Ok(())
    }

    /// A channel is closing: it takes no new debits, so its jobs cannot be paid any more.
    pub async fn close_channel(&self, id: ChannelId) -> std::result::Result<(), Refusal> {
        let closed = self.try_close_channel(id).await;
        self.guard("close", closed)
    }

    async fn try_close_channel(&self, id: ChannelId) -> Result<()> {
        let mut books = self.lock().await;
        let Some(tab) = books.tabs.get_mut(&id) else { return Ok(()) };
        tab.deposit.closing = true;
        self.end_unpayable(&mut books, id).await
    }

    async fn end_unpayable(&self, books: &mut Books, id: ChannelId) -> Result<()> {
        let jobs = books.tabs.get(&id).filter(|tab| tab.deposit.closing).map(|tab| tab.jobs.clone());
        for job in jobs.into_iter().flatten() {
            self.end(books, job, crate::ledger::channel_closing()).await?;
        }
        Ok(())
    }

    /// Something else may have happened to a channel on chain: it is read again.
    pub async fn refresh_channel(&self, id: ChannelId) -> std::result::Result<(), Refusal> {
        let refreshed = self.try_refresh_channel(id).await;
        self.guard("channel", refreshed)
    }

    async fn try_refresh_channel(&self, id: ChannelId) -> Result<()> {
        if !self.lock().await.tabs.contains_key(&id) {
            return Ok(());
        }
        let facts = self.onchain.channel(id).await?;
        let mut books = self.lock().await;
        let Some(tab) = books.tabs.get_mut(&id) else { return Ok(()) };
        tab.deposit = facts.deposit;
        self.end_unpayable(&mut books, id).await
    }

    /// Channels with open jobs or sockets.
    pub async fn open_channels(&self) -> Vec<ChannelId> {
        self.lock().await.tabs.keys().copied().collect()
    }
}
