//! What the contract said, in the model's words.

use alloy::primitives::{Address, keccak256};
use alloy::rpc::types::Log;
use alloy::sol_types::{SolEventInterface, SolInterface};
use anyhow::{Context, bail};
use protocol::amount::{Amount, Timestamp};
use protocol::bindings::settlement::Settlement::{SettlementErrors as Error, SettlementEvents as Logged};
use protocol::model::{Event, Refusal, Status};
use protocol::voucher::ChannelId;

/// Solidity's `Panic(0x11)`: arithmetic that does not fit.
const OVERFLOW: u8 = 0x11;

/// The contract's own events; the token's are seen in the balances.
pub(crate) fn events(logs: &[Log], settlement: Address) -> anyhow::Result<Vec<Event>> {
    logs.iter().filter(|log| log.address() == settlement).map(event).collect()
}

fn event(log: &Log) -> anyhow::Result<Event> {
    let amount = Amount;
    let moment = |at: u32| Timestamp(u64::from(at));
    Ok(match Logged::decode_log(&log.inner)?.data {
        Logged::ChannelOpened(e) => Event::ChannelOpened {
            channel: ChannelId(e.channelId),
            payer: e.payer,
            keeper: e.keeper,
            signer: e.signer,
            amount: amount(e.amount),
            deposit: amount(e.deposit),
        },
        Logged::ChannelClosing(e) => {
            Event::ChannelClosing { channel: ChannelId(e.channelId), thaw_at: moment(e.thawAt) }
        }
        Logged::Withdrawn(e) => Event::Withdrawn { channel: ChannelId(e.channelId), amount: amount(e.amount) },
        Logged::Bonded(e) => {
            Event::Bonded { keeper: e.keeper, owner: e.owner, amount: amount(e.amount), bond: amount(e.bond) }
        }
        Logged::Retired(e) => Event::Retired { keeper: e.keeper, retired_at: moment(e.retiredAt) },
        Logged::Unbonded(e) => Event::Unbonded { keeper: e.keeper, amount: amount(e.amount) },
        Logged::BatchFinalized(e) => Event::BatchFinalized { keeper: e.keeper, batch: e.batch },
        Logged::FeesSwept(e) => Event::FeesSwept { treasury: e.treasury, amount: amount(e.amount) },
        Logged::FeeBpsChanged(e) => Event::FeeBpsChanged { fee_bps: e.feeBps },
        Logged::MinimumBondChanged(e) => Event::MinimumBondChanged { minimum_bond: amount(e.minimumBond) },
        Logged::Paused(e) => Event::Paused { account: e.account },
        Logged::Unpaused(e) => Event::Unpaused { account: e.account },
        other => settled(other)?,
    })
}

fn settled(event: Logged) -> anyhow::Result<Event> {
    let amount = Amount;
    Ok(match event {
        Logged::Collected(e) => {
            Event::Collected { keeper: e.keeper, batch: e.batch, debits: amount(e.debits), count: e.count }
        }
        Logged::BatchCommitted(e) => Event::BatchCommitted {
            keeper: e.keeper,
            batch: e.batch,
            root: e.root,
            sum: amount(e.sum),
            fee: amount(e.fee),
            lines_root: e.linesRoot,
            lines_sum: amount(e.linesSum),
            line_count: e.lineCount,
            data_hash: e.dataHash,
        },
        Logged::Challenged(e) => Event::Challenged {
            keeper: e.keeper,
            batch: e.batch,
            provider: e.provider,
            owed: amount(e.owed),
            deadline: Timestamp(u64::from(e.deadline)),
        },
        Logged::Answered(e) => Event::Answered { keeper: e.keeper, batch: e.batch, provider: e.provider },
        Logged::BatchVoided(e) => {
            Event::BatchVoided { keeper: e.keeper, batch: e.batch, provider: e.provider, burned: amount(e.burned) }
        }
        Logged::Lapsed(e) => Event::Lapsed { keeper: e.keeper, batch: e.batch, burned: amount(e.burned) },
        other => paid(other)?,
    })
}

fn paid(event: Logged) -> anyhow::Result<Event> {
    let amount = Amount;
    Ok(match event {
        Logged::Recovered(e) => Event::Recovered {
            channel: ChannelId(e.channelId),
            provider: e.provider,
            batch: e.batch,
            amount: amount(e.amount),
        },
        Logged::BondForfeited(e) => Event::BondForfeited {
            keeper: e.keeper,
            provider: e.provider,
            rewarded: amount(e.rewarded),
            burned: amount(e.burned),
        },
        Logged::Redeemed(e) => Event::Redeemed {
            channel: ChannelId(e.channelId),
            keeper: e.keeper,
            amount: amount(e.amount),
            fee: amount(e.fee),
        },
        Logged::Claimed(e) => Event::Claimed {
            keeper: e.keeper,
            provider: e.provider,
            amount: amount(e.amount),
            payments: e.payments.iter().map(|payment| (payment.batch, amount(payment.amount))).collect(),
        },
        Logged::Distributed(e) => Event::Distributed { keeper: e.keeper, batch: e.batch, amount: amount(e.amount) },
        other => bail!("no step of a history causes {other:?}"),
    })
}

