//! After a reconnect or a restart: what the keeper has against what this session remembers.

use crate::session::rules::{AcceptanceError, check_promise};
use crate::session::state::{State, Taken};
use alloy::primitives::B256;
use protocol::amount::Amount;
use protocol::signature::Domain;
use protocol::voucher::{Accepted, Account, SignedAcceptance};
use protocol::wire::ChannelView;

/// What has to change on our side before anything else is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Agreed,
    /// A voucher in flight had arrived.
    Accepted {
        /// Struct hash of the voucher.
        voucher: B256,
        /// The keeper's promise; `None` in a direct channel.
        acceptance: Option<SignedAcceptance>,
    },
    /// The keeper shows a voucher of ours that is newer than the state file: a lost or outdated file.
    Restored {
        /// The account after it.
        account: Account,
        /// The voucher.
        taken: Taken,
    },
    /// A direct channel without state whose every voucher is redeemed: the provider's own sum of them is taken over,
    /// because it pays nobody: on chain only the total counts, and that one we have from there.
    Adopted(Account),
}

/// The two accounts cannot both be right. Nothing is signed until a person has looked at it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The answer is about another channel.
    #[error("the keeper answers with the account of another channel")]
    OtherChannel,
    /// The voucher shown is not signed by this session key.
    #[error("the keeper shows a voucher that this session key did not sign")]
    NotOurs,
    /// The acceptance shown with it is broken.
    #[error("the keeper shows a voucher without its valid acceptance: {0}")]
    Acceptance(#[from] AcceptanceError),
    /// The account does not follow from the voucher shown as its evidence.
    #[error("the keeper's account of {account} nano does not follow from its newest voucher of {voucher}")]
    Unfounded {
        /// What it counts.
        account: Amount,
        /// What we signed.
        voucher: Amount,
    },
    /// The keeper lost vouchers that it had accepted.
    #[error(
        "the keeper's account is {theirs} nano, but it accepted vouchers for {ours}: it has lost data. \
         Close this channel and open one with another keeper"
    )]
    Behind {
        /// Its account.
        theirs: Amount,
        /// What it accepted.
        ours: Amount,
    },
    /// The keeper took a voucher after one that had replaced it. It could state any account with that.
    #[error(
        "the keeper took a voucher of {theirs} nano that a later one had replaced, up to {signed} nano: \
         close this channel and open one with another keeper"
    )]
    Replaced {
        /// The voucher's total.
        theirs: Amount,
        /// The highest total that we signed.
        signed: Amount,
    },
    /// A provider counts more than this state file knows of, and shows nothing that we signed.
    #[error(
        "the provider counts {theirs} nano, this session knows of {ours}: restore the session's state file, \
         or open a direct channel with a new session key"
    )]
    Ahead {
        /// Its account.
        theirs: Amount,
        /// Ours.
        ours: Amount,
    },
}

/// Compares both sides of a channel.
pub fn reconcile(state: &State, view: &ChannelView, domain: &Domain) -> Result<Outcome, ReconcileError> {
    let identity = (view.channel, view.payer, view.signer);
    if identity != (state.channel(), state.payer, state.signer) {
        return Err(ReconcileError::OtherChannel);
    }
    match &view.newest {
        Some(newest) => with_evidence(state, view, newest, domain),
        None => without_evidence(state, view),
    }
}

fn with_evidence(
    state: &State,
    view: &ChannelView,
    newest: &Accepted,
    domain: &Domain,
) -> Result<Outcome, ReconcileError> {
    let voucher = &newest.voucher.voucher;
    let named = voucher.payer == state.payer && voucher.keeper == state.keeper;
    if !named || newest.voucher.signer(domain) != Ok(state.signer) {
        return Err(ReconcileError::NotOurs);
    }
    check_promise(&newest.voucher, Some(&newest.acceptance), domain)?;
    let acceptance = (voucher.batch != 0).then_some(newest.acceptance);
    if state.find(voucher.hash()).is_some() {
        return Ok(Outcome::Accepted { voucher: voucher.hash(), acceptance });
    }
    if state.taken.as_ref().is_some_and(|taken| taken.voucher.voucher == *voucher) {
        return Ok(Outcome::Agreed);
    }
    if voucher.total <= state.account.total {
        return Err(ReconcileError::Behind { theirs: voucher.total, ours: state.account.total });
    }
    // Only a file that is older than the voucher does not know it; then there is nothing but the keeper's account.
    if voucher.total <= state.signed {
        return Err(ReconcileError::Replaced { theirs: voucher.total, signed: state.signed });
    }
    let follows = view.account.total == voucher.total
        && view.account.batch == voucher.batch
        && view.account.earned_in(voucher.batch, voucher.latest.provider) == voucher.latest.earned;
    if !follows {
        return Err(ReconcileError::Unfounded { account: view.account.total, voucher: voucher.total });
    }
    Ok(Outcome::Restored { account: view.account.clone(), taken: Taken { voucher: newest.voucher, acceptance } })
}

/// A keeper shows its newest voucher as soon as it has one. A direct endpoint may show none: there the voucher alone
/// is what counts, and its total says whether the one in flight has arrived.
fn without_evidence(state: &State, view: &ChannelView) -> Result<Outcome, ReconcileError> {
    let (theirs, ours) = (view.account.total, state.account.total);
    let direct = view.account.batch == 0 && state.account.batch == 0;
    let arrived = state.in_flight.iter().map(|signed| signed.voucher.voucher).find(|voucher| {
        // A voucher that raises nothing cannot be told from its predecessor; it is sent again.
        direct && voucher.batch == 0 && voucher.total == theirs && theirs != ours
    });
    if let Some(voucher) = arrived {
        return Ok(Outcome::Accepted { voucher: voucher.hash(), acceptance: None });
    }
    if state.taken.is_none() {
        return match theirs.cmp(&ours) {
            std::cmp::Ordering::Greater => Err(ReconcileError::Ahead { theirs, ours }),
            std::cmp::Ordering::Equal if direct && state.is_fresh() && !view.account.earned.is_empty() => {
                Ok(Outcome::Adopted(view.account.clone()))
            }
            std::cmp::Ordering::Equal | std::cmp::Ordering::Less => Ok(Outcome::Agreed),
        };
    }
    match theirs.cmp(&ours) {
        std::cmp::Ordering::Equal if direct => Ok(Outcome::Agreed),
        std::cmp::Ordering::Greater => Err(ReconcileError::Ahead { theirs, ours }),
        std::cmp::Ordering::Less | std::cmp::Ordering::Equal => Err(ReconcileError::Behind { theirs, ours }),
    }
}

#[cfg(test)]
mod tests;
