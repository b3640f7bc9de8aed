//! What the keeper is told of jobs, and what it says to that. All of it is read from the ledger.

use super::Connection;
use super::frames::{ConnectError, Socket, send};
use crate::ledger::{JobRow, JobStage};
use crate::node::{HOLD_SECONDS, now};
use crate::outlet::Outlet;
use protocol::amount::{Amount, Timestamp};
use protocol::order::JobId;
use protocol::wire::{Code, FromWorker, Refusal};

impl Connection {
    /// Refuses a job without writing it down. One that is held already is reported as it stands.
    pub(super) async fn decline(
        &mut self,
        socket: &mut Socket,
        job: JobId,
        refusal: Refusal,
    ) -> Result<(), ConnectError> {
        if self.link.node.ledger.job(job).await?.is_some() {
            self.sent.remove(&job);
            self.link.changed(job);
            return Ok(());
        }
        send(socket, &FromWorker::Failed { job, refusal }).await
    }

    /// The keeper will not take a receipt. Only the newest one decides: older ones may merely have come twice.
    pub(super) async fn refused(&mut self, job: JobId, sequence: u64, refusal: Refusal) -> Result<(), ConnectError> {
        let node = &self.link.node;
        let newest = node.ledger.newest_receipt(job).await?;
        if newest.is_none_or(|newest| newest.statement.sequence != sequence) || node.stop(job, refusal.clone()) {
            return Ok(());
        }
        match node.ledger.job(job).await? {
            Some(row) if row.stage == JobStage::Delivered => self.give_up(&row, &refusal, false).await,
            _ => Ok(()),
        }
    }

    /// The keeper is through with a job that does not run here: it ended already, or was never known.
    pub(super) async fn stopped(
        &mut self,
        socket: &mut Socket,
        job: JobId,
        refusal: Refusal,
    ) -> Result<(), ConnectError> {
        let ledger = &self.link.node.ledger;
        let Some(row) = ledger.job(job).await? else {
            let refusal = Refusal::new(Code::NodeFailed, "the job does not run on this worker");
            return send(socket, &FromWorker::Failed { job, refusal }).await;
        };
        if row.stage == JobStage::Delivered {
            self.give_up(&row, &refusal, true).await?;
        }
        Ok(())
    }

    /// A delivered job that will not be paid any more; what is unpaid counts against its channel. Unless the keeper
    /// `knows`, it is told, so that it does not wait for another last receipt.
    async fn give_up(&self, row: &JobRow, refusal: &Refusal, knows: bool) -> Result<(), ConnectError> {
        let (ledger, job) = (&self.link.node.ledger, row.assignment.job());
        if !ledger.close_settled(job).await? {
            ledger.give_up(job, refusal, knows).await?;
            self.link.changed(job);
        }
        Ok(())
    }

    /// Sends every receipt and failure that the keeper has not heard over this socket.
    pub(super) async fn report(&mut self, socket: &mut Socket) -> Result<(), ConnectError> {
        let Some(keeper) = self.link.keeper() else { return Ok(()) };
        let ledger = &self.link.node.ledger;
        ledger.close_ended(keeper, Timestamp(now().get().saturating_sub(HOLD_SECONDS))).await?;
        for row in ledger.open_jobs(keeper).await? {
            self.report_job(socket, row.assignment.job()).await?;
        }
        Ok(())
    }

    async fn report_job(&mut self, socket: &mut Socket, job: JobId) -> Result<(), ConnectError> {
        let ledger = &self.link.node.ledger;
        // One read: how a job ended must not go out before its last receipt, nor that without its outputs.
        let Some((row, receipts)) = ledger.job_and_receipts(job).await? else { return Ok(()) };
        let billed = receipts.last().map_or(Amount::ZERO, |last| last.statement.amount);
        if row.stage == JobStage::Failed && row.reported && row.paid >= billed {
            ledger.close_job(job).await?;
            return Ok(());
        }
        for receipt in receipts {
            let statement = &receipt.statement;
            let is_paid = statement.amount <= row.paid && !statement.is_final();
            let is_sent = self.sent.get(&job).is_some_and(|sent| *sent >= statement.sequence);
            if is_paid || is_sent {
                continue;
            }
            let outputs = if statement.is_final() { row.outputs.clone() } else { Vec::new() };
            self.sent.insert(job, statement.sequence);
            send(socket, &FromWorker::Receipt { receipt, outputs }).await?;
        }
        if row.stage == JobStage::Failed && !row.reported {
            let unexplained = || Refusal::new(Code::NodeFailed, "the job failed");
            let refusal = row.refusal.clone().unwrap_or_else(unexplained);
            send(socket, &FromWorker::Failed { job, refusal }).await?;
            ledger.set_reported(job, true).await?;
        }
        Ok(())
    }
}
