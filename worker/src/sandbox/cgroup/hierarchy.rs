//! Where this process may make control groups.

use crate::sandbox::{Identity, SandboxError};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// What all our groups are called first.
const PREFIX: &str = "capa-";
/// Version 2 lets only leaves have processes: the supervisor moves into this one.
const SUPERVISOR: &str = "capa-supervisor";
/// What to do where version 2 gives us nothing.
const DELEGATE: &str = "start the worker as a systemd service with Delegate=yes, or in a container with a writable \
                        cgroup folder of its own";

/// The folders that groups are made in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// Version 2.
    Unified(PathBuf),
    /// Version 1: a folder for each kind of bound; memory is the one that counts.
    Legacy { memory: PathBuf, pids: Option<PathBuf>, cpuacct: Option<PathBuf> },
}

/// This process' folders, looked for once.
pub(super) fn own() -> Result<&'static Hierarchy, SandboxError> {
    static OWN: OnceLock<Result<Hierarchy, String>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let read =
            |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let hierarchy = choose(&Mounts::of(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?))?;
        remove_leftovers(&hierarchy);
        Ok(hierarchy)
    });
    own.as_ref().map_err(|reason| SandboxError::Unavailable(format!("there is no control group for jobs: {reason}")))
}

/// A group's folder: whose it is can be told from its name after a crash.
pub(super) fn folder_name(name: &str) -> Result<String, SandboxError> {
    let Identity { pid, start_time, .. } = Identity::of(std::process::id())?;
    Ok(format!("{PREFIX}{pid}-{start_time}-{name}"))
}

/// This process' own folder in each hierarchy that is mounted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mounts {
    unified: Option<PathBuf>,
    unified_top: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
}

impl Mounts {
    /// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn of(groups: &str, mounts: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            for group in groups.lines() {
                let mut parts = group.splitn(3, ':').skip(1);
                let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
                let Some(folder) = mount.folder(path) else { continue };
                if mount.kind == "cgroup2" && controllers.is_empty() {
                    found.unified = Some(folder);
                    found.unified_top = Some(PathBuf::from(mount.point));
                } else if mount.kind == "cgroup" {
                    let has = |name| {
                        let mut listed = controllers.split(',');
                        listed.any(|one| one == name) && mount.options.split(',').any(|one| one == name)
                    };
                    let place = |place: &mut Option<PathBuf>, name| {
                        if has(name) {
                            *place = Some(folder.clone());
                        }
                    };
                    place(&mut found.memory, "memory");
                    place(&mut found.pids, "pids");
                    place(&mut found.cpuacct, "cpuacct");
                }
            }
        }
        found
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // The optional fields between the two halves are of any number.
        let (place, source) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut source = source.split(' ');
        let (root, point) = (place.next()?, place.next()?);
        let (kind, options) = (source.next()?, source.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    /// Where a group of this path lies, if the mount shows it.
    fn folder(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        // A group outside of this process' namespace has a path that climbs out of it.
        let inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        inside.then(|| Path::new(self.point).join(below))
    }
}

/// Version 2 where it bounds memory, else version 1.
fn choose(mounts: &Mounts) -> Result<Hierarchy, String> {
    let unified = mounts.unified.as_deref().filter(|folder| lists(folder, "cgroup.controllers", "memory"));
    if let Some(own) = unified {
        let top = mounts.unified_top.as_deref().unwrap_or(own);
        return divide(own, top).map(Hierarchy::Unified);
    }
    let Some(memory) = mounts.memory.clone() else {
        return Err(format!("the memory controller is not mounted here; {DELEGATE}"));
    };
    is_writable(&memory)?;
    let usable = |folder: &Option<PathBuf>| folder.clone().filter(|folder| is_writable(folder).is_ok());
    Ok(Hierarchy::Legacy { memory, pids: usable(&mounts.pids), cpuacct: usable(&mounts.cpuacct) })
}

