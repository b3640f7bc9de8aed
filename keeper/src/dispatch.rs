//! Workers: who is connected, what they can run, and which of their slots are taken.
//!
//! Pure but for the channel to each worker's socket. A worker that vanishes keeps its jobs for a lease; what it then
//! still holds is lost.

use crate::market::Needs;
use alloy::primitives::Address;
use protocol::order::JobId;
use protocol::wire::{Capabilities, ToWorker};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Frames that may wait for a slow socket before it is dropped.
pub const OUTBOX: usize = 1024;

/// Numbers sockets, so that a late good-bye of an old one does not end a new one.
pub type Session = u64;

#[derive(Debug)]
struct Connected {
    session: Session,
    provider: Address,
    capabilities: Capabilities,
    outbox: mpsc::Sender<ToWorker>,
}

/// All workers that are connected or hold jobs.
#[derive(Debug, Default)]
pub struct Roster {
    connected: HashMap<Address, Connected>,
    running: HashMap<Address, BTreeSet<JobId>>,
    lost: HashMap<Address, Instant>,
    sessions: Session,
}

impl Roster {
    /// A worker logs in; an older socket of the same key is dropped.
    pub fn join(
        &mut self,
        worker: Address,
        provider: Address,
        capabilities: Capabilities,
        outbox: mpsc::Sender<ToWorker>,
    ) -> Session {
        self.sessions += 1;
        let session = self.sessions;
        self.connected.insert(worker, Connected { session, provider, capabilities, outbox });
        self.lost.remove(&worker);
        session
    }

    /// What a worker can run changed: it lost a device, or it drains and has no slots any more.
    pub fn change(&mut self, worker: Address, capabilities: Capabilities) {
        if let Some(connected) = self.connected.get_mut(&worker) {
            connected.capabilities = capabilities;
        }
    }

    /// A socket has ended; its worker's lease begins, unless it has a newer socket.
    pub fn leave(&mut self, worker: Address, session: Session, now: Instant) {
        if self.connected.get(&worker).is_some_and(|connected| connected.session == session) {
            self.connected.remove(&worker);
            self.miss(worker, now);
        }
    }

    /// Begins the lease of a worker that holds jobs and is not connected.
    pub fn miss(&mut self, worker: Address, now: Instant) {
        if !self.connected.contains_key(&worker) && self.running.contains_key(&worker) {
            self.lost.entry(worker).or_insert(now);
        }
    }

    /// Jobs of workers that stayed away for longer than their lease.
    pub fn overdue(&self, now: Instant, lease: Duration) -> Vec<JobId> {
        self.lost
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= lease)
            .filter_map(|(worker, _)| self.running.get(worker))
            .flatten()
            .copied()
            .collect()
    }

    /// A free worker of a provider that can run this; the least busy one.
    pub fn free(&self, needs: Needs, provider: Address) -> Option<Address> {
        self.connected
            .iter()
            .filter(|(_, connected)| connected.provider == provider && can_run(&connected.capabilities, needs))
            .map(|(worker, connected)| (self.busy(*worker), *worker, connected.capabilities.slots))
            .filter(|(busy, _, slots)| *busy < usize::try_from(*slots).unwrap_or(usize::MAX))
            .min()
            .map(|(_, worker, _)| worker)
    }

    /// Whether any worker of a provider has a slot free.
    pub fn is_idle(&self, provider: Address) -> bool {
        self.connected.iter().any(|(worker, connected)| {
            connected.provider == provider
                && self.busy(*worker) < usize::try_from(connected.capabilities.slots).unwrap_or(usize::MAX)
        })
    }

    fn busy(&self, worker: Address) -> usize {
        self.running.get(&worker).map_or(0, BTreeSet::len)
    }

    /// Takes a slot.
    pub fn start(&mut self, worker: Address, job: JobId) {
        self.running.entry(worker).or_default().insert(job);
    }

    /// Gives a slot back.
    pub fn end(&mut self, worker: Address, job: JobId) {
        if let Some(jobs) = self.running.get_mut(&worker) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.running.remove(&worker);
                self.lost.remove(&worker);
            }
        }
    }

    /// Sends a frame to a worker, if it is connected. A socket that does not keep up is dropped: the worker connects
    /// again and is told everything that matters.
    pub fn send(&mut self, worker: Address, frame: ToWorker) {
        let Some(connected) = self.connected.get(&worker) else { return };
        if connected.outbox.try_send(frame).is_err() {
            let session = connected.session;
            self.leave(worker, session, Instant::now());
        }
    }

    /// Sends a frame to all workers.
    pub fn broadcast(&mut self, frame: &ToWorker) {
        let workers: Vec<Address> = self.connected.keys().copied().collect();
        for worker in workers {
            self.send(worker, frame.clone());
        }
    }

    /// Number of connected workers.
    pub fn count(&self) -> usize {
        self.connected.len()
    }
}

