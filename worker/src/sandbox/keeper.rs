//! One thread that lives as long as the process: it starts children and clears away what is left of them.
//!
//! The kernel sends a child its parent-death signal when the thread that started it ends, so that must not be a worker
//! thread of a runtime.

use super::SandboxError;
use super::process::{self, Identity, Spawn};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often it looks for what could not be cleared away at once.
const SWEEP: Duration = Duration::from_millis(200);

/// What the thread is asked for.
pub(super) enum Request {
    /// To start a program.
    Spawn(Box<Spawn>, oneshot::Sender<Result<Started, SandboxError>>),
    /// To reap a killed child.
    Bury(OwnedFd),
    /// To remove a control group's folder once it is empty.
    Remove(PathBuf),
}

/// A child that runs.
pub(super) struct Started {
    pub(super) pidfd: OwnedFd,
    pub(super) identity: Identity,
    pub(super) stderr: OwnedFd,
}

/// Passes on a request; starts the thread on the first one.
pub(super) fn request(request: Request) -> Result<(), SandboxError> {
    static KEEPER: OnceLock<Mutex<Option<Sender<Request>>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| Mutex::new(None));
    let mut sender = keeper.lock().unwrap_or_else(PoisonError::into_inner);
    let ready = match sender.take() {
        Some(ready) => ready,
        None => start()?,
    };
    let sent = ready.send(request);
    *sender = Some(ready);
    sent.map_err(|_| SandboxError::Unavailable("the thread that starts processes ended".into()))
}

/// Has a killed child reaped when it is gone.
pub(super) fn bury(pidfd: OwnedFd) {
    if let Err(error) = request(Request::Bury(pidfd)) {
        tracing::error!(%error, "a killed process cannot be reaped");
    }
}

fn start() -> Result<Sender<Request>, SandboxError> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("process-keeper".into());
    thread.spawn(move || keep(&receiver)).map_err(SandboxError::io("the start of a thread"))?;
    Ok(sender)
}

fn keep(requests: &Receiver<Request>) {
    let mut zombies: Vec<OwnedFd> = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    loop {
        let idle = zombies.is_empty() && folders.is_empty();
        let next = if idle {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(SWEEP)
        };
        match next {
            // Whoever asked and went away drops the child, which kills it.
            Ok(Request::Spawn(spawn, reply)) => drop(reply.send(start_child(*spawn)).map_err(discard)),
            Ok(Request::Bury(pidfd)) => zombies.push(pidfd),
            Ok(Request::Remove(folder)) => folders.push(folder),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        zombies.retain(|pidfd| process::collect(pidfd).is_none());
        folders.retain(is_occupied);
    }
}

/// Tries to remove a control group; says whether that has to be tried again.
fn is_occupied(folder: &PathBuf) -> bool {
    match std::fs::remove_dir(folder) {
        Ok(()) => false,
        Err(error) => error.kind() == std::io::ErrorKind::ResourceBusy,
    }
}

fn start_child(spawn: Spawn) -> Result<Started, SandboxError> {
    let mut child = Command::new(&spawn.program)
        .args(&spawn.arguments)
        .env_clear()
        .envs(spawn.environment)
        .current_dir("/")
        .stdin(Stdio::from(spawn.stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(SandboxError::io(&format!("the start of {}", spawn.program.display())))?;
    let started = describe(&mut child);
    if started.is_err() {
        // It waits for its first message, so nothing keeps it from dying.
        let _ = child.kill();
        let _ = child.wait();
    }
    started
}

fn describe(child: &mut Child) -> Result<Started, SandboxError> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(SandboxError::call("pidfd_open"))?;
    let identity = Identity::of(child.id())?;
    let stderr = child.stderr.take().map(OwnedFd::from);
    let stderr = stderr.ok_or_else(|| SandboxError::Unavailable("a child has no error output".into()))?;
    Ok(Started { pidfd, identity, stderr })
}

/// Nobody waits for this child any more.
fn discard(reply: Result<Started, SandboxError>) {
    if let Ok(started) = reply {
        let _ = rustix::process::pidfd_send_signal(&started.pidfd, rustix::process::Signal::KILL);
        bury(started.pidfd);
    }
}
