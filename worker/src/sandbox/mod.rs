//! What stands between a stranger's job and the machine: a process of its own that gives up all it does not need.
//!
//! The supervisor [spawns](Process::spawn) it with an empty environment and one [`channel`], in a [`Cgroup`]. The child
//! [begins](begin) its lockdown while it still has one thread, sets up what it runs jobs with, and then
//! [finishes](Begun::finish) it; only after that it reads anything that came from a client. Data travels in sealed
//! [`memory`]. What [`Begun::finish`] returns is what the kernel was seen to refuse, not what it was asked to.

pub mod channel;
pub mod memory;
mod process;
mod keeper;
mod cgroup;
mod lockdown;
mod privileges;
mod landlock;
mod seccomp;
mod report;

pub use cgroup::{Cgroup, CgroupLimits};
pub use channel::{Channel, ChannelError, Supervision};
pub use lockdown::{Begun, Confinement, Lockdown, Profile, begin};
pub use process::{Exit, Identity, Orphan, Process, Spawn, Unkillable, kill_orphan};
pub use protocol::wire::{Isolation, IsolationLevel};
pub use report::{Primitive, report};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Why a process could not be confined, started or watched.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refused something that works on every machine.
    #[error("{call} failed: {source}")]
    Kernel {
        /// What it was asked for.
        call: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The machine lacks something.
    #[error("{0}")]
    Unavailable(String),
    /// The other side handed over something that is not what it must be.
    #[error("{0}")]
    Refused(String),
}

impl SandboxError {
    /// For a system call by its name.
    fn call(call: &str) -> impl Fn(Errno) -> Self {
        move |error| Self::Kernel { call: call.into(), source: error.into() }
    }

    /// For something that the standard library did.
    fn io(call: &str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Kernel { call: call.into(), source }
    }
}

/// A descriptor that the runtime watches.
fn watched(descriptor: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, SandboxError> {
    // SAFETY: an owned descriptor stays open, and the same, for as long as the value that owns it.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watched.map_err(|error| SandboxError::Unavailable(format!("the runtime cannot watch a descriptor: {error}")))
}
