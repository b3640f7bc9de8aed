//! What a session key signs for, and what it refuses: pure functions of the order, the chain and the message.

use crate::anchor::{KeeperStatus, Settling};
use crate::session::state::{JobRecord, State};
use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Overflow, Price, Timestamp};
use protocol::receipt::{Facts, Receipt, Rejection, Statement};
use protocol::resource::{Resource, Usage};
use protocol::signature::{Domain, SignatureError};
use protocol::voucher::{Accepted, BatchNumber, Payment, SignedAcceptance, SignedVoucher, Voucher};
use protocol::wire::Info;

/// Limits that a client sets for every job of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Most that the keeper may take of earnings, in basis points.
    pub max_keeper_bps: u16,
    /// Most that the keeper may take per channel and batch.
    pub max_per_channel: Amount,
    /// The only providers to be paid; empty for any that is registered.
    pub providers: Vec<Address>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_keeper_bps: 1_000, max_per_channel: Amount(100_000_000), providers: Vec::new() }
    }
}

/// The keeper's terms are not what the chain and the client's policy allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Another keeper, chain or deployment answers at this URL.
    #[error("the endpoint states another {0} than the channel has: check the URL and the address book")]
    Foreign(&'static str),
    /// The keeper cannot settle any more.
    #[error("the keeper is {0:?} on chain: close the channel and withdraw")]
    NotLive(KeeperStatus),
    /// The endpoint settles directly and the keeper on chain does not, or the other way round.
    #[error("the endpoint and the chain disagree on whether this channel is direct")]
    Mode,
    /// The batch went back.
    #[error("the keeper fills batch {found}, but a voucher was already signed for {last}")]
    BatchFell {
        /// Batch of the newest voucher.
        last: BatchNumber,
        /// What the keeper says.
        found: BatchNumber,
    },
    /// The batch is not the open one, nor the next. The chain's view may be behind, so this can mend itself.
    #[error("the keeper fills batch {found}, the chain allows {least} to {most}")]
    BatchOutOfReach {
        /// Lowest batch that can still be collected.
        least: BatchNumber,
        /// The one after it.
        most: BatchNumber,
        /// What the keeper says.
        found: BatchNumber,
    },
    /// More than the protocol takes.
    #[error("the keeper states a protocol fee of {found} basis points, the chain says {allowed}")]
    ProtocolFee {
        /// The chain's rate.
        allowed: u16,
        /// What the keeper says.
        found: u16,
    },
    /// More than the client agrees to.
    #[error("the keeper's fee ({found}) is above what you allow ({allowed}): raise the limit or use another keeper")]
    KeeperFee {
        /// The client's limit.
        allowed: String,
        /// What the keeper says.
        found: String,
    },
}

impl TermsError {
    /// Whether the chain's view may just be behind.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::BatchOutOfReach { .. } | Self::BatchFell { .. } | Self::ProtocolFee { .. })
    }
}

/// Checks batch and fees before anything is signed under them. `last` is the batch of the newest voucher.
pub fn check_terms(info: &Info, settling: &Settling, last: BatchNumber, policy: &Policy) -> Result<(), TermsError> {
    let allowed = match settling {
        Settling::Direct { fee_bps } => {
            if !info.is_direct() {
                return Err(TermsError::Mode);
            }
            *fee_bps
        }
        Settling::Netted(keeper) => {
            if info.is_direct() {
                return Err(TermsError::Mode);
            }
            if !keeper.status.is_live() {
                return Err(TermsError::NotLive(keeper.status));
            }
            // A committed batch takes no more vouchers, so collection goes on with the one after it.
            let least = keeper.current.saturating_add(BatchNumber::from(keeper.committed));
            let most = least.saturating_add(1);
            if info.batch < last {
                return Err(TermsError::BatchFell { last, found: info.batch });
            }
            if info.batch < least || info.batch > most {
                return Err(TermsError::BatchOutOfReach { least, most, found: info.batch });
            }
            if info.batch == least { keeper.fee_bps } else { keeper.next_fee_bps }
        }
    };
    if info.fees.protocol_bps > allowed {
        return Err(TermsError::ProtocolFee { allowed, found: info.fees.protocol_bps });
    }
    check_keeper_fee(info, policy)
}

