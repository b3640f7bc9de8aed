//! The socket between the supervisor and a job's process: small messages, each whole or not at all.
//!
//! Blobs and outputs do not travel in messages but as descriptors of shared memory beside them, and only towards the
//! job's process: whatever that process attaches is dropped by the kernel, unseen by the supervisor.

use super::SandboxError;
use protocol::job::MAX_BUFFERS;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Largest message.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Most descriptors beside a message: an envelope, a program, and all inputs and outputs.
pub const MAX_DESCRIPTORS: usize = 2 * MAX_BUFFERS + 2;

/// Why a message did not travel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side closed the socket or ended.
    #[error("the other end of the socket is closed")]
    Closed,
    /// The message is larger than both sides agreed on.
    #[error("a message has more than {MAX_MESSAGE} bytes")]
    TooLong,
    /// Descriptors came that nobody asked for, or more than the receiver can hold.
    #[error("a message came with more descriptors than its receiver takes")]
    Descriptors,
    /// The kernel's own reason.
    #[error("the socket failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A message as the job's process receives it.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Shared memory, in the order in which it was attached.
    pub descriptors: Vec<OwnedFd>,
}

/// The blocking end, for the job's process.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Takes over the socket that the supervisor left as standard input, and closes all that was inherited by mistake.
    ///
    /// Call it first of all: descriptors that were opened before are gone after it.
    pub fn from_stdin() -> Result<Self, SandboxError> {
        super::process::close_inherited()?;
        let stdin = std::io::stdin();
        let socket = rustix::net::sockopt::socket_type(stdin.as_fd());
        if !matches!(socket, Ok(SocketType::SEQPACKET)) {
            return Err(SandboxError::Unavailable("standard input is not a supervisor's socket".into()));
        }
        let copy = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3).map_err(SandboxError::call("dup"))?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(SandboxError::call("open /dev/null"))?;
        rustix::stdio::dup2_stdin(&null).map_err(SandboxError::call("dup2"))?;
        Ok(Self(copy))
    }

    /// Sends a message to the supervisor; waits while it reads slowly.
    pub fn send(&self, bytes: &[u8]) -> Result<(), ChannelError> {
        transmit(self.0.as_fd(), bytes, &[], SendFlags::NOSIGNAL)
    }

    /// Waits for the next message.
    pub fn recv(&self) -> Result<Message, ChannelError> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other.map_err(closed)?,
            }
        };
        let descriptors = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        bytes.truncate(whole(received.bytes, received.flags)?);
        Ok(Message { bytes, descriptors })
    }

    /// A second handle of the same socket, such as for a thread that waits for its end.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Blocks until the supervisor is gone.
    pub fn wait_for_hangup(&self) {
        loop {
            // Without an event that is asked for, only a hang-up or an error ends the wait.
            let mut wanted = [PollFd::new(&self.0, PollFlags::empty())];
            match poll(&mut wanted, None) {
                Ok(_) => return,
                Err(Errno::INTR) => {}
                // A thread that cannot wait must not claim that the supervisor lives.
                Err(_) => return,
            }
        }
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Supervision(AsyncFd<OwnedFd>);

impl Supervision {
    /// A connected pair: the supervisor's end, and the socket that becomes the child's standard input.
    ///
    /// Needs a Tokio runtime.
    pub fn pair() -> Result<(Self, OwnedFd), SandboxError> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(SandboxError::call("socketpair"))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(SandboxError::call("ioctl FIONBIO"))?;
        Ok((Self(super::watched(ours, Interest::READABLE | Interest::WRITABLE)?), theirs))
    }

    /// Sends a message with shared memory. Waits while the child does not read: bound it by a deadline.
    pub async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        loop {
            let mut ready = self.0.writable().await?;
            let sent = ready.try_io(|socket| {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                match transmit(socket.as_fd(), bytes, descriptors, flags) {
                    Err(ChannelError::Io(error)) => Err(error),
                    other => Ok(other),
                }
            });
            match sent {
                Ok(done) => return done?,
                Err(_would_block) => {}
            }
        }
    }

    /// Waits for the child's next message. May be dropped at any time without losing one.
    pub async fn recv(&self) -> Result<Vec<u8>, ChannelError> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive_bytes(socket.as_fd())) {
                let (bytes, flags) = received.map_err(|error| match Errno::from_io_error(&error) {
                    Some(errno) => closed(errno),
                    None => ChannelError::Io(error),
                })?;
                whole(bytes.len(), flags)?;
                return Ok(bytes);
            }
        }
    }
}

