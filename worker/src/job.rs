//! One job, from its assignment to its last receipt.
//!
//! Every receipt is in the ledger before anybody hears of it. What a program has used is billed even where it fails;
//! what fails on the worker's side is not.

use crate::execute::{Delivered, ExecuteError, JobInput};
use crate::ledger::{Assignment, LedgerError};
use crate::meter::Meter;
use crate::node::{Node, Stop, now};
use crate::observe;
use crate::outlet::{BlobError, Outlet, Standing};
use bytes::Bytes;
use protocol::amount::{Amount, Overflow, Quantity};
use protocol::job::{Blob, Envelope, Kind, MAX_ENVELOPE_BYTES, result_hash};
use protocol::receipt::{Receipt, Statement};
use protocol::resource::Usage;
use protocol::wire::{Code, Refusal};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// How long an output may take to be handed over, while the other side does not answer.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Why a job ends without a result, and what it is billed nevertheless.
#[derive(Debug)]
struct Failure {
    refusal: Refusal,
    usage: Option<Usage>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, usage: None }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Refusal::new(Code::NodeFailed, error.to_string()).into()
    }
}

impl From<Overflow> for Failure {
    fn from(error: Overflow) -> Self {
        Refusal::new(Code::BadQuantity, error.to_string()).into()
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        error.refusal().into()
    }
}

impl Failure {
    /// A job that had done all its work and could not hand it over: its work is billed, its outputs are not, and nothing
    /// is where the worker itself is the reason.
    fn after(self, usage: &Usage) -> Self {
        let billed = self.refusal.code != Code::NodeFailed;
        Self { usage: billed.then_some(Usage { bytes_out: Quantity::ZERO, ..*usage }), ..self }
    }
}

impl Node {
    /// Works on a job that is in the ledger, is registered and has its slot, to its end.
    pub(crate) async fn run_job(
        &self,
        outlet: &dyn Outlet,
        assignment: &Assignment,
        stop: &Stop,
        slot: OwnedSemaphorePermit,
    ) {
        let job = assignment.job();
        observe::job_started(job, assignment.cap);
        let (mut meter, mut kind) = (None, None);
        let result = self.work(outlet, assignment, stop, &mut meter, &mut kind).await;
        let written = match result {
            Ok(amount) => {
                observe::job_delivered(job, kind, amount);
                Ok(())
            }
            Err(failure) => {
                observe::job_failed(job, kind, &failure.refusal);
                self.write_failure(assignment, meter, &failure).await
            }
        };
        if let Err(error) = written {
            observe::failing("ledger", &error);
        }
        self.unregister(job);
        drop(slot);
        outlet.changed(job);
    }

