//! Who has which device. A job takes all the devices that it needs at once or waits, in order of arrival, so that two
//! jobs never wait for each other and none waits for ever.

use super::child::Child;
use super::device::Device;
use super::nursery::{NoChild, Undead};
use super::residue::Residue;
use super::tend::{LONGEST_REST, REST};
use crate::node::lock;
use crate::observe;
use alloy::primitives::Address;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// All devices of the node, and the jobs that wait for them.
pub(super) struct Board(Mutex<Contents>);

struct Contents {
    places: Vec<Place>,
    /// Jobs that wait for a CPU slot, and those that wait for GPUs.
    cpu_queue: VecDeque<Waiter>,
    gpu_queue: VecDeque<Waiter>,
}

/// A job that waits.
struct Waiter {
    count: usize,
    tenant: Address,
    reply: oneshot::Sender<Lease>,
}

struct Place {
    device: Device,
    state: State,
    residue: Residue,
    /// Why it must not be used, found out while somebody had it.
    condemned: Option<String>,
}

enum State {
    /// No job has it; the child of its last tenant may still be there.
    Free(Option<Warm>),
    /// A job has it.
    Leased,
    /// It cannot be used.
    Lost(Lost),
}

/// A child that waits for another job of its tenant.
pub(super) struct Warm {
    pub(super) tenant: Address,
    pub(super) child: Child,
    since: Instant,
}

/// Why a device cannot be used.
pub(super) struct Lost {
    /// A sentence for the operator.
    pub(super) reason: String,
    /// The process that still holds it.
    pub(super) undead: Option<Undead>,
    since: Instant,
    /// How long it is left alone before it is tried.
    rest: Duration,
}

impl Lost {
    pub(super) fn new(reason: String, undead: Option<Undead>) -> Self {
        Self { reason, undead, since: Instant::now(), rest: REST }
    }

    /// For want of a child.
    pub(super) fn by(error: NoChild) -> Self {
        let reason = error.to_string();
        match error {
            NoChild::Undead(undead) => Self::new(reason, Some(undead)),
            NoChild::Start(_) => Self::new(reason, None),
        }
    }
}

/// What a device is doing, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceState {
    /// It waits for a job.
    Free,
    /// It has one.
    Busy,
    /// It takes none until what is wrong with it is over.
    Quarantined(String),
}

/// Devices that a job has, by number.
pub(super) struct Lease {
    pub(super) seats: Vec<Seat>,
    board: Arc<Board>,
    /// Since when a job has them; `None` where it is no job that has them.
    since: Option<Instant>,
}

/// A device that a job has.
pub(super) struct Seat {
    pub(super) device: Device,
    /// The child that was there.
    pub(super) warm: Option<Warm>,
    /// What earlier jobs may have left in its memory.
    pub(super) residue: Residue,
    /// Set once it is found that the device cannot be used any more.
    pub(super) lost: Option<Lost>,
}

impl Board {
    pub(super) fn new(cpus: u32, gpus: &[u32]) -> Arc<Self> {
        let devices = (0..cpus).map(Device::Cpu).chain(gpus.iter().copied().map(Device::Gpu));
        let free = |device| Place { device, state: State::Free(None), residue: Residue::unknown(), condemned: None };
        let places = devices.map(free).collect();
        Arc::new(Self(Mutex::new(Contents { places, cpu_queue: VecDeque::new(), gpu_queue: VecDeque::new() })))
    }

    /// Waits for a CPU slot, or for so many GPUs, and takes those that serve the tenant best.
    pub(super) async fn lease(self: &Arc<Self>, gpus: u32, tenant: Address) -> Lease {
        let asked = Instant::now();
        // Whoever gives up waiting may have held up others: dropped after the receiver below, this lets them on.
        let _turn = Turn(self.clone());
        let (reply, leased) = oneshot::channel();
        let count = gpus.max(1) as usize;
        lock(&self.0).queue(gpus > 0).push_back(Waiter { count, tenant, reply });
        self.serve();
        // The board keeps the other end until it has devices to send.
        let Ok(lease) = leased.await else { std::future::pending().await };
        observe::waited("device", asked.elapsed());
        lease
    }

