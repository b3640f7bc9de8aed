//! Control groups: the kernel bounds memory and processes of a job, whatever the job does, and counts its CPU time.
//!
//! Both versions are used as they are found: version 2 where this process was given a part of the tree that it may
//! divide, version 1 where its folders can be written. Groups of a supervisor that is gone are removed.

mod hierarchy;

use super::SandboxError;
use super::keeper::{self, Request};
use hierarchy::Hierarchy;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::{Path, PathBuf};

/// How often all processes of a group are killed before giving up: each time there can be some that were just made.
const KILL_ROUNDS: usize = 20;

/// Bounds of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Most memory, in bytes; swap is not given.
    pub memory: Option<u64>,
    /// Most processes and threads.
    pub processes: Option<u32>,
}

/// A group of its own. Dropping it kills what is in it and removes it.
#[derive(Debug)]
pub struct Cgroup {
    folders: Folders,
}

/// Where a group's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Folders {
    Unified(PathBuf),
    Legacy { memory: PathBuf, pids: Option<PathBuf>, cpuacct: Option<PathBuf> },
}

impl Cgroup {
    /// Makes a group. The name has letters, digits and dashes, and is this process' own. The error says why this
    /// machine has no group for us, and what to do.
    pub fn create(name: &str, limits: CgroupLimits) -> Result<Self, SandboxError> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(SandboxError::Refused(format!("`{name}` is no name of a control group")));
        }
        Self::create_in(hierarchy::own()?, &hierarchy::folder_name(name)?, limits)
    }

    fn create_in(hierarchy: &Hierarchy, name: &str, limits: CgroupLimits) -> Result<Self, SandboxError> {
        let make = |parent: &Path| {
            let folder = parent.join(name);
            std::fs::create_dir(&folder).map_err(SandboxError::io(&format!("making {}", folder.display())))?;
            Ok::<_, SandboxError>(folder)
        };
        let folders = match hierarchy {
            Hierarchy::Unified(base) => Folders::Unified(make(base)?),
            Hierarchy::Legacy { memory, pids, cpuacct } => {
                let memory = make(memory)?;
                // Only memory is indispensable.
                let extra = |parent: &Option<PathBuf>| parent.as_deref().and_then(|parent| make(parent).ok());
                Folders::Legacy { memory, pids: extra(pids), cpuacct: extra(cpuacct) }
            }
        };
        // From here on, dropping it removes the folders.
        let group = Self { folders };
        group.limit(limits)?;
        Ok(group)
    }

    fn limit(&self, limits: CgroupLimits) -> Result<(), SandboxError> {
        if let Folders::Unified(folder) = &self.folders {
            // One job is one group: half of it is of no use to anybody.
            write(&folder.join("memory.oom.group"), "1")?;
            // A kernel without swap does not have the file.
            let _ = write(&folder.join("memory.swap.max"), "0");
        }
        if let Some(bytes) = limits.memory {
            self.set_memory(bytes)?;
        }
        match (limits.processes, self.pids()) {
            (Some(most), Some(folder)) => write(&folder.join("pids.max"), &most.to_string()),
            _ => Ok(()),
        }
    }

    /// Where the number of processes is bounded, if it can be.
    fn pids(&self) -> Option<&PathBuf> {
        match &self.folders {
            Folders::Unified(folder) => Some(folder).filter(|folder| folder.join("pids.max").exists()),
            Folders::Legacy { pids, .. } => pids.as_ref(),
        }
    }

    /// 1 or 2.
    pub const fn version(&self) -> u8 {
        match self.folders {
            Folders::Unified(_) => 2,
            Folders::Legacy { .. } => 1,
        }
    }

    /// Whether it bounds the number of processes; it bounds memory always.
    pub fn bounds_processes(&self) -> bool {
        self.pids().is_some()
    }

    /// Moves a process into the group, with all its threads. What it used before stays counted where it was.
    pub fn add(&self, pid: u32) -> Result<(), SandboxError> {
        self.each().try_for_each(|folder| write(&folder.join("cgroup.procs"), &pid.to_string()))
    }

    /// Changes the bound of memory.
    pub fn set_memory(&self, bytes: u64) -> Result<(), SandboxError> {
        let bytes = bytes.to_string();
        match &self.folders {
            Folders::Unified(folder) => write(&folder.join("memory.max"), &bytes),
            Folders::Legacy { memory, .. } => {
                let (plain, swapped) =
                    (memory.join("memory.limit_in_bytes"), memory.join("memory.memsw.limit_in_bytes"));
                // Memory with swap must never be less than memory, so which one goes first depends on the direction.
                // A kernel that does not count swap has only one of the files.
                match write(&plain, &bytes) {
                    Ok(()) => {
                        let _ = write(&swapped, &bytes);
                        Ok(())
                    }
                    Err(_) => write(&swapped, &bytes).and_then(|()| write(&plain, &bytes)),
                }
            }
        }
    }

    /// CPU time of all that ever ran in it, in milliseconds.
    pub fn cpu_ms(&self) -> Option<u64> {
        match &self.folders {
            Folders::Unified(folder) => field(&folder.join("cpu.stat"), "usage_usec").map(|micros| micros / 1000),
            Folders::Legacy { cpuacct, .. } => {
                let nanos = std::fs::read_to_string(cpuacct.as_ref()?.join("cpuacct.usage")).ok()?;
                nanos.trim().parse::<u64>().ok().map(|nanos| nanos / 1_000_000)
            }
        }
    }

    /// Whether the kernel killed a process because the memory was used up.
    pub fn was_oom_killed(&self) -> bool {
        let kills = match &self.folders {
            Folders::Unified(folder) => field(&folder.join("memory.events"), "oom_kill"),
            Folders::Legacy { memory, .. } => field(&memory.join("memory.oom_control"), "oom_kill"),
        };
        kills.is_some_and(|kills| kills > 0)
    }

    /// Kills all that is in it. Returns before they are gone.
    pub fn kill_all(&self) {
        if let Folders::Unified(folder) = &self.folders {
            // Kernels before 5.14 do not have the file.
            if write(&folder.join("cgroup.kill"), "1").is_ok() {
                return;
            }
        }
        for _ in 0..KILL_ROUNDS {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            members.into_iter().for_each(|pid| self.kill(pid));
        }
    }

    fn kill(&self, pid: i32) {
        let opened = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Asked again after the process was opened: from then on its number cannot be another's.
        if let (Some(opened), true) = (opened, self.members().contains(&pid)) {
            // The only failure is that it has ended already.
            let _ = pidfd_send_signal(&opened, Signal::KILL);
        }
    }

    fn members(&self) -> Vec<i32> {
        let members = self.each().next().map(|folder| std::fs::read_to_string(folder.join("cgroup.procs")));
        let members = members.and_then(Result::ok).unwrap_or_default();
        members.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn each(&self) -> impl Iterator<Item = &PathBuf> {
        let (first, others) = match &self.folders {
            Folders::Unified(folder) => (folder, [None, None]),
            Folders::Legacy { memory, pids, cpuacct } => (memory, [pids.as_ref(), cpuacct.as_ref()]),
        };
        std::iter::once(first).chain(others.into_iter().flatten())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill_all();
        for folder in self.each() {
            if std::fs::remove_dir(folder).is_err() && folder.exists() {
                // What was killed takes a moment to leave.
                let _ = keeper::request(Request::Remove(folder.clone()));
            }
        }
    }
}

/// What `doctor` says about control groups: the version and where, or what is missing.
pub(super) fn describe() -> Result<String, String> {
    match hierarchy::own() {
        Ok(Hierarchy::Unified(base)) => Ok(format!("version 2, in {}", base.display())),
        Ok(Hierarchy::Legacy { memory, pids, cpuacct }) => {
            let part = |folder: &Option<PathBuf>, name| folder.is_none().then_some(name);
            let missing: Vec<&str> = [part(pids, "pids"), part(cpuacct, "cpuacct")].into_iter().flatten().collect();
            let without =
                if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(" and ")) };
            Ok(format!("version 1, in {}{without}", memory.display()))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), SandboxError> {
    // Without `create`: a file that the kernel does not offer must not come to be.
    let written = std::fs::OpenOptions::new().write(true).open(file).and_then(|mut file| {
        use std::io::Write;
        file.write_all(text.as_bytes())
    });
    written.map_err(SandboxError::io(&format!("writing {text} to {}", file.display())))
}

/// The number behind a name, in a file of lines with both.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests;
