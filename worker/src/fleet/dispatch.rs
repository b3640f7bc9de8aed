//! Running a job on the devices that it needs: a child on each, a share for each, and one result of all.

use super::board::{Lease, Lost, Seat};
use super::bounds::sum;
use super::child::Child;
use super::device::{Device, Site};
use super::nursery::{NoChild, Undead};
use super::share::{self, Ended, Terms, with_usage};
use super::work::{Work, join};
use super::{Holder, Shared};
use crate::execute::{Delivered, ExecuteError, Executor, JobInput, run_here};
use crate::node::lock;
use crate::observe;
use alloy::primitives::Address;
use futures::future::join_all;
use protocol::amount::Quantity;
use protocol::resource::{Unit, Usage};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

impl Shared {
    /// Runs a job to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        tenant: Address,
        mut job: JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        let (kind, gpus) = (job.envelope.program.kind(), job.envelope.program.devices());
        self.check(&job.envelope.program).map_err(ExecuteError::Unsupported)?;
        let own = self.here.iter().find(|executor| executor.kind() == kind).cloned();
        if let Some(executor) = own {
            let lease = if gpus > 0 { Some(self.vacate(gpus, tenant, &cancel).await?) } else { None };
            job.devices = lease.iter().flat_map(|lease| gpu_numbers(&lease.seats)).collect();
            let _held = self.hold(&job.devices, &cancel);
            return run_beside(executor, job, progress, cancel).await;
        }
        let (mut lease, children) = self.seat(gpus, tenant, &cancel).await?;
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
                let text = format!("it needs {} devices, and {working} work", gpus.max(1));
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
    async fn vacate(&self, gpus: u32, tenant: Address, cancel: &CancellationToken) -> Result<Lease, ExecuteError> {
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
    pub(super) fn give_back(&self, lease: Lease) {
        let mut losses = false;
        for seat in &lease.seats {
            if let Some(lost) = &seat.lost {
                losses = true;
                observe::device_quarantined(&seat.device, &lost.reason);
            }
        }
        drop(lease);
        if losses {
            self.publish();
        }
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
                        break;
                    }
                }
            }
            lock(&shared.pending).remove(&site);
        });
    }

    /// A child that no job has hangs on a site.
    pub(super) fn lose_site(&self, site: Site, undead: Undead) {
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
            holders.insert(*number, Holder { stop: stop.clone(), condemned: None });
        }
        Held { shared: self.clone(), gpus: gpus.to_vec() }
    }

    pub(super) fn quarantine(&self, gpu: u32, reason: &str) {
        if let Some(holder) = lock(&self.holders).get_mut(&gpu) {
            holder.condemned = Some(reason.to_owned());
            holder.stop.cancel();
            return;
        }
        self.lose(Device::Gpu(gpu), reason.to_owned(), None);
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

/// Runs a program that gets a process of its own from its executor.
async fn run_beside(
    executor: Arc<dyn Executor>,
    job: JobInput,
    progress: watch::Sender<Usage>,
    cancel: CancellationToken,
) -> Result<Delivered, ExecuteError> {
    let run = tokio::task::spawn_blocking(move || run_here(&*executor, job, progress, cancel));
    run.await.unwrap_or_else(|error| Err(ExecuteError::Node(format!("the executor ended: {error}"))))
}

/// What the shares of a job have used together.
struct Totals {
    shares: Mutex<Vec<Usage>>,
    unit: Unit,
    max_units: Quantity,
    progress: watch::Sender<Usage>,
    stop: CancellationToken,
    /// Whether several devices together reached the order's limit, which each has for itself.
    full: AtomicBool,
}

impl Totals {
    fn new(count: usize, work: &Work, progress: watch::Sender<Usage>, stop: CancellationToken) -> Self {
        Self {
            shares: Mutex::new(vec![Usage::default(); count]),
            unit: work.unit,
            max_units: work.max_units,
            progress,
            stop,
            full: AtomicBool::new(false),
        }
    }

    fn tell(&self, rank: u32, usage: Usage) {
        let mut shares = lock(&self.shares);
        if let Some(share) = shares.get_mut(rank as usize) {
            *share = usage;
        }
        let total = shares.iter().fold(Usage::default(), |total, share| sum(&total, share));
        if shares.len() > 1 && total.quantity(self.unit) >= self.max_units {
            self.full.store(true, Ordering::Relaxed);
            self.stop.cancel();
        }
        // Outputs count once they are delivered.
        self.progress.send_replace(Usage { bytes_out: Quantity::ZERO, ..total });
    }

    /// The job's result from those of its shares, in order of rank.
    fn settle(self, results: Vec<Result<Vec<bytes::Bytes>, ExecuteError>>) -> Result<Delivered, ExecuteError> {
        let shares = self.shares.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let usage = shares.iter().fold(Usage::default(), |total, share| sum(&total, share));
        let mut parts = Vec::new();
        let mut failure: Option<ExecuteError> = None;
        for result in results {
            match result {
                Ok(part) => parts.push(part),
                // Shares are cancelled because another one failed: that one tells why.
                Err(error) if failure.as_ref().is_none_or(|first| matches!(first, ExecuteError::Cancelled { .. })) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        let failed = Usage { bytes_out: Quantity::ZERO, ..usage };
        match failure {
            None => Ok(Delivered { usage, outputs: join(parts) }),
            Some(ExecuteError::Cancelled { .. }) if self.full.load(Ordering::Relaxed) => {
                let (most, unit) = (self.max_units, self.unit);
                let detail = format!("its devices together used all of its {most} {unit} (maxUnits of the order)");
                Err(ExecuteError::Limit { detail, usage: failed })
            }
            Some(error) => Err(with_usage(error, failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn totals(max_units: u64) -> (Totals, watch::Receiver<Usage>) {
        let (progress, receiver) = watch::channel(Usage::default());
        let totals = Totals {
            shares: Mutex::new(vec![Usage::default(); 2]),
            unit: Unit::GpuMs,
            max_units: Quantity(max_units),
            progress,
            stop: CancellationToken::new(),
            full: AtomicBool::new(false),
        };
        (totals, receiver)
    }

    fn gpu(ms: u64) -> Usage {
        Usage { gpu_ms: Quantity(ms), ..Usage::default() }
    }

    #[test]
    fn shares_add_up() {
        let (totals, progress) = totals(100);
        totals.tell(0, gpu(10));
        totals.tell(1, gpu(20));
        totals.tell(0, gpu(15));
        assert_eq!(progress.borrow().gpu_ms, Quantity(35));
        let done = totals.settle(vec![Ok(vec![Bytes::from("a")]), Ok(vec![Bytes::from("b")])]).unwrap();
        assert_eq!((done.usage, done.outputs), (gpu(35), vec![Bytes::from("ab")]));
    }

    #[test]
    fn the_share_that_failed_tells_why() {
        let (totals, _progress) = totals(100);
        totals.tell(0, gpu(1));
        totals.tell(1, gpu(2));
        let cancelled = Err(ExecuteError::Cancelled { usage: gpu(1) });
        let trap = Err(ExecuteError::Program { detail: "a trap".into(), usage: gpu(2) });
        let error = totals.settle(vec![cancelled, trap]).unwrap_err();
        assert_eq!(error, ExecuteError::Program { detail: "a trap".into(), usage: gpu(3) });
    }

    #[test]
    fn devices_together_keep_to_the_limit_of_the_order() {
        let (totals, _progress) = totals(30);
        totals.tell(0, gpu(20));
        assert!(!totals.stop.is_cancelled());
        totals.tell(1, gpu(15));
        assert!(totals.stop.is_cancelled());
        let cancelled = || Err(ExecuteError::Cancelled { usage: Usage::default() });
        let error = totals.settle(vec![cancelled(), cancelled()]).unwrap_err();
        assert!(matches!(error, ExecuteError::Limit { usage, .. } if usage == gpu(35)), "{error}");
    }
}