    /// Gives free devices to the jobs that wait, as far as the first of each queue has enough.
    fn serve(self: &Arc<Self>) {
        let mut granted = Vec::new();
        {
            let mut contents = lock(&self.0);
            for gpu in [false, true] {
                while let Some((reply, seats)) = contents.grant(gpu) {
                    granted.push((reply, Lease { seats, board: self.clone(), since: Some(Instant::now()) }));
                }
            }
        }
        for (reply, lease) in granted {
            // A lease that nobody takes any more comes back by being dropped.
            drop(reply.send(lease));
        }
    }

    /// A free device whose child waited for longer than this, or is dead.
    pub(super) fn lease_idle(self: &Arc<Self>, limit: Duration) -> Option<Lease> {
        self.lease_where(|place| match &place.state {
            State::Free(Some(warm)) => warm.since.elapsed() > limit || !warm.child.is_alive(),
            _ => false,
        })
    }

    /// That device, if it is free.
    pub(super) fn lease_device(self: &Arc<Self>, device: Device) -> Option<Lease> {
        self.lease_where(|place| place.device == device && matches!(place.state, State::Free(_)))
    }

    fn lease_where(self: &Arc<Self>, wanted: impl Fn(&Place) -> bool) -> Option<Lease> {
        let mut contents = lock(&self.0);
        let place = contents.places.iter_mut().find(|place| wanted(place))?;
        Some(Lease { seats: vec![place.take()], board: self.clone(), since: None })
    }

    /// Devices of a kind that are not lost.
    pub(super) fn working(&self, gpu: bool) -> u32 {
        let works = |place: &&Place| place.is_gpu() == gpu && !matches!(place.state, State::Lost(_));
        lock(&self.0).places.iter().filter(works).count() as u32
    }

    /// Every device and what it is doing.
    pub(super) fn view(&self) -> Vec<(Device, DeviceState)> {
        let state = |place: &Place| match &place.state {
            State::Free(_) => DeviceState::Free,
            State::Leased => DeviceState::Busy,
            State::Lost(lost) => DeviceState::Quarantined(lost.reason.clone()),
        };
        lock(&self.0).places.iter().map(|place| (place.device, state(place))).collect()
    }

    /// Lost devices whose process is gone and that were left alone for long enough.
    pub(super) fn recoverable(&self) -> Vec<Device> {
        let contents = lock(&self.0);
        let ready = contents.places.iter().filter(|place| match &place.state {
            State::Lost(lost) => lost.since.elapsed() >= lost.rest && lost.undead.as_ref().is_none_or(Undead::is_gone),
            _ => false,
        });
        ready.map(|place| place.device).collect()
    }

    /// Remembers what is wrong with a device that somebody has, or that is being tried again; `false` where it is free.
    pub(super) fn condemn(&self, device: Device, reason: &str) -> bool {
        let mut contents = lock(&self.0);
        let taken = |place: &&mut Place| place.device == device && !matches!(place.state, State::Free(_));
        contents.places.iter_mut().find(taken).map(|place| place.condemned = Some(reason.to_owned())).is_some()
    }

    /// Tells once what was found to be wrong with a device that somebody has.
    pub(super) fn take_condemned(&self, device: Device) -> Option<String> {
        lock(&self.0).places.iter_mut().find(|place| place.device == device)?.condemned.take()
    }

    /// Whether something may lie in a device's memory.
    pub(super) fn is_clean(&self, device: Device) -> bool {
        lock(&self.0).places.iter().any(|place| place.device == device && place.residue == Residue::none())
    }

    /// All memory of a device that no job has is zero.
    pub(super) fn cleaned(&self, device: Device) {
        let mut contents = lock(&self.0);
        if let Some(place) = contents.places.iter_mut().find(|place| place.device == device) {
            place.residue = Residue::none();
        }
    }

    /// Gives a lost device back to the jobs; `false` where it was not lost, or was condemned meanwhile.
    pub(super) fn recover(self: &Arc<Self>, device: Device) -> bool {
        let mut contents = lock(&self.0);
        let Some(place) = contents.lost(device) else { return false };
        if let Some(reason) = place.condemned.take() {
            place.state = State::Lost(Lost::new(reason, None));
            return false;
        }
        place.state = State::Free(None);
        drop(contents);
        self.serve();
        true
    }

    /// The process that held a lost device, and is gone.
    pub(super) fn take_undead(&self, device: Device) -> Option<Undead> {
        match &mut lock(&self.0).lost(device)?.state {
            State::Lost(lost) => lost.undead.take(),
            State::Free(_) | State::Leased => None,
        }
    }

