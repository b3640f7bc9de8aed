//! One container from its start to its end, and whose fault the end was.

use super::super::ExecuteError;
use super::LOOK;
use super::folder::JobFolder;
use super::meter::{Meter, Reached};
use super::runc::{Runc, Running, complaint};
use protocol::resource::Usage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What runc says where the command is not in the image or is not a program.
const CANNOT_EXECUTE: &str = "unable to start container process: exec: ";

/// A container that is ready to start.
pub(super) struct Container<'a> {
    pub(super) runc: &'a Runc,
    pub(super) id: &'a str,
    pub(super) folder: &'a JobFolder,
    pub(super) meter: &'a Meter,
}

/// A container that ended.
pub(super) struct Ended {
    /// Why, if not by itself.
    reached: Option<Reached>,
    /// Its exit code, where it ended by itself.
    code: Option<i32>,
    last_words: String,
    complaint: Option<String>,
    out_of_memory: bool,
    usage: Usage,
}

/// Why a container's end is not known. Either is the node's failure.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// runc cannot be used.
    #[error("runc {0}")]
    Runc(String),
    /// It may still run.
    #[error("the container could not be ended, and may still hold its devices: {0}")]
    Stuck(String),
}

impl Container<'_> {
    /// Runs the container to its end, or to a limit.
    pub(super) fn run(&self, progress: &watch::Sender<Usage>, cancel: &CancellationToken) -> Result<Ended, Failure> {
        let started = self.runc.start(self.id, self.folder.path(), &self.folder.log());
        let mut running = started.map_err(|error| Failure::Runc(format!("does not start: {error}")))?;
        let watched = self.watch(&mut running, progress, cancel);
        let (code, reached) = match watched {
            Ok(outcome) => outcome,
            Err(error) => {
                // Whatever went wrong here, the container must not outlive it.
                self.end(&mut running)?;
                return Err(error);
            }
        };
        let mut usage = self.meter.usage(&progress.borrow());
        if reached.is_some() {
            self.end(&mut running)?;
        }
        let counters = self.runc.counters(self.id);
        let cpu_ms = counters.as_ref().and_then(|counters| counters.cpu_ms()).unwrap_or(0);
        usage.cpu_ms = usage.cpu_ms.max(cpu_ms.into());
        let ended = Ended {
            reached,
            code,
            last_words: running.last_words(),
            complaint: complaint(&self.folder.log()),
            out_of_memory: counters.is_some_and(|counters| counters.was_out_of_memory()),
            usage,
        };
        self.remove()?;
        Ok(ended)
    }

    /// Looks at the container until it ends or must end.
    fn watch(
        &self,
        running: &mut Running,
        progress: &watch::Sender<Usage>,
        cancel: &CancellationToken,
    ) -> Result<(Option<i32>, Option<Reached>), Failure> {
        let lost = |error| Failure::Runc(format!("cannot be waited for: {error}"));
        loop {
            if let Some(status) = running.wait(LOOK).map_err(lost)? {
                return Ok((status.code(), None));
            }
            if let Some(reached) = self.meter.reached(cancel) {
                return Ok((None, Some(reached)));
            }
            let last = *progress.borrow();
            let mut usage = self.meter.usage(&last);
            if usage != last {
                let cpu_ms = self.runc.counters(self.id).and_then(|counters| counters.cpu_ms());
                usage.cpu_ms = usage.cpu_ms.max(cpu_ms.unwrap_or(0).into());
                progress.send_replace(usage);
            }
        }
    }

    fn end(&self, running: &mut Running) -> Result<(), Failure> {
        self.runc.end(self.id, running).map_err(Failure::Stuck)
    }

    fn remove(&self) -> Result<(), Failure> {
        // A container that runc could not make left nothing that it knows of.
        let known = self.runc.containers().is_ok_and(|containers| containers.iter().any(|known| known == self.id));
        if known { self.runc.delete(self.id).map_err(Failure::Stuck) } else { Ok(()) }
    }
}

impl Ended {
    /// What the end means: the usage of a program that succeeded, and else whose fault it was.
    pub(super) fn judge(&self) -> Result<Usage, ExecuteError> {
        let usage = self.usage;
        match (&self.reached, &self.complaint) {
            (Some(Reached::Cancelled), _) => return Err(ExecuteError::Cancelled { usage }),
            (Some(Reached::Limit(detail)), _) => return Err(ExecuteError::Limit { detail: detail.clone(), usage }),
            // The command is the client's: that it cannot be executed is no fault of the node.
            (None, Some(complaint)) if complaint.contains(CANNOT_EXECUTE) => {
                return Err(ExecuteError::Program { detail: complaint.clone(), usage });
            }
            (None, Some(complaint)) => return Err(ExecuteError::Node(complaint.clone())),
            (None, None) => {}
        }
        match self.code {
            Some(0) => Ok(usage),
            Some(_) if self.out_of_memory => {
                let detail = "it used more memory than limits.memory of the envelope".into();
                Err(ExecuteError::Limit { detail, usage })
            }
            Some(code) if self.last_words.is_empty() => {
                Err(ExecuteError::Program { detail: format!("it ended with the exit code {code}"), usage })
            }
            Some(code) => {
                let detail = format!("it ended with the exit code {code}; it wrote last:\n{}", self.last_words);
                Err(ExecuteError::Program { detail, usage })
            }
            None => Err(ExecuteError::Node("runc was killed by somebody else".into())),
        }
    }
}
