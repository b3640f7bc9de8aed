//! However the task of a job ends, the ledger says how its job did.

use crate::ledger::{Assignment, Ledger, LedgerError};
use crate::node::{Node, Stop, lock, now};
use crate::observe;
use crate::outlet::Outlet;
use futures::FutureExt;
use protocol::order::JobId;
use protocol::wire::{Code, Refusal};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

impl Node {
    /// Runs a job as [`Node::run_job`] does, and cleans up behind it even where that panics.
    pub(crate) async fn run_to_its_end(
        &self,
        outlet: &dyn Outlet,
        assignment: &Assignment,
        stop: &Stop,
        slot: OwnedSemaphorePermit,
    ) {
        let job = assignment.job();
        let has_panicked = survive(&self.ledger, job, self.run_job(outlet, assignment, stop, slot)).await;
        self.unaccepted.remove(job);
        if has_panicked {
            self.unregister(job);
            outlet.changed(job);
        }
    }

    /// Fails what the ledger calls running and nobody runs: its task could not write down how it ended.
    pub(crate) async fn fail_orphans(&self, outlets: &[Arc<dyn Outlet>]) -> Result<(), LedgerError> {
        for job in self.ledger.running_jobs().await? {
            // A job is registered before it is written down as running, and taken off after its end is written.
            if !lock(&self.running).contains_key(&job) {
                self.ledger.fail(job, None, &lost(), now()).await?;
                observe::job_failed(job, None, &lost());
                outlets.iter().for_each(|outlet| outlet.changed(job));
            }
        }
        Ok(())
    }
}

/// Does a job's work. Where it panics, the job has failed by this worker's fault and is billed nothing more; where it
/// had ended before, its end stays. Returns whether it panicked.
async fn survive(ledger: &Ledger, job: JobId, work: impl Future<Output = ()>) -> bool {
    if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
        return false;
    }
    observe::failing("job", &format!("the task of job {job} panicked"));
    if let Err(error) = ledger.fail(job, None, &lost(), now()).await {
        observe::failing("ledger", &error);
    }
    true
}

fn lost() -> Refusal {
    Refusal::new(Code::NodeFailed, "the worker failed while the job ran: order it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Folder};
    use crate::ledger::JobStage;
    use alloy::primitives::B256;
    use protocol::amount::Timestamp;
    use protocol::job::{Blob, result_hash};

    async fn panics() {
        panic!("a fault in the worker");
    }

    #[tokio::test]
    async fn a_panic_fails_the_job_and_bills_nothing_more() {
        let folder = Folder::new();
        let ledger = folder.ledger().await;
        let assignment = fixture::assignment(1);
        let job = assignment.job();
        ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
        let receipt = fixture::receipt(&assignment, 1, 10, B256::ZERO);
        ledger.add_receipt(&receipt).await.unwrap();
        assert!(survive(&ledger, job, panics()).await);
        let row = ledger.job(job).await.unwrap().unwrap();
        assert_eq!((row.stage, row.refusal.unwrap().code), (JobStage::Failed, Code::NodeFailed));
        assert_eq!(ledger.newest_receipt(job).await.unwrap(), Some(receipt));
    }

    #[tokio::test]
    async fn a_panic_after_the_delivery_takes_nothing_back() {
        let folder = Folder::new();
        let ledger = folder.ledger().await;
        let assignment = fixture::assignment(1);
        let job = assignment.job();
        ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
        let outputs = [Blob { hash: B256::repeat_byte(4), length: protocol::amount::Quantity(1) }];
        let last = fixture::receipt(&assignment, 1, 10, result_hash(&outputs));
        let delivers_and_panics = async {
            ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
            panics().await;
        };
        assert!(survive(&ledger, job, delivers_and_panics).await);
        let row = ledger.job(job).await.unwrap().unwrap();
        assert_eq!((row.stage, row.refusal), (JobStage::Delivered, None));
        assert_eq!(ledger.newest_receipt(job).await.unwrap(), Some(last));
    }
}
