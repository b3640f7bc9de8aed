//! The books in memory: what is open now. Everything here is read back from the store after a restart.

use super::{add, views};
use crate::dispatch::{Roster, Session};
use crate::ledger::{Deposit, Filling};
use crate::market::{Market, Match, Needs};
use crate::onchain::KeeperView;
use alloy::primitives::{Address, B256};
use keeper_store::{Channel, Job};
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::order::JobId;
use protocol::resource::Resource;
use protocol::voucher::ChannelId;
use protocol::wire::{JobState, ToClient, ToWorker};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A channel with open jobs, open sockets, or both.
#[derive(Debug)]
pub(super) struct Tab {
    pub(super) channel: Channel,
    pub(super) deposit: Deposit,
    pub(super) jobs: BTreeSet<JobId>,
    /// Jobs whose newest receipt waits for its turn: one voucher is in flight per channel.
    pub(super) waiting: VecDeque<JobId>,
    /// The job whose receipt was forwarded.
    pub(super) in_flight: Option<JobId>,
    forwarded_at: Instant,
    pub(super) sockets: Vec<(Session, mpsc::Sender<ToClient>)>,
}

impl Tab {
    pub(super) fn new(channel: Channel, deposit: Deposit) -> Self {
        let (jobs, waiting, sockets) = (BTreeSet::new(), VecDeque::new(), Vec::new());
        Self { channel, deposit, jobs, waiting, in_flight: None, forwarded_at: Instant::now(), sockets }
    }

    /// Sends to every socket of the channel; one that does not keep up is dropped and connects again.
    pub(super) fn send(&mut self, frame: &ToClient) {
        self.sockets.retain(|(_, outbox)| outbox.try_send(frame.clone()).is_ok());
    }
}

/// How long a job has waited for somebody's next step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// The newest receipt that was paid when it began; a payment begins it anew.
    paid: u64,
    pub(super) since: Instant,
}

/// Whether a job waits: for a voucher, or for the end of a job that was stopped.
const fn waits(state: JobState, unpaid: bool, stopped: bool) -> bool {
    matches!(state, JobState::Delivered) || (matches!(state, JobState::Running) && (unpaid || stopped))
}

/// What is open now.
#[derive(Debug)]
pub struct Books {
    pub(super) market: Market,
    pub(super) roster: Roster,
    pub(super) jobs: HashMap<JobId, Job>,
    pub(super) tabs: HashMap<ChannelId, Tab>,
    pub(super) filling: Filling,
    pub(super) resources: Vec<Resource>,
    pub(super) view: KeeperView,
    pub(super) seen_at: Instant,
    pub(super) waiting: HashMap<JobId, Wait>,
    pub(super) sequence: u64,
    pub(super) sessions: Session,
}

