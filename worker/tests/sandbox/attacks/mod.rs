//! What a job could try. Each attack is harmless where it succeeds, so that a control can show that it does.

mod files;
pub(crate) mod memory;
mod network;
mod privileges;
mod processes;

use crate::scene::{Outcome, Scene};
use nix::libc::{self, c_long};
use std::io;

/// An attack by its name, the errors that mean that it was refused, and what is done.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) refusals: &'static [i32],
    pub(crate) run: fn(&Scene) -> io::Result<()>,
}

/// Not you.
const DENIED: &[i32] = &[libc::EPERM, libc::EACCES];
/// There is no such call.
const MISSING: &[i32] = &[libc::ENOSYS];

/// Tries everything, from the calling thread.
pub(crate) fn try_all(scene: &Scene) -> Vec<Outcome> {
    let lists = [files::ATTACKS, network::ATTACKS, processes::ATTACKS, privileges::ATTACKS, memory::ATTACKS];
    lists.into_iter().flatten().map(|attack| outcome(attack, scene)).collect()
}

fn outcome(attack: &Attack, scene: &Scene) -> Outcome {
    let error = (attack.run)(scene).err().map(|error| error.raw_os_error().unwrap_or(-1));
    let refused = error.is_some_and(|error| attack.refusals.contains(&error));
    Outcome { name: attack.name.into(), error, refused }
}

/// A raw system call: what a job that runs machine code of its own could do.
fn call<const N: usize>(number: c_long, arguments: [usize; N]) -> io::Result<c_long> {
    let mut all = [0usize; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the attacks pass numbers, null, or pointers to values that live through the call.
    let result = unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An argument that is a pointer.
fn at<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>() as usize
}

/// This process' number, by the way that programs of 32 bits ask for it.
pub(crate) fn call_by_32_bits() -> i64 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut result = 20i64;
        // SAFETY: the call only returns a number in `rax`; the kernel clears the other registers named here.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
        };
        result
    }
    #[cfg(not(target_arch = "x86_64"))]
    -1
}
