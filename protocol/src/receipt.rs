//! Receipts: what a worker says it has delivered, and the checks before anyone pays for it.
//!
//! A receipt is cumulative over its job. It starts [`Unchecked`] and can be paid only once [`check`](Receipt::check)
//! has turned it into a [`Checked`] one.

use crate::amount::{Amount, Overflow, Price, Quantity, Timestamp};
use crate::bindings::messages;
use crate::order::{JobId, Order};
use crate::resource::{Resource, Usage};
use crate::signature::{Domain, Signature, SignatureError, SigningKey};
use alloy::primitives::{Address, B256};
use alloy::sol_types::SolStruct;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// A receipt as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchecked {}
/// A receipt that passed every check against its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {}

/// What a worker signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// The job.
    pub job: JobId,
    /// Who is paid.
    pub provider: Address,
    /// Counts the receipts of the job from 1.
    #[serde(with = "crate::amount::text")]
    pub sequence: u64,
    /// Everything used so far.
    pub usage: Usage,
    /// What that costs so far, before fees.
    pub amount: Amount,
    /// Zero while the job runs; in the last receipt [`crate::job::result_hash`] of its outputs.
    pub result: B256,
    /// When it was measured.
    pub at: Timestamp,
}

impl Statement {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Receipt {
        messages::Receipt {
            job: self.job.0,
            provider: self.provider,
            sequence: self.sequence,
            usage: self.usage.hash(),
            amount: self.amount.get(),
            result: self.result,
            at: self.at.get(),
        }
    }

    /// The struct hash, which vouchers name.
    pub fn hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }

    /// Whether this is the job's last receipt.
    pub fn is_final(&self) -> bool {
        self.result != B256::ZERO
    }
}

/// A statement with a worker's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound = "")]
pub struct Receipt<State = Unchecked> {
    /// What is said.
    pub statement: Statement,
    /// By a worker key of the provider.
    pub signature: Signature,
    #[serde(skip)]
    state: PhantomData<State>,
}

/// What a receipt is checked against: the job as matched, and the last receipt taken for it.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Where signatures count.
    pub domain: &'a Domain,
    /// The order of the job.
    pub order: &'a Order,
    /// The resource it buys.
    pub resource: &'a Resource,
    /// Price at which it was matched.
    pub price: Price,
    /// Provider with which it was matched.
    pub provider: Address,
    /// Worker key that runs it, registered for that provider.
    pub worker: Address,
    /// The newest receipt already taken; `None` before the first.
    pub last: Option<&'a Statement>,
}

/// Why a receipt is not paid. None of these mends itself: the worker has to send a right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Another job's receipt.
    #[error("the receipt is for another job or provider")]
    WrongJob,
    /// Not signed by the worker that runs the job.
    #[error("the receipt is not signed by the job's worker: {0}")]
    Signature(#[from] SignatureError),
    /// Not the next in sequence.
    #[error("the receipt has sequence {found}, the next is {expected}")]
    Sequence {
        /// The next sequence number.
        expected: u64,
        /// The one in the receipt.
        found: u64,
    },
    /// A component of the usage fell, or time went back.
    #[error("usage is cumulative, but the receipt says less than the one before")]
    Decreasing,
    /// More than the order allows.
    #[error("the receipt bills {used} base units, the order allows {allowed}")]
    OverUnits {
        /// Billed quantity.
        used: Quantity,
        /// The order's `maxUnits`.
        allowed: Quantity,
    },
    /// The amount is not the price of the usage.
    #[error("the receipt asks for {found} nano, its usage costs {expected}")]
    Mispriced {
        /// `ceil(quantity * price / scale)`.
        expected: Amount,
        /// Amount in the receipt.
        found: Amount,
    },
    /// Nothing follows a final receipt.
    #[error("the job has had its last receipt")]
    AfterFinal,
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Receipt<Unchecked> {
    /// Signs a statement.
    pub fn sign(statement: Statement, domain: &Domain, worker: &SigningKey) -> Self {
        let signature = worker.sign(domain.digest(statement.hash()));
        Self { statement, signature, state: PhantomData }
    }

    /// A receipt from its parts, as loaded from a store; it has to be checked (again) before it counts.
    pub const fn new(statement: Statement, signature: Signature) -> Self {
        Self { statement, signature, state: PhantomData }
    }

    /// Checks the receipt against its job: signer, sequence, monotonic usage, limits, and price.
    pub fn check(self, facts: &Facts<'_>) -> Result<Receipt<Checked>, Rejection> {
        let statement = &self.statement;
        if statement.job != facts.order.id() || statement.provider != facts.provider {
            return Err(Rejection::WrongJob);
        }
        let expected = facts.last.map_or(1, |last| last.sequence.saturating_add(1));
        if facts.last.is_some_and(Statement::is_final) {
            return Err(Rejection::AfterFinal);
        }
        if statement.sequence != expected {
            return Err(Rejection::Sequence { expected, found: statement.sequence });
        }
        if let Some(last) = facts.last
            && (!statement.usage.covers(&last.usage) || statement.amount < last.amount || statement.at < last.at)
        {
            return Err(Rejection::Decreasing);
        }
        let used = statement.usage.quantity(facts.resource.unit);
        if used > facts.order.max_units {
            return Err(Rejection::OverUnits { used, allowed: facts.order.max_units });
        }
        let expected = facts.resource.amount(used, facts.price)?;
        if statement.amount != expected {
            return Err(Rejection::Mispriced { expected, found: statement.amount });
        }
        self.signature.verify(facts.domain.digest(statement.hash()), facts.worker)?;
        Ok(Receipt { statement: self.statement, signature: self.signature, state: PhantomData })
    }
}

impl Receipt<Checked> {
    /// What this receipt adds to the one before.
    pub fn increase(&self, last: Option<&Statement>) -> Result<Amount, Overflow> {
        self.statement.amount.minus(last.map_or(Amount::ZERO, |last| last.amount))
    }

    /// The receipt for sending on; the next party checks it again.
    pub fn into_unchecked(self) -> Receipt<Unchecked> {
        Receipt::new(self.statement, self.signature)
    }
}

#[cfg(test)]
mod tests;
