//! Which files a process may open (Landlock), in two layers: each only ever takes away.
//!
//! Landlock restricts the calling thread and those that it starts. So the first layer is set while there is one thread
//! and holds for all; it lets libraries be loaded and a driver initialise, but gives nothing of the machine's owner
//! away. The second holds for the thread that reads jobs, and for what it starts, and leaves only the devices. Kernels
//! from 7.0 on set it for all threads.
//!
//! A driver names its threads by writing to `/proc/self/task/<thread>/comm`, and CUDA does not start where that fails.
//! The rule for it is tied to the folder's inode, which must not be forgotten by the kernel: its descriptor stays open.

use super::{Lockdown, Profile, SandboxError};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictSelf, RestrictSelfAttr,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What is asked for: files, devices, TCP, and from version 6 signals and abstract sockets. Older kernels give less.
const VERSION: ABI = ABI::V6;
/// Where libraries and what the loader needs are, and what a driver asks about the machine and about itself.
const READABLE: [&str; 21] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/cuda",
    "/etc/ld.so.cache",
    "/dev/urandom",
    "/dev/null",
    "/sys",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/stat",
    "/proc/sys",
    "/proc/version",
    "/proc/self",
];
const THREADS: &str = "/proc/self/task";

/// The first layer is in force.
#[derive(Debug)]
pub(super) struct Layers {
    threads: PathFd,
}

/// Sets the first layer. The inner error says why the machine has none.
pub(super) fn begin(lockdown: &Lockdown) -> Result<Result<Layers, String>, SandboxError> {
    let threads = PathFd::new(THREADS).map_err(failed)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let libraries = READABLE.iter().map(std::path::Path::new).chain(lockdown.read.iter().map(AsRef::as_ref));
    let set = || {
        let rules = landlock::path_beneath_rules(libraries, read);
        let network = Ruleset::default()
            .handle_access(AccessFs::from_all(VERSION))?
            .handle_access(AccessNet::from_all(VERSION))?
            .scope(Scope::from_all(VERSION))?;
        let rules = network.create()?.add_rules(rules)?;
        devices_and_threads(rules, lockdown, &threads)?.restrict_self()
    };
    let status = set().map_err(failed)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Ok(Err("files are not barred: this kernel has no Landlock; boot one from 5.13 on, with `landlock` \
                       among the `lsm=` of its command line"
            .into()));
    }
    Ok(Ok(Layers { threads }))
}

impl Layers {
    /// Sets the second layer, and tries to open what must be closed now.
    pub(super) fn finish(self, lockdown: &Lockdown) -> Result<Result<(), String>, SandboxError> {
        let set = || -> Result<RestrictionStatus, RulesetError> {
            let rules = Ruleset::default().handle_access(AccessFs::from_all(VERSION))?.create()?;
            let rules = match lockdown.profile {
                Profile::Cpu => rules,
                Profile::Gpu => devices_and_threads(rules, lockdown, &self.threads)?,
            };
            rules.all_threads(true)?.restrict_self()
        };
        set().map_err(failed)?;
        // The rule lives as long as the inode, which this descriptor holds for the rest of the process' life.
        std::mem::forget(self.threads);
        Ok(verify())
    }
}

fn devices_and_threads(
    rules: RulesetCreated,
    lockdown: &Lockdown,
    threads: &PathFd,
) -> Result<RulesetCreated, RulesetError> {
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let name: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::Truncate;
    rules.add_rules(landlock::path_beneath_rules(&lockdown.devices, device))?.add_rule(PathBeneath::new(threads, name))
}

/// Every machine has both, and a process that may open neither may open nothing that matters.
fn verify() -> Result<(), String> {
    let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).err();
    if open("/", OFlags::RDONLY | OFlags::DIRECTORY) != Some(Errno::ACCESS) {
        return Err("files are not barred: `/` can be listed although Landlock denies it".into());
    }
    if open("/dev/null", OFlags::WRONLY) != Some(Errno::ACCESS) {
        return Err("files are not barred: `/dev/null` can be written although Landlock denies it".into());
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> SandboxError {
    SandboxError::Unavailable(format!("Landlock failed: {error}"))
}

/// What this kernel has: the version of Landlock, or why there is none.
pub(super) fn version() -> Result<u32, String> {
    // Asks without restricting anybody.
    let status = RestrictSelf::default().no_new_privs(false).apply().map_err(|error| error.to_string())?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Ok(kernel_abi.map_or(effective_abi as u32, i32::cast_unsigned))
        }
        LandlockStatus::NotEnabled => Err("add `landlock` to the `lsm=` of the kernel's command line".into()),
        LandlockStatus::NotImplemented => Err("the kernel is older than 5.13 or built without it".into()),
    }
}
