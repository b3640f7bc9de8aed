//! Jobs: from a match to a worker, and to an end.

use super::books::Books;
use super::{Desk, Result, now};
use crate::ledger;
use crate::market::{Match, Needs};
use crate::observe;
use keeper_store::{Job, Matched, Store};
use protocol::order::JobId;
use protocol::voucher::ChannelId;
use protocol::wire::{Code, JobState, Refusal, ToWorker};

/// What a job needs of a worker.
pub(super) fn needs(job: &Job) -> Needs {
    Needs { kind: job.kind, resource: job.order.order.resource, memory: job.memory, devices: job.devices }
}

impl Desk {
    /// Starts everything that can start now.
    pub(super) async fn match_all(&self, books: &mut Books) -> Result<()> {
        while let Some(found) = books.strike(now(), None) {
            self.start(books, &found).await?;
        }
        Ok(())
    }

    /// Stores a match, and hands the job to a worker.
    pub(super) async fn start(&self, books: &mut Books, found: &Match) -> Result<()> {
        let Some(mut job) = books.jobs.get(&found.job).cloned() else { return Ok(()) };
        // The match was struck under the same lock in which the worker was found free.
        let Some(worker) = books.roster.free(needs(&job), found.provider) else { return Ok(()) };
        job.matched = Some(Matched { offer: found.offer, price: found.price, provider: found.provider, worker });
        job.state = JobState::Running;
        job.reason = None;
        self.store.put_job(&job, Some((found.offer, found.remaining))).await?;
        observe::matched(found);
        let assignment = assignment(&job);
        books.enter(job);
        if let Some(frame) = assignment {
            books.roster.send(worker, frame);
        }
        Ok(())
    }

    /// Stores a changed job; where it has ended, with what its offer gets back.
    pub(super) async fn keep(&self, books: &mut Books, job: Job) -> Result<()> {
        let left = if job.state.is_terminal() { books.release(&job) } else { None };
        self.store.put_job(&job, left).await?;
        let frees = job.state != JobState::Running;
        books.enter(job);
        if frees { self.match_all(books).await } else { Ok(()) }
    }

    /// Ends a job at once.
    pub(super) async fn end(&self, books: &mut Books, id: JobId, failure: Refusal) -> Result<()> {
        let Some(job) = books.jobs.get(&id) else { return Ok(()) };
        let ended = ledger::end(job, failure, now());
        self.keep(books, ended).await
    }

    /// A client wants a job of its channel stopped.
    pub async fn cancel(&self, channel: ChannelId, id: JobId) -> std::result::Result<(), Refusal> {
        let result = self.try_cancel(channel, id).await;
        self.guard("cancel", result)
    }

    async fn try_cancel(&self, channel: ChannelId, id: JobId) -> Result<()> {
        let mut books = self.lock().await;
        let job = books.jobs.get(&id).filter(|job| job.channel == channel);
        let job = job.ok_or_else(|| Refusal::new(Code::NotFound, "this channel has no open job of that id"))?;
        let stopped = ledger::cancel(job, now())?;
        let frame = stopped.failure.clone().map(|refusal| ToWorker::Stop { job: id, refusal });
        let worker = stopped.matched.map(|matched| matched.worker);
        let running = stopped.state == JobState::Running;
        self.keep(&mut books, stopped).await?;
        if let (true, Some(worker), Some(frame)) = (running, worker, frame) {
            books.roster.send(worker, frame);
        }
        Ok(())
    }
}

/// The frame that hands a job to its worker.
pub(super) fn assignment(job: &Job) -> Option<ToWorker> {
    let matched = job.matched?;
    Some(ToWorker::Assign { order: job.order.clone(), channel: job.channel, price: matched.price, cap: job.cap })
}
