//! Getting a child of the right tenant onto each device of a job, and seeing to what is left there afterwards.

use super::Shared;
use super::board::{Lease, Lost, Seat};
use super::child::Child;
use super::device::{Device, Site};
use super::nursery::{NoChild, Undead};
use super::residue::Residue;
use super::tend::REST;
use crate::execute::ExecuteError;
use crate::node::lock;
use crate::observe;
use alloy::primitives::Address;
use futures::future::join_all;
use protocol::resource::Usage;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Shared {
    /// Devices for a job, with a child of its tenant on each.
    pub(super) async fn seat(
        self: &Arc<Self>,
        gpus: u32,
        tenant: Address,
        cancel: &CancellationToken,
    ) -> Result<(Lease, Vec<Child>), ExecuteError> {
        loop {
            let mut lease = self.lease(gpus, tenant, cancel).await?;
            let made = join_all(lease.seats.iter_mut().map(|seat| self.child_for(seat, tenant))).await;
            let mut children = Vec::new();
            let mut failure = None;
            for (seat, made) in lease.seats.iter_mut().zip(made) {
                match made {
                    Ok(child) => children.push(child),
                    Err(NoChild::Start(error)) if seat.device.site() == Site::Cpu => failure = Some(error.to_string()),
                    Err(error) => seat.lost = Some(Lost::by(error)),
                }
            }
            if children.len() == lease.seats.len() {
                return Ok((lease, children));
            }
            self.put_back(&mut lease, children, tenant);
            // With fewer devices, either others are found or the job is more than this node can do.
            self.give_back(lease);
            if let Some(text) = failure {
                return Err(ExecuteError::Node(format!("no process can be started for the job: {text}")));
            }
        }
    }

    /// Waits for devices, as long as there can be enough of them.
    async fn lease(&self, gpus: u32, tenant: Address, cancel: &CancellationToken) -> Result<Lease, ExecuteError> {
        let mut changes = self.inventory.subscribe();
        let mut leased = std::pin::pin!(self.board.lease(gpus, tenant));
        loop {
            let working = self.board.working(gpus > 0);
            if working < gpus.max(1) {
                let text = match gpus {
                    0 => "no CPU slot of this worker is in order now".into(),
                    _ => format!("it needs {gpus} GPUs, and {working} of this worker are in order now"),
                };
                return Err(ExecuteError::Unsupported(text));
            }
            tokio::select! {
                lease = &mut leased => return Ok(lease),
                () = cancel.cancelled() => return Err(ExecuteError::Cancelled { usage: Usage::default() }),
                _ = changes.changed() => {}
            }
        }
    }

    /// The child of the tenant that waits on a device, or else a blank one.
    async fn child_for(self: &Arc<Self>, seat: &mut Seat, tenant: Address) -> Result<Child, NoChild> {
        let site = seat.device.site();
        if let Some(warm) = seat.warm.take() {
            if warm.tenant == tenant && warm.child.is_alive() {
                return Ok(warm.child);
            }
            self.nursery.retire(warm.child).await.map_err(NoChild::Undead)?;
        }
        if let Site::Gpu(gpu) = site
            && seat.residue.bars_child(tenant)
        {
            self.clear(seat, gpu).await?;
        }
        let child = self.nursery.take(site).await?;
        self.learn(&child);
        self.publish();
        self.prepare(site);
        Ok(child)
    }

    /// A child in the place of one that died before it had read its job.
    pub(super) async fn replace(self: &Arc<Self>, site: Site, tenant: Address) -> Result<Child, ExecuteError> {
        let child = self.nursery.take(site).await.map_err(|error| ExecuteError::Node(error.to_string()))?;
        self.learn(&child);
        self.publish();
        match self.config.sandbox.admit(tenant, child.facts.isolation) {
            Ok(()) => Ok(child),
            Err(text) => {
                self.nursery.keep(child);
                Err(ExecuteError::Unsupported(text))
            }
        }
    }

    /// GPUs for a program with a process of its own: no child stays on them or is made there, and nothing of another
    /// tenant lies in their memory.
    pub(super) async fn vacate(
        self: &Arc<Self>,
        gpus: u32,
        tenant: Address,
        cancel: &CancellationToken,
    ) -> Result<(Lease, Vec<Vacancy>), ExecuteError> {
        loop {
            let mut lease = self.lease(gpus, tenant, cancel).await?;
            let emptied = join_all(lease.seats.iter_mut().map(|seat| self.empty(seat, tenant))).await;
            let mut vacancies = Vec::new();
            for (seat, emptied) in lease.seats.iter_mut().zip(emptied) {
                match emptied {
                    Ok(vacancy) => vacancies.push(vacancy),
                    Err(error) => seat.lost = Some(Lost::by(error)),
                }
            }
            if vacancies.len() == lease.seats.len() {
                return Ok((lease, vacancies));
            }
            self.give_back(lease);
        }
    }

    /// Ends whatever of the worker's own is on a device, for a tenant that gets all of it.
    async fn empty(self: &Arc<Self>, seat: &mut Seat, tenant: Address) -> Result<Vacancy, NoChild> {
        if let Some(warm) = seat.warm.take() {
            self.nursery.retire(warm.child).await.map_err(NoChild::Undead)?;
        }
        match seat.device.site() {
            Site::Gpu(gpu) if seat.residue.bars_container(tenant) => self.clear(seat, gpu).await,
            site => self.close_site(site).await,
        }
    }

    /// Writes zeros over the memory of a device on which no child of a tenant is.
    async fn clear(self: &Arc<Self>, seat: &mut Seat, gpu: u32) -> Result<Vacancy, NoChild> {
        // What a blank child has of the memory it may have been given with what others left there.
        let vacancy = self.close_site(Site::Gpu(gpu)).await?;
        self.nursery.scrub(gpu).await?;
        seat.residue = Residue::none();
        Ok(vacancy)
    }

    /// Ends the blank children of a site, and lets none be made until the vacancy ends.
    async fn close_site(self: &Arc<Self>, site: Site) -> Result<Vacancy, NoChild> {
        let vacancy = Vacancy { shared: self.clone(), site };
        self.blanks.close(site).await;
        for child in self.nursery.drain(site) {
            self.nursery.retire(child).await.map_err(NoChild::Undead)?;
        }
        Ok(vacancy)
    }

    /// Leaves children that were not used where they were found.
    pub(super) fn put_back(&self, lease: &mut Lease, children: Vec<Child>, tenant: Address) {
        for child in children {
            let site = child.site;
            // The first job of a child has the number 1.
            if child.next == 1 {
                self.nursery.keep(child);
            } else if let Some(seat) = lease
                .seats
                .iter_mut()
                .find(|seat| seat.device.site() == site && seat.warm.is_none() && seat.lost.is_none())
            {
                seat.leave(child, tenant);
            }
        }
    }

    /// Children may be held by less than those that were known when the job was taken.
    pub(super) fn admit_children(&self, tenant: Address, children: &[Child]) -> Result<(), String> {
        children.iter().try_for_each(|child| self.config.sandbox.admit(tenant, child.facts.isolation))
    }

    /// Gives devices back, and tells everybody if some of them are lost.
    pub(super) fn give_back(self: &Arc<Self>, mut lease: Lease) {
        // Whoever condemns a device waits until it is clear whose it is.
        let holders = lock(&self.holders);
        for seat in lease.seats.iter_mut().filter(|seat| seat.lost.is_none()) {
            let Some(reason) = self.board.take_condemned(seat.device) else { continue };
            seat.lost = Some(Lost::new(reason, None));
            if let Some(warm) = seat.warm.take() {
                self.end_later(warm.child);
            }
        }
        let lost: Vec<Device> = lease.seats.iter().filter(|seat| seat.lost.is_some()).map(|seat| seat.device).collect();
        for seat in &lease.seats {
            if let Some(lost) = &seat.lost {
                observe::device_quarantined(&seat.device, &lost.reason);
            }
        }
        drop(lease);
        drop(holders);
        if lost.is_empty() {
            return;
        }
        self.publish();
        for device in lost.into_iter().filter(|device| matches!(device, Device::Gpu(_))) {
            self.discard(device.site());
        }
    }

    /// Ends the blank children of a site that is lost: they would keep it from being repaired.
    pub(super) fn discard(self: &Arc<Self>, site: Site) {
        for child in self.nursery.drain(site) {
            self.end_later(child);
        }
    }

    /// Ends a child in the background.
    pub(super) fn end_later(self: &Arc<Self>, child: Child) {
        let (shared, site) = (self.clone(), child.site);
        self.making.spawn(async move {
            if let Err(undead) = shared.nursery.retire(child).await {
                shared.lose_site(site, undead);
            }
        });
    }

    /// Makes a blank child in the background, if there are too few.
    pub(super) fn prepare(self: &Arc<Self>, site: Site) {
        let wanted = match site {
            Site::Cpu => self.config.slots.min(2) as usize,
            Site::Gpu(_) => 1,
        };
        let has_enough = move |shared: &Self| {
            let is_done = shared.closing.is_cancelled() || shared.blanks.is_closed(site);
            is_done || shared.nursery.blanks(site) >= wanted
        };
        if has_enough(self) || !self.blanks.begin(site) {
            return;
        }
        let shared = self.clone();
        self.making.spawn(async move {
            while !has_enough(&shared) {
                match shared.nursery.make(site).await {
                    Ok(child) => shared.nursery.keep(child),
                    Err(error) => {
                        observe::failing("child", &error);
                        if let NoChild::Undead(undead) = error {
                            shared.lose_site(site, undead);
                        }
                        tokio::select! {
                            () = tokio::time::sleep(REST) => {}
                            () = shared.blanks.closed(site) => {}
                            () = shared.closing.cancelled() => {}
                        }
                        break;
                    }
                }
            }
            shared.blanks.end(site);
        });
    }

    /// A child that no job has hangs on a site.
    pub(super) fn lose_site(self: &Arc<Self>, site: Site, undead: Undead) {
        match site {
            Site::Gpu(number) => self.lose(Device::Gpu(number), Lost::by(NoChild::Undead(undead))),
            // It holds no slot; what it holds of the machine cannot be helped.
            Site::Cpu => tracing::error!(reason = undead.reason, "a child for the CPU is left behind"),
        }
    }
}

/// A site on which the worker makes no children while this lives.
pub(super) struct Vacancy {
    shared: Arc<Shared>,
    site: Site,
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        self.shared.blanks.open(self.site);
    }
}
