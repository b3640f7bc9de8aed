//! What time alone changes: expiry, leases, and jobs that nobody pays.

use super::{Desk, Result, now};
use keeper_store::Store;
use protocol::voucher::ChannelId;
use protocol::wire::{Code, JobState, Refusal};
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
        let patience = Duration::from_millis(self.terms.config.market.pay_within_ms);
        let unpaid: Vec<_> =
            books.delivered.iter().filter(|(_, since)| since.elapsed() >= patience).map(|(id, _)| *id).collect();
        for id in unpaid {
            let detail = "The client did not pay the job's last receipt in time.";
            self.end(&mut books, id, Refusal::new(Code::LimitReached, detail)).await?;
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
        for job in tab.jobs.clone() {
            if books.jobs.get(&job).is_some_and(|job| job.state != JobState::Done) {
                self.end(&mut books, job, crate::ledger::channel_closing()).await?;
            }
        }
        Ok(())
    }

    /// Something else happened to a channel on chain: its deposit is read again.
    pub async fn refresh_channel(&self, id: ChannelId) -> std::result::Result<(), Refusal> {
        if !self.lock().await.tabs.contains_key(&id) {
            return Ok(());
        }
        let facts = self.onchain.channel(id).await.map_err(Into::into);
        let facts = self.guard("channel", facts)?;
        if let Some(tab) = self.lock().await.tabs.get_mut(&id) {
            tab.deposit = facts.deposit;
        }
        Ok(())
    }

    /// Channels with open jobs or sockets.
    pub async fn open_channels(&self) -> Vec<ChannelId> {
        self.lock().await.tabs.keys().copied().collect()
    }
}
