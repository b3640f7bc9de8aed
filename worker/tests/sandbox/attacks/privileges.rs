//! Getting back what was given up, and doors into the kernel. Where a call would change something if it were allowed,
//! its arguments are such that the kernel refuses them with another error.

use super::{Attack, DENIED, MISSING, at, call};
use nix::libc;
use std::io;

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "raise the limit of descriptors", refusals: DENIED, run: |_| raise(libc::RLIMIT_NOFILE as usize) },
    Attack { name: "allow core files", refusals: DENIED, run: |_| raise(libc::RLIMIT_CORE as usize) },
    Attack { name: "become root", refusals: DENIED, run: |_| call(libc::SYS_setresuid, [0, 0, 0]).map(drop) },
    Attack { name: "join root's group", refusals: DENIED, run: |_| call(libc::SYS_setresgid, [0, 0, 0]).map(drop) },
    Attack { name: "join more groups", refusals: DENIED, run: |_| call(libc::SYS_setgroups, [0, 0]).map(drop) },
    Attack { name: "make a user namespace", refusals: DENIED, run: |_| call(libc::SYS_unshare, [0]).map(drop) },
    Attack { name: "enter a namespace", refusals: DENIED, run: |_| call(libc::SYS_setns, [usize::MAX, 0]).map(drop) },
    Attack { name: "mount", refusals: DENIED, run: |_| mount() },
    Attack {
        name: "prepare a mount",
        refusals: DENIED,
        run: |_| call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, 0]).map(drop),
    },
    Attack {
        name: "change the root",
        refusals: DENIED,
        run: |_| call(libc::SYS_chroot, [c"/nowhere".as_ptr() as usize]).map(drop),
    },
    Attack {
        name: "change the personality",
        refusals: DENIED,
        run: |_| call(libc::SYS_personality, [0xffff_ffff]).map(drop),
    },
    Attack {
        name: "load a program into the kernel",
        refusals: DENIED,
        run: |_| call(libc::SYS_bpf, [usize::MAX, 0, 0]).map(drop),
    },
    Attack {
        name: "load a module",
        refusals: DENIED,
        run: |_| call(libc::SYS_finit_module, [usize::MAX, 0, 0]).map(drop),
    },
    Attack {
        name: "count events",
        refusals: DENIED,
        run: |_| call(libc::SYS_perf_event_open, [0, 0, 0, 0, 0]).map(drop),
    },
    Attack {
        name: "queue calls past the filter",
        refusals: DENIED,
        run: |_| call(libc::SYS_io_uring_setup, [0, 0]).map(drop),
    },
    Attack {
        name: "handle page faults",
        refusals: DENIED,
        run: |_| call(libc::SYS_userfaultfd, [usize::MAX]).map(drop),
    },
    Attack {
        name: "use the kernel's keys",
        refusals: DENIED,
        run: |_| call(libc::SYS_keyctl, [usize::MAX, 0, 0]).map(drop),
    },
    Attack { name: "restart the machine", refusals: DENIED, run: |_| call(libc::SYS_reboot, [0, 0, 0, 0]).map(drop) },
    Attack { name: "read the kernel's log", refusals: DENIED, run: |_| call(libc::SYS_syslog, [10, 0, 0]).map(drop) },
    Attack { name: "share System V memory", refusals: DENIED, run: |_| shared_memory() },
    Attack { name: "outlive the supervisor", refusals: DENIED, run: |_| option(libc::PR_SET_PDEATHSIG) },
    Attack { name: "let others look into it", refusals: DENIED, run: |_| option(libc::PR_SET_DUMPABLE) },
    Attack {
        name: "type into a terminal",
        refusals: DENIED,
        run: |_| call(libc::SYS_ioctl, [2, libc::TIOCSTI as usize, at(&0u8)]).map(drop),
    },
    #[cfg(target_arch = "x86_64")]
    Attack {
        name: "use the second numbering",
        refusals: MISSING,
        run: |_| call(0x4000_0000 + libc::SYS_getpid, []).map(drop),
    },
    Attack { name: "use a call of the future", refusals: MISSING, run: |_| call(999, []).map(drop) },
];

fn raise(resource: usize) -> io::Result<()> {
    let mut now = [0u64; 2];
    call(libc::SYS_prlimit64, [0, resource, 0, std::ptr::from_mut(&mut now) as usize])?;
    let more = [now[0].saturating_add(1), now[1].saturating_add(1)];
    call(libc::SYS_prlimit64, [0, resource, at(&more), 0]).map(drop)
}

fn mount() -> io::Result<()> {
    let (kind, nowhere) = (c"tmpfs".as_ptr() as usize, c"/nowhere".as_ptr() as usize);
    call(libc::SYS_mount, [kind, nowhere, kind, 0, 0]).map(drop)
}

/// A segment for this process alone, removed at once.
fn shared_memory() -> io::Result<()> {
    let segment = call(libc::SYS_shmget, [libc::IPC_PRIVATE as usize, 4096, 0o600])?;
    call(libc::SYS_shmctl, [segment as usize, libc::IPC_RMID as usize, 0]).map(drop)
}

/// To its usual value.
fn option(option: i32) -> io::Result<()> {
    let value = usize::from(option == libc::PR_SET_DUMPABLE);
    call(libc::SYS_prctl, [option as usize, value, 0, 0, 0]).map(drop)
}
