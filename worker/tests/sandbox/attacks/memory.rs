//! The memory and the socket that are shared with the supervisor.

use super::{Attack, DENIED, at, call};
use crate::scene::Outcome;
use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use worker::sandbox::channel::MAX_MESSAGE;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "move pages between descriptors",
        refusals: DENIED,
        run: |_| call(libc::SYS_splice, [usize::MAX, 0, usize::MAX, 0, 0, 0]).map(drop),
    },
    Attack {
        name: "move the pages of others",
        refusals: DENIED,
        run: |scene| call(libc::SYS_move_pages, [scene.parent as usize, 0, 0, 0, 0, 0]).map(drop),
    },
];

/// Against an input that others rely on, and an output that the supervisor will read.
pub(crate) fn tamper(input: &OwnedFd, output: &OwnedFd) -> Vec<Outcome> {
    let (read, write) = (input.as_raw_fd() as usize, output.as_raw_fd() as usize);
    let both = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let shared = libc::MAP_SHARED as usize;
    let punch = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE) as usize;
    let attempts: [(&str, io::Result<libc::c_long>); 8] = [
        ("write to an input", call(libc::SYS_pwrite64, [read, at(b"X"), 1, 0])),
        ("map an input for writing", call(libc::SYS_mmap, [0, 4096, both, shared, read, 0])),
        ("cut an input", call(libc::SYS_ftruncate, [read, 0])),
        ("punch a hole into an input", call(libc::SYS_fallocate, [read, punch, 0, 4096])),
        ("cut an output", call(libc::SYS_ftruncate, [write, 0])),
        ("lengthen an output", call(libc::SYS_ftruncate, [write, 1 << 30])),
        ("write behind an output", call(libc::SYS_fallocate, [write, 0, 1 << 20, 4096])),
        ("seal an output", call(libc::SYS_fcntl, [write, libc::F_ADD_SEALS as usize, libc::F_SEAL_WRITE as usize])),
    ];
    let outcome = |(name, result): (&str, io::Result<libc::c_long>)| {
        let error = result.err().map(|error| error.raw_os_error().unwrap_or(-1));
        Outcome { name: name.into(), error, refused: error.is_some_and(|error| DENIED.contains(&error)) }
    };
    attempts.map(outcome).into()
}

/// A message that is too long, one with a descriptor, an empty one, and one that is none.
pub(crate) fn send_nonsense() {
    let socket = (3..64).find(|descriptor| is_channel(*descriptor)).unwrap();
    let long = vec![b'x'; MAX_MESSAGE + 1];
    send(socket, &long, None);
    send(socket, b"take this", Some(socket));
    send(socket, b"{\"no\": \"message\"}", None);
    send(socket, b"", None);
}

fn is_channel(descriptor: i32) -> bool {
    let mut address = [0u8; 128];
    let mut length = 128u32;
    let here = (std::ptr::from_mut(&mut address) as usize, std::ptr::from_mut(&mut length) as usize);
    // A filter may forbid the question; then the first descriptor behind the standard ones is the channel.
    match call(libc::SYS_getsockname, [descriptor as usize, here.0, here.1]) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::EPERM),
    }
}

fn send(socket: i32, bytes: &[u8], descriptor: Option<i32>) {
    let part = libc::iovec { iov_base: bytes.as_ptr() as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: all zeroes is an empty message header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = std::ptr::from_ref(&part).cast_mut();
    header.msg_iovlen = 1;
    // The header of the attachment, and the descriptor behind it.
    let attached =
        [20u64, u64::from(libc::SOL_SOCKET.cast_unsigned()) | (libc::SCM_RIGHTS as u64) << 32, socket as u64];
    if descriptor.is_some() {
        header.msg_control = std::ptr::from_ref(&attached).cast_mut().cast();
        header.msg_controllen = size_of_val(&attached);
    }
    call(libc::SYS_sendmsg, [socket as usize, at(&header), 0]).unwrap();
}