fn check_keeper_fee(info: &Info, policy: &Policy) -> Result<(), TermsError> {
    let error = |allowed, found| Err(TermsError::KeeperFee { allowed, found });
    if info.fees.keeper_bps > policy.max_keeper_bps {
        return error(
            format!("{} basis points", policy.max_keeper_bps),
            format!("{} basis points", info.fees.keeper_bps),
        );
    }
    if info.fees.per_channel > policy.max_per_channel {
        let capa = |amount: Amount| format!("{} CAPA per batch", amount.to_capa());
        return error(capa(policy.max_per_channel), capa(info.fees.per_channel));
    }
    Ok(())
}

/// A receipt that is not paid. None of these mends itself: the job is stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Nothing that this session ordered.
    #[error("this session did not order job {0}")]
    UnknownJob(B256),
    /// The session stopped paying for this job before.
    #[error("{0}")]
    Stopped(String),
    /// Dearer than the order allows, or than the receipts before.
    #[error("the job runs at {found} nano, the order allows {allowed}")]
    Price {
        /// The order's limit, or the price of the receipts before.
        allowed: Price,
        /// What the keeper says.
        found: Price,
    },
    /// Another provider than before, or one that the client does not want.
    #[error("provider {0} is not the one of this job, or not one that you allow")]
    Provider(Address),
    /// The signer works for somebody else.
    #[error("worker {worker} does not sign for provider {provider}, says the registry")]
    Worker {
        /// Who signed.
        worker: Address,
        /// Whose worker it should be.
        provider: Address,
    },
    /// The protocol's rules are broken.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Paying it would cost more than the order's `maxTotal`.
    #[error("with fees the job would cost {total} nano, the order allows {allowed}")]
    OverTotal {
        /// The order's limit.
        allowed: Amount,
        /// What it would cost.
        total: Amount,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// A receipt as it came from the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The receipt.
    pub receipt: Receipt,
    /// Price of the match, as the keeper says.
    pub price: Price,
    /// Who is said to have signed it.
    pub worker: Address,
}

/// What the chain says about a receipt.
#[derive(Debug, Clone, Copy)]
pub struct Witness<'a> {
    /// Where signatures count.
    pub domain: &'a Domain,
    /// The resource of the order, from the catalog.
    pub resource: &'a Resource,
    /// The provider that the worker signs for, from the registry.
    pub provider_of_worker: Option<Address>,
    /// In a direct channel, its provider.
    pub direct: Option<Address>,
}

/// A receipt that has to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What was delivered.
    pub statement: Statement,
    /// By how much the provider's earnings rise.
    pub increase: Amount,
    /// Price of the match.
    pub price: Price,
}

/// Checks a receipt against its order, against what is paid already, and against the chain.
pub fn check_receipt(
    claimed: &Claimed,
    record: &JobRecord,
    witness: &Witness<'_>,
    policy: &Policy,
) -> Result<Due, ReceiptError> {
    let (order, statement) = (&record.order.order, &claimed.receipt.statement);
    if let Some(reason) = &record.stopped {
        return Err(ReceiptError::Stopped(reason.clone()));
    }
    let allowed = record.price.unwrap_or(order.max_price).min(order.max_price);
    let changed = record.price.is_some_and(|price| price != claimed.price);
    if claimed.price > allowed || changed {
        return Err(ReceiptError::Price { allowed, found: claimed.price });
    }
    let provider = statement.provider;
    let expected = record.provider.or(witness.direct).unwrap_or(provider);
    let wanted = policy.providers.is_empty() || policy.providers.contains(&provider);
    if provider != expected || !wanted {
        return Err(ReceiptError::Provider(provider));
    }
    if witness.provider_of_worker != Some(provider) {
        return Err(ReceiptError::Worker { worker: claimed.worker, provider });
    }
    let last = predecessor(statement, record.paid.as_ref());
    let facts = Facts {
        domain: witness.domain,
        order,
        resource: witness.resource,
        price: claimed.price,
        provider,
        worker: claimed.worker,
        last: last.as_ref(),
    };
    let checked = claimed.receipt.clone().check(&facts)?;
    let increase = checked.increase(record.paid.as_ref())?;
    Ok(Due { statement: checked.statement, increase, price: claimed.price })
}

