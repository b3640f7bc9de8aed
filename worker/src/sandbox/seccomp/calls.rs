//! The lists of system calls, a reason a line.

use crate::sandbox::Profile;
use nix::libc::{self, c_long};

/// The last call in the numbering that these lists were written for (Linux 6.18: `file_setattr`). x86's second
/// numbering, x32, begins far above.
pub(super) const LAST_KNOWN: u32 = 469;

/// A call, and which of its uses are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: c_long,
    /// All of these hold; without any, every use is meant.
    pub(super) when: Vec<Argument>,
}

/// What is asked of an argument, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// It is this 32-bit number.
    Is(u8, u64),
    /// It is another 32-bit number.
    IsNot(u8, u64),
    /// It has all of these bits.
    Has(u8, u64),
    /// It has none of these bits.
    Lacks(u8, u64),
    /// It is a null pointer.
    IsNull(u8),
    /// It is no null pointer.
    IsNotNull(u8),
}

/// Calls that libraries replace by others where a kernel lacks them.
pub(super) const fn replaceable(profile: Profile) -> &'static [c_long] {
    match profile {
        Profile::Cpu => &[
            libc::SYS_clone3,       // its arguments lie in memory, where no filter sees them: glibc takes `clone`
            libc::SYS_memfd_create, // memory outside the limit of the address space: wasmtime copies instead
        ],
        Profile::Gpu => &[
            libc::SYS_clone3, // its arguments lie in memory, where no filter sees them: glibc takes `clone`
        ],
    }
}

/// The calls that the profile is about: for the CPU those that are allowed, for a GPU those that are denied.
pub(super) fn list(profile: Profile, own: u64) -> Vec<Call> {
    let (always, sometimes) = match profile {
        Profile::Cpu => (ALLOWED, allowed_sometimes(own)),
        Profile::Gpu => (DENIED, denied_sometimes(own)),
    };
    let always = always.iter().map(|number| Call { number: *number, when: Vec::new() });
    always.chain(sometimes.into_iter().map(|(number, when)| Call { number, when })).collect()
}

/// What WebAssembly compiled to machine code, its runtime and the runner around it need.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,              // the standard library's pipes
    libc::SYS_write,             // the error output
    libc::SYS_writev,            // the error output
    libc::SYS_pread64,           // shared memory
    libc::SYS_close,             // shared memory after a job
    libc::SYS_fstat,             // the length of shared memory
    libc::SYS_sendmsg,           // the channel
    libc::SYS_recvmsg,           // the channel
    libc::SYS_ppoll,             // the watchdog
    libc::SYS_mmap,              // memory, machine code
    libc::SYS_munmap,            // memory
    libc::SYS_mprotect,          // guard pages; machine code becomes executable
    libc::SYS_mremap,            // growing allocations
    libc::SYS_madvise,           // memory given back
    libc::SYS_brk,               // the allocator
    libc::SYS_membarrier,        // machine code seen by all cores
    libc::SYS_futex,             // locks
    libc::SYS_set_robust_list,   // the start of a thread
    libc::SYS_rseq,              // the start of a thread
    libc::SYS_sched_getaffinity, // the start of a thread; how many can run
    libc::SYS_sched_yield,       // locks
    libc::SYS_gettid,            // the start and end of a thread
    libc::SYS_getpid,            // abort
    libc::SYS_exit,              // the end of a thread
    libc::SYS_exit_group,        // the end
    libc::SYS_rt_sigaction,      // traps of the guest are signals
    libc::SYS_rt_sigprocmask,    // traps; the start of a thread
    libc::SYS_rt_sigreturn,      // traps
    libc::SYS_sigaltstack,       // traps; the start of a thread
    libc::SYS_restart_syscall,   // a call that a signal interrupted
    libc::SYS_getrandom,         // hash maps
    libc::SYS_clock_gettime,     // where the fast way is missing
    libc::SYS_clock_getres,      // where the fast way is missing
    libc::SYS_clock_nanosleep,   // sleep
    libc::SYS_nanosleep,         // sleep
    libc::SYS_gettimeofday,      // where the fast way is missing
    libc::SYS_getrusage,         // the process' own CPU time
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll, // the watchdog
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time, // where the fast way is missing
];

