//! Which system calls a process may make (seccomp), for all of its threads at once.
//!
//! A denied call returns `EPERM`, so that a library that merely tries something goes on. Calls that this page does not
//! know return `ENOSYS`, as on a kernel that does not have them; so do those that libraries know how to replace.

mod calls;

use super::{Profile, SandboxError};
use calls::{Argument, Call};
use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads, sock_filter,
};
use std::collections::BTreeMap;

/// Installs the filter of a profile, and makes calls that must fail now. The inner error says why there is no filter.
pub(super) fn apply(profile: Profile) -> Result<Result<(), String>, SandboxError> {
    let failed = |error| SandboxError::Unavailable(format!("the filter of system calls cannot be built: {error}"));
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Err(format!("system calls are not filtered: {} is not supported", std::env::consts::ARCH)));
    };
    let filter = [unknown(profile), known(profile, architecture).map_err(failed)?].concat();
    if let Err(error) = apply_filter_all_threads(&filter) {
        return Ok(Err(format!(
            "system calls are not filtered: {error}; the kernel needs CONFIG_SECCOMP_FILTER, and a container runtime \
             must allow the call `seccomp`"
        )));
    }
    Ok(verify())
}

/// Returns `ENOSYS` for calls of another numbering, for those above the last known one, and for replaceable ones; what
/// stands behind it decides about the others. It is a part and not a filter of its own, because of two filters that
/// both return an error the kernel takes the one that was installed last.
fn unknown(profile: Profile) -> BpfProgram {
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let replaceable = calls::replaceable(profile);
    // The number is the first field of what a filter sees. Jumps count the instructions that they leave out: from here
    // over the other comparisons and the jump behind them, to the answer.
    let mut filter = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    let mut left = u8::try_from(replaceable.len()).unwrap_or(u8::MAX);
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    filter.push(instruction(above, left + 1, 0, calls::LAST_KNOWN));
    for call in replaceable {
        left -= 1;
        let same = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(instruction(same, left + 1, 0, u32::try_from(*call).unwrap_or(u32::MAX)));
    }
    filter.push(instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1));
    filter.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, missing));
    filter
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Every code of an instruction fits into 16 bits.
    sock_filter { code: code as u16, jt, jf, k }
}

fn known(profile: Profile, architecture: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let (listed, others) = match profile {
        Profile::Cpu => (SeccompAction::Allow, denied),
        Profile::Gpu => (denied, SeccompAction::Allow),
    };
    let own = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for Call { number, when } in calls::list(profile, own) {
        let conditions = when.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        let chain = rules.entry(number).or_default();
        // A call without a condition is an empty chain, which matches always.
        if !conditions.is_empty() {
            chain.push(SeccompRule::new(conditions)?);
        }
    }
    SeccompFilter::new(rules, others, listed, architecture)?.try_into()
}

fn condition(argument: &Argument) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (index, length, operator, value) = match *argument {
        // The kernel ignores the upper half of such arguments, so a comparison must too.
        Argument::Is(index, value) => (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
        Argument::IsNot(index, value) => (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
        Argument::Has(index, bits) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), bits),
        Argument::Lacks(index, bits) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), 0),
        Argument::IsNull(index) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        Argument::IsNotNull(index) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0),
    };
    SeccompCondition::new(index, length, operator, value)
}

/// Calls that succeed in every process, and change nothing if they do.
fn verify() -> Result<(), String> {
    if rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).err() != Some(Errno::PERM) {
        return Err("system calls are not filtered: a socket can be made although it is denied".into());
    }
    if nix::sched::unshare(nix::sched::CloneFlags::empty()) != Err(nix::Error::EPERM) {
        return Err("system calls are not filtered: `unshare` is there although it is denied".into());
    }
    Ok(())
}
