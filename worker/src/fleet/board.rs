//! Who has which device. A job takes all the devices that it needs at once or waits, in order of arrival, so that two
//! jobs never wait for each other and none waits for ever.

use super::child::Child;
use super::device::Device;
use super::nursery::Undead;
use crate::node::lock;
use alloy::primitives::Address;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All devices of the node.
pub(super) struct Board {
    places: Mutex<Vec<Place>>,
    /// One permit for each free CPU slot, and one for each free GPU.
    cpus: Arc<Semaphore>,
    gpus: Arc<Semaphore>,
}

struct Place {
    device: Device,
    state: State,
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
}

impl Lost {
    pub(super) fn new(reason: String, undead: Option<Undead>) -> Self {
        Self { reason, undead, since: Instant::now() }
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
    permit: Option<OwnedSemaphorePermit>,
}

/// A device that a job has.
pub(super) struct Seat {
    pub(super) device: Device,
    /// The child that was there.
    pub(super) warm: Option<Warm>,
    /// Set once it is found that the device cannot be used any more.
    pub(super) lost: Option<Lost>,
}

impl Board {
    pub(super) fn new(cpus: u32, gpus: &[u32]) -> Arc<Self> {
        let devices = (0..cpus).map(Device::Cpu).chain(gpus.iter().copied().map(Device::Gpu));
        let places = devices.map(|device| Place { device, state: State::Free(None), condemned: None });
        Arc::new(Self {
            places: Mutex::new(places.collect()),
            cpus: Arc::new(Semaphore::new(cpus as usize)),
            gpus: Arc::new(Semaphore::new(gpus.len())),
        })
    }

    fn semaphore(&self, gpu: bool) -> &Arc<Semaphore> {
        if gpu { &self.gpus } else { &self.cpus }
    }