fn transmit(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), ChannelError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(ChannelError::TooLong);
    }
    // An empty message could not be told from the end of the connection.
    if bytes.is_empty() {
        return Err(ChannelError::Io(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.len() <= MAX_DESCRIPTORS;
    if !fits || (!descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors))) {
        return Err(ChannelError::Descriptors);
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(drop).map_err(closed),
        }
    }
}

fn receive_bytes(socket: BorrowedFd<'_>) -> std::io::Result<(Vec<u8>, ReturnFlags)> {
    let mut bytes = vec![0; MAX_MESSAGE];
    // Without room for them, the kernel closes what the child attached and says so in the flags.
    let mut none = RecvAncillaryBuffer::default();
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(socket, &mut parts, &mut none, flags)?;
    bytes.truncate(received.bytes);
    Ok((bytes, received.flags))
}

/// The length of a message that arrived whole.
fn whole(length: usize, flags: ReturnFlags) -> Result<usize, ChannelError> {
    if flags.contains(ReturnFlags::TRUNC) {
        return Err(ChannelError::TooLong);
    }
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(ChannelError::Descriptors);
    }
    if length == 0 { Err(ChannelError::Closed) } else { Ok(length) }
}

fn closed(error: Errno) -> ChannelError {
    match error {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => ChannelError::Closed,
        Errno::MSGSIZE => ChannelError::TooLong,
        other => ChannelError::Io(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::memory;

    fn pair() -> (Supervision, Channel) {
        let (ours, theirs) = Supervision::pair().unwrap();
        (ours, Channel(theirs))
    }

    #[tokio::test]
    async fn messages_and_memory_reach_the_child() {
        let (supervisor, child) = pair();
        let blobs = [memory::sealed(b"program").unwrap(), memory::sealed(b"input").unwrap()];
        supervisor.send(b"job", &blobs.each_ref().map(|blob| blob.as_fd())).await.unwrap();
        supervisor.send(&[7; MAX_MESSAGE], &[]).await.unwrap();

        let message = child.recv().unwrap();
        assert_eq!(message.bytes, b"job");
        let blobs: Vec<_> = message.descriptors.into_iter().map(|blob| memory::map_read(blob).unwrap()).collect();
        assert_eq!(blobs, [&b"program"[..], b"input"]);
        let message = child.recv().unwrap();
        assert_eq!((message.bytes.len(), message.descriptors.len()), (MAX_MESSAGE, 0));
    }

    #[tokio::test]
    async fn messages_keep_their_bounds_on_the_way_back() {
        let (supervisor, child) = pair();
        child.send(b"ready").unwrap();
        child.send(b"ended").unwrap();
        assert_eq!(supervisor.recv().await.unwrap(), b"ready");
        assert_eq!(supervisor.recv().await.unwrap(), b"ended");
        drop(child);
        assert!(matches!(supervisor.recv().await, Err(ChannelError::Closed)));
        assert!(matches!(supervisor.send(b"job", &[]).await, Err(ChannelError::Closed)));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_by_sender_and_receiver() {
        let (supervisor, child) = pair();
        assert!(matches!(child.send(&[0; MAX_MESSAGE + 1]), Err(ChannelError::TooLong)));
        assert!(matches!(child.send(b""), Err(ChannelError::Io(_))));
        let many = vec![child.0.as_fd(); MAX_DESCRIPTORS + 1];
        assert!(matches!(supervisor.send(b"job", &many).await, Err(ChannelError::Descriptors)));

        // A child that does not keep to our sender's rules.
        rustix::net::send(&child.0, &[0; MAX_MESSAGE + 1], SendFlags::empty()).unwrap();
        assert!(matches!(supervisor.recv().await, Err(ChannelError::TooLong)));
        transmit(child.0.as_fd(), b"here", &[child.0.as_fd()], SendFlags::empty()).unwrap();
        assert!(matches!(supervisor.recv().await, Err(ChannelError::Descriptors)));
        child.send(b"still there").unwrap();
        assert_eq!(supervisor.recv().await.unwrap(), b"still there");
    }

    #[tokio::test]
    async fn the_child_notices_that_its_supervisor_is_gone() {
        let (supervisor, child) = pair();
        let watching = child.try_clone().unwrap();
        let watchdog = std::thread::spawn(move || watching.wait_for_hangup());
        supervisor.send(b"a message is no hang-up", &[]).await.unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!watchdog.is_finished());
        drop(supervisor);
        watchdog.join().unwrap();
        assert_eq!(child.recv().unwrap().bytes, b"a message is no hang-up");
        assert!(matches!(child.recv(), Err(ChannelError::Closed)));
    }
}