    async fn work(
        &self,
        outlet: &dyn Outlet,
        assignment: &Assignment,
        stop: &Stop,
        started: &mut Option<Meter>,
        known: &mut Option<Kind>,
    ) -> Result<Amount, Failure> {
        let resource = self.check_match(assignment)?;
        outlet.standing(assignment).await.map_err(|standing| match standing {
            Standing::Refused(refusal) => refusal,
            Standing::Unknown(reason) => Refusal::new(Code::NodeFailed, reason),
        })?;
        let meter = started.insert(Meter::new(assignment, self.config.provider, resource.clone()));
        if meter.max_units().get() == 0 {
            return Err(Refusal::new(Code::TotalTooSmall, "the order's funds do not pay for a single unit").into());
        }
        let (envelope, blobs) = tokio::select! {
            loaded = self.load(outlet, assignment) => loaded?,
            () = stop.token().cancelled() => return Err(stopped(stop, None)),
        };
        let kind = *known.insert(envelope.program.kind());
        self.ledger.set_kind(assignment.job(), kind).await?;
        envelope.program.check_resource(&resource).map_err(|text| Refusal::new(Code::Unsupported, text))?;
        self.check_job(&envelope, assignment.order.order.payer)?;
        let (unit, max_units) = (meter.unit(), meter.max_units());
        let input = JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units };
        let delivered = self.execute(outlet, assignment, input, meter, stop).await?;
        self.deliver(outlet, meter, delivered, stop).await
    }

    /// The envelope and all blobs that it names, checked against their hashes.
    async fn load(&self, outlet: &dyn Outlet, assignment: &Assignment) -> Result<(Envelope, Vec<Bytes>), Failure> {
        let spec = assignment.order.order.spec;
        let bytes = outlet.fetch(spec, MAX_ENVELOPE_BYTES as u64).await?;
        let envelope =
            Envelope::from_bytes(&bytes, spec).map_err(|error| Refusal::new(Code::BadEnvelope, error.to_string()))?;
        let total = envelope.blobs().try_fold(0u64, |sum, blob| sum.checked_add(blob.length.get()));
        let limit = self.config.limits.input.get();
        if total.is_none_or(|total| total > limit) {
            let text = format!("program and inputs together exceed the {limit} bytes that this worker takes");
            return Err(Refusal::new(Code::TooLarge, text).into());
        }
        let mut blobs = Vec::new();
        for blob in envelope.blobs() {
            let bytes = outlet.fetch(blob.hash, blob.length.get()).await?;
            if bytes.len() as u64 != blob.length.get() {
                let text = format!("blob {} has {} bytes, the envelope says {}", blob.hash, bytes.len(), blob.length);
                return Err(Refusal::new(Code::BadEnvelope, text).into());
            }
            blobs.push(bytes);
        }
        Ok((envelope, blobs))
    }

    /// Runs the program in the fleet and bills it by the interval.
    async fn execute(
        &self,
        outlet: &dyn Outlet,
        assignment: &Assignment,
        input: JobInput,
        meter: &mut Meter,
        stop: &Stop,
    ) -> Result<Delivered, Failure> {
        let (sender, progress) = watch::channel(Usage::default());
        // Whoever pays is the tenant: a process that has read a job runs no other payer's.
        let payer = assignment.order.order.payer;
        let mut run = std::pin::pin!(self.fleet.execute(payer, input, sender, stop.token().clone()));
        let mut ticks = tokio::time::interval(outlet.interval());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut patience = Patience::new(Duration::from_millis(self.config.limits.patience_ms));
        let result = loop {
            tokio::select! {
                result = &mut run => break result,
                _ = ticks.tick() => {
                    let usage = *progress.borrow();
                    if let Err(refusal) = self.bill(outlet, assignment, meter, &usage, &mut patience).await {
                        stop.press(refusal);
                    }
                }
                () = self.shutdown.cancelled(), if !stop.token().is_cancelled() => {
                    stop.press(Refusal::new(Code::NodeFailed, "the worker was shut down"));
                }
            }
        };
        result.map_err(|error| failed(error, stop))
    }

    /// One interval of a running job: checks every limit of trust, then writes the next receipt.
    async fn bill(
        &self,
        outlet: &dyn Outlet,
        assignment: &Assignment,
        meter: &mut Meter,
        usage: &Usage,
        patience: &mut Patience,
    ) -> Result<(), Refusal> {
        let internal = |error: LedgerError| Refusal::new(Code::NodeFailed, error.to_string());
        let job = assignment.job();
        let paid = self.ledger.job(job).await.map_err(internal)?.map_or(Amount::ZERO, |row| row.paid);
        let amount = meter.amount(usage).map_err(|error| Refusal::new(Code::BadQuantity, error.to_string()))?;
        let unaccepted = amount.get().saturating_sub(paid.get());
        self.unaccepted.set(assignment, Amount(unaccepted));
        if unaccepted > self.config.limits.unaccepted.get() {
            let text = format!(
                "{unaccepted} nano of work are not accepted, the worker's limit is {}",
                self.config.limits.unaccepted
            );
            return Err(Refusal::new(Code::Limited, text));
        }
        if patience.is_over(meter.billed(), paid) {
            return Err(Refusal::new(Code::Limited, "no payment came in the time that this worker waits"));
        }
        match outlet.standing(assignment).await {
            Ok(()) => {}
            Err(Standing::Refused(refusal)) => return Err(refusal),
            // One failed look at the chain is no reason to stop: acceptances are not counted until it can be read,
            // and the limit of unaccepted work ends the job if that lasts.
            Err(Standing::Unknown(reason)) => observe::failing("chain", &reason),
        }
        if !outlet.is_up() {
            return Ok(());
        }
        let statement =
            meter.interim(usage, now()).map_err(|error| Refusal::new(Code::BadQuantity, error.to_string()))?;
        if let Some(statement) = statement {
            self.ledger.add_receipt(&self.sign(statement)).await.map_err(internal)?;
            outlet.changed(job);
        }
        Ok(())
    }

    /// Hands the outputs over and writes the last receipt.
    async fn deliver(
        &self,
        outlet: &dyn Outlet,
        meter: &mut Meter,
        delivered: Delivered,
        stop: &Stop,
    ) -> Result<Amount, Failure> {
        let mut outputs = Vec::with_capacity(delivered.outputs.len());
        for bytes in delivered.outputs {
            let stored = self.upload(outlet, bytes, stop).await;
            outputs.push(stored.map_err(|failure| failure.after(&delivered.usage))?);
        }
        let statement = meter.finish(&delivered.usage, result_hash(&outputs), now())?;
        let amount = statement.amount;
        self.ledger.deliver(&self.sign(statement), &outputs, now()).await?;
        Ok(amount)
    }

    async fn upload(&self, outlet: &dyn Outlet, bytes: Bytes, stop: &Stop) -> Result<Blob, Failure> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(200);
        loop {
            match outlet.store(bytes.clone()).await {
                Ok(blob) => return Ok(blob),
                Err(error) if error.is_retryable() && started.elapsed() < UPLOAD_PATIENCE => {
                    observe::failing("upload", &error);
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
                () = stop.token().cancelled() => return Err(stopped(stop, None)),
                () = self.shutdown.cancelled() => {
                    return Err(Refusal::new(Code::NodeFailed, "the worker was shut down").into());
                }
            }
        }
    }

    async fn write_failure(
        &self,
        assignment: &Assignment,
        meter: Option<Meter>,
        failure: &Failure,
    ) -> Result<(), LedgerError> {
        let mut last = None;
        if let (Some(mut meter), Some(usage)) = (meter, failure.usage) {
            // An amount that does not fit is not billed; the failure is reported all the same.
            last = meter.interim(&usage, now()).unwrap_or_default().map(|statement| self.sign(statement));
        }
        self.ledger.fail(assignment.job(), last.as_ref(), &failure.refusal, now()).await
    }

    fn sign(&self, statement: Statement) -> Receipt {
        Receipt::sign(statement, &self.domain, &self.key)
    }
}

