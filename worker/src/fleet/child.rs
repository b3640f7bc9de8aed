//! A child of the supervisor: a locked process that runs jobs of one tenant.

use super::device::Site;
use super::gpu::Environment;
use super::users::Uid;
use crate::execute::Gpu;
use crate::runner::{Facts, FromRunner, Role, ToRunner};
use crate::sandbox::{Cgroup, ChannelError, Exit, Lockdown, Process, SandboxError, Spawn, Supervision, Unkillable};
use std::path::PathBuf;
use std::time::Duration;

/// How long a child may take until it is ready: a driver may have to be loaded, and the machine may be busy.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long clearing a GPU's memory may take: it is a matter of seconds, and of the driver's start.
const SCRUB_DEADLINE: Duration = Duration::from_secs(120);
/// How long a killed child may take to be gone.
pub(super) const REAP_DEADLINE: Duration = Duration::from_secs(5);

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// It could not be started, or not be spoken to.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It said what is missing.
    #[error("{0}")]
    Unfit(String),
    /// It ended without a word.
    #[error("the process {exit} before it was ready; it said: {log}")]
    Ended {
        /// How.
        exit: Exit,
        /// The end of its error output.
        log: String,
    },
    /// It did not become ready.
    #[error("the process was not ready within {} s", .0.as_secs())]
    Late(Duration),
    /// It did not even die.
    #[error(transparent)]
    Unkillable(#[from] Box<Unkillable>),
    /// It said something else than it must.
    #[error("the process spoke out of turn: {0}")]
    Protocol(String),
}

/// What is started.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) environment: Environment,
    pub(super) role: Role,
    pub(super) lockdown: Lockdown,
}

/// A child that is locked and takes jobs.
pub(super) struct Child {
    pub(super) site: Site,
    pub(super) process: Process,
    pub(super) channel: Supervision,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) facts: Facts,
    /// Number of its next job.
    pub(super) next: u64,
    /// Bytes of shared memory that it was handed in all.
    pub(super) handed: u64,
    /// Its user, given to nobody else while it lives.
    pub(super) _user: Option<Uid>,
}

impl Child {
    /// Whether it may still be spoken to.
    pub(super) fn is_alive(&self) -> bool {
        self.process.try_exited().is_none()
    }

    /// CPU time that it used so far, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Option<u64> {
        self.cgroup.as_ref().and_then(Cgroup::cpu_ms).or_else(|| self.process.cpu_ms())
    }
}

/// A process that was started and has not answered yet.
pub(super) struct Newborn {
    pub(super) process: Process,
    channel: Supervision,
}

/// Starts a process and tells it what to become.
pub(super) async fn start(plan: Plan, cgroup: Option<&Cgroup>) -> Result<Newborn, StartError> {
    let (channel, stdin) = Supervision::pair()?;
    let Plan { program, environment, role, lockdown } = plan;
    let spawn = Spawn { program, arguments: vec!["runner".into()], environment, stdin };
    let process = Process::spawn(spawn, cgroup).await?;
    let setup = serde_json::to_vec(&ToRunner::Setup { role, lockdown });
    let setup = setup.map_err(|error| StartError::Protocol(error.to_string()))?;
    match channel.send(&setup, &[]).await {
        // It is told below how a process ended that hangs up at once.
        Ok(()) | Err(ChannelError::Closed) => Ok(Newborn { process, channel }),
        Err(error) => Err(StartError::Protocol(error.to_string())),
    }
}

impl Newborn {
    /// Waits until it is ready.
    pub(super) async fn ready(self) -> Result<(Process, Supervision, Facts), StartError> {
        let answer = self.answer().await;
        match answer {
            Ok(FromRunner::Ready(facts)) => Ok((self.process, self.channel, facts)),
            Ok(FromRunner::Unfit { reason }) => Err(self.end(StartError::Unfit(reason)).await),
            Ok(other) => Err(self.end(StartError::Protocol(format!("{other:?}"))).await),
            Err(error) => Err(self.end(error).await),
        }
    }

    /// Waits for what a probe found.
    pub(super) async fn found(self) -> Result<Vec<Gpu>, StartError> {
        let answer = self.answer().await;
        match answer {
            Ok(FromRunner::Found { gpus }) => self.process.reap(REAP_DEADLINE).await.map(|_| gpus).map_err(Into::into),
            Ok(FromRunner::Unfit { reason }) => Err(self.end(StartError::Unfit(reason)).await),
            Ok(other) => Err(self.end(StartError::Protocol(format!("{other:?}"))).await),
            Err(error) => Err(self.end(error).await),
        }
    }

    /// Waits until it has cleared its GPU. Tells how many bytes that were, and how many milliseconds it took.
    pub(super) async fn scrubbed(self) -> Result<(u64, u64), StartError> {
        match self.answer_within(SCRUB_DEADLINE).await {
            Ok(FromRunner::Scrubbed { bytes, milliseconds }) => {
                self.process.reap(REAP_DEADLINE).await?;
                Ok((bytes, milliseconds))
            }
            Ok(FromRunner::Unfit { reason }) => Err(self.end(StartError::Unfit(reason)).await),
            Ok(other) => Err(self.end(StartError::Protocol(format!("{other:?}"))).await),
            Err(error) => Err(self.end(error).await),
        }
    }

    async fn answer(&self) -> Result<FromRunner, StartError> {
        self.answer_within(START_DEADLINE).await
    }

    async fn answer_within(&self, deadline: Duration) -> Result<FromRunner, StartError> {
        let received = match tokio::time::timeout(deadline, self.channel.recv()).await {
            Ok(received) => received,
            Err(_) => return Err(StartError::Late(deadline)),
        };
        match received {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| StartError::Protocol(error.to_string())),
            Err(ChannelError::Closed) => {
                // The socket closes a moment before the process is gone and its last words are read.
                let exit = tokio::time::timeout(REAP_DEADLINE, self.process.exited()).await;
                let exit = exit.unwrap_or(Exit::Unknown);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(StartError::Ended { exit, log: self.process.log().trim().to_owned() })
            }
            Err(error) => Err(StartError::Protocol(error.to_string())),
        }
    }

    /// Sees to it that a process that is of no use is gone.
    async fn end(self, reason: StartError) -> StartError {
        match self.process.reap(REAP_DEADLINE).await {
            Ok(_) => reason,
            Err(unkillable) => StartError::Unkillable(unkillable),
        }
    }
}