/// The receipt before this one, as far as it matters for paying.
///
/// A keeper sends only the newest receipt when a voucher was late, so sequences may skip numbers but never repeat. What
/// was paid stands in for the receipts in between: they are cumulative.
fn predecessor(statement: &Statement, paid: Option<&Statement>) -> Option<Statement> {
    match paid {
        Some(paid) if statement.sequence > paid.sequence && !paid.is_final() => {
            Some(Statement { sequence: statement.sequence - 1, ..paid.clone() })
        }
        Some(paid) => Some(paid.clone()),
        None if statement.sequence > 1 => Some(Statement {
            job: statement.job,
            provider: statement.provider,
            sequence: statement.sequence - 1,
            usage: Usage::default(),
            amount: Amount::ZERO,
            result: B256::ZERO,
            at: Timestamp::ZERO,
        }),
        None => None,
    }
}

/// The voucher that pays `due`, or why it is not signed. Signed totals never fall, not even below one that the keeper
/// refused because its batch closed.
pub fn next_voucher(state: &State, record: &JobRecord, due: &Due, info: &Info) -> Result<Voucher, ReceiptError> {
    let payment = Payment {
        payer: state.payer,
        keeper: state.keeper,
        batch: info.batch,
        provider: due.statement.provider,
        increase: due.increase,
        receipt: due.statement.hash(),
    };
    let mut voucher = state.account.next(&payment, &info.fees)?;
    voucher.total = voucher.total.max(state.signed);
    let total = record.debited.plus(voucher.total.minus(state.account.total)?)?;
    let allowed = record.order.order.max_total;
    if total > allowed {
        return Err(ReceiptError::OverTotal { allowed, total });
    }
    Ok(voucher)
}

/// The newest batch that anything was signed for.
pub fn last_batch(state: &State) -> BatchNumber {
    state.in_flight.iter().map(|signed| signed.voucher.voucher.batch).fold(state.account.batch, BatchNumber::max)
}

/// An answer to a voucher that no keeper in its right mind gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptanceError {
    /// A netted channel needs a promise.
    #[error("the keeper takes the voucher without signing its acceptance")]
    Missing,
    /// It is not the keeper's.
    #[error("the acceptance is not signed by the keeper: {0}")]
    Signature(#[from] SignatureError),
    /// It promises less than the voucher pays, or to somebody else.
    #[error("the acceptance does not match its voucher")]
    Inconsistent,
}

/// Checks the keeper's promise for a voucher. In a direct channel (batch 0) the voucher alone is enough.
pub fn check_promise(
    voucher: &SignedVoucher,
    acceptance: Option<&SignedAcceptance>,
    domain: &Domain,
) -> Result<(), AcceptanceError> {
    if voucher.voucher.batch == 0 {
        return Ok(());
    }
    let acceptance = *acceptance.ok_or(AcceptanceError::Missing)?;
    if !(Accepted { voucher: *voucher, acceptance }).is_consistent() {
        return Err(AcceptanceError::Inconsistent);
    }
    acceptance.signature.verify(domain.digest(acceptance.acceptance.hash()), voucher.voucher.keeper)?;
    Ok(())
}

#[cfg(test)]
mod tests;
