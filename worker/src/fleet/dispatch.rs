//! Running a job on the devices that it needs: a child on each, a share for each, and one result of all.

use super::Shared;
use super::board::{Lease, Lost, Seat};
use super::child::Child;
use super::device::Device;
use super::hold::Held;
use super::nursery::NoChild;
use super::seat::Vacancy;
use super::share::{self, Ended, Terms};
use super::totals::Totals;
use super::work::Work;
use crate::execute::{Delivered, ExecuteError, Executor, JobInput, run_here};
use crate::node::lock;
use alloy::primitives::Address;
use futures::future::join_all;
use protocol::job::{Envelope, Kind};
use protocol::resource::Usage;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many children may take the place of one that died before it read its job: whatever killed it may have killed those
/// that wait as well.
const REPLACEMENTS: usize = 3;

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
        // Such a program is held by its executor, whatever holds the children.
        if let Some(isolation) = executor.isolation() {
            self.config.sandbox.admit(tenant, isolation).map_err(ExecuteError::Unsupported)?;
        }
        let gpus = job.envelope.program.devices();
        // Until the vacancies end with the program, no process of the worker's own is made on its devices.
        let (mut lease, _vacancies): (Option<Lease>, Vec<Vacancy>) = match gpus {
            0 => (None, Vec::new()),
            _ => self.vacate(gpus, tenant, &cancel).await.map(|(lease, vacancies)| (Some(lease), vacancies))?,
        };
        job.devices = lease.iter().flat_map(|lease| gpu_numbers(&lease.seats)).collect();
        for seat in lease.iter_mut().flat_map(|lease| &mut lease.seats) {
            seat.residue.used(tenant, false);
        }
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
        let (result, unbilled) = match self.admit_children(tenant, &children) {
            Ok(()) => self.share_out(tenant, &mut lease, children, job, progress, &stop).await,
            Err(text) => {
                self.put_back(&mut lease, children, tenant);
                (Err(ExecuteError::Unsupported(text)), Duration::ZERO)
            }
        };
        let result = self.release_held(lease, held, result).await;
        // What the node lost to its own failure is held against nobody.
        if !matches!(result, Err(ExecuteError::Node(_))) {
            self.unbilled.add(tenant, unbilled, Instant::now());
        }
        result
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
            // On a GPU outputs are buffers among others, and then lie in this machine's memory.
            Kind::Cuda | Kind::Builtin | Kind::Oci => {
                let devices = u64::from(envelope.program.devices().max(1));
                memory.saturating_mul(devices).min(self.config.execute.cuda.max_outputs)
            }
        };
        if outputs.is_none_or(|outputs| outputs > most) {
            return Err(format!("its outputs are larger than {most} bytes together"));
        }
        Ok(())
    }

    /// Runs all shares of a job at once, and joins what they give. Tells as well what they took of their devices and
    /// are not billed for.
    async fn share_out(
        self: &Arc<Self>,
        tenant: Address,
        lease: &mut Lease,
        children: Vec<Child>,
        job: JobInput,
        progress: watch::Sender<Usage>,
        stop: &CancellationToken,
    ) -> (Result<Delivered, ExecuteError>, Duration) {
        let work = match Work::new(job).await {
            Ok(work) => work,
            Err(error) => {
                self.put_back(lease, children, tenant);
                return (Err(error), Duration::ZERO);
            }
        };
        let totals = Totals::new(children.len(), &work, progress, stop.clone());
        let terms = Terms {
            work: &work,
            grace: Duration::from_millis(self.config.sandbox.grace_ms),
            cancel: stop,
            unbilled: self.unbilled_left(tenant),
            progress: &|rank, usage| totals.tell(rank, usage),
        };
        let shares = children.into_iter().zip(0u32..).map(|(child, rank)| self.share(tenant, child, rank, &terms));
        let mut results = Vec::new();
        let mut taken = Duration::ZERO;
        for (seat, ended) in lease.seats.iter_mut().zip(join_all(shares).await) {
            let Ended { child, undead, unbilled, cleared, crashed: _, result, unread } = ended;
            taken = taken.saturating_add(unbilled);
            if !unread {
                seat.residue.used(tenant, cleared);
            }
            if let Some(child) = child {
                seat.leave(child, tenant);
            }
            seat.lost = undead.map(|undead| Lost::by(NoChild::Undead(undead)));
            results.push(result);
        }
        (totals.settle(results), taken)
    }

    /// Runs the share of one device in a child.
    async fn share(self: &Arc<Self>, tenant: Address, child: Child, rank: u32, terms: &Terms<'_>) -> Ended {
        let site = child.site;
        let mut ended = share::run(child, rank, terms, &self.nursery).await;
        for _ in 0..REPLACEMENTS {
            if !ended.unread || ended.undead.is_some() {
                break;
            }
            // It was killed from outside while it waited: nothing of the job was lost with it.
            match self.replace(site, tenant).await {
                Ok(child) => ended = share::run(child, rank, terms, &self.nursery).await,
                Err(error) => {
                    ended.result = Err(error);
                    break;
                }
            }
        }
        if !ended.crashed {
            if !ended.unread {
                self.crashes.forget(site);
            }
        } else if self.crashes.is_the_nodes(site, tenant) {
            let text = format!("jobs of several payers crashed one after the other on {site}: see what it logs");
            ended.result = Err(ExecuteError::Node(text));
        }
        if ended.result.is_err() {
            // The others' work would be of no use to anyone.
            terms.cancel.cancel();
        }
        ended
    }

    /// How much longer than it is billed for a job of this tenant may have a device.
    fn unbilled_left(&self, tenant: Address) -> Option<Duration> {
        let sandbox = &self.config.sandbox;
        let most = Duration::from_secs(sandbox.unbilled_s);
        (!sandbox.friends.contains(&tenant)).then(|| self.unbilled.left(tenant, most, Instant::now()))
    }
}

fn gpu_numbers(seats: &[Seat]) -> impl Iterator<Item = u32> + '_ {
    seats.iter().filter_map(|seat| match seat.device {
        Device::Gpu(number) => Some(number),
        Device::Cpu(_) => None,
    })
}