/// What an executor's error means to the client, and what is billed.
fn failed(error: ExecuteError, stop: &Stop) -> Failure {
    let code = match &error {
        ExecuteError::Program { .. } => Code::ProgramFailed,
        ExecuteError::Limit { .. } => Code::LimitReached,
        ExecuteError::Cancelled { usage } => return stopped(stop, Some(*usage)),
        ExecuteError::Unsupported(_) => Code::Unsupported,
        ExecuteError::Node(_) => Code::NodeFailed,
    };
    let usage = matches!(code, Code::ProgramFailed | Code::LimitReached).then(|| error.usage());
    Failure { refusal: Refusal::new(code, error.to_string()), usage }
}

/// A job that was told to stop; where the worker itself is the reason, nothing more is billed.
fn stopped(stop: &Stop, usage: Option<Usage>) -> Failure {
    let refusal = stop.reason().unwrap_or_else(|| Refusal::new(Code::Cancelled, "the job was cancelled"));
    let usage = usage.filter(|_| refusal.code != Code::NodeFailed);
    Failure { refusal, usage }
}

/// Measures how long a billed amount has waited for its payment.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    paid: Amount,
    since: Instant,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, paid: Amount::ZERO, since: Instant::now() }
    }

    fn is_over(&mut self, billed: Amount, paid: Amount) -> bool {
        if paid >= billed || paid > self.paid {
            self.paid = paid;
            self.since = Instant::now();
        }
        self.since.elapsed() > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_starts_anew_with_every_payment() {
        let mut patience = Patience::new(Duration::from_millis(40));
        assert!(!patience.is_over(Amount(0), Amount(0)));
        std::thread::sleep(Duration::from_millis(60));
        assert!(patience.is_over(Amount(10), Amount(0)));
        assert!(!patience.is_over(Amount(20), Amount(5)), "a payment came");
        std::thread::sleep(Duration::from_millis(60));
        assert!(patience.is_over(Amount(20), Amount(5)));
        assert!(!patience.is_over(Amount(20), Amount(20)), "nothing waits");
    }

    #[test]
    fn what_the_program_used_is_billed_and_what_the_node_lost_is_not() {
        let usage = Usage { cpu_ms: Quantity(5), ..Usage::default() };
        let stop = Stop::default();
        let program = failed(ExecuteError::Program { detail: "trap".into(), usage }, &stop);
        assert_eq!((program.refusal.code, program.usage), (Code::ProgramFailed, Some(usage)));
        let limit = failed(ExecuteError::Limit { detail: "fuel".into(), usage }, &stop);
        assert_eq!((limit.refusal.code, limit.usage), (Code::LimitReached, Some(usage)));
        let node = failed(ExecuteError::Node("disk".into()), &stop);
        assert_eq!((node.refusal.code, node.usage), (Code::NodeFailed, None));
        stop.press(Refusal::new(Code::Cancelled, "by the client"));
        let cancelled = failed(ExecuteError::Cancelled { usage }, &stop);
        assert_eq!((cancelled.refusal.code, cancelled.usage), (Code::Cancelled, Some(usage)));
        let shut_down = Stop::default();
        shut_down.press(Refusal::new(Code::NodeFailed, "shut down"));
        assert_eq!(failed(ExecuteError::Cancelled { usage }, &shut_down).usage, None);
    }

    #[test]
    fn work_that_was_done_is_billed_though_its_client_cancels_the_delivery() {
        let usage = Usage { cpu_ms: Quantity(5), bytes_out: Quantity(9), ..Usage::default() };
        let billed = |code| Failure::from(Refusal::new(code, "while the outputs were handed over")).after(&usage).usage;
        assert_eq!(billed(Code::Cancelled), Some(Usage { bytes_out: Quantity::ZERO, ..usage }));
        assert_eq!(billed(Code::NodeFailed), None);
    }
}
