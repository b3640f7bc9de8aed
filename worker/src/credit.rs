//! Counts acceptances as they come in. What the chain does not show yet is looked at again, without holding up others.

use crate::accept::{AcceptanceError, Facts, check};
use crate::ledger::{Credit, JobRow, JobStage, LedgerError};
use crate::link::KeeperLink;
use crate::market::ReadError;
use crate::observe;
use crate::prove::{ProveError, proven_leaf};
use alloy::primitives::Address;
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Accepted, BatchNumber};
use protocol::wire::Refusal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often an acceptance that the chain does not cover yet is looked at again.
const RETRY: Duration = Duration::from_millis(500);
/// How long it is looked at again.
const GIVE_UP: Duration = Duration::from_secs(600);
/// Acceptances that may wait for a second look; while they do, no more are taken in.
const WAITING: usize = 4_096;

/// An acceptance as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) job: JobId,
    pub(crate) accepted: Accepted,
}

/// Why an acceptance was not counted (yet).
#[derive(Debug, thiserror::Error)]
enum CreditError {
    #[error(transparent)]
    Rejected(#[from] AcceptanceError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Chain(#[from] ReadError),
    #[error(transparent)]
    Proof(#[from] ProveError),
}

impl CreditError {
    /// The rule that forbids counting it, where no later look can change that.
    const fn final_rejection(&self) -> Option<&AcceptanceError> {
        match self {
            Self::Rejected(error) if !error.is_retryable() => Some(error),
            _ => None,
        }
    }
}

impl Incoming {
    /// Acceptances of one payer and batch count in their order: what a channel has earned in a batch only rises.
    const fn lane(&self) -> (Address, BatchNumber) {
        (self.accepted.voucher.voucher.payer, self.accepted.voucher.voucher.batch)
    }
}

/// Counts what comes in until the sender is gone.
pub(crate) async fn run(link: Arc<KeeperLink>, incoming: mpsc::Receiver<Incoming>) {
    let attempt = |item: Incoming, since: Instant| {
        let link = link.clone();
        async move { attempt(&link, item, since).await }
    };
    in_order(incoming, attempt).await;
}

/// Hands everything to `attempt`, each lane in its order. What it gives back is attempted again after a while, and
/// holds up its lane alone.
async fn in_order<F, A>(mut incoming: mpsc::Receiver<Incoming>, mut attempt: F)
where
    F: FnMut(Incoming, Instant) -> A,
    A: Future<Output = Option<Incoming>>,
{
    let mut waiting: Vec<(Incoming, Instant)> = Vec::new();
    // It goes on while acceptances come in, so a busy keeper cannot put the second look off.
    let mut retries = tokio::time::interval(RETRY);
    retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = tokio::select! {
            next = incoming.recv(), if waiting.len() < WAITING => match next {
                Some(item) => vec![(item, Instant::now())],
                None => return,
            },
            _ = retries.tick() => std::mem::take(&mut waiting),
        };
        for (item, since) in due {
            let is_behind = waiting.iter().any(|(other, _)| other.lane() == item.lane());
            let left = if is_behind { Some(item) } else { attempt(item, since).await };
            waiting.extend(left.map(|item| (item, since)));
        }
    }
}

/// Counts an acceptance; gives it back where a later look may be better.
async fn attempt(link: &KeeperLink, item: Incoming, since: Instant) -> Option<Incoming> {
    let error = credit(link, &item).await.err()?;
    if let Some(rejection) = error.final_rejection() {
        reject(link, &item, rejection);
    } else if since.elapsed() > GIVE_UP {
        observe::failing("acceptance", &error);
    } else {
        return Some(item);
    }
    None
}

fn reject(link: &KeeperLink, item: &Incoming, error: &AcceptanceError) {
    observe::acceptance_rejected(item.job, error);
    link.node.stop(item.job, Refusal::new(error.code(), error.to_string()));
}

async fn credit(link: &KeeperLink, item: &Incoming) -> Result<(), CreditError> {
    let ledger = &link.node.ledger;
    let Some(row) = ledger.job(item.job).await? else {
        return Err(AcceptanceError::UnknownReceipt.into());
    };
    let voucher = &item.accepted.voucher.voucher;
    let (keeper, channel) = (row.assignment.keeper, row.assignment.channel);
    let receipt = ledger.receipt_of(item.job, voucher.latest.receipt).await?;
    let newest = ledger.newest_accepted(keeper, voucher.batch, channel).await?;
    let earned = newest.map_or(Amount::ZERO, |pair| pair.voucher.voucher.latest.earned);
    let owed = newest.map_or(Amount::ZERO, |pair| pair.acceptance.acceptance.owed);
    let known = receipt.as_ref().is_some_and(|receipt| receipt.statement.amount <= row.paid);
    if known && newest.is_some_and(|pair| pair == item.accepted || voucher.latest.earned < earned) {
        return Ok(());
    }
    let elsewhere = ledger.earned_in(keeper, voucher.batch).await?.minus(earned).unwrap_or_default();
    let amounts = Counted { earned, owed, elsewhere };
    let mut paid = check_against_chain(link, item, &row, receipt.as_ref(), amounts, false).await;
    if matches!(&paid, Err(CreditError::Rejected(error)) if error.is_retryable()) {
        link.node.market.refresh(keeper, channel);
        paid = check_against_chain(link, item, &row, receipt.as_ref(), amounts, false).await;
    }
    if matches!(&paid, Err(CreditError::Rejected(AcceptanceError::WrongBatch { open, found })) if found <= open) {
        // It was accepted in time but arrived late: the batch is committed. Then only its proof counts.
        let owed = item.accepted.acceptance.acceptance.owed;
        let parties = (keeper, link.node.config.provider);
        if proven_leaf(&link.node.market, &link.api, parties, voucher.batch).await?.amount >= owed {
            paid = check_against_chain(link, item, &row, receipt.as_ref(), amounts, true).await;
        }
    }
    let paid = paid?;
    let last = match &receipt {
        Some(receipt) if paid < receipt.statement.amount => false,
        Some(receipt) if receipt.statement.is_final() => true,
        Some(receipt) if row.stage == JobStage::Failed && row.reported => {
            let newest = ledger.newest_receipt(item.job).await?;
            newest.is_some_and(|newest| newest.statement.sequence == receipt.statement.sequence)
        }
        _ => false,
    };
    ledger.credit(&Credit { job: item.job, channel, paid, last, accepted: &item.accepted }).await?;
    observe::credited(item.job, paid, voucher.batch);
    Ok(())
}

/// What was counted before, in the same batch.
#[derive(Clone, Copy)]
struct Counted {
    /// Newest `earned` of the channel.
    earned: Amount,
    /// The `owed` that came with it.
    owed: Amount,
    /// Newest `earned` of all other channels together.
    elsewhere: Amount,
}

async fn check_against_chain(
    link: &KeeperLink,
    item: &Incoming,
    row: &JobRow,
    receipt: Option<&Receipt>,
    counted: Counted,
    proven: bool,
) -> Result<Amount, CreditError> {
    let node = &link.node;
    let (keeper, channel) = (row.assignment.keeper, row.assignment.channel);
    let (facts, channel_facts) = (node.market.keeper(keeper).await?, node.market.channel(keeper, channel).await?);
    let batch = item.accepted.voucher.voucher.batch;
    let pending = node.ledger.earned_before(keeper, channel, facts.batch, batch).await?;
    let facts = Facts {
        domain: &node.domain,
        provider: node.config.provider,
        assignment: &row.assignment,
        receipt: receipt.map(|receipt| &receipt.statement),
        paid: row.paid,
        earned: counted.earned,
        owed: counted.owed,
        pending,
        elsewhere: counted.elsewhere,
        keeper: &facts,
        channel: &channel_facts,
        proven,
    };
    Ok(check(&item.accepted, &facts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use alloy::primitives::B256;
    use tokio::sync::mpsc::UnboundedReceiver;

    /// An acceptance of job `salt`, for a voucher of `total`.
    fn incoming(salt: u64, total: u64) -> Incoming {
        let assignment = fixture::assignment(salt);
        let receipt = fixture::receipt(&assignment, 1, 1, B256::ZERO);
        let voucher = fixture::voucher(&assignment, &fixture::session_key(), &receipt, total);
        Incoming { job: assignment.job(), accepted: fixture::accepted(voucher, total, &fixture::keeper_key()) }
    }

    /// Attempts the totals that come in, the first of them in vain for the first time; tells what was attempted.
    fn counting(incoming: mpsc::Receiver<Incoming>) -> UnboundedReceiver<u64> {
        let (told, attempts) = mpsc::unbounded_channel();
        let mut in_vain = true;
        tokio::spawn(in_order(incoming, move |item, _| {
            told.send(item.accepted.voucher.voucher.total.get()).unwrap();
            let left = std::mem::take(&mut in_vain).then_some(item);
            async move { left }
        }));
        attempts
    }

    #[tokio::test]
    async fn a_later_acceptance_does_not_overtake_one_that_waits() {
        let (sender, incomings) = mpsc::channel(9);
        let mut attempts = counting(incomings);
        for (salt, total) in [(1, 100), (2, 200), (1, 300)] {
            sender.send(incoming(salt, total)).await.unwrap();
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(attempts.recv().await.unwrap());
        }
        assert_eq!(order, [100, 100, 200, 300]);
    }

    #[tokio::test]
    async fn a_busy_keeper_does_not_put_off_the_second_look() {
        let (sender, incomings) = mpsc::channel(9);
        let mut attempts = counting(incomings);
        let started = Instant::now();
        let mut tried = 0;
        for total in 1.. {
            assert!(started.elapsed() < RETRY * 6, "the first one was never looked at again");
            sender.send(incoming(1, total)).await.unwrap();
            tokio::time::sleep(RETRY / 5).await;
            tried += std::iter::from_fn(|| attempts.try_recv().ok()).filter(|total| *total == 1).count();
            if tried > 1 {
                break;
            }
        }
    }
}
