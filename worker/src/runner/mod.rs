//! The program of a job's process: `capa-worker runner`, started by `fleet` and by nobody else.
//!
//! It finds its socket as standard input and is told what to become ([`Role`]). It gives up what it will not need
//! while it is alone, builds its executors, which may open a GPU, then gives up the rest, and only after that reads the
//! first byte of a stranger's job. It knows no keys, no network and no ledger, and has no asynchronous runtime: its
//! threads are this one, which listens, one that works and one that tells progress.
//!
//! A panic ends the whole process, which the supervisor takes as a failure of the node.

mod message;
mod role;
mod desk;

pub(crate) use message::cut;
pub use message::{Ability, Facts, FromRunner, Outcome, PROGRESS_INTERVAL, Role, Task, ToRunner};

use crate::execute::{self, CudaConfig, Executor};
use crate::sandbox::{self, Channel, ChannelError, Confinement, Lockdown, SandboxError};
use desk::Desk;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Exit code of a process that ended by a panic.
const PANICKED: i32 = 101;

/// Why a runner ends before its supervisor does.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the supervisor's message cannot be read: {0}")]
    Message(#[from] serde_json::Error),
    #[error("the supervisor broke the order of messages: {0}")]
    Order(&'static str),
    #[error("a thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Serves one supervisor until it closes the socket.
pub fn run() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the supervisor ends what this process leaves, and must see that it failed"
    )]
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("the runner panicked: {panic}");
        std::process::exit(PANICKED);
    }));
    match serve() {
        Ok(()) | Err(RunnerError::Channel(ChannelError::Closed)) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), RunnerError> {
    let channel = Arc::new(Channel::from_stdin()?);
    let ToRunner::Setup { role, lockdown } = serde_json::from_slice(&channel.recv()?.bytes)? else {
        return Err(RunnerError::Order("a job came before the setup"));
    };
    if let Role::Probe(config) = &role {
        let find = || Ok(FromRunner::Found { gpus: execute::gpus(config)? });
        return Ok(say(&channel, &at_once(lockdown, &channel, find))?);
    }
    if let Role::Scrub(config) = &role {
        return Ok(say(&channel, &at_once(lockdown, &channel, || scrub(config)))?);
    }
    match prepare(role, lockdown, &channel) {
        Ok((executors, facts)) => {
            say(&channel, &FromRunner::Ready(facts))?;
            Desk::new(channel, executors).serve()
        }
        Err(reason) => Ok(say(&channel, &FromRunner::Unfit { reason: cut(reason) })?),
    }
}

/// Sends a message to the supervisor.
fn say(channel: &Channel, message: &FromRunner) -> Result<(), ChannelError> {
    let bytes = serde_json::to_vec(message).map_err(|error| ChannelError::Io(error.into()))?;
    channel.send(&bytes)
}

/// Locks this process, with its executors built half-way.
fn prepare(role: Role, lockdown: Lockdown, channel: &Channel) -> Result<(Vec<Arc<dyn Executor>>, Facts), String> {
    let begun = sandbox::begin(lockdown, channel).map_err(|error| error.to_string())?;
    let executors = role::executors(role)?;
    let Confinement { isolation, missing } = begun.finish().map_err(|error| error.to_string())?;
    role::rehearse(&executors)?;
    let abilities = executors.iter().map(|executor| Ability::of(&**executor));
    let facts = Facts { abilities: abilities.collect(), isolation, missing: missing.into_iter().map(cut).collect() };
    Ok((executors, facts))
}

/// What a process says that runs nothing of any job, and ends.
fn at_once(lockdown: Lockdown, channel: &Channel, work: impl FnOnce() -> Result<FromRunner, String>) -> FromRunner {
    let begun = sandbox::begin(lockdown, channel).map_err(|error| error.to_string());
    begun.and_then(|_| work()).unwrap_or_else(|reason| FromRunner::Unfit { reason: cut(reason) })
}

fn scrub(config: &CudaConfig) -> Result<FromRunner, String> {
    let begin = Instant::now();
    let bytes = execute::scrub(config)?;
    let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(FromRunner::Scrubbed { bytes, milliseconds })
}
