//! The two halves of a child's lockdown, and the watch over its supervisor.

use super::{Channel, Isolation, SandboxError};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    channel: Channel,
    rlimits: bool,
}

/// First half, before the process has a second thread. The channel is watched from [`Begun::finish`] on: the process
/// ends with its supervisor.
pub fn begin(lockdown: Lockdown, channel: &Channel) -> Result<Begun, SandboxError> {
    let channel = channel.try_clone().map_err(|error| SandboxError::Unavailable(error.to_string()))?;
    // A process that already leads its session stays in it.
    let _ = rustix::process::setsid();
    end_with_parent()?;
    rustix::thread::set_no_new_privs(true).map_err(SandboxError::call("prctl PR_SET_NO_NEW_PRIVS"))?;
    let rlimits = limit(Resource::Core, 0)? && limit(Resource::Nofile, lockdown.open_files)?;
    if let Some(bytes) = lockdown.address_space {
        limit(Resource::As, bytes)?;
    }
    Ok(Begun { channel, rlimits })
}

impl Begun {
    /// Second half, after trusted code has set everything up and before anything untrusted is read. Returns what is in
    /// force; `cgroup` is 0, for the supervisor knows that.
    pub fn finish(self) -> Result<Isolation, SandboxError> {
        end_with_parent()?;
        let watch = std::thread::Builder::new().name("watchdog".into());
        watch
            .spawn(move || {
                self.channel.wait_for_hangup();
                // Nothing is left to tidy up: all that the process owns, the kernel takes back.
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            })
            .map_err(SandboxError::io("the start of a thread"))?;
        Ok(Isolation { rlimits: self.rlimits, ..Isolation::default() })
    }
}

/// Ties the process' life to the thread that started it, and keeps others of its user from looking into it.
fn end_with_parent() -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SandboxError::call("prctl PR_SET_PDEATHSIG"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(SandboxError::call("prctl PR_SET_DUMPABLE"))
}

/// Lowers a limit for good; says whether it holds.
fn limit(resource: Resource, most: u64) -> Result<bool, SandboxError> {
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    let wanted = Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(resource, wanted).map_err(SandboxError::call("setrlimit"))?;
    Ok(getrlimit(resource).maximum == Some(most))
}
