//! Other processes: new ones, and those that are there.

use super::{Attack, DENIED, MISSING, at, call};
use crate::scene::Scene;
use nix::libc;
use std::io;
use std::process::Command;

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "run a program", refusals: DENIED, run: |_| Command::new("/bin/true").status().map(drop) },
    Attack { name: "become a program", refusals: DENIED, run: |_| become_program() },
    Attack { name: "fork", refusals: DENIED, run: |_| child_by(libc::SYS_clone, [libc::SIGCHLD as usize, 0]) },
    Attack { name: "fork by the newest call", refusals: MISSING, run: |_| clone3() },
    #[cfg(target_arch = "x86_64")]
    Attack { name: "fork by the oldest call", refusals: DENIED, run: |_| child_by(libc::SYS_fork, [0, 0]) },
    Attack { name: "trace the supervisor", refusals: DENIED, run: |scene| ptrace(scene.parent) },
    Attack {
        name: "read the supervisor's memory",
        refusals: DENIED,
        run: |scene| copy(libc::SYS_process_vm_readv, scene),
    },
    Attack {
        name: "write the supervisor's memory",
        refusals: DENIED,
        run: |scene| copy(libc::SYS_process_vm_writev, scene),
    },
    Attack { name: "take the supervisor's descriptors", refusals: DENIED, run: |scene| pidfd(scene.parent) },
    Attack { name: "signal the supervisor", refusals: DENIED, run: |scene| signal(libc::SYS_kill, &[scene.parent, 0]) },
    Attack { name: "signal everybody", refusals: DENIED, run: |_| signal(libc::SYS_kill, &[-1, 0]) },
    Attack { name: "signal its group", refusals: DENIED, run: |_| signal(libc::SYS_kill, &[0, 0]) },
    Attack {
        name: "signal the supervisor's thread",
        refusals: DENIED,
        run: |scene| signal(libc::SYS_tgkill, &[scene.parent, scene.parent, 0]),
    },
    Attack { name: "signal any thread", refusals: DENIED, run: |scene| signal(libc::SYS_tkill, &[scene.parent, 0]) },
    Attack {
        name: "have the kernel signal the supervisor",
        refusals: DENIED,
        run: |scene| call(libc::SYS_fcntl, [2, libc::F_SETOWN as usize, scene.parent as usize]).map(drop),
    },
    Attack {
        name: "choose the signal that the kernel sends",
        refusals: DENIED,
        run: |_| call(libc::SYS_fcntl, [2, F_SETSIG, libc::SIGKILL as usize]).map(drop),
    },
    Attack { name: "limit the supervisor", refusals: DENIED, run: |scene| limit(scene.parent) },
    Attack {
        name: "slow the supervisor",
        refusals: DENIED,
        run: |scene| call(libc::SYS_setpriority, [0, scene.parent as usize, 0]).map(drop),
    },
    Attack {
        name: "choose the supervisor's CPU",
        refusals: DENIED,
        run: |scene| {
            let all = [usize::MAX; 16];
            call(libc::SYS_sched_setaffinity, [scene.parent as usize, size_of_val(&all), at(&all)]).map(drop)
        },
    },
    Attack {
        name: "take the supervisor's turn",
        refusals: DENIED,
        run: |scene| {
            let priority = 0i32;
            let policy = libc::SCHED_OTHER as usize;
            call(libc::SYS_sched_setscheduler, [scene.parent as usize, policy, at(&priority)]).map(drop)
        },
    },
    Attack { name: "flush every disk", refusals: DENIED, run: |_| call(libc::SYS_sync, []).map(drop) },
];

const F_SETSIG: usize = 10;

fn become_program() -> io::Result<()> {
    // A path that does not exist: where the call is allowed, the error is another.
    let arguments: [usize; 1] = [0];
    call(libc::SYS_execve, [c"/nowhere".as_ptr() as usize, at(&arguments), at(&arguments)]).map(drop)
}

/// Makes a process that ends at once.
fn child_by(number: libc::c_long, arguments: [usize; 2]) -> io::Result<()> {
    let child = call(number, arguments)?;
    end_child(child)
}

fn clone3() -> io::Result<()> {
    let mut arguments = [0u64; 8];
    arguments[4] = libc::SIGCHLD as u64;
    let child = call(libc::SYS_clone3, [at(&arguments), size_of_val(&arguments)])?;
    end_child(child)
}

fn end_child(child: libc::c_long) -> io::Result<()> {
    if child == 0 {
        // SAFETY: the new process has done nothing that would have to be undone.
        unsafe { libc::_exit(0) };
    }
    call(libc::SYS_wait4, [child as usize, 0, 0, 0]).map(drop)
}

/// Without stopping it; it is let go when this process ends.
fn ptrace(parent: i32) -> io::Result<()> {
    call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, parent as usize, 0, 0])?;
    call(libc::SYS_ptrace, [libc::PTRACE_INTERRUPT as usize, parent as usize, 0, 0])?;
    call(libc::SYS_wait4, [parent as usize, 0, libc::__WALL as usize, 0])?;
    call(libc::SYS_ptrace, [libc::PTRACE_DETACH as usize, parent as usize, 0, 0]).map(drop)
}

/// From or to an address that nobody has: where the call is allowed, the error is another.
fn copy(number: libc::c_long, scene: &Scene) -> io::Result<()> {
    let byte = 0u8;
    let here = libc::iovec { iov_base: at(&byte) as *mut libc::c_void, iov_len: 1 };
    let there = libc::iovec { iov_base: std::ptr::dangling_mut::<libc::c_void>(), iov_len: 1 };
    call(number, [scene.parent as usize, at(&here), 1, at(&there), 1, 0]).map(drop)
}

fn pidfd(parent: i32) -> io::Result<()> {
    let process = call(libc::SYS_pidfd_open, [parent as usize, 0])?;
    call(libc::SYS_pidfd_getfd, [process as usize, 0, 0]).map(drop)
}

/// The signal 0, which only asks whether one could be sent.
fn signal(number: libc::c_long, arguments: &[i32]) -> io::Result<()> {
    let mut all = [0usize; 3];
    for (place, argument) in all.iter_mut().zip(arguments) {
        *place = *argument as usize;
    }
    call(number, all).map(drop)
}

/// To what it is already.
fn limit(parent: i32) -> io::Result<()> {
    let mut now = [0u64; 2];
    let here = std::ptr::from_mut(&mut now) as usize;
    call(libc::SYS_prlimit64, [parent as usize, libc::RLIMIT_NOFILE as usize, 0, here])?;
    call(libc::SYS_prlimit64, [parent as usize, libc::RLIMIT_NOFILE as usize, here, 0]).map(drop)
}
