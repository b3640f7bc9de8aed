//! What a process may do by its user, its capabilities and its namespaces.
//!
//! A function returns an inner error, which is a sentence for the operator, where the machine does not allow a step,
//! and an outer one where a step failed that must not.

use super::SandboxError;
use super::lockdown::limit;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::process::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::net::Ipv4Addr;

/// What a process needs to become another user.
const IDENTITY: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);
/// An address for documentation: nothing is sent to it, but where there is no network there is not even a route.
const SOMEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// How many threads this process has.
pub(super) fn threads() -> Result<usize, SandboxError> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(SandboxError::io("reading /proc/self/task"))?;
    Ok(tasks.count())
}

/// Moves the process into a network without interfaces, and gives it a host name and System V objects of its own.
pub(super) fn leave_network() -> Result<Result<(), String>, SandboxError> {
    let apart = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let before = std::fs::read_link("/proc/self/ns/net");
    match unshare(apart) {
        Ok(()) => {}
        // Without privilege the kernel asks for a user namespace first, where it lets anybody make one.
        Err(nix::Error::EPERM) => {
            let user = (getresuid(), getresgid());
            let (Ok(user), Ok(group)) = user else {
                return Ok(Err("the process cannot tell its own user".into()));
            };
            if let Err(error) = unshare(apart | CloneFlags::CLONE_NEWUSER) {
                return Ok(Err(format!(
                    "the process has no network of its own ({error}): start the worker as root, or let its user make \
                     user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                     kernel.apparmor_restrict_unprivileged_userns)"
                )));
            }
            map_identity(user.effective, group.effective)?;
        }
        Err(error) => return Ok(Err(format!("the process has no network of its own: unshare failed ({error})"))),
    }
    let moved = matches!((before, std::fs::read_link("/proc/self/ns/net")), (Ok(old), Ok(new)) if old != new);
    match (moved, is_unreachable()) {
        (true, true) => Ok(Ok(())),
        _ => Ok(Err("the process has a network although it was moved out of it".into())),
    }
}

/// In its user namespace the process keeps the numbers that it has outside.
fn map_identity(user: Uid, group: Gid) -> Result<(), SandboxError> {
    let write = |file: &str, line: String| {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, line).map_err(SandboxError::io(&format!("writing {path}")))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{user} {user} 1"))?;
    write("gid_map", format!("{group} {group} 1"))
}

fn is_unreachable() -> bool {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    match socket {
        Ok(socket) => rustix::net::connect(&socket, &SOMEWHERE) == Err(Errno::NETUNREACH),
        // A kernel without IPv4.
        Err(error) => error == Errno::AFNOSUPPORT,
    }
}

/// Whether the process may become another user, in the namespace that it has now.
pub(super) fn may_become_user() -> Result<Result<(), String>, SandboxError> {
    let have = capabilities(None).map_err(SandboxError::call("capget"))?;
    let able = have.effective.contains(IDENTITY);
    Ok(able.then_some(()).ok_or_else(|| {
        "the process has no user of its own: start the worker as root, or with CAP_SETUID and CAP_SETGID".into()
    }))
}

/// Gives up all capabilities, but for those to become another user later.
pub(super) fn drop_capabilities(become_user: bool) -> Result<(), SandboxError> {
    let keep = if become_user { IDENTITY } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(SandboxError::call("capset"))
}

/// Becomes a user that nothing else runs as, in all threads, and makes sure that there is no way back.
pub(super) fn become_user(number: u32, threads: u64) -> Result<Result<(), String>, SandboxError> {
    let (user, group) = (Uid::from_raw(number), Gid::from_raw(number));
    if user.is_root() {
        return Err(SandboxError::Refused("a job's process must not be root: change sandbox.users".into()));
    }
    let changed =
        setgroups(&[]).and_then(|()| setresgid(group, group, group)).and_then(|()| setresuid(user, user, user));
    if let Err(error) = changed {
        drop_capabilities(false)?;
        return Ok(Err(format!(
            "the process cannot become user {number} ({error}): change sandbox.users in the configuration to numbers \
             that this machine or container has"
        )));
    }
    drop_capabilities(false)?;
    // It counts all processes of a user, so that it only makes sense for a user with one process.
    limit(Resource::Nproc, threads)?;
    verify_user(user, group)
}

fn verify_user(user: Uid, group: Gid) -> Result<Result<(), String>, SandboxError> {
    let users = getresuid().map(|now| [now.real, now.effective, now.saved]);
    let groups = getresgid().map(|now| [now.real, now.effective, now.saved]);
    let alone = getgroups().is_ok_and(|groups| groups.is_empty());
    if users != Ok([user; 3]) || groups != Ok([group; 3]) || !alone {
        return Err(SandboxError::Refused(format!("the process did not become user {user} altogether")));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(SandboxError::Refused("the process could become root again".into()));
    }
    for task in std::fs::read_dir("/proc/self/task").map_err(SandboxError::io("reading /proc/self/task"))?.flatten() {
        let status = std::fs::read_to_string(task.path().join("status"));
        let status = status.map_err(SandboxError::io("reading a thread's status"))?;
        if !is_powerless(&status, user) {
            let thread = task.file_name();
            return Err(SandboxError::Refused(format!("thread {thread:?} kept its user or its capabilities")));
        }
    }
    Ok(Ok(()))
}

/// Whether a thread, by its status in `/proc`, has this user and no capabilities.
fn is_powerless(status: &str, user: Uid) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let users = field("Uid:").is_some_and(|users| users.split_whitespace().all(|one| one == user.to_string()));
    users
        && ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"]
            .iter()
            .all(|name| field(name).is_some_and(|set| set.trim().bytes().all(|digit| digit == b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_kept_anything_is_not_powerless() {
        let user = Uid::from_raw(70_000);
        let status = "Name:\tx\nUid:\t70000\t70000\t70000\t70000\nCapInh:\t0000000000000000\n\
                      CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n";
        assert!(is_powerless(status, user));
        assert!(!is_powerless(status, Uid::from_raw(0)));
        assert!(!is_powerless(&status.replace("70000\t70000\n", "70000\t0\n"), user));
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let zero = format!("{set}:\t0000000000000000");
            assert!(!is_powerless(&status.replace(&zero, &format!("{set}:\t0000000000000080")), user), "{set}");
            assert!(!is_powerless(&status.replace(&zero, ""), user), "{set}");
        }
    }
}
