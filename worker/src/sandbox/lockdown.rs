//! The two halves of a child's lockdown, in the order in which a process can still do what each step needs.

use super::landlock::Layers;
use super::{Channel, Isolation, SandboxError, landlock, privileges, seccomp};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Threads that a process of its own user may have; a driver library starts some for every CPU core.
const MAX_THREADS: u64 = 1024;

/// What kind of code the child runs, which decides what it can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Profile {
    /// WebAssembly: a short list of system calls is allowed.
    Cpu,
    /// A GPU's driver library lives in the process: system calls that it never needs are denied.
    Gpu,
}

/// What the supervisor asks of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lockdown {
    /// What it runs.
    pub profile: Profile,
    /// The user and group number to become, where the process may.
    pub user: Option<u32>,
    /// Whether it gets a network without interfaces, and its own host name and System V objects.
    pub network: bool,
    /// Largest address space in bytes. Never with a GPU, whose driver reserves far more than it uses.
    pub address_space: Option<u64>,
    /// Most open descriptors.
    pub open_files: u64,
    /// Folders with libraries, for the time until it is locked.
    pub read: Vec<PathBuf>,
    /// Device files that it reads and writes.
    pub devices: Vec<PathBuf>,
}

/// A process between the two halves of its lockdown.
#[derive(Debug)]
pub struct Begun {
    lockdown: Lockdown,
    channel: Channel,
    layers: Option<Layers>,
    user: Option<u32>,
    network: bool,
    missing: Vec<String>,
}

/// A locked process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// What is in force; `cgroup` is 0, for the supervisor knows that.
    pub isolation: Isolation,
    /// Why something was asked for and is not in force, a sentence each.
    pub missing: Vec<String>,
}

/// First half, before the process has a second thread: what is restricted by thread then holds for all later ones.
/// Until [`Begun::finish`], libraries can still be loaded and devices opened.
pub fn begin(lockdown: Lockdown, channel: &Channel) -> Result<Begun, SandboxError> {
    let threads = privileges::threads()?;
    if threads != 1 {
        return Err(SandboxError::Refused(format!(
            "a process must be locked while it has one thread, it has {threads}"
        )));
    }
    let channel = channel.try_clone().map_err(|error| SandboxError::Unavailable(error.to_string()))?;
    // A process that already leads its session stays in it.
    let _ = rustix::process::setsid();
    rustix::thread::set_no_new_privs(true).map_err(SandboxError::call("prctl PR_SET_NO_NEW_PRIVS"))?;
    // When the machine runs out of memory, a job goes before anything of its owner's. A machine without the file has
    // no such choice to make.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    limit(Resource::Core, 0)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Nofile, lockdown.open_files)?;
    if lockdown.profile == Profile::Cpu {
        // Such a job writes no file; a file in memory would also escape the limit of the address space.
        limit(Resource::Fsize, 0)?;
    }
    if let Some(bytes) = lockdown.address_space {
        limit(Resource::As, bytes)?;
    }
    let mut missing = Vec::new();
    // Asked first: in a user namespace a process may become anybody who is somebody in it, which is only itself.
    let user = match lockdown.user {
        Some(user) => noted(privileges::may_become_user()?, &mut missing).then_some(user),
        None => None,
    };
    let network = lockdown.network && noted(privileges::leave_network()?, &mut missing);
    privileges::drop_capabilities(user.is_some())?;
    end_with_parent()?;
    let layers = match landlock::begin(&lockdown)? {
        Ok(layers) => Some(layers),
        Err(reason) => {
            missing.push(reason);
            None
        }
    };
    Ok(Begun { lockdown, channel, layers, user, network, missing })
}

impl Begun {
    /// Second half, after trusted code has set everything up and before anything untrusted is read. The process ends
    /// with its supervisor from here on, whatever runs in it.
    pub fn finish(self) -> Result<Confinement, SandboxError> {
        let Self { lockdown, channel, layers, user, network, mut missing } = self;
        let user = match user {
            Some(user) => noted(privileges::become_user(user, MAX_THREADS)?, &mut missing),
            None => false,
        };
        end_with_parent()?;
        let landlock = match layers {
            Some(layers) => noted(layers.finish(&lockdown)?, &mut missing),
            None => false,
        };
        let watchdog = std::thread::Builder::new().name("watchdog".into());
        watchdog.spawn(move || end_with_supervisor(&channel)).map_err(SandboxError::io("the start of a thread"))?;
        let seccomp = noted(seccomp::apply(lockdown.profile)?, &mut missing);
        let rlimits = noted(limits_hold(lockdown.open_files), &mut missing);
        Ok(Confinement { isolation: Isolation { rlimits, landlock, seccomp, user, network, cgroup: 0 }, missing })
    }
}

/// Whether something is in force; if not, why is noted.
fn noted(outcome: Result<(), String>, missing: &mut Vec<String>) -> bool {
    outcome.map_err(|reason| missing.push(reason)).is_ok()
}

/// Ties the process' life to the thread that started it, and keeps others of its user from looking into it. The kernel
/// forgets both when a process changes its user.
fn end_with_parent() -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SandboxError::call("prctl PR_SET_PDEATHSIG"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(SandboxError::call("prctl PR_SET_DUMPABLE"))
}

/// The parent-death signal is lost when the supervisor dies before it was asked for; the socket's end never is.
fn end_with_supervisor(channel: &Channel) {
    channel.wait_for_hangup();
    // Nothing is left to tidy up: all that the process owns, the kernel takes back.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

/// Lowers a limit for good.
pub(super) fn limit(resource: Resource, most: u64) -> Result<(), SandboxError> {
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(SandboxError::call("setrlimit"))
}

/// Tries to raise what was lowered.
fn limits_hold(open_files: u64) -> Result<(), String> {
    let raised = open_files.saturating_add(1);
    for (resource, value) in [(Resource::Nofile, raised), (Resource::Core, 1)] {
        let _ = setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
        if getrlimit(resource).maximum.is_none_or(|maximum| maximum >= value) {
            return Err(format!(
                "the process can raise its own limit of {resource:?}: do not give it CAP_SYS_RESOURCE"
            ));
        }
    }
    Ok(())
}