    /// Waits for a CPU slot, or for so many GPUs, and takes those that serve the tenant best.
    pub(super) async fn lease(self: &Arc<Self>, gpus: u32, tenant: Address) -> Lease {
        let (gpu, count) = (gpus > 0, gpus.max(1));
        match self.semaphore(gpu).clone().acquire_many_owned(count).await {
            Ok(permit) => self.take(gpu, permit, tenant),
            // The semaphores are never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// A free device whose child waited for longer than this.
    pub(super) fn lease_idle(self: &Arc<Self>, gpu: bool, limit: Duration) -> Option<Lease> {
        self.lease_where(gpu, |place| match &place.state {
            State::Free(Some(warm)) => warm.since.elapsed() > limit || !warm.child.is_alive(),
            _ => false,
        })
    }

    /// That device, if it is free.
    pub(super) fn lease_device(self: &Arc<Self>, device: Device) -> Option<Lease> {
        let gpu = matches!(device, Device::Gpu(_));
        self.lease_where(gpu, |place| place.device == device && matches!(place.state, State::Free(_)))
    }

    fn lease_where(self: &Arc<Self>, gpu: bool, wanted: impl Fn(&Place) -> bool) -> Option<Lease> {
        let permit = self.semaphore(gpu).clone().try_acquire_owned().ok()?;
        let mut places = lock(&self.places);
        let of_kind = |place: &Place| matches!(place.device, Device::Gpu(_)) == gpu;
        let place = places.iter_mut().find(|place| of_kind(place) && wanted(place))?;
        let seats = vec![place.take()];
        Some(Lease { seats, board: self.clone(), permit: Some(permit) })
    }

    /// Takes as many free devices as there are permits: first those where the tenant's own child waits, then those
    /// where none does, then those that were unused for the longest time.
    fn take(self: &Arc<Self>, gpu: bool, permit: OwnedSemaphorePermit, tenant: Address) -> Lease {
        let mut places = lock(&self.places);
        let now = Instant::now();
        let mut free: Vec<(u8, Duration, usize)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            match &place.state {
                State::Free(warm) if matches!(place.device, Device::Gpu(_)) == gpu => free.push(match warm {
                    Some(warm) if warm.tenant == tenant => (0, Duration::ZERO, index),
                    None => (1, Duration::ZERO, index),
                    Some(warm) => (2, Duration::MAX - now.saturating_duration_since(warm.since), index),
                }),
                _ => {}
            }
        }
        free.sort_unstable();
        let mut chosen: Vec<usize> = free.into_iter().take(permit.num_permits()).map(|(_, _, index)| index).collect();
        chosen.sort_unstable();
        let seats = chosen.into_iter().filter_map(|index| places.get_mut(index).map(Place::take)).collect();
        Lease { seats, board: self.clone(), permit: Some(permit) }
    }

    /// Devices of a kind that are not lost.
    pub(super) fn working(&self, gpu: bool) -> u32 {
        let places = lock(&self.places);
        let of_kind = |place: &&Place| matches!(place.device, Device::Gpu(_)) == gpu;
        let works = |place: &&Place| !matches!(place.state, State::Lost(_));
        places.iter().filter(of_kind).filter(works).count() as u32
    }

    /// Every device and what it is doing.
    pub(super) fn view(&self) -> Vec<(Device, DeviceState)> {
        let state = |place: &Place| match &place.state {
            State::Free(_) => DeviceState::Free,
            State::Leased => DeviceState::Busy,
            State::Lost(lost) => DeviceState::Quarantined(lost.reason.clone()),
        };
        lock(&self.places).iter().map(|place| (place.device, state(place))).collect()
    }

    /// Lost devices whose process is gone and that were left alone for so long.
    pub(super) fn recoverable(&self, rest: Duration) -> Vec<Device> {
        let places = lock(&self.places);
        let ready = places.iter().filter(|place| match &place.state {
            State::Lost(lost) => lost.since.elapsed() >= rest && lost.undead.as_ref().is_none_or(Undead::is_gone),
            _ => false,
        });
        ready.map(|place| place.device).collect()
    }

    /// Remembers what is wrong with a device that somebody has, or that is being tried again; `false` where it is free.
    pub(super) fn condemn(&self, device: Device, reason: &str) -> bool {
        let mut places = lock(&self.places);
        let taken = places.iter_mut().find(|place| place.device == device && !matches!(place.state, State::Free(_)));
        taken.map(|place| place.condemned = Some(reason.to_owned())).is_some()
    }

    /// Tells once what was found to be wrong with a device that somebody has.
    pub(super) fn take_condemned(&self, device: Device) -> Option<String> {
        lock(&self.places).iter_mut().find(|place| place.device == device)?.condemned.take()
    }

    /// Gives a lost device back to the jobs; `false` where it was not lost, or was condemned since it was postponed.
    pub(super) fn recover(&self, device: Device) -> bool {
        let mut places = lock(&self.places);
        let lost = places.iter_mut().find(|place| place.device == device && matches!(place.state, State::Lost(_)));
        let Some(place) = lost else { return false };
        if let Some(reason) = place.condemned.take() {
            place.state = State::Lost(Lost::new(reason, None));
            return false;
        }
        place.state = State::Free(None);
        self.semaphore(matches!(device, Device::Gpu(_))).add_permits(1);
        true
    }

    /// A lost device stays lost for now, for another reason; returns the process that held it.
    pub(super) fn postpone(&self, device: Device, reason: String, undead: Option<Undead>) -> Option<Undead> {
        let mut places = lock(&self.places);
        let place = places.iter_mut().find(|place| place.device == device)?;
        match &mut place.state {
            State::Lost(lost) => {
                place.condemned = None;
                std::mem::replace(lost, Lost::new(reason, undead)).undead
            }
            _ => None,
        }
    }

    /// Takes out all children that wait.
    pub(super) fn drain(&self) -> Vec<Child> {
        let mut places = lock(&self.places);
        let warm = places.iter_mut().filter_map(|place| match &mut place.state {
            State::Free(warm) => warm.take(),
            _ => None,
        });
        warm.map(|warm| warm.child).collect()
    }
}

impl Place {
    fn take(&mut self) -> Seat {
        let state = std::mem::replace(&mut self.state, State::Leased);
        let warm = match state {
            State::Free(warm) => warm,
            State::Leased | State::Lost(_) => None,
        };
        Seat { device: self.device, warm, lost: None }
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
        let mut lost = 0;
        let mut places = lock(&self.board.places);
        for seat in self.seats.drain(..) {
            let Some(place) = places.iter_mut().find(|place| place.device == seat.device) else { continue };
            place.state = match seat.lost {
                Some(reason) => {
                    lost += 1;
                    State::Lost(reason)
                }
                None => State::Free(seat.warm),
            };
        }
        drop(places);
        if let Some(mut permit) = self.permit.take()
            && let Some(gone) = permit.split(lost)
        {
            gone.forget();
        }
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
    async fn a_lost_device_is_left_out_until_it_recovers() {
        let board = Board::new(0, &[4, 5]);
        let mut lease = board.lease(2, TENANT).await;
        lease.seats[0].lost = Some(Lost::new("it fell off the bus".into(), None));
        drop(lease);
        assert_eq!((board.working(true), board.working(false)), (1, 0));
        assert_eq!(board.view()[0].1, DeviceState::Quarantined("it fell off the bus".into()));
        let one = board.lease(1, TENANT).await;
        assert_eq!(devices(&one), [Device::Gpu(5)]);
        assert!(futures::poll!(std::pin::pin!(board.lease(1, TENANT))).is_pending());
        assert_eq!(board.recoverable(Duration::ZERO), [Device::Gpu(4)]);
        assert!(board.recover(Device::Gpu(4)));
        assert!(!board.recover(Device::Gpu(4)), "a device is not given back twice");
        assert_eq!(devices(&board.lease(1, TENANT).await), [Device::Gpu(4)]);
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
        board.condemn(device, "known before the trial");
        board.postpone(device, "on trial".into(), None);
        board.condemn(device, "found in the trial");
        assert!(!board.recover(device));
        assert_eq!(board.view()[0].1, DeviceState::Quarantined("found in the trial".into()));
        board.postpone(device, "on trial".into(), None);
        assert!(board.recover(device));
    }

    #[test]
    fn only_free_devices_can_be_taken_out() {
        let board = Board::new(1, &[0]);
        let lease = board.lease_device(Device::Gpu(0)).unwrap();
        assert!(board.lease_device(Device::Gpu(0)).is_none());
        assert!(board.lease_idle(false, Duration::ZERO).is_none(), "no child waits there");
        drop(lease);
        assert!(board.lease_device(Device::Gpu(0)).is_some());
    }
}