impl Books {
    pub(super) fn new(filling: Filling, resources: Vec<Resource>, view: KeeperView, sequence: u64) -> Self {
        Self {
            market: Market::default(),
            roster: Roster::default(),
            jobs: HashMap::new(),
            tabs: HashMap::new(),
            filling,
            resources,
            view,
            seen_at: Instant::now(),
            waiting: HashMap::new(),
            sequence,
            sessions: 0,
        }
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn reserved(&self, channel: ChannelId) -> Amount {
        let jobs = self.tabs.get(&channel).map(|tab| tab.jobs.iter());
        add(jobs.into_iter().flatten().filter_map(|id| self.jobs.get(id)).map(Job::reserved))
    }

    /// What a job's end gives back to its offer, if that still rests.
    pub(super) fn release(&mut self, job: &Job) -> Option<(B256, Quantity)> {
        let offer = job.matched?.offer;
        let unused = job.order.order.max_units.minus(job.paid.quantity).unwrap_or_default();
        self.market.release(offer, unused).map(|ask| (ask.id, ask.remaining))
    }

    /// Takes in a job that is stored, and tells everyone what follows from it.
    pub(super) fn enter(&mut self, job: Job) {
        let (id, channel) = (job.id, job.channel);
        if job.state == JobState::Running {
            if let Some(matched) = job.matched {
                self.roster.start(matched.worker, id);
            }
        } else if let Some(matched) = job.matched {
            self.roster.end(matched.worker, id);
        }
        self.watch_patience(&job);
        let frame = ToClient::Job { job: Box::new(views::job(&job)) };
        let unpaid = job.is_unpaid();
        if job.state.is_terminal() {
            self.leave(&job);
        } else {
            self.jobs.insert(id, job);
        }
        if let Some(tab) = self.tabs.get_mut(&channel) {
            if self.jobs.contains_key(&id) {
                tab.jobs.insert(id);
                if unpaid && tab.in_flight != Some(id) && !tab.waiting.contains(&id) {
                    tab.waiting.push_back(id);
                }
            }
            tab.send(&frame);
        }
        self.forward(channel);
    }

    fn watch_patience(&mut self, job: &Job) {
        let paid = job.paid.sequence;
        if !waits(job.state, job.is_unpaid(), job.failure.is_some()) {
            self.waiting.remove(&job.id);
        } else if self.waiting.get(&job.id).is_none_or(|wait| wait.paid != paid) {
            self.waiting.insert(job.id, Wait { paid, since: Instant::now() });
        }
    }

    fn leave(&mut self, job: &Job) {
        crate::observe::job_ended(job);
        self.jobs.remove(&job.id);
        self.waiting.remove(&job.id);
        self.market.remove_bid(job.id);
        if let Some(tab) = self.tabs.get_mut(&job.channel) {
            tab.jobs.remove(&job.id);
            tab.waiting.retain(|waiting| *waiting != job.id);
            if tab.in_flight == Some(job.id) {
                tab.in_flight = None;
            }
        }
        if let (Some(failure), Some(matched)) = (&job.failure, job.matched) {
            self.roster.send(matched.worker, ToWorker::Stop { job: job.id, refusal: failure.clone() });
        }
    }

    /// Forwards the next receipt of a channel, unless one is in flight.
    pub(super) fn forward(&mut self, channel: ChannelId) {
        let Some(tab) = self.tabs.get_mut(&channel) else { return };
        while tab.in_flight.is_none() {
            let Some(id) = tab.waiting.pop_front() else { return };
            let Some(job) = self.jobs.get(&id).filter(|job| job.is_unpaid()) else { continue };
            tab.in_flight = Some(id);
            tab.forwarded_at = Instant::now();
            if let Some(frame) = views::receipt(job) {
                tab.send(&frame);
            }
        }
    }

    /// Gives every channel's next receipt its turn where the one before was not answered for so long: a client may
    /// have declined it, and says so by silence. Its voucher is taken whenever it comes.
    pub(super) fn pass_on(&mut self, turn: Duration) {
        let over = |tab: &Tab| !tab.waiting.is_empty() && tab.forwarded_at.elapsed() >= turn;
        let channels: Vec<_> = self.tabs.iter().filter(|(_, tab)| over(tab)).map(|(id, _)| *id).collect();
        for channel in channels {
            if let Some(tab) = self.tabs.get_mut(&channel) {
                tab.waiting.extend(tab.in_flight.take());
            }
            self.forward(channel);
        }
    }

    /// Matches one order, or whichever comes first.
    pub(super) fn strike(&mut self, now: Timestamp, job: Option<JobId>) -> Option<Match> {
        let roster = &self.roster;
        let free = |needs: Needs, provider: Address| roster.free(needs, provider).is_some();
        match job {
            Some(job) => self.market.take(now, job, free),
            None => self.market.take_any(now, |provider| roster.is_idle(provider), free),
        }
    }

    /// Why an order still rests.
    pub(super) fn why(&self, now: Timestamp, job: JobId) -> String {
        self.market.nearly(now, job, |needs, provider| self.roster.free(needs, provider).is_some()).reason()
    }

    /// Forgets a channel that nothing is open on.
    pub(super) fn tidy(&mut self, channel: ChannelId) {
        if self.tabs.get(&channel).is_some_and(|tab| tab.jobs.is_empty() && tab.sockets.is_empty()) {
            self.tabs.remove(&channel);
        }
    }
}
