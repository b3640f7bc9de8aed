//! One device's share of a job: sent to its child, watched, and stopped where the child would not stop by itself.
//!
//! Nothing that a child says is believed beyond what the supervisor can bound: see `bounds`. A child that breaks the
//! protocol, or goes on after its time, is of no use any more.

use super::bounds::Bounds;
use super::child::{Child, REAP_DEADLINE};
use super::device::Site;
use super::nursery::{Nursery, Undead, memory_limit};
use super::unbilled;
use super::work::{Outputs, Work};
use crate::execute::{ExecuteError, Produced};
use crate::observe;
use crate::runner::{FromRunner, Outcome, Task, ToRunner, cut};
use crate::sandbox::{Cgroup, ChannelError, Exit};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::Kind;
use protocol::resource::Usage;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A child may speak this often before it is flooding: twice as often as it should, and some more.
const MESSAGE_INTERVAL_MS: u64 = 25;
const MESSAGE_BURST: u64 = 64;
/// A child that was handed so many bytes of shared memory is replaced: it may have kept all of them mapped, and what
/// the supervisor wrote there counts as the supervisor's own memory.
const MOST_HANDED: u64 = 4 << 30;
/// Longest wall time of a job; larger ones are cut to this, which is beyond any machine's uptime.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long the last words of a process that ended may take to be known.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Signals by which the kernel ends a process for what it did, and the one by which a compiler, a driver or the
/// allocator ends its own process over what it was given.
const FAULTS: [nix::libc::c_int; 6] = [
    nix::libc::SIGSEGV,
    nix::libc::SIGBUS,
    nix::libc::SIGILL,
    nix::libc::SIGFPE,
    nix::libc::SIGSYS,
    nix::libc::SIGABRT,
];

/// What all shares of a job have in common.
pub(super) struct Terms<'a> {
    pub(super) work: &'a Work,
    pub(super) grace: Duration,
    pub(super) cancel: &'a CancellationToken,
    /// How much longer than the usual, and than what it is billed for, the job may have its device; `None` for ever.
    pub(super) unbilled: Option<Duration>,
    /// Is told what the share of a rank has used so far.
    pub(super) progress: &'a (dyn Fn(u32, Usage) + Sync),
}

/// How a share ended.
pub(super) struct Ended {
    /// The child, if it can work on.
    pub(super) child: Option<Child>,
    /// The child, if it hangs.
    pub(super) undead: Option<Undead>,
    /// For how long it had its device beyond the usual and what it used there.
    pub(super) unbilled: Duration,
    /// Whether the child cleared the device's memory after the job.
    pub(super) cleared: bool,
    /// Whether the job crashed the child.
    pub(super) crashed: bool,
    /// The outputs' parts, or why there are none.
    pub(super) result: Result<Vec<Bytes>, ExecuteError>,
    /// Whether the child died before it had read the job, so that another one may as well run it.
    pub(super) unread: bool,
}

/// Why the supervisor ends a child.
enum Break {
    /// The child hung up.
    Closed,
    /// It went on after the wall time.
    Overran,
    /// It went on after it was told to stop.
    Ignored,
    /// It had its device for too long without being billed for it.
    Unbilled,
    /// It said something that it must not.
    Violation(String),
}

/// Runs the share of a rank to its end.
pub(super) async fn run(mut child: Child, rank: u32, terms: &Terms<'_>, nursery: &Nursery) -> Ended {
    let outputs = match terms.work.outputs() {
        Ok(outputs) => outputs,
        Err(error) => {
            return Ended {
                child: Some(child),
                undead: None,
                unbilled: Duration::ZERO,
                cleared: true,
                crashed: false,
                result: Err(error),
                unread: false,
            };
        }
    };
    limit_memory(&child, terms.work);
    let mut watch = Watch::new(&child, terms.work);
    let outcome = match watch.send(&mut child, rank, terms, &outputs).await {
        Ok(()) => watch.follow(&child, rank, terms).await,
        Err(broken) => Err(broken),
    };
    match outcome {
        Ok((outcome, spent)) => {
            let (child, result) = match watch.conclude(&child, rank, terms, outputs, outcome).await {
                Ok(result) => (child, result),
                Err(broken) => return watch.give_up(child, broken, nursery).await,
            };
            watch.part(child, spent, result, nursery).await
        }
        Err(broken) => watch.give_up(child, broken, nursery).await,
    }
}

/// A job that runs, as the supervisor sees it.
struct Watch {
    id: u64,
    kind: Kind,
    site: Site,
    begin: Instant,
    cpu_before: Option<u64>,
    bounds: Bounds,
    messages: u64,
    begun: bool,
    usage: Usage,
}

impl Watch {
    fn new(child: &Child, work: &Work) -> Self {
        let cpu_before = (child.site != Site::Cpu).then(|| child.cpu_ms()).flatten();
        let bounds = Bounds::new(&work.envelope);
        Self {
            id: child.next,
            kind: work.envelope.program.kind(),
            site: child.site,
            begin: Instant::now(),
            cpu_before,
            bounds,
            messages: 0,
            begun: false,
            usage: Usage::default(),
        }
    }