/// A folder of version 2 whose children have the memory controller.
fn divide(own: &Path, top: &Path) -> Result<PathBuf, String> {
    // The supervisor stands in a leaf already, put there by itself or by systemd's DelegateSubgroup=.
    if let Some(parent) = own.parent().filter(|parent| parent.starts_with(top) && *parent != top)
        && lists(parent, "cgroup.subtree_control", "memory")
        && is_writable(parent).is_ok()
        && own.ends_with(SUPERVISOR)
    {
        return Ok(parent.to_owned());
    }
    if lists(own, "cgroup.subtree_control", "memory") && is_writable(own).is_ok() {
        return Ok(own.to_owned());
    }
    // Only the real top of the tree has no events, and it alone may have both processes and divided children.
    if !top.join("cgroup.events").exists() && enable(top).is_ok() && is_writable(top).is_ok() {
        return Ok(top.to_owned());
    }
    is_writable(own)?;
    let others = std::fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    let process = std::process::id().to_string();
    if others.lines().any(|line| line != process) {
        return Err(format!("the control group {} is shared with other processes; {DELEGATE}", own.display()));
    }
    let leaf = own.join(SUPERVISOR);
    let moved = std::fs::create_dir_all(&leaf)
        .map_err(|error| error.to_string())
        .and_then(|()| super::write(&leaf.join("cgroup.procs"), &process).map_err(|error| error.to_string()))
        .and_then(|()| enable(own));
    moved.map_err(|error| format!("the control group {} cannot be divided ({error}); {DELEGATE}", own.display()))?;
    Ok(own.to_owned())
}

/// Gives a folder's children what bounds them.
fn enable(folder: &Path) -> Result<(), String> {
    let control = folder.join("cgroup.subtree_control");
    // Without the second one the number of processes is not bounded, which is no reason to bound nothing.
    let _ = super::write(&control, "+pids");
    super::write(&control, "+memory").map_err(|error| error.to_string())
}

fn lists(folder: &Path, file: &str, controller: &str) -> bool {
    std::fs::read_to_string(folder.join(file)).is_ok_and(|text| text.split_whitespace().any(|one| one == controller))
}

/// Whether groups can be made there: tried, because permissions alone do not tell.
fn is_writable(folder: &Path) -> Result<(), String> {
    let probe = folder.join(format!("{PREFIX}probe-{}", std::process::id()));
    std::fs::create_dir(&probe)
        .and_then(|()| std::fs::remove_dir(&probe))
        .map_err(|error| format!("no group can be made in {} ({error}); {DELEGATE}", folder.display()))
}