    /// A lost device was tried in vain: it is left alone for twice as long.
    pub(super) fn postpone(&self, device: Device, lost: Lost) {
        if let Some(Place { state: State::Lost(before), .. }) = lock(&self.0).lost(device) {
            let rest = (before.rest * 2).min(LONGEST_REST);
            *before = Lost { rest, ..lost };
        }
    }

    /// Takes out all children that wait.
    pub(super) fn drain(&self) -> Vec<Child> {
        let mut contents = lock(&self.0);
        let warm = contents.places.iter_mut().filter_map(|place| match &mut place.state {
            State::Free(warm) => warm.take(),
            _ => None,
        });
        warm.map(|warm| warm.child).collect()
    }
}

impl Contents {
    const fn queue(&mut self, gpu: bool) -> &mut VecDeque<Waiter> {
        if gpu { &mut self.gpu_queue } else { &mut self.cpu_queue }
    }

    /// The place of a lost device.
    fn lost(&mut self, device: Device) -> Option<&mut Place> {
        let lost = |place: &&mut Place| place.device == device && matches!(place.state, State::Lost(_));
        self.places.iter_mut().find(lost)
    }

    /// Devices for the first job that waits, if there are enough: first those where the tenant's own child waits, then
    /// those where none does, then those that were unused for the longest time.
    fn grant(&mut self, gpu: bool) -> Option<(oneshot::Sender<Lease>, Vec<Seat>)> {
        while self.queue(gpu).front().is_some_and(|first| first.reply.is_closed()) {
            self.queue(gpu).pop_front();
        }
        let (count, tenant) = self.queue(gpu).front().map(|first| (first.count, first.tenant))?;
        let mut free: Vec<(u8, Reverse<Duration>, usize)> = Vec::new();
        for (index, place) in self.places.iter().enumerate().filter(|(_, place)| place.is_gpu() == gpu) {
            match &place.state {
                State::Free(Some(warm)) if warm.tenant == tenant => free.push((0, Reverse(Duration::ZERO), index)),
                State::Free(None) => free.push((1, Reverse(Duration::ZERO), index)),
                State::Free(Some(warm)) => free.push((2, Reverse(warm.since.elapsed()), index)),
                State::Leased | State::Lost(_) => {}
            }
        }
        if free.len() < count {
            return None;
        }
        free.sort_unstable();
        let mut chosen: Vec<usize> = free.into_iter().take(count).map(|(_, _, index)| index).collect();
        // Ranks follow the numbers of the devices.
        chosen.sort_unstable();
        let first = self.queue(gpu).pop_front()?;
        let seats = chosen.into_iter().filter_map(|index| self.places.get_mut(index).map(Place::take)).collect();
        Some((first.reply, seats))
    }
}

/// Lets the jobs on that wait behind one that does not any more.
struct Turn(Arc<Board>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.serve();
    }
}

impl Place {
    const fn is_gpu(&self) -> bool {
        matches!(self.device, Device::Gpu(_))
    }

    fn take(&mut self) -> Seat {
        let state = std::mem::replace(&mut self.state, State::Leased);
        let warm = match state {
            State::Free(warm) => warm,
            State::Leased | State::Lost(_) => None,
        };
        Seat { device: self.device, warm, residue: self.residue.clone(), lost: None }
    }
}

impl Seat {
    /// Leaves a child for the tenant's next job.
    pub(super) fn leave(&mut self, child: Child, tenant: Address) {
        self.warm = Some(Warm { tenant, child, since: Instant::now() });
    }
}

