//! Counts acceptances as they come in. What the chain does not show yet is looked at again, without holding up others.

use crate::accept::{AcceptanceError, Facts, check};
use crate::ledger::{Credit, JobRow, JobStage, LedgerError};
use crate::link::KeeperLink;
use crate::market::ReadError;
use crate::observe;
use crate::prove::{ProveError, proven_leaf};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::Accepted;
use protocol::wire::Refusal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often an acceptance that the chain does not cover yet is looked at again.
const RETRY: Duration = Duration::from_millis(500);
/// How long it is looked at again.
const GIVE_UP: Duration = Duration::from_secs(600);

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

/// Counts what comes in until the sender is gone.
pub(crate) async fn run(link: Arc<KeeperLink>, mut incoming: mpsc::Receiver<Incoming>) {
    let mut waiting: Vec<(Incoming, Instant)> = Vec::new();
    loop {
        let again = tokio::select! {
            next = incoming.recv() => match next {
                Some(item) => vec![(item, Instant::now())],
                None => return,
            },
            () = tokio::time::sleep(RETRY), if !waiting.is_empty() => std::mem::take(&mut waiting),
        };
        for (item, since) in again {
            match credit(&link, &item).await {
                Ok(()) => {}
                Err(error) => {
                    if let Some(rejection) = error.final_rejection() {
                        reject(&link, &item, rejection);
                    } else if since.elapsed() > GIVE_UP {
                        observe::failing("acceptance", &error);
                    } else {
                        waiting.push((item, since));
                    }
                }
            }
        }
    }
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
    let known = receipt.as_ref().is_some_and(|receipt| receipt.statement.amount <= row.paid);
    if known && newest.is_some_and(|pair| pair == item.accepted || voucher.latest.earned < earned) {
        return Ok(());
    }
    let elsewhere = ledger.earned_in(keeper, voucher.batch).await?.minus(earned).unwrap_or_default();
    let amounts = (earned, elsewhere);
    let mut paid = check_against_chain(link, item, &row, receipt.as_ref(), amounts, false).await;
    if matches!(&paid, Err(CreditError::Rejected(error)) if error.is_retryable()) {
        link.node.market.refresh(keeper, channel);
        paid = check_against_chain(link, item, &row, receipt.as_ref(), amounts, false).await;
    }
    if matches!(&paid, Err(CreditError::Rejected(AcceptanceError::WrongBatch { open, found })) if found <= open) {
        // It was accepted in time but arrived late: the batch is committed. Then only its proof counts.
        let owed = item.accepted.acceptance.acceptance.owed;
        if proven_leaf(&link.node, link, keeper, voucher.batch).await?.amount >= owed {
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

async fn check_against_chain(
    link: &KeeperLink,
    item: &Incoming,
    row: &JobRow,
    receipt: Option<&Receipt>,
    (earned, elsewhere): (Amount, Amount),
    proven: bool,
) -> Result<Amount, CreditError> {
    let node = &link.node;
    let keeper = node.market.keeper(row.assignment.keeper).await?;
    let channel = node.market.channel(row.assignment.channel).await?;
    let facts = Facts {
        domain: &node.domain,
        provider: node.config.provider,
        assignment: &row.assignment,
        receipt: receipt.map(|receipt| &receipt.statement),
        paid: row.paid,
        earned,
        elsewhere,
        keeper: &keeper,
        channel: &channel,
        proven,
    };
    Ok(check(&item.accepted, &facts)?)
}
