//! Workers at the desk.

use super::books::Books;
use super::{Desk, Result, Seat, jobs};
use crate::dispatch::OUTBOX;
use crate::observe;
use alloy::primitives::Address;
use keeper_store::{Job, Store};
use protocol::order::JobId;
use protocol::wire::{Capabilities, Code, JobState, Refusal, ToWorker};
use std::time::Instant;
use tokio::sync::mpsc;

impl Desk {
    /// Whether a key may work for a provider.
    pub async fn check_worker(&self, worker: Address, provider: Address) -> std::result::Result<(), Refusal> {
        let found = self.onchain.provider_of(worker).await.map_err(Into::into);
        if self.guard("login", found)? == provider {
            return Ok(());
        }
        let detail = format!("{worker} is no worker key of {provider}: add it in the ProviderRegistry");
        Err(Refusal::new(Code::NotAWorker, detail))
    }

    /// A worker has logged in; `held` are the jobs that it knows.
    pub async fn join_worker(
        &self,
        worker: Address,
        provider: Address,
        capabilities: Capabilities,
        held: Vec<JobId>,
    ) -> std::result::Result<(Seat<Address>, mpsc::Receiver<ToWorker>), Refusal> {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let mut books = self.lock().await;
        let info = books.info(self);
        let session = books.roster.join(worker, provider, capabilities, outbox);
        observe::workers(books.roster.count());
        books.roster.send(worker, ToWorker::Welcome { info });
        let resumed = self.resume(&mut books, worker, &held).await;
        self.guard("login", resumed)?;
        Ok((Seat { who: worker, session }, inbox))
    }

    /// What a worker can run changed; what waits may fit it now.
    pub async fn change_worker(&self, worker: Address, capabilities: Capabilities) {
        let mut books = self.lock().await;
        books.roster.change(worker, capabilities);
        let matched = self.match_all(&mut books).await;
        // A failure of the store is logged; what waits is matched with the next event.
        let _ = self.guard("matching", matched);
    }

    /// Brings a worker up to date on what it holds, and on what it should hold.
    async fn resume(&self, books: &mut Books, worker: Address, held: &[JobId]) -> Result<()> {
        let mine = |job: &&Job| job.matched.is_some_and(|matched| matched.worker == worker);
        let open: Vec<Job> = books.jobs.values().filter(mine).cloned().collect();
        for job in open.iter().filter(|job| job.state == JobState::Running) {
            match (held.contains(&job.id), &job.newest) {
                (true, _) => {
                    if let Some(refusal) = job.failure.clone() {
                        books.roster.send(worker, ToWorker::Stop { job: job.id, refusal });
                    }
                }
                // The assignment was lost on its way.
                (false, None) => {
                    if let Some(frame) = jobs::assignment(job) {
                        books.roster.send(worker, frame);
                    }
                }
                (false, Some(_)) => {
                    let lost = Refusal::new(Code::WorkerLost, "The worker came back without the job.");
                    self.end(books, job.id, lost).await?;
                }
            }
        }
        for id in held {
            if let Some(accepted) = self.store.accepted_for(*id).await? {
                books.roster.send(worker, ToWorker::Accepted { job: *id, accepted });
            }
            if open.iter().any(|job| job.id == *id) {
                continue;
            }
            let refusal = match self.store.job(*id).await? {
                Some(job) if job.state == JobState::Done => continue,
                Some(job) => job.failure,
                None => None,
            };
            let unknown = || Refusal::new(Code::NotFound, "This keeper does not know the job.");
            books.roster.send(worker, ToWorker::Stop { job: *id, refusal: refusal.unwrap_or_else(unknown) });
        }
        self.match_all(books).await
    }

    /// A worker's socket has ended.
    pub async fn leave_worker(&self, seat: Seat<Address>) {
        let mut books = self.lock().await;
        books.roster.leave(seat.who, seat.session, Instant::now());
        observe::workers(books.roster.count());
    }

    /// Sends a frame to one worker, as the answer to what it sent.
    pub async fn tell_worker(&self, worker: Address, frame: ToWorker) {
        self.lock().await.roster.send(worker, frame);
    }
}