fn allowed_sometimes(own: u64) -> Vec<(c_long, Vec<Argument>)> {
    let mut allowed = vec![
        // Threads, but no processes and no namespaces.
        (libc::SYS_clone, vec![Argument::Has(0, libc::CLONE_THREAD.cast_unsigned().into())]),
        // Signals to itself: abort, and the watchdog's end.
        (libc::SYS_kill, vec![Argument::Is(0, own)]),
        (libc::SYS_tgkill, vec![Argument::Is(0, own)]),
        // Limits are read at the start of a thread, and never written.
        (libc::SYS_prlimit64, vec![Argument::IsNull(2)]),
    ];
    // Seals of shared memory, and copies of descriptors; not whom the kernel signals when one is ready.
    for command in [libc::F_GET_SEALS, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL] {
        allowed.push((libc::SYS_fcntl, vec![Argument::Is(1, command.cast_unsigned().into())]));
    }
    // Names of threads and of memory.
    for option in [libc::PR_SET_NAME, libc::PR_GET_NAME, PR_SET_VMA] {
        allowed.push((libc::SYS_prctl, vec![Argument::Is(0, option.cast_unsigned().into())]));
    }
    allowed
}

const PR_SET_VMA: i32 = 0x5356_4d41;

/// What no GPU driver needs once it runs, and what a job could harm others with.
const DENIED: &[c_long] = &[
    // Connections. The one to the supervisor is open.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // Other processes: their memory, their descriptors, their life.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill, // names a thread without its process: glibc takes `tgkill`
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_migrate_pages,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_setrlimit,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Becoming somebody else.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    // The tree of files, and the way around it.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    STATMOUNT,
    LISTMOUNT,
    OPEN_TREE_ATTR,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    // Changes to files that Landlock does not ask about.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
    FILE_SETATTR,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_mknodat,
    // Namespaces, and personalities with weaker memory protection.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_personality,
    // Wide doors into the kernel that a driver does not use.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_remap_file_pages,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    // Objects that outlive the process.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // The machine itself.
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    // The same under older names.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// Numbers that are the same on all architectures and that the C library's bindings do not name yet.
const FCHMODAT2: c_long = 452;
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const OPEN_TREE_ATTR: c_long = 467;
const FILE_SETATTR: c_long = 469;

fn denied_sometimes(own: u64) -> Vec<(c_long, Vec<Argument>)> {
    let mut denied = vec![
        // Processes: what is not a thread.
        (libc::SYS_clone, vec![Argument::Lacks(0, libc::CLONE_THREAD.cast_unsigned().into())]),
        // Signals to others.
        (libc::SYS_kill, vec![Argument::IsNot(0, own)]),
        (libc::SYS_tgkill, vec![Argument::IsNot(0, own)]),
        // Pages of others.
        (libc::SYS_move_pages, others(own)),
        // The turn on the CPU of others of its user: its own it may choose, as drivers do.
        (libc::SYS_sched_setaffinity, others(own)),
        (libc::SYS_sched_setscheduler, others(own)),
        (libc::SYS_sched_setparam, others(own)),
        (libc::SYS_sched_setattr, others(own)),
        // Limits, its own and those of others of its user.
        (libc::SYS_prlimit64, vec![Argument::IsNotNull(2)]),
    ];
    // What ties it to its supervisor and hides it from others.
    for option in [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE, PR_SET_PTRACER, libc::PR_SET_MM, PR_SCHED_CORE] {
        denied.push((libc::SYS_prctl, vec![Argument::Is(0, u64::from(option.cast_unsigned()))]));
    }
    // Signals that the kernel sends to others when a descriptor is ready, and notes about changed files.
    for command in [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG, libc::F_SETLEASE, libc::F_NOTIFY] {
        denied.push((libc::SYS_fcntl, vec![Argument::Is(1, command.cast_unsigned().into())]));
    }
    // The same by another call, and keystrokes for somebody's terminal.
    for request in [FIOSETOWN, SIOCSPGRP, libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD] {
        denied.push((libc::SYS_ioctl, vec![Argument::Is(1, request)]));
    }
    denied
}

/// The first argument names another process than this one.
fn others(own: u64) -> Vec<Argument> {
    vec![Argument::IsNot(0, 0), Argument::IsNot(0, own)]
}

const PR_SET_PTRACER: i32 = 0x5961_6d61;
const PR_SCHED_CORE: i32 = 62;
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const FIOSETOWN: libc::Ioctl = 0x8901;
const SIOCSPGRP: libc::Ioctl = 0x8902;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice_without_a_condition() {
        for profile in [Profile::Cpu, Profile::Gpu] {
            let calls = list(profile, 7);
            for (index, call) in calls.iter().enumerate() {
                let others = calls[index + 1..].iter().filter(|other| other.number == call.number);
                let mixed = others.clone().any(|other| other.when.is_empty() || call.when.is_empty());
                assert!(!mixed, "{call:?} is listed with and without a condition");
            }
        }
    }

    #[test]
    fn every_call_is_one_that_is_known() {
        for profile in [Profile::Cpu, Profile::Gpu] {
            let numbers = list(profile, 7).into_iter().map(|call| call.number);
            for number in numbers.chain(replaceable(profile).iter().copied()) {
                assert!((0..=c_long::from(LAST_KNOWN)).contains(&number), "{number}");
            }
        }
    }
}
