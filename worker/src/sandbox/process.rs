//! A job's process as its supervisor sees it: spawned, watched, killed, reaped, and found again after a crash.

use super::keeper::{self, Request};
use super::{Cgroup, SandboxError};
use nix::libc;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How much of the end of a process' error output is kept.
const LOG_BYTES: usize = 16 << 10;
/// After this much error output the reader pauses, so that a process that floods it pays for it, not the supervisor.
const LOG_BURST: usize = 64 << 10;
/// How long that pause is.
const LOG_PAUSE: Duration = Duration::from_millis(100);

/// What is started.
#[derive(Debug)]
pub struct Spawn {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Its standard input: the child's end of the socket.
    pub stdin: OwnedFd,
}

/// A child of this process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    pidfd: AsyncFd<OwnedFd>,
    exit: Mutex<Option<Exit>>,
    log: Arc<Mutex<VecDeque<u8>>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Somebody else took its status.
    Unknown,
}

/// A process that is still there after its deadline, although it was killed.
#[derive(Debug, thiserror::Error)]
#[error("process {} still exists although it was killed: it hangs in the kernel, probably in a driver", .0.pid())]
pub struct Unkillable(pub Process);

/// Names one process among all that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since the machine was.
    pub start_time: u64,
    /// Which start of the machine that was.
    pub boot: String,
}

/// What became of a process that an earlier supervisor left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It had ended before.
    Gone,
    /// It was killed.
    Killed,
    /// It was killed and is still there.
    Alive,
}

impl Process {
    /// Starts a program, in a control group where there is one.
    ///
    /// The parent, in the sense of the child's parent-death signal, is a thread that lives as long as this process.
    pub async fn spawn(spawn: Spawn, cgroup: Option<&Cgroup>) -> Result<Self, SandboxError> {
        let (reply, started) = oneshot::channel();
        keeper::request(Request::Spawn(Box::new(spawn), reply))?;
        let gone = |_| SandboxError::Unavailable("the thread that starts processes ended".into());
        let keeper::Started { pidfd, identity, stderr } = started.await.map_err(gone)??;
        let pidfd = super::watched(pidfd, Interest::READABLE)?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let process = Self { identity, pidfd, exit: Mutex::new(None), log: Arc::clone(&log) };
        let stderr =
            pipe::Receiver::from_owned_fd(stderr).map_err(SandboxError::io("watching a child's error output"))?;
        tokio::spawn(keep_log(stderr, log));
        // It runs trusted code until it is sent something to do, so it need not be born in its group.
        if let Some(cgroup) = cgroup {
            cgroup.add(process.pid())?;
        }
        Ok(process)
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// What finds it again after this process is gone.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Kills it. Returns at once; [`Process::exited`] tells when it is gone.
    pub fn kill(&self) {
        // The only failure is that it has ended already.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
    }

    /// Waits for its end. May be called again and by several at once.
    pub async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = self.try_exited() {
                return exit;
            }
            match self.pidfd.readable().await {
                Ok(mut ready) => match self.try_exited() {
                    Some(exit) => return exit,
                    None => ready.clear_ready(),
                },
                // The runtime is being shut down and polls nothing any more.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// How it ended, if it did.
    pub fn try_exited(&self) -> Option<Exit> {
        let mut exit = lock(&self.exit);
        if exit.is_none() {
            *exit = collect(self.pidfd.get_ref());
        }
        *exit
    }

    /// Kills it and waits until it is gone, at most until the deadline.
    pub async fn reap(self, deadline: Duration) -> Result<Exit, Box<Unkillable>> {
        self.kill();
        match tokio::time::timeout(deadline, self.exited()).await {
            Ok(exit) => Ok(exit),
            Err(_) => Err(Box::new(Unkillable(self))),
        }
    }

    /// The CPU time of all its threads, in milliseconds; `None` once it was reaped.
    pub fn cpu_ms(&self) -> Option<u64> {
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let fields = Fields::of(self.pid())?;
        let ticks = fields.number(UTIME)?.checked_add(fields.number(STIME)?)?;
        // Whoever got its number has another start time.
        let same = fields.number(START_TIME)? == self.identity.start_time;
        same.then(|| ticks.saturating_mul(1000) / ticks_per_second.max(1))
    }

    /// The end of what it wrote to its error output, printable.
    pub fn log(&self) -> String {
        let bytes: Vec<u8> = lock(&self.log).iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        // A job may have got hold of the process: its text must not move the reader's cursor.
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_exited().is_some() {
            return;
        }
        self.kill();
        if let Ok(pidfd) = self.pidfd.get_ref().try_clone() {
            keeper::bury(pidfd);
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("ended"),
        }
    }
}

impl Identity {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Result<Self, SandboxError> {
        let start_time = Fields::of(pid).and_then(|fields| fields.number(START_TIME));
        let start_time =
            start_time.ok_or_else(|| SandboxError::Unavailable(format!("/proc does not show process {pid}")))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self { pid, start_time, boot: boot.trim().into() })
    }
}

/// Kills a process that an earlier supervisor left behind, if its number is not another's by now. Blocks until it is
/// gone, at most until the deadline.
pub fn kill_orphan(identity: &Identity, deadline: Duration) -> Result<Orphan, SandboxError> {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(Orphan::Gone) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(Orphan::Gone),
        other => other.map_err(SandboxError::call("pidfd_open"))?,
    };
    // Asked after the descriptor was opened: from here on the number cannot change hands unseen.
    if Identity::of(identity.pid).ok().as_ref() != Some(identity) {
        return Ok(Orphan::Gone);
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Err(Errno::SRCH) => return Ok(Orphan::Gone),
        other => other.map_err(SandboxError::call("pidfd_send_signal"))?,
    }
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        // A zombie holds nothing any more; whoever is its parent now will take its status.
        let state = Fields::of(identity.pid).filter(|fields| fields.number(START_TIME) == Some(identity.start_time));
        match state {
            Some(fields) if !fields.is_zombie() => std::thread::sleep(Duration::from_millis(10)),
            _ => return Ok(Orphan::Killed),
        }
    }
    Ok(Orphan::Alive)
}

