//! Taking jobs from the supervisor: one at a time, told about while it runs, its memory given back before its end is.

use super::message::{FromRunner, Outcome, PROGRESS_INTERVAL, Task, ToRunner};
use super::{RunnerError, say};
use crate::execute::{Compilations, ExecuteError, Executor, JobInput, Produced, Region};
use crate::node::lock;
use crate::sandbox::channel::{Channel, Message};
use crate::sandbox::{SandboxError, memory};
use protocol::job::Envelope;
use protocol::resource::Usage;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where a runner works.
pub(super) struct Desk {
    channel: Arc<Channel>,
    executors: Vec<Arc<dyn Executor>>,
    /// The job that runs. Whoever speaks about it holds this, so that nothing is said after its end.
    active: Mutex<Option<Active>>,
    /// Told when a job begins.
    begun: Condvar,
}

struct Active {
    id: u64,
    cancel: CancellationToken,
    progress: watch::Receiver<Usage>,
}

/// A job on its way to the thread that works.
struct Work {
    task: Task,
    descriptors: Vec<OwnedFd>,
    progress: watch::Sender<Usage>,
    cancel: CancellationToken,
}

impl Desk {
    pub(super) fn new(channel: Arc<Channel>, executors: Vec<Arc<dyn Executor>>) -> Arc<Self> {
        Arc::new(Self { channel, executors, active: Mutex::default(), begun: Condvar::new() })
    }

    /// Works until the supervisor closes the socket.
    pub(super) fn serve(self: Arc<Self>) -> Result<(), RunnerError> {
        // Threads inherit what locks the one that starts them: these are started behind the last lock.
        let (queue, work) = mpsc::sync_channel(1);
        let (worker, teller) = (self.clone(), self.clone());
        let start = |name: &str| thread::Builder::new().name(name.into());
        start("job").spawn(move || worker.work_off(work)).map_err(RunnerError::Thread)?;
        start("progress").spawn(move || teller.tell()).map_err(RunnerError::Thread)?;
        loop {
            let Message { bytes, descriptors } = self.channel.recv()?;
            match serde_json::from_slice(&bytes)? {
                ToRunner::Job(task) => {
                    let work = self.begin(task, descriptors)?;
                    say(&self.channel, &FromRunner::Begun { id: work.task.id })?;
                    queue.send(work).map_err(|_| RunnerError::Order("the thread that works is gone"))?;
                }
                ToRunner::Cancel { id } => {
                    if let Some(active) = lock(&self.active).as_ref().filter(|active| active.id == id) {
                        active.cancel.cancel();
                    }
                }
                ToRunner::Setup { .. } => return Err(RunnerError::Order("a second setup")),
            }
        }
    }

    fn begin(&self, task: Task, descriptors: Vec<OwnedFd>) -> Result<Work, RunnerError> {
        let mut active = lock(&self.active);
        if active.is_some() {
            return Err(RunnerError::Order("a job came while another one ran"));
        }
        let (sender, progress) = watch::channel(Usage::default());
        let cancel = CancellationToken::new();
        *active = Some(Active { id: task.id, cancel: cancel.clone(), progress });
        self.begun.notify_one();
        Ok(Work { task, descriptors, progress: sender, cancel })
    }

    /// The thread that works.
    fn work_off(&self, queue: mpsc::Receiver<Work>) {
        for work in queue {
            let (id, before) = (work.task.id, self.compilations());
            let outcome = Outcome::from(self.execute(work));
            let spent = self.executors.iter().any(|executor| executor.must_restart());
            let compilations = self.compilations().since(before);
            let mut active = lock(&self.active);
            *active = None;
            if say(&self.channel, &FromRunner::Ended { id, outcome, spent, compilations }).is_err() {
                // Nobody is left to work for; the thread that listens finds that out as well, and ends the process.
                return;
            }
        }
    }

    /// What all executors have compiled so far.
    fn compilations(&self) -> Compilations {
        self.executors.iter().fold(Compilations::default(), |sum, executor| sum.and(executor.compilations()))
    }

    /// The thread that tells progress. It sleeps while there is no job.
    fn tell(&self) {
        let mut active = lock(&self.active);
        loop {
            active = match active.as_mut() {
                None => self.begun.wait(active).unwrap_or_else(PoisonError::into_inner),
                Some(job) => {
                    if job.progress.has_changed().unwrap_or(false) {
                        let usage = *job.progress.borrow_and_update();
                        if say(&self.channel, &FromRunner::Progress { id: job.id, usage }).is_err() {
                            return;
                        }
                    }
                    drop(active);
                    thread::sleep(PROGRESS_INTERVAL);
                    lock(&self.active)
                }
            };
        }
    }

    /// Runs a job in the memory that came with it. All of that is unmapped when this returns.
    fn execute(&self, work: Work) -> Result<Produced, ExecuteError> {
        let Work { task, descriptors, progress, cancel } = work;
        let (job, mut outputs) = assemble(&task, descriptors)?;
        let kind = job.envelope.program.kind();
        let executor = self.executors.iter().find(|executor| executor.kind() == kind);
        let executor = executor.ok_or_else(|| ExecuteError::Unsupported(format!("it runs no {kind} jobs")))?;
        executor.execute(job, &mut outputs, progress, cancel)
    }
}

/// The job and its outputs, from the memory that came with it: the envelope, then the blobs, then the outputs.
fn assemble(task: &Task, descriptors: Vec<OwnedFd>) -> Result<(JobInput, Vec<Region>), ExecuteError> {
    let lost = |error: SandboxError| ExecuteError::Node(format!("the job's memory cannot be mapped: {error}"));
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| ExecuteError::Node("a part of the job is missing".into()));
    let text = memory::map_read(next()?).map_err(lost)?;
    let envelope: Envelope = serde_json::from_slice(&text)
        .map_err(|error| ExecuteError::Node(format!("the supervisor's envelope cannot be read: {error}")))?;
    let blobs: Vec<_> = envelope.blobs().map(|_| memory::map_read(next()?).map_err(lost)).collect::<Result<_, _>>()?;
    let (rank, unit, max_units) = (task.rank, task.unit, task.max_units);
    let job = JobInput { envelope, blobs, rank, devices: vec![], unit, max_units };
    let mut outputs = Vec::with_capacity(job.envelope.outputs.len());
    for length in job.output_lengths() {
        let region = memory::map_write(next()?).map_err(lost)?;
        if region.len() != length {
            return Err(ExecuteError::Node("an output's memory is not as long as the envelope says".into()));
        }
        outputs.push(region);
    }
    Ok((job, outputs))
}