impl Drop for Lease {
    /// Gives the devices back, each with the child that was left on it; those that were lost stay out of use.
    fn drop(&mut self) {
        {
            let mut contents = lock(&self.board.0);
            for seat in self.seats.drain(..) {
                if let Some(since) = self.since {
                    observe::device_used(&seat.device, since.elapsed());
                }
                let Some(place) = contents.places.iter_mut().find(|place| place.device == seat.device) else {
                    continue;
                };
                place.residue = seat.residue;
                place.state = match seat.lost {
                    Some(lost) => State::Lost(lost),
                    None => State::Free(seat.warm),
                };
            }
        }
        self.board.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Address = Address::repeat_byte(1);

    fn devices(lease: &Lease) -> Vec<Device> {
        lease.seats.iter().map(|seat| seat.device).collect()
    }

    #[tokio::test]
    async fn a_job_takes_all_its_devices_or_waits_in_its_turn() {
        let board = Board::new(0, &[0, 1]);
        let one = board.lease(1, TENANT).await;
        assert_eq!(devices(&one), [Device::Gpu(0)]);
        let mut both = std::pin::pin!(board.lease(2, TENANT));
        let mut later = std::pin::pin!(board.lease(1, TENANT));
        assert!(futures::poll!(&mut both).is_pending());
        assert!(futures::poll!(&mut later).is_pending(), "it overtook a job that needs more");
        drop(one);
        let lease = both.await;
        assert_eq!(devices(&lease), [Device::Gpu(0), Device::Gpu(1)]);
        drop(lease);
        assert_eq!(devices(&later.await), [Device::Gpu(0)]);
    }

    #[tokio::test]
    async fn a_job_that_waits_no_longer_holds_nobody_up() {
        let board = Board::new(0, &[0, 1]);
        let one = board.lease(1, TENANT).await;
        let mut both = Box::pin(board.lease(2, TENANT));
        let mut later = std::pin::pin!(board.lease(1, TENANT));
        assert!(futures::poll!(&mut both).is_pending());
        assert!(futures::poll!(&mut later).is_pending());
        // What waits for both keeps no device from whoever has to take it out of use.
        drop(board.lease_device(Device::Gpu(1)).unwrap());
        drop(both);
        assert_eq!(devices(&later.await), [Device::Gpu(1)]);
        drop(one);
    }

    #[tokio::test]
    async fn a_lost_device_is_left_out_until_it_recovers() {
        let board = Board::new(0, &[4, 5]);
        let mut lease = board.lease(2, TENANT).await;
        lease.seats[0].lost = Some(Lost { rest: Duration::ZERO, ..Lost::new("it fell off the bus".into(), None) });
        drop(lease);
        assert_eq!((board.working(true), board.working(false)), (1, 0));
        assert_eq!(board.view()[0].1, DeviceState::Quarantined("it fell off the bus".into()));
        let one = board.lease(1, TENANT).await;
        assert_eq!(devices(&one), [Device::Gpu(5)]);
        assert!(futures::poll!(std::pin::pin!(board.lease(1, TENANT))).is_pending());
        assert_eq!(board.recoverable(), [Device::Gpu(4)]);
        assert!(board.recover(Device::Gpu(4)));
        assert!(!board.recover(Device::Gpu(4)), "a device is not given back twice");
        assert_eq!(devices(&board.lease(1, TENANT).await), [Device::Gpu(4)]);
    }

    #[tokio::test]
    async fn a_device_that_stays_lost_is_tried_less_and_less() {
        let board = Board::new(0, &[0]);
        let lost = || Lost::new("no".into(), None);
        board.lease_device(Device::Gpu(0)).unwrap().seats[0].lost = Some(lost());
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            board.postpone(Device::Gpu(0), lost());
            match &lock(&board.0).places[0].state {
                State::Lost(lost) => assert_eq!(lost.rest, Duration::from_secs(seconds)),
                _ => unreachable!("it is lost"),
            }
        }
        assert!(board.recoverable().is_empty());
    }

    #[test]
    fn a_device_that_is_found_broken_while_it_is_tried_again_stays_lost() {
        let board = Board::new(0, &[0]);
        let device = Device::Gpu(0);
        assert!(!board.condemn(device, "it is free"));
        let mut lease = board.lease_device(device).unwrap();
        assert!(board.condemn(device, "while a job has it"));
        assert_eq!(board.take_condemned(device).unwrap(), "while a job has it");
        assert_eq!(board.take_condemned(device), None);
        lease.seats[0].lost = Some(Lost::new("before".into(), None));
        drop(lease);
        assert!(board.condemn(device, "found in the trial"));
        assert!(!board.recover(device));
        assert_eq!(board.view()[0].1, DeviceState::Quarantined("found in the trial".into()));
        assert!(board.recover(device));
    }

    #[test]
    fn only_free_devices_can_be_taken_out() {
        let board = Board::new(1, &[0]);
        let lease = board.lease_device(Device::Gpu(0)).unwrap();
        assert!(board.lease_device(Device::Gpu(0)).is_none());
        assert!(board.lease_idle(Duration::ZERO).is_none(), "no child waits there");
        drop(lease);
        assert!(board.lease_device(Device::Gpu(0)).is_some());
    }
}