/// Takes the status of a child that ended.
pub(super) fn collect(pidfd: &OwnedFd) -> Option<Exit> {
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(status) => status.as_ref().map(exit_of),
        Err(Errno::INTR) => None,
        Err(_) => Some(Exit::Unknown),
    }
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

async fn keep_log(mut stderr: pipe::Receiver, log: Arc<Mutex<VecDeque<u8>>>) {
    let mut buffer = [0u8; 4096];
    let mut burst = 0;
    while let Ok(read) = stderr.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        {
            let mut log = lock(&log);
            log.extend(&buffer[..read]);
            let excess = log.len().saturating_sub(LOG_BYTES);
            log.drain(..excess);
        }
        burst += read;
        if burst >= LOG_BURST {
            burst = 0;
            tokio::time::sleep(LOG_PAUSE).await;
        }
    }
}

/// Closes all descriptors but the standard ones. For the start of a process, before it has opened any.
pub(super) fn close_inherited() -> Result<(), SandboxError> {
    // SAFETY: nothing in this process owns a descriptor yet, so nobody's is closed.
    if unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) } == 0 {
        return Ok(());
    }
    // Kernels before 5.9 and some containers do not have the call.
    let listed = std::fs::read_dir("/proc/self/fd").map_err(SandboxError::io("reading /proc/self/fd"))?;
    let numbers = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Collected first, so that the list's own descriptor is closed by its owner.
    for number in numbers.collect::<Vec<_>>().into_iter().filter(|number| *number > 2) {
        // SAFETY: as above. The list's own descriptor is gone already; closing a number twice does nothing.
        unsafe { libc::close(number) };
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Places in `/proc/<pid>/stat`, counted from the state, which is the first field after the name.
const STATE: usize = 0;
const UTIME: usize = 11;
const STIME: usize = 12;
const START_TIME: usize = 19;

/// The fields of `/proc/<pid>/stat`.
struct Fields(String);

impl Fields {
    fn of(pid: u32) -> Option<Self> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may itself contain any character.
        line.rfind(") ").map(|end| Self(line[end + 2..].to_owned()))
    }

    fn number(&self, place: usize) -> Option<u64> {
        self.0.split(' ').nth(place)?.parse().ok()
    }

    fn is_zombie(&self) -> bool {
        matches!(self.0.split(' ').nth(STATE), Some("Z" | "X"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Supervision;

    async fn shell(script: &str) -> (Process, Supervision) {
        let (channel, stdin) = Supervision::pair().unwrap();
        let spawn = Spawn {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("ONLY".into(), "this".into())],
            stdin,
        };
        (Process::spawn(spawn, None).await.unwrap(), channel)
    }

    #[tokio::test]
    async fn a_child_has_an_empty_environment_and_is_told_apart_by_its_end() {
        let (process, _channel) = shell("echo \"$ONLY:$HOME:$(pwd)\" >&2; printf '\\033[2J' >&2; exit 7").await;
        assert_eq!(process.exited().await, Exit::Code(7));
        assert_eq!(process.exited().await, Exit::Code(7), "a status can be asked for again");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(process.log(), "this::/\n\u{fffd}[2J");
        assert_eq!(process.cpu_ms(), None);
    }

    #[tokio::test]
    async fn a_child_is_reaped_within_its_deadline() {
        let (process, _channel) = shell("sleep 1000").await;
        assert!(process.try_exited().is_none());
        assert!(process.cpu_ms().is_some());
        let pid = process.pid();
        assert_eq!(process.reap(Duration::from_secs(5)).await.unwrap(), Exit::Signal(9));
        assert!(Fields::of(pid).is_none_or(|fields| !fields.is_zombie()));
    }

    #[tokio::test]
    async fn a_child_that_nobody_wants_any_more_is_killed_and_reaped() {
        let (process, _channel) = shell("sleep 1000").await;
        let identity = process.identity().clone();
        drop(process);
        for _ in 0..100 {
            if Identity::of(identity.pid).ok().as_ref() != Some(&identity) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{identity:?} is still there");
    }

    #[tokio::test]
    async fn a_flood_of_error_output_is_bounded() {
        let (process, _channel) = shell("while :; do echo flood; done >&2").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!((1..=LOG_BYTES).contains(&process.log().len()));
        process.reap(Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn an_orphan_is_killed_only_if_it_is_the_same_process() {
        let (process, _channel) = shell("sleep 1000").await;
        let identity = process.identity().clone();
        let deadline = Duration::from_secs(5);
        let another = Identity { start_time: identity.start_time + 1, ..identity.clone() };
        assert_eq!(kill_orphan(&another, deadline).unwrap(), Orphan::Gone);
        let before = Identity { boot: "an earlier one".into(), ..identity.clone() };
        assert_eq!(kill_orphan(&before, deadline).unwrap(), Orphan::Gone);
        assert!(process.try_exited().is_none());
        assert_eq!(kill_orphan(&identity, deadline).unwrap(), Orphan::Killed);
        assert_eq!(process.exited().await, Exit::Signal(9));
        assert_eq!(kill_orphan(&identity, deadline).unwrap(), Orphan::Gone);
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let (_channel, stdin) = Supervision::pair().unwrap();
        let spawn = Spawn { program: "/nowhere/worker".into(), arguments: vec![], environment: vec![], stdin };
        let error = Process::spawn(spawn, None).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/worker"), "{error}");
    }
}
