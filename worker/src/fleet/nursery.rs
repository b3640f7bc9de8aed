//! Making children and ending them. Blank ones, locked and never used, are kept ready, so that a new tenant does not
//! wait for a process to start.

use super::child::{self, Child, Plan, REAP_DEADLINE, StartError};
use super::device::Site;
use super::gpu::{self, Environment};
use super::roster::Roster;
use super::users::{Uid, Users};
use super::{FleetConfig, Reaper};
use crate::execute::{CudaConfig, Gpu};
use crate::node::lock;
use crate::observe;
use crate::runner::{Facts, Role};
use crate::sandbox::{Cgroup, CgroupLimits, Exit, Identity, Lockdown, Process, Profile, SandboxError, Unkillable};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Address space of a child for the CPU, beside its outputs: the guest's memory is reserved far larger than it may grow,
/// and inputs are mapped. Memory that is really used is bounded by the control group.
const CPU_ADDRESS_SPACE: u64 = 16 << 30;
/// Memory of a child beside what a job declares: its program, compilers, and a driver's context.
const CPU_OVERHEAD: u64 = 512 << 20;
const GPU_OVERHEAD: u64 = 8 << 30;
/// Most processes and threads of a child: a driver starts some, and a compiler as many as there are cores.
const THREADS: u32 = 512;
/// Most open descriptors of a child: a job's memory, and a driver's device files.
const OPEN_FILES: u64 = 1_024;

/// Makes children.
pub(super) struct Nursery {
    pub(super) config: FleetConfig,
    pub(super) roster: Roster,
    reaper: Arc<dyn Reaper>,
    users: Users,
    blanks: Mutex<BTreeMap<Site, Vec<Blank>>>,
}

struct Blank {
    child: Child,
    since: Instant,
}

/// A process that was killed and is still there.
pub(super) struct Undead {
    pub(super) identity: Identity,
    pub(super) reason: String,
    /// Keeps what it holds out of use: its user, and the process itself, for its end to be seen.
    _kept: Option<(Box<Unkillable>, Option<Uid>)>,
}

impl Undead {
    pub(super) fn of_an_earlier_start(identity: Identity) -> Self {
        let reason = format!("process {} of an earlier start still exists although it was killed", identity.pid);
        Self { identity, reason, _kept: None }
    }

    fn new(unkillable: Box<Unkillable>, user: Option<Uid>) -> Self {
        let (identity, reason) = (unkillable.0.identity().clone(), unkillable.to_string());
        Self { identity, reason, _kept: Some((unkillable, user)) }
    }