/// Removes empty groups of supervisors that are gone. One with processes stays: it may be of another container, which
/// sees other process numbers.
fn remove_leftovers(hierarchy: &Hierarchy) {
    let bases = match hierarchy {
        Hierarchy::Unified(base) => vec![base],
        Hierarchy::Legacy { memory, pids, cpuacct } => {
            std::iter::once(memory).chain(pids).chain(cpuacct).collect::<Vec<_>>()
        }
    };
    for base in bases {
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_leftover) {
                // The kernel refuses where there is still a process in it.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }
}

fn is_leftover(name: &str) -> bool {
    let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().splitn(3, '-');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (Some(pid), Some(start_time)) = (number(), number()) else { return false };
    let alive = u32::try_from(pid).ok().and_then(|pid| Identity::of(pid).ok());
    alive.is_none_or(|process| process.start_time != start_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, read_to_string, write};

    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn path(path: &str) -> Option<PathBuf> {
        Some(path.into())
    }

    #[test]
    fn a_hybrid_machine_has_both_versions() {
        let groups = "9:name=systemd:/\n8:pids:/\n4:memory:/api/e27\n2:cpuacct:/\n1:cpu:/\n0::/\n";
        assert_eq!(
            Mounts::of(groups, HYBRID),
            Mounts {
                unified: path("/sys/fs/cgroup/unified/"),
                unified_top: path("/sys/fs/cgroup/unified"),
                memory: path("/sys/fs/cgroup/memory/api/e27"),
                pids: path("/sys/fs/cgroup/pids/"),
                cpuacct: path("/sys/fs/cgroup/cpuacct/"),
            }
        );
    }

    #[test]
    fn controllers_can_share_a_mount_and_a_container_sees_a_part_of_the_tree() {
        let groups = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n3:pids:/elsewhere\n";
        let mounts = "50 40 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro master:9 - cgroup cgroup rw,cpu,cpuacct\n\
            51 40 0:31 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:11 shared:4 - cgroup cgroup rw,memory\n\
            52 40 0:32 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        assert_eq!(
            Mounts::of(groups, mounts),
            Mounts {
                memory: path("/sys/fs/cgroup/memory/"),
                cpuacct: path("/sys/fs/cgroup/cpu,cpuacct/"),
                ..Mounts::default()
            }
        );
    }

    #[test]
    fn a_group_outside_of_the_namespace_is_not_taken_for_one_inside() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = Mounts::of("0::/system.slice/capa-worker.service\n", mounts);
        assert_eq!(own.unified, path("/sys/fs/cgroup/system.slice/capa-worker.service"));
        assert_eq!(Mounts::of("0::/../../other\n", mounts), Mounts::default());
        assert_eq!(Mounts::of("", mounts), Mounts::default());
    }

    /// A folder with the files that the kernel would have put there.
    fn group(top: &Path, name: &str, processes: &str, events: bool) -> PathBuf {
        let folder = top.join(name);
        create_dir_all(&folder).unwrap();
        write(folder.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        write(folder.join("cgroup.subtree_control"), "").unwrap();
        write(folder.join("cgroup.procs"), processes).unwrap();
        if events {
            write(folder.join("cgroup.events"), "populated 1\n").unwrap();
        }
        folder
    }

    #[test]
    fn a_delegated_group_is_divided_and_the_supervisor_moves_into_a_leaf() {
        let top = tempfile::tempdir().unwrap();
        let top = group(top.path(), "top", "", true);
        let own = group(&top, "worker.service", &format!("{}\n", std::process::id()), true);
        let leaf = group(&own, SUPERVISOR, "", true);
        let mounts = Mounts { unified: Some(own.clone()), unified_top: Some(top.clone()), ..Mounts::default() };
        assert_eq!(choose(&mounts), Ok(Hierarchy::Unified(own.clone())));
        assert_eq!(read_to_string(leaf.join("cgroup.procs")).unwrap(), std::process::id().to_string());
        assert_eq!(read_to_string(own.join("cgroup.subtree_control")).unwrap(), "+memory");

        // As the kernel shows it to a supervisor that is started in that leaf.
        write(own.join("cgroup.subtree_control"), "memory pids\n").unwrap();
        let mounts = Mounts { unified: Some(leaf), unified_top: Some(top), ..Mounts::default() };
        assert_eq!(choose(&mounts), Ok(Hierarchy::Unified(own)));
    }

    #[test]
    fn a_group_shared_with_others_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let top = group(folder.path(), "top", "", true);
        let own = group(&top, "session.scope", &format!("1\n{}\n", std::process::id()), true);
        let mounts = Mounts { unified: Some(own.clone()), unified_top: Some(top), ..Mounts::default() };
        let reason = choose(&mounts).unwrap_err();
        assert!(reason.contains("shared with other processes") && reason.contains("Delegate=yes"), "{reason}");
        assert_eq!(read_to_string(own.join("cgroup.subtree_control")).unwrap(), "");

        let top = group(folder.path(), "real-top", "", false);
        let own = group(&top, "session.scope", "1\n", true);
        let mounts = Mounts { unified: Some(own), unified_top: Some(top.clone()), ..Mounts::default() };
        assert_eq!(choose(&mounts), Ok(Hierarchy::Unified(top)), "the top of the tree may be divided");
    }

    #[test]
    fn without_the_memory_controller_the_reason_says_what_to_do() {
        let reason = choose(&Mounts::default()).unwrap_err();
        assert!(reason.contains("memory controller") && reason.contains("Delegate=yes"), "{reason}");
        let memory = Some("/proc/no-such-folder".into());
        let reason = choose(&Mounts { memory, ..Mounts::default() }).unwrap_err();
        assert!(reason.contains("no group can be made"), "{reason}");
    }

    #[test]
    fn only_groups_of_dead_supervisors_are_leftovers() {
        assert!(!is_leftover(&folder_name("gpu0").unwrap()));
        assert!(is_leftover(&format!("{PREFIX}{}-1-gpu0", std::process::id())));
        assert!(is_leftover(&format!("{PREFIX}4294967295-1-gpu0")));
        for other in ["capa-supervisor", "capa-probe-17", "docker-1-2", "capa-", "capa-12"] {
            assert!(!is_leftover(other), "{other}");
        }
    }
}