    async fn send(&mut self, child: &mut Child, rank: u32, terms: &Terms<'_>, outputs: &Outputs) -> Result<(), Break> {
        child.next += 1;
        child.handed = child.handed.saturating_add(terms.work.handed);
        let task = Task { id: self.id, rank, unit: terms.work.unit, max_units: terms.work.max_units };
        self.begin = Instant::now();
        say(child, &ToRunner::Job(task), &terms.work.descriptors(outputs)).await
    }

    /// Listens until the job ends or the child must.
    async fn follow(&mut self, child: &Child, rank: u32, terms: &Terms<'_>) -> Result<(Outcome, bool), Break> {
        let wall = Duration::from_millis(terms.work.envelope.limits.wall_ms.get()).min(LONGEST);
        let mut deadline = self.begin + wall + terms.grace;
        let mut asked = false;
        loop {
            let unbilled = terms.unbilled.map(|left| unbilled::longest(self.site, &self.usage, left).min(LONGEST));
            let unpaid = unbilled.map_or(deadline, |longest| self.begin + longest);
            tokio::select! {
                message = child.channel.recv() => {
                    if let Some(last) = self.hear(child, message)? {
                        return Ok(last);
                    }
                    (terms.progress)(rank, self.usage);
                }
                () = terms.cancel.cancelled(), if !asked => {
                    asked = true;
                    deadline = deadline.min(Instant::now() + terms.grace);
                    say(child, &ToRunner::Cancel { id: self.id }, &[]).await?;
                }
                () = tokio::time::sleep_until(deadline.min(unpaid)) => {
                    return Err(match asked {
                        true => Break::Ignored,
                        false if unpaid < deadline => Break::Unbilled,
                        false => Break::Overran,
                    });
                }
            }
        }
    }

    /// Takes a message. The last one tells the outcome, and whether the child is spent.
    fn hear(
        &mut self,
        child: &Child,
        message: Result<Vec<u8>, ChannelError>,
    ) -> Result<Option<(Outcome, bool)>, Break> {
        let violation = |text: String| Err(Break::Violation(text));
        self.messages += 1;
        let elapsed = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.messages > MESSAGE_BURST + elapsed / MESSAGE_INTERVAL_MS {
            return violation(format!("{} messages in {elapsed} ms", self.messages));
        }
        let bytes = match message {
            Ok(bytes) => bytes,
            Err(ChannelError::Closed) => return Err(Break::Closed),
            Err(error) => return violation(error.to_string()),
        };
        match serde_json::from_slice(&bytes) {
            Ok(FromRunner::Begun { id }) if id == self.id && !self.begun => {
                self.begun = true;
                Ok(None)
            }
            Ok(FromRunner::Progress { id, usage }) if id == self.id && self.begun => {
                self.admit(child, &usage, 0);
                Ok(None)
            }
            Ok(FromRunner::Ended { id, outcome, spent, compilations }) if id == self.id && self.begun => {
                observe::compiled(self.kind, compilations);
                Ok(Some((outcome, spent)))
            }
            Ok(FromRunner::Begun { id } | FromRunner::Progress { id, .. } | FromRunner::Ended { id, .. })
                if id != self.id =>
            {
                violation(format!("it spoke of job {id} while it ran job {}", self.id))
            }
            Ok(_) => violation("it spoke out of turn".into()),
            Err(error) => violation(error.to_string()),
        }
    }

    /// Believes a claim as far as it can be true. CPU time of a job on a GPU is the kernel's count, not the child's.
    fn admit(&mut self, child: &Child, claim: &Usage, delivered: u64) {
        let claim = if self.cpu_before.is_some() { Usage { cpu_ms: Quantity::ZERO, ..*claim } } else { *claim };
        let mut usage = self.bounds.admit(&claim, self.begin.elapsed(), delivered);
        if let (Some(before), Some(now)) = (self.cpu_before, child.cpu_ms()) {
            usage.cpu_ms = Quantity(now.saturating_sub(before)).max(self.usage.cpu_ms);
        }
        self.usage = usage;
    }

    /// The child says that the job ended: takes its outputs, or its error.
    async fn conclude(
        &mut self,
        child: &Child,
        rank: u32,
        terms: &Terms<'_>,
        outputs: Outputs,
        outcome: Outcome,
    ) -> Result<Result<Vec<Bytes>, ExecuteError>, Break> {
        let result = match outcome {
            Outcome::Produced(Produced { usage, lengths }) => {
                terms.work.check(&lengths).map_err(Break::Violation)?;
                self.admit(child, &usage, lengths.iter().sum());
                outputs.take(lengths).await
            }
            Outcome::Failed(error) => {
                self.admit(child, &error.usage(), 0);
                Err(with_usage(error, self.usage))
            }
        };
        (terms.progress)(rank, self.usage);
        Ok(result)
    }