fn can_run(capabilities: &Capabilities, needs: Needs) -> bool {
    capabilities.kinds.contains(&needs.kind)
        && capabilities.resources.contains(&needs.resource)
        && capabilities.memory >= needs.memory
        && capabilities.devices >= needs.devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use protocol::amount::Quantity;
    use protocol::job::Kind;
    use protocol::resource::ResourceId;
    use protocol::wire::Isolation;

    const PROVIDER: Address = Address::repeat_byte(1);
    const LEASE: Duration = Duration::from_secs(30);

    fn needs(memory: u64) -> Needs {
        Needs { kind: Kind::Wasm, resource: ResourceId(2), memory: Quantity(memory), devices: 0 }
    }

    fn capabilities(slots: u32) -> Capabilities {
        Capabilities {
            kinds: vec![Kind::Wasm],
            resources: vec![ResourceId(2)],
            slots,
            memory: Quantity(100),
            toolchains: vec![],
            device: None,
            devices: 0,
            isolation: Isolation::default(),
        }
    }

    fn job(n: u8) -> JobId {
        JobId(B256::repeat_byte(n))
    }

    fn join(roster: &mut Roster, worker: u8, slots: u32) -> (Address, Session, mpsc::Receiver<ToWorker>) {
        let (outbox, inbox) = mpsc::channel(2);
        let worker = Address::repeat_byte(worker);
        (worker, roster.join(worker, PROVIDER, capabilities(slots), outbox), inbox)
    }

    #[test]
    fn the_least_busy_worker_that_can_run_it_is_free() {
        let mut roster = Roster::default();
        let (a, _, _a) = join(&mut roster, 0xa, 2);
        let (b, _, _b) = join(&mut roster, 0xb, 1);
        roster.start(a, job(1));
        assert_eq!(roster.free(needs(100), PROVIDER), Some(b));
        roster.start(b, job(2));
        assert_eq!(roster.free(needs(100), PROVIDER), Some(a), "a has a second slot");
        roster.start(a, job(3));
        assert_eq!((roster.free(needs(100), PROVIDER), roster.is_idle(PROVIDER)), (None, false));
        roster.end(b, job(2));
        assert!(roster.is_idle(PROVIDER));
        assert_eq!(roster.free(needs(100), PROVIDER), Some(b));
        assert_eq!(roster.free(needs(101), PROVIDER), None, "more memory than any worker has");
        let cuda = Needs { kind: Kind::Cuda, ..needs(1) };
        assert_eq!(roster.free(cuda, PROVIDER), None);
        assert_eq!(roster.free(needs(1), Address::repeat_byte(9)), None);
    }

    #[test]
    fn a_vanished_worker_keeps_its_jobs_for_its_lease() {
        let mut roster = Roster::default();
        let start = Instant::now();
        let (worker, session, _inbox) = join(&mut roster, 0xa, 1);
        roster.start(worker, job(1));
        roster.leave(worker, session, start);
        assert!(roster.overdue(start + LEASE - Duration::from_millis(1), LEASE).is_empty());
        assert_eq!(roster.overdue(start + LEASE, LEASE), vec![job(1)]);
        let (_, _, _inbox) = join(&mut roster, 0xa, 1);
        assert!(roster.overdue(start + LEASE, LEASE).is_empty(), "it came back in time");
    }

    #[test]
    fn the_end_of_an_old_socket_does_not_end_the_new_one() {
        let mut roster = Roster::default();
        let (worker, old, _first) = join(&mut roster, 0xa, 1);
        let (_, _, mut second) = join(&mut roster, 0xa, 1);
        roster.leave(worker, old, Instant::now());
        roster.send(worker, ToWorker::Challenge { nonce: B256::ZERO });
        assert!(second.try_recv().is_ok());
    }

    #[test]
    fn a_socket_that_does_not_keep_up_is_dropped() {
        let mut roster = Roster::default();
        let (worker, _, mut inbox) = join(&mut roster, 0xa, 1);
        for _ in 0..3 {
            roster.send(worker, ToWorker::Challenge { nonce: B256::ZERO });
        }
        assert_eq!(roster.count(), 0);
        assert!(inbox.try_recv().is_ok() && inbox.try_recv().is_ok());
        assert!(matches!(inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }
}
