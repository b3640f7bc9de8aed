//! A process that outlives its worker for a moment: containers are no children of the worker's, and would run on after it
//! was killed.
//!
//! It holds one end of a pipe and does nothing until the kernel closes the other, which it does however the worker ends.
//! Then it kills the containers that are left. Their folders stay for the next start, which finds nothing that runs.

use super::{LOCK, RUNC, runc::Runc};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the containers of a killed worker may take to be gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// For so long none may have been there before it is over: a runc that was about to make one makes it first.
const QUIET: Duration = Duration::from_secs(3);
/// Who has the folder for so long is another worker, and not the one that ends: the kernel takes its lock back after its
/// pipe.
const TAKEN: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);
/// What a worker says that ends by itself, when it has no containers any more.
const DISMISSED: &[u8] = b".";

/// The process, as its worker sees it.
#[derive(Debug)]
pub(super) struct Warden(Child);

impl Warden {
    /// Starts `program`, `capa-worker`, to watch over the containers of `runc` in a state folder.
    pub(super) fn start(program: &Path, runc: &Path, state: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("warden").arg("--runc").arg(runc).arg("--state").arg(state);
        // Its standard input is the pipe, and no other process is given the end that this one holds.
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        started.map(Self).map_err(|error| format!("the process that ends containers does not start: {error}"))
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(DISMISSED);
        }
        // It has nothing to do, and if it hangs it ends no container either.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the worker at the other end of `pipe` is gone, and ends its containers.
pub fn watch(runc: PathBuf, state: &Path, mut pipe: impl Read) -> io::Result<()> {
    // A worker that is told to end ends its containers itself, and a terminal's Ctrl-C goes to all of its session.
    let _ = rustix::process::setsid();
    let mut said = Vec::new();
    pipe.read_to_end(&mut said)?;
    if said == DISMISSED {
        return Ok(());
    }
    let runc = Runc::known(runc, state.join(RUNC));
    let lock = File::open(state.join(LOCK))?;
    let deadline = Instant::now() + PATIENCE;
    let (gone, mut quiet) = (Instant::now(), Instant::now());
    while Instant::now() < deadline {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if gone.elapsed() < TAKEN => {
                std::thread::sleep(LOOK);
                continue;
            }
            // Another worker has taken the folder over, and has ended what was left there.
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let left = runc.containers()?;
        if left.is_empty() && quiet.elapsed() >= QUIET {
            return Ok(());
        }
        for id in left {
            quiet = Instant::now();
            // It fails as long as the container is being made, and is tried again.
            let _ = runc.delete(&id);
        }
        // Whoever waits for the folder gets it now.
        lock.unlock()?;
        std::thread::sleep(LOOK);
    }
    Err(io::Error::other("containers of a worker that is gone do not end"))
}