    /// Keeps the child for another job, or ends it.
    async fn part(
        self,
        child: Child,
        spent: bool,
        result: Result<Vec<Bytes>, ExecuteError>,
        nursery: &Nursery,
    ) -> Ended {
        let is_fit = match &result {
            Ok(_) | Err(ExecuteError::Program { .. } | ExecuteError::Unsupported(_)) => true,
            // A kernel may still run on the GPU that was told to stop.
            Err(ExecuteError::Limit { .. } | ExecuteError::Cancelled { .. }) => child.site == Site::Cpu,
            Err(ExecuteError::Node(_)) => false,
        };
        let cleared = is_fit && !spent;
        if cleared && child.handed < MOST_HANDED {
            return Ended { cleared, ..self.ended(Some(child), None, result) };
        }
        let undead = nursery.retire(child).await.err();
        Ended { cleared, ..self.ended(None, undead, result) }
    }

    /// Ends the child, and finds out whose fault it is.
    async fn give_up(self, child: Child, broken: Break, nursery: &Nursery) -> Ended {
        if matches!(broken, Break::Closed) {
            // It is ending: how must be known before it is killed.
            let _ = tokio::time::timeout(LAST_WORDS, child.process.exited()).await;
        }
        let died = child.process.try_exited();
        let out_of_memory = child.cgroup.as_ref().is_some_and(Cgroup::was_oom_killed);
        let log = cut(child.process.log().trim().to_owned());
        let unread = matches!(broken, Break::Closed) && !self.begun;
        let undead = nursery.retire(child).await.err();
        let crashed = match (&broken, died) {
            (Break::Closed, Some(Exit::Signal(signal))) if !out_of_memory && FAULTS.contains(&signal) => Some(signal),
            _ => None,
        };
        let error = self.blame(broken, died, out_of_memory, crashed, log);
        Ended { unread, crashed: crashed.is_some() && !unread, ..self.ended(None, undead, Err(error)) }
    }

    /// What the end of a child means to the client.
    fn blame(
        &self,
        broken: Break,
        died: Option<Exit>,
        out_of_memory: bool,
        crashed: Option<i32>,
        log: String,
    ) -> ExecuteError {
        let usage = self.usage;
        let limit = |detail: &str| ExecuteError::Limit { detail: detail.into(), usage };
        match (broken, died) {
            (Break::Overran, _) => {
                limit("it did not stop at its wall time (limits.wallMs of the envelope) and was killed")
            }
            (Break::Unbilled, _) => limit(
                "it had its device for longer than what it is billed for and what this worker allows one payer to take \
                 besides, such as for compiling (sandbox.unbilled_s of the worker), and was killed",
            ),
            (Break::Ignored, _) => ExecuteError::Cancelled { usage },
            (Break::Violation(text), _) => ExecuteError::Node(format!("the job's process broke its protocol: {text}")),
            (Break::Closed, _) if out_of_memory => {
                limit("its process was killed at its memory limit (limits.memory of the envelope)")
            }
            (Break::Closed, exit) => match (crashed, exit) {
                (Some(signal), _) => {
                    ExecuteError::Program { detail: format!("it crashed its process by signal {signal}"), usage }
                }
                (None, Some(exit)) => ExecuteError::Node(format!("the job's process {exit}; it said: {log}")),
                (None, None) => ExecuteError::Node("the job's process hung up".into()),
            },
        }
    }

    fn ended(self, child: Option<Child>, undead: Option<Undead>, result: Result<Vec<Bytes>, ExecuteError>) -> Ended {
        if self.bounds.has_clamped() {
            observe::usage_clamped();
        }
        let unbilled = unbilled::beyond(self.site, self.begin.elapsed(), &self.usage, result.is_ok());
        Ended { child, undead, unbilled, cleared: false, crashed: false, result, unread: false }
    }
}

/// Sends a message, bounded in time: a child that does not read must not hold up its supervisor.
async fn say(child: &Child, message: &ToRunner, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), Break> {
    let bytes = serde_json::to_vec(message).map_err(|error| Break::Violation(error.to_string()))?;
    match tokio::time::timeout(REAP_DEADLINE, child.channel.send(&bytes, descriptors)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ChannelError::Closed)) => Err(Break::Closed),
        Ok(Err(error)) => Err(Break::Violation(error.to_string())),
        Err(_) => Err(Break::Violation("it does not read its messages".into())),
    }
}

fn limit_memory(child: &Child, work: &Work) {
    let Some(cgroup) = &child.cgroup else { return };
    if let Err(error) = cgroup.set_memory(memory_limit(child.site, work.memory)) {
        // The limit of the job before stays in force, and the executor holds its own.
        tracing::debug!(%error, "the memory limit of a child stays as it is");
    }
}

/// The same error with another usage.
pub(super) fn with_usage(error: ExecuteError, usage: Usage) -> ExecuteError {
    match error {
        ExecuteError::Program { detail, .. } => ExecuteError::Program { detail, usage },
        ExecuteError::Limit { detail, .. } => ExecuteError::Limit { detail, usage },
        ExecuteError::Cancelled { .. } => ExecuteError::Cancelled { usage },
        other @ (ExecuteError::Unsupported(_) | ExecuteError::Node(_)) => other,
    }
}

#[cfg(test)]
mod tests;
