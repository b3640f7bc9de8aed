//! Running a job on the devices that it needs: a child on each, a share for each, and one result of all.

use super::board::{Lease, Lost, Seat};
use super::child::Child;
use super::device::{Device, Site};
use super::nursery::{NoChild, Undead};
use super::share::{self, Ended, Terms};
use super::tend::REST;
use super::totals::Totals;
use super::work::Work;
use super::{Holder, Shared};
use crate::execute::{Delivered, ExecuteError, Executor, JobInput, run_here};
use crate::node::lock;
use crate::observe;
use alloy::primitives::Address;
use futures::future::join_all;
use protocol::job::{Envelope, Kind};
use protocol::resource::Usage;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

impl Shared {
    /// Runs a job to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        tenant: Address,
        job: JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        let kind = job.envelope.program.kind();
        self.check(&job.envelope.program).map_err(ExecuteError::Unsupported)?;
        match self.here.iter().find(|executor| executor.kind() == kind) {
            Some(executor) => self.run_beside(executor.clone(), tenant, job, progress, cancel).await,
            None => self.run_in_children(tenant, job, progress, cancel).await,
        }
    }

    /// Runs a program that gets a process of its own from its executor.
    async fn run_beside(
        self: &Arc<Self>,
        executor: Arc<dyn Executor>,
        tenant: Address,
        mut job: JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        // Here a program is held by its executor, whatever holds the children.
        if let Some(isolation) = executor.isolation() {
            self.config.sandbox.admit(tenant, isolation).map_err(ExecuteError::Unsupported)?;
        }
        let gpus = job.envelope.program.devices();
        let lease = if gpus > 0 { Some(self.vacate(gpus, tenant, &cancel).await?) } else { None };
        job.devices = lease.iter().flat_map(|lease| gpu_numbers(&lease.seats)).collect();
        let stop = cancel.child_token();
        let held = self.hold(&job.devices, &stop);
        let run = tokio::task::spawn_blocking(move || run_here(&*executor, job, progress, stop));
        let result = run.await;
        let result = result.unwrap_or_else(|error| Err(ExecuteError::Node(format!("the executor ended: {error}"))));
        match lease {
            Some(lease) => self.release_held(lease, held, result).await,
            None => result,
        }
    }

    /// Runs a program in a child on each of its devices.
    async fn run_in_children(
        self: &Arc<Self>,
        tenant: Address,
        job: JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        self.check_size(&job.envelope).map_err(ExecuteError::Unsupported)?;
        let (mut lease, children) = self.seat(job.envelope.program.devices(), tenant, &cancel).await?;
        let numbers: Vec<u32> = gpu_numbers(&lease.seats).collect();
        let stop = cancel.child_token();
        let held = self.hold(&numbers, &stop);
        let result = match self.admit_children(tenant, &children) {
            Ok(()) => self.share_out(tenant, &mut lease, children, job, progress, &stop).await,
            Err(text) => {
                self.put_back(&mut lease, children, tenant);
                Err(ExecuteError::Unsupported(text))
            }
        };
        self.release_held(lease, held, result).await
    }

    /// Gives a job's devices back, but those that were found to be broken meanwhile.
    async fn release_held(
        self: &Arc<Self>,
        mut lease: Lease,
        held: Held,
        result: Result<Delivered, ExecuteError>,
    ) -> Result<Delivered, ExecuteError> {
        let condemned = held.release();
        let result = match condemned.first() {
            Some((_, reason)) => Err(ExecuteError::Node(reason.clone())),
            None => result,
        };
        for (number, reason) in condemned {
            let seat = lease.seats.iter_mut().find(|seat| seat.device == Device::Gpu(number));
            self.condemn(seat, reason).await;
        }
        self.give_back(lease);
        result
    }

    /// Refuses a job that declares more than any executor here takes, before memory is made for it.
    fn check_size(&self, envelope: &Envelope) -> Result<(), String> {
        let (kind, memory) = (envelope.program.kind(), envelope.limits.memory.get());
        let allowed = lock(&self.abilities)
            .values()
            .flat_map(|facts| &facts.abilities)
            .filter(|ability| ability.kind == kind)
            .map(|ability| ability.memory)
            .max();
        let allowed = allowed.unwrap_or_default();
        if memory > allowed {
            return Err(format!("limits.memory is {memory} bytes, this worker allows {allowed}"));
        }
        let outputs = envelope.outputs.iter().try_fold(0u64, |sum, output| sum.checked_add(output.length.get()));
        let most = match kind {
            Kind::Wasm => self.config.execute.wasm.max_outputs,
            // A GPU may have more memory than the machine that it is in.
            Kind::Cuda | Kind::Builtin | Kind::Oci => self.config.execute.cuda.max_outputs,
        };
        if outputs.is_none_or(|outputs| outputs > most) {
            return Err(format!("its outputs are larger than {most} bytes together"));
        }
        Ok(())
    }

    /// Children may be held by less than those that were known when the job was taken.
    fn admit_children(&self, tenant: Address, children: &[Child]) -> Result<(), String> {
        children.iter().try_for_each(|child| self.config.sandbox.admit(tenant, child.facts.isolation))
    }

    /// Devices for a job, with a child of its tenant on each.
    async fn seat(
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
                    Err(error) => seat.lost = Some(lost(error)),
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
        let child = self.nursery.take(site).await?;
        self.learn(&child);
        self.publish();
        self.prepare(site);
        Ok(child)
    }

    /// GPUs for a program with a process of its own: no child stays on them.
    async fn vacate(
        self: &Arc<Self>,
        gpus: u32,
        tenant: Address,
        cancel: &CancellationToken,
    ) -> Result<Lease, ExecuteError> {
        loop {
            let mut lease = self.lease(gpus, tenant, cancel).await?;
            for seat in &mut lease.seats {
                if let Some(warm) = seat.warm.take()
                    && let Err(undead) = self.nursery.retire(warm.child).await
                {
                    seat.lost = Some(lost(NoChild::Undead(undead)));
                }
            }
            if lease.seats.iter().all(|seat| seat.lost.is_none()) {
                return Ok(lease);
            }
            self.give_back(lease);
        }
    }

    /// Leaves children that were not used where they were found.
    fn put_back(&self, lease: &mut Lease, children: Vec<Child>, tenant: Address) {
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

    /// Runs all shares of a job at once, and joins what they give.
    async fn share_out(
        &self,
        tenant: Address,
        lease: &mut Lease,
        children: Vec<Child>,
        job: JobInput,
        progress: watch::Sender<Usage>,
        stop: &CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        let work = match Work::new(job).await {
            Ok(work) => work,
            Err(error) => {
                self.put_back(lease, children, tenant);
                return Err(error);
            }
        };
        let totals = Totals::new(children.len(), &work, progress, stop.clone());
        let tell = |rank, usage| totals.tell(rank, usage);
        let grace = Duration::from_millis(self.config.sandbox.grace_ms);
        let terms = Terms { work: &work, grace, cancel: stop, progress: &tell };
        let shares = children.into_iter().zip(0u32..).map(|(child, rank)| {
            let terms = &terms;
            async move {
                let ended = share::run(child, rank, terms, &self.nursery).await;
                if ended.result.is_err() {
                    // The others' work would be of no use to anyone.
                    stop.cancel();
                }
                ended
            }
        });
        let mut results = Vec::new();
        for (seat, ended) in lease.seats.iter_mut().zip(join_all(shares).await) {
            let Ended { child, undead, result } = ended;
            if let Some(child) = child {
                seat.leave(child, tenant);
            }
            seat.lost = undead.map(|undead| lost(NoChild::Undead(undead)));
            results.push(result);
        }
        totals.settle(results)
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
        let has_enough = move |shared: &Self| shared.nursery.blanks(site) >= wanted || shared.closing.is_cancelled();
        if has_enough(self) || !lock(&self.pending).insert(site) {
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
                            () = shared.closing.cancelled() => {}
                        }
                        break;
                    }
                }
            }
            lock(&shared.pending).remove(&site);
        });
    }

    /// A child that no job has hangs on a site.
    pub(super) fn lose_site(self: &Arc<Self>, site: Site, undead: Undead) {
        match site {
            Site::Gpu(number) => self.lose(Device::Gpu(number), undead.reason.clone(), Some(undead)),
            // It holds no slot; what it holds of the machine cannot be helped.
            Site::Cpu => tracing::error!(reason = undead.reason, "a child for the CPU is left behind"),
        }
    }

    /// Remembers which job to end if one of its GPUs is found to be broken.
    fn hold(self: &Arc<Self>, gpus: &[u32], stop: &CancellationToken) -> Held {
        let mut holders = lock(&self.holders);
        for number in gpus {
            // It may have been condemned while a process was being made for the job.
            let condemned = self.board.take_condemned(Device::Gpu(*number));
            if condemned.is_some() {
                stop.cancel();
            }
            holders.insert(*number, Holder { stop: stop.clone(), condemned });
        }
        Held { shared: self.clone(), gpus: gpus.to_vec() }
    }

    pub(super) fn quarantine(self: &Arc<Self>, gpu: u32, reason: &str) {
        let device = Device::Gpu(gpu);
        {
            let mut holders = lock(&self.holders);
            if let Some(holder) = holders.get_mut(&gpu) {
                holder.condemned = Some(reason.to_owned());
                holder.stop.cancel();
                return;
            }
            // Whoever has it finds that when it takes it up, or gives it back.
            if self.board.condemn(device, reason) {
                return;
            }
        }
        self.lose(device, reason.to_owned(), None);
    }

    /// Takes a device out of use with the lease of the job that had it.
    async fn condemn(&self, seat: Option<&mut Seat>, reason: String) {
        let Some(seat) = seat else { return };
        let undead = match seat.warm.take() {
            Some(warm) => self.nursery.retire(warm.child).await.err(),
            None => None,
        };
        let before = seat.lost.take().and_then(|lost| lost.undead);
        seat.lost = Some(Lost::new(reason, undead.or(before)));
    }
}

/// GPUs that a job holds.
struct Held {
    shared: Arc<Shared>,
    gpus: Vec<u32>,
}

impl Held {
    /// What was found to be wrong with them meanwhile.
    fn release(self) -> Vec<(u32, String)> {
        let mut holders = lock(&self.shared.holders);
        self.gpus.iter().filter_map(|number| Some((*number, holders.remove(number)?.condemned?))).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = lock(&self.shared.holders);
        for number in &self.gpus {
            holders.remove(number);
        }
    }
}

fn gpu_numbers(seats: &[Seat]) -> impl Iterator<Item = u32> + '_ {
    seats.iter().filter_map(|seat| match seat.device {
        Device::Gpu(number) => Some(number),
        Device::Cpu(_) => None,
    })
}

fn lost(error: NoChild) -> Lost {
    let reason = error.to_string();
    match error {
        NoChild::Undead(undead) => Lost::new(reason, Some(undead)),
        NoChild::Start(_) => Lost::new(reason, None),
    }
}
