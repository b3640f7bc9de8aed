//! What this machine offers to confine jobs with, for the operator.
//!
//! It tells what can be expected; what holds around a job, its process finds out by trying.

use super::{cgroup, landlock, memory};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;

/// One thing that the kernel offers or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Primitive {
    /// Its name, as in [`Isolation`](super::Isolation) where it is there.
    pub name: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Its version or place; or what is missing, and what to do.
    pub detail: String,
}

/// Looks at everything that a job's process is confined with.
pub fn report() -> Vec<Primitive> {
    let shared = memory::sealed(b"x").map(|_| "memory files with seals".to_owned());
    let pidfd = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let pidfd = pidfd.map(|_| "processes are watched by descriptor".to_owned());
    [
        ("landlock", landlock::version().map(|version| format!("version {version}"))),
        ("seccomp", seccomp()),
        ("user", user()),
        ("network", network()),
        ("cgroup", cgroup::describe()),
        ("memory", shared.map_err(|error| error.to_string())),
        ("processes", pidfd.map_err(|error| format!("pidfd_open failed ({error}): the kernel must be 5.3 or later"))),
    ]
    .into_iter()
    .map(|(name, outcome)| {
        let available = outcome.is_ok();
        let (Ok(detail) | Err(detail)) = outcome;
        Primitive { name, available, detail }
    })
    .collect()
}

fn seccomp() -> Result<String, String> {
    let actions = text("/proc/sys/kernel/seccomp/actions_avail");
    match actions {
        Some(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Ok("filters for all threads".into())
        }
        _ => Err("the kernel has no filters of system calls: it needs CONFIG_SECCOMP_FILTER".into()),
    }
}

fn user() -> Result<String, String> {
    if has(CapabilitySet::SETUID.union(CapabilitySet::SETGID)) {
        return Ok("each process can become a user of its own".into());
    }
    Err("start the worker as root, or with CAP_SETUID and CAP_SETGID".into())
}

fn network() -> Result<String, String> {
    if std::fs::read_link("/proc/self/ns/net").is_err() {
        return Err("the kernel has no network namespaces: it needs CONFIG_NET_NS".into());
    }
    if has(CapabilitySet::SYS_ADMIN) {
        return Ok("each process can have an empty one".into());
    }
    let forbidden = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0"),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    match forbidden.iter().find(|(_, path, value)| text(path).as_deref() == Some(value)) {
        Some((name, _, value)) => {
            Err(format!("{name} is {value}: change it, start the worker as root, or give it CAP_SYS_ADMIN"))
        }
        None => Ok("each process can have an empty one, by a user namespace".into()),
    }
}

fn has(wanted: CapabilitySet) -> bool {
    capabilities(None::<Pid>).is_ok_and(|have| have.effective.contains(wanted))
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_comes_with_what_to_do() {
        let report = report();
        let names: Vec<&str> = report.iter().map(|primitive| primitive.name).collect();
        assert_eq!(names, ["landlock", "seccomp", "user", "network", "cgroup", "memory", "processes"]);
        for primitive in &report {
            println!("{primitive:?}");
            assert!(!primitive.detail.is_empty(), "{primitive:?}");
        }
    }
}