    /// Whether it is gone at last.
    pub(super) fn is_gone(&self) -> bool {
        match &self._kept {
            Some((unkillable, _)) => unkillable.0.try_exited().is_some(),
            None => Identity::of(self.identity.pid).ok().as_ref() != Some(&self.identity),
        }
    }
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoChild {
    /// It did not start.
    #[error("{0}")]
    Start(#[source] StartError),
    /// It hangs, so that its site cannot be used.
    #[error("{}", .0.reason)]
    Undead(Undead),
}

impl std::fmt::Debug for Undead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undead").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Nursery {
    pub(super) fn new(config: FleetConfig, roster: Roster, reaper: Arc<dyn Reaper>) -> Self {
        let users = config.sandbox.users;
        let users = Users::new(&config.sandbox.run, users.first, users.count);
        Self { users, config, roster, reaper, blanks: Mutex::default() }
    }

    /// The GPUs that may be used, as a process of its own sees them: only that proves that they work.
    pub(super) async fn probe(&self) -> Result<Vec<Gpu>, NoChild> {
        let shown = &self.config.environment;
        let plan = self.plan(
            Role::Probe(self.config.execute.cuda.clone()),
            Profile::Gpu,
            gpu::all_files(),
            gpu::all(shown),
            None,
        );
        let newborn = child::start(plan, None).await.map_err(NoChild::Start)?;
        newborn.found().await.map_err(|error| give_up(error, None))
    }

    /// A blank child: one that is ready, else a new one.
    pub(super) async fn take(&self, site: Site) -> Result<Child, NoChild> {
        loop {
            let Some(Blank { child, .. }) = lock(&self.blanks).get_mut(&site).and_then(Vec::pop) else {
                return self.make(site).await;
            };
            if child.is_alive() {
                return Ok(child);
            }
            self.retire(child).await.map_err(NoChild::Undead)?;
        }
    }

    /// Keeps a blank child for later.
    pub(super) fn keep(&self, child: Child) {
        lock(&self.blanks).entry(child.site).or_default().push(Blank { child, since: Instant::now() });
    }

    /// How many blank children a site has.
    pub(super) fn blanks(&self, site: Site) -> usize {
        lock(&self.blanks).get(&site).map_or(0, Vec::len)
    }

    /// Takes out the blank children that are dead, or that waited for longer than this on a GPU.
    pub(super) fn stale(&self, limit: Duration) -> Vec<Child> {
        let mut stale = Vec::new();
        for (site, blanks) in lock(&self.blanks).iter_mut() {
            let is_old = |blank: &Blank| matches!(site, Site::Gpu(_)) && blank.since.elapsed() > limit;
            let (out, kept) =
                std::mem::take(blanks).into_iter().partition(|blank| is_old(blank) || !blank.child.is_alive());
            *blanks = kept;
            stale.extend(Vec::into_iter(out).map(|blank: Blank| blank.child));
        }
        stale
    }

    /// Takes out the blank children of a site.
    pub(super) fn drain(&self, site: Site) -> Vec<Child> {
        let blanks = lock(&self.blanks).remove(&site).unwrap_or_default();
        blanks.into_iter().map(|blank| blank.child).collect()
    }

    /// Takes out all blank children.
    pub(super) fn drain_all(&self) -> Vec<Child> {
        std::mem::take(&mut *lock(&self.blanks)).into_values().flatten().map(|blank| blank.child).collect()
    }

    /// Starts a child and waits until it is ready.
    pub(super) async fn make(&self, site: Site) -> Result<Child, NoChild> {
        let user = self.users.take().map_err(|text| NoChild::Start(StartError::Unfit(text)))?;
        let (cgroup, without) = match Self::cgroup(site) {
            Ok(cgroup) => (Some(cgroup), None),
            Err(reason) => (None, Some(reason.to_string())),
        };
        let number = user.as_ref().map(Uid::number);
        let plan = match site {
            Site::Cpu => self.plan(Role::Cpu(self.config.execute.wasm.clone()), Profile::Cpu, vec![], vec![], number),
            Site::Gpu(gpu) => {
                let (role, shown) = (Role::Gpu(self.config.execute.cuda.clone()), &self.config.environment);
                self.plan(role, Profile::Gpu, gpu::files(shown, gpu), gpu::only(shown, gpu), number)
            }
        };
        let newborn = child::start(plan, cgroup.as_ref()).await.map_err(NoChild::Start)?;
        let identity = newborn.process.identity().clone();
        self.roster.add(&identity, site);
        observe::child_started(&site);
        match newborn.ready().await {
            Ok((process, channel, mut facts)) => {
                facts.isolation.cgroup = cgroup.as_ref().map_or(0, Cgroup::version);
                facts.missing.extend(without.into_iter().chain(self.users.missing()));
                Ok(Child { site, process, channel, cgroup, facts, next: 1, handed: 0, _user: user })
            }
            Err(error) => {
                let error = give_up(error, user);
                if matches!(error, NoChild::Start(_)) {
                    self.roster.remove(&identity);
                    observe::child_ended(&site);
                }
                Err(error)
            }
        }
    }

    /// Kills a child and waits until it is gone.
    pub(super) async fn retire(&self, child: Child) -> Result<Exit, Undead> {
        let Child { process, channel, cgroup, _user: user, site, .. } = child;
        drop(channel);
        let identity = process.identity().clone();
        let exit =
            self.reaper.reap(process, REAP_DEADLINE).await.map_err(|unkillable| Undead::new(unkillable, user))?;
        drop(cgroup);
        self.roster.remove(&identity);
        observe::child_ended(&site);
        Ok(exit)
    }

    /// A process that hung is gone.
    pub(super) fn bury(&self, undead: &Undead) {
        self.roster.remove(&undead.identity);
    }

    pub(super) fn plan(
        &self,
        role: Role,
        profile: Profile,
        devices: Vec<PathBuf>,
        environment: Environment,
        user: Option<u32>,
    ) -> Plan {
        let is_cpu = profile == Profile::Cpu;
        let CudaConfig { libraries, headers, .. } = &self.config.execute.cuda;
        let read = if is_cpu { Vec::new() } else { libraries.iter().chain(headers).cloned().collect() };
        let outputs = self.config.execute.wasm.max_outputs.saturating_mul(2);
        let address_space = is_cpu.then_some(CPU_ADDRESS_SPACE.saturating_add(outputs));
        let lockdown = Lockdown { profile, user, network: true, address_space, open_files: OPEN_FILES, read, devices };
        Plan { program: self.config.program.clone(), environment, role, lockdown }
    }

    fn cgroup(site: Site) -> Result<Cgroup, SandboxError> {
        // Unique among all fleets of this process, and among those of others.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Cgroup::create(&name, CgroupLimits { memory: Some(memory_limit(site, 0)), processes: Some(THREADS) })
    }
}

/// Memory of a child that runs a job with so much of its own.
pub(super) const fn memory_limit(site: Site, job: u64) -> u64 {
    let overhead = match site {
        Site::Cpu => CPU_OVERHEAD,
        Site::Gpu(_) => GPU_OVERHEAD,
    };
    overhead.saturating_add(job)
}

pub(super) fn give_up(error: StartError, user: Option<Uid>) -> NoChild {
    match error {
        StartError::Unkillable(unkillable) => NoChild::Undead(Undead::new(unkillable, user)),
        other => NoChild::Start(other),
    }
}

/// The kernel's own answer to whether a process is gone.
pub(super) struct Kernel;

impl Reaper for Kernel {
    fn reap(&self, process: Process, deadline: Duration) -> BoxFuture<'static, Result<Exit, Box<Unkillable>>> {
        Box::pin(process.reap(deadline))
    }
}

/// What children can do that were started for a site.
pub(super) type Abilities = BTreeMap<Site, Facts>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_job_adds_to_that_of_its_process() {
        assert_eq!(memory_limit(Site::Cpu, 1 << 20), (512 << 20) + (1 << 20));
        assert_eq!(memory_limit(Site::Gpu(0), u64::MAX), u64::MAX);
    }
}
