//! Draining: the worker takes nothing new, finishes what runs, sees it paid, and ends.
//!
//! It begins with the first SIGTERM or SIGINT, or with `capa-worker drain`. Its keeper hears that it has no slots any
//! more, direct orders are refused, and offers are not renewed. What runs has `drain.timeout_s` to end; after that it is
//! stopped, reported as failed by this worker's fault, and billed nothing more. A second signal does that at once.

use crate::ledger::LedgerError;
use crate::node::{Node, lock, now};
use crate::observe;
use protocol::amount::Timestamp;
use protocol::wire::{Code, Refusal};
use serde::{Deserialize, Serialize};
use service::shutdown::Shutdown;
use std::time::{Duration, Instant};

/// For so long a job is taken that the keeper had sent before it heard of the drain.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How often what is left is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// Whether one has begun.
    pub(crate) draining: bool,
    /// Jobs that run, or wait for a slot.
    pub(crate) running: usize,
    /// Jobs that ended not long ago and whose payment, or whose end, the other side has not confirmed.
    pub(crate) unsettled: u64,
}

/// What a new job is refused with.
pub(crate) fn refusal() -> Refusal {
    Refusal::new(Code::Limited, "this worker is about to end and takes no more jobs: order from another one")
}

/// Waits for `asked` or a request at the admin port; resolves when all is done, or its time is over.
pub(crate) async fn finished(node: &Node, asked: Shutdown) {
    tokio::select! {
        () = asked.cancelled() => node.drain.cancel(),
        () = node.drain.cancelled() => {}
    }
    observe::draining();
    node.health.set("drain", Err("the worker takes no more jobs and is about to end".into()));
    let (began, timeout) = (Instant::now(), Duration::from_secs(node.config.drain.timeout_s));
    if node.config.keeper.is_some() {
        tokio::time::sleep(GRACE.min(timeout)).await;
    }
    while !lock(&node.running).is_empty() && began.elapsed() < timeout {
        tokio::time::sleep(LOOK).await;
    }
    let ended = Instant::now();
    let patience = Duration::from_millis(node.config.limits.patience_ms);
    while began.elapsed() < timeout && ended.elapsed() < patience {
        match progress(node).await {
            Ok(progress) if progress.unsettled == 0 => break,
            Ok(_) => {}
            Err(error) => observe::failing("ledger", &error),
        }
        tokio::time::sleep(LOOK).await;
    }
    match progress(node).await {
        Ok(progress) => observe::drained(progress.running, progress.unsettled),
        Err(error) => observe::failing("ledger", &error),
    }
}

/// How far it is.
pub(crate) async fn progress(node: &Node) -> Result<Progress, LedgerError> {
    // What was left unpaid long ago is not waited for.
    let since = Timestamp(now().get().saturating_sub(node.config.limits.patience_ms.div_ceil(1_000)));
    let unsettled = node.ledger.unsettled_jobs(node.config.provider, since).await?;
    Ok(Progress { draining: node.drain.is_cancelled(), running: lock(&node.running).len(), unsettled })
}