/// The custom error, or one of Solidity's and the token library's.
pub(crate) fn refusal(data: &[u8]) -> anyhow::Result<Refusal> {
    let named = |signature: &str| data.starts_with(&keccak256(signature)[..4]);
    if named("Panic(uint256)") && data.last() == Some(&OVERFLOW) {
        return Ok(Refusal::Overflow);
    }
    if named("TransferFromFailed()") {
        return Ok(Refusal::PullFailed);
    }
    if named("TransferFailed()") {
        return Ok(Refusal::PaymentFailed);
    }
    let moment = |at: alloy::primitives::U256| Ok::<_, anyhow::Error>(Timestamp(u64::try_from(at)?));
    let error = Error::abi_decode(data).with_context(|| format!("an unknown error: {}", hex::encode(data)))?;
    Ok(match error {
        Error::EnforcedPause(_) => Refusal::EnforcedPause,
        Error::ExpectedPause(_) => Refusal::ExpectedPause,
        Error::ZeroAddress(_) => Refusal::ZeroAddress,
        Error::ZeroAmount(_) => Refusal::ZeroAmount,
        Error::MalformedList(_) | Error::ClaimTruncated(_) => Refusal::EmptyList,
        Error::WrongKeeperStatus(e) => Refusal::WrongKeeperStatus { status: status(e.status)? },
        Error::NotTheKeeper(_) => Refusal::NotTheKeeper,
        Error::NotBondOwner(e) => Refusal::NotBondOwner { owner: e.owner },
        Error::OwnerMismatch(e) => Refusal::OwnerMismatch { owner: e.owner },
        Error::BondTooSmall(e) => Refusal::BondTooSmall { minimum: Amount(e.minimum) },
        Error::ChannelEmpty(_) => Refusal::ChannelEmpty,
        Error::AlreadyClosing(e) => Refusal::AlreadyClosing { thaw_at: Timestamp(u64::from(e.thawAt)) },
        Error::NotClosing(_) => Refusal::NotClosing,
        Error::TooEarly(e) => Refusal::TooEarly { not_before: moment(e.notBefore)? },
        Error::TooLate(e) => Refusal::TooLate { end: moment(e.end)? },
        Error::DebitsOpen(e) => Refusal::DebitsOpen { debits: Amount(e.debits) },
        Error::FeeTooHigh(e) => Refusal::FeeTooHigh { given: e.given, maximum: e.maximum },
        Error::MinimumBondTooHigh(e) => {
            Refusal::MinimumBondTooHigh { given: Amount(e.given), maximum: Amount(e.maximum) }
        }
        Error::OwnableUnauthorizedAccount(_) => Refusal::NotGovernor,
        Error::NotGuardian(_) => Refusal::NotGuardian,
        other => settlement_refusal(other)?,
    })
}

fn settlement_refusal(error: Error) -> anyhow::Result<Refusal> {
    Ok(match error {
        Error::BatchPending(e) => Refusal::BatchPending { batch: e.batch },
        Error::BatchNotPending(e) => Refusal::BatchNotPending { batch: e.batch },
        Error::BatchNotFinal(e) => Refusal::BatchNotFinal { batch: e.batch },
        Error::InvalidSignature(_) => Refusal::InvalidSignature,
        Error::TotalNotAbove(e) => Refusal::TotalNotAbove { total: Amount(e.total), spent: Amount(e.spent) },
        Error::TotalAboveDeposit(e) => {
            Refusal::TotalAboveDeposit { total: Amount(e.total), deposit: Amount(e.deposit) }
        }
        Error::SumMismatch(e) => Refusal::SumMismatch { given: Amount(e.given), expected: Amount(e.expected) },
        Error::LinesAboveSum(e) => Refusal::LinesAboveSum { lines_sum: Amount(e.linesSum), sum: Amount(e.sum) },
        Error::WrongBatch(e) => Refusal::WrongBatch { given: e.given, expected: e.expected },
        Error::NotSignedByKeeper(_) => Refusal::NotSignedByKeeper,
        Error::OwedNotAbove(e) => Refusal::OwedNotAbove { owed: Amount(e.owed), highest: Amount(e.highest) },
        Error::NotChallenged(_) => Refusal::NotChallenged,
        Error::AmountBelowOwed(e) => Refusal::AmountBelowOwed { amount: Amount(e.amount), owed: Amount(e.owed) },
        Error::LeafNotProven(e) => Refusal::LeafNotProven { batch: e.batch, amount: Amount(e.amount) },
        Error::AlreadyPaid(_) => Refusal::AlreadyPaid,
        Error::LeavesMismatch(_) => Refusal::LeavesMismatch,
        Error::LeafTransferFailed(_) => Refusal::PaymentFailed,
        other => bail!("no step of a history can fail with {other:?}"),
    })
}

fn status(number: u8) -> anyhow::Result<Status> {
    let all = [Status::None, Status::Active, Status::Retiring, Status::Closed, Status::WoundDown];
    all.get(usize::from(number)).copied().with_context(|| format!("{number} is no keeper status"))
}
