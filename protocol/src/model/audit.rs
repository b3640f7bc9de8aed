//! The invariants of the page's section 10, held against every step of a history, by their numbers there.
//!
//! The numbers 8, 9, 10 and 12 speak of what parties do off chain, which no single step shows.

use super::{Batch, Call, Channel, ChannelKey, Event, State, Status, Step};
use crate::amount::{Amount, Overflow};
use crate::voucher::BatchNumber;
use alloy::primitives::Address;
use std::collections::BTreeMap;

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken: {what}")]
pub struct Breach {
    /// Its number in section 10.
    pub number: u8,
    /// What was found.
    pub what: String,
}

/// Everything that was ever signed, whether or not it reached the chain.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    /// The highest total that each channel's session key signed.
    pub signed: BTreeMap<ChannelKey, Amount>,
    /// The highest `earned` that a keeper accepted, by channel, provider and batch.
    pub accepted: BTreeMap<(ChannelKey, Address, BatchNumber), Amount>,
}

/// Follows a history from its first step.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    deposited: BTreeMap<ChannelKey, Amount>,
    withdrawn: BTreeMap<ChannelKey, Amount>,
}

impl Audit {
    /// Checks a successful step from `before` to `after`.
    pub fn check(
        &mut self,
        step: &Step,
        before: &State,
        after: &State,
        events: &[Event],
        promises: &Promises,
    ) -> Result<(), Breach> {
        self.follow(step, events).map_err(|_| breach(6, "a channel's deposits overflow"))?;
        channels(step, before, after)?;
        debits(after)?;
        balance(before, after)?;
        payouts(after)?;
        fixed(before, after, events)?;
        self.payers(after, promises)?;
        recoveries(before, after, events, promises)?;
        bonds(step, before, after)?;
        repeated(step, after)?;
        others(step, before, after)?;
        redeemed(step, before, after, events)
    }

    fn follow(&mut self, step: &Step, events: &[Event]) -> Result<(), Overflow> {
        let (Call::Open { signer, keeper, .. } | Call::Withdraw { signer, keeper }) = step.call else { return Ok(()) };
        let key = ChannelKey { payer: step.caller, signer, keeper };
        for event in events {
            let (sums, amount) = match event {
                Event::ChannelOpened { amount, .. } => (&mut self.deposited, *amount),
                Event::Withdrawn { amount, .. } => (&mut self.withdrawn, *amount),
                _ => continue,
            };
            let sum = sums.entry(key).or_default();
            *sum = sum.plus(amount)?;
        }
        Ok(())
    }

    /// 6: what a channel lost is at most what its session key signed.
    fn payers(&self, after: &State, promises: &Promises) -> Result<(), Breach> {
        for (key, deposited) in &self.deposited {
            let channel = after.channel(key);
            let withdrawn = self.withdrawn.get(key).copied().unwrap_or_default();
            let signed = promises.signed.get(key).copied().unwrap_or_default();
            let lost = deposited.minus(withdrawn).and_then(|rest| rest.minus(left(&channel)?));
            if lost.map_or(true, |lost| lost > signed) {
                return Err(breach(6, format!("{key:?} lost {lost:?}, but only {signed} was ever signed")));
            }
        }
        Ok(())
    }
}

fn breach(number: u8, what: impl Into<String>) -> Breach {
    Breach { number, what: what.into() }
}

fn left(channel: &Channel) -> Result<Amount, Overflow> {
    channel.deposit.minus(channel.spent)
}

/// 1: `settled <= spent <= deposit`, and `spent` falls only in the withdrawal after a wind-down.
fn channels(step: &Step, before: &State, after: &State) -> Result<(), Breach> {
    for key in after.channels.changed(&before.channels) {
        let channel = after.channel(key);
        if channel.settled > channel.spent || channel.spent > channel.deposit {
            return Err(breach(1, format!("{key:?} is {channel:?}")));
        }
        let earlier = before.channel(key);
        let may_fall = matches!(step.call, Call::Withdraw { .. })
            && after.keeper(key.keeper).status == Status::WoundDown
            && key.payer == step.caller;
        if channel.spent < earlier.spent && !may_fall {
            return Err(breach(1, format!("{key:?} had spent {}, now {}", earlier.spent, channel.spent)));
        }
    }
    Ok(())
}

/// By keeper, what its current batch took from channels and has not paid out: the left side of invariant 2.
fn at_risk(state: &State) -> Result<BTreeMap<Address, Amount>, Overflow> {
    let mut sums = BTreeMap::<Address, Amount>::new();
    for (key, channel) in state.channels.iter() {
        if channel.batch == state.keeper(key.keeper).batch {
            let sum = sums.entry(key.keeper).or_default();
            *sum = sum.plus(channel.spent.minus(channel.settled)?)?;
        }
    }
    Ok(sums)
}

/// 2: what a live keeper collected is its open batch's debits and its pending batch's sum and fee.
fn debits(after: &State) -> Result<(), Breach> {
    let overflow = |_| breach(2, "the sums overflow");
    let at_risk = at_risk(after).map_err(overflow)?;
    for (address, keeper) in after.keepers.iter().filter(|(_, keeper)| keeper.status.is_live()) {
        let committed = after.batches.get(&(*address, keeper.batch));
        let pending = committed.map_or(Ok(Amount::ZERO), |batch| batch.earnings.sum.plus(batch.fee));
        let expected = pending.and_then(|sum| sum.plus(keeper.debits)).map_err(overflow)?;
        let found = at_risk.get(address).copied().unwrap_or_default();
        if found != expected {
            return Err(breach(2, format!("{address} took {found} from channels and accounts for {expected}")));
        }
    }
    Ok(())
}

/// 3: every token held is somebody's, and none appears or disappears but by burning.
fn balance(before: &State, after: &State) -> Result<(), Breach> {
    let owed = owed(after).map_err(|_| breach(3, "the sums overflow"))?;
    if owed != after.tokens.held {
        return Err(breach(3, format!("{} held, {owed} owed", after.tokens.held)));
    }
    let supply = |state: &State| {
        let all = state.tokens.balances.values().chain([&state.tokens.held, &state.tokens.burned]);
        Amount::sum(all.copied())
    };
    if supply(before) == supply(after) { Ok(()) } else { Err(breach(3, "the supply changed")) }
}

fn owed(state: &State) -> Result<Amount, Overflow> {
    let mut sum = state.fees;
    for channel in state.channels.values() {
        sum = sum.plus(left(channel)?)?;
    }
    for keeper in state.keepers.values() {
        sum = sum.plus(keeper.bond)?;
    }
    for at_risk in at_risk(state)?.values() {
        sum = sum.plus(*at_risk)?;
    }
    sum.plus(unclaimed(state)?)
}

/// What final batches have not paid yet.
pub fn unclaimed(state: &State) -> Result<Amount, Overflow> {
    let paid = paid_by_batch(state)?;
    let mut sum = Amount::ZERO;
    for ((keeper, number), batch) in state.batches.iter() {
        if *number < state.keeper(*keeper).batch && !state.distributed.contains_key(&(*keeper, *number)) {
            let paid = paid.get(&(*keeper, *number)).copied().unwrap_or_default();
            sum = sum.plus(batch.earnings.sum.minus(paid)?)?;
        }
    }
    Ok(sum)
}

fn paid_by_batch(state: &State) -> Result<BTreeMap<(Address, BatchNumber), Amount>, Overflow> {
    let mut sums = BTreeMap::<_, Amount>::new();
    for ((keeper, batch, _), amount) in state.paid.iter() {
        let sum = sums.entry((*keeper, *batch)).or_default();
        *sum = sum.plus(*amount)?;
    }
    Ok(sums)
}

/// 4: a batch pays at most its sum, and nothing before it is final.
fn payouts(after: &State) -> Result<(), Breach> {
    let paid = paid_by_batch(after).map_err(|_| breach(4, "the sums overflow"))?;
    for ((keeper, number), paid) in paid {
        let sum = after.batches.get(&(keeper, number)).map_or(Amount::ZERO, |batch| batch.earnings.sum);
        if paid > sum || number >= after.keeper(keeper).batch || after.distributed.contains_key(&(keeper, number)) {
            return Err(breach(4, format!("batch {number} of {keeper} with a sum of {sum} paid {paid}")));
        }
    }
    Ok(())
}

/// 5: a committed batch is fixed, keepers never come back, and `batch` rises by one when a batch becomes final.
fn fixed(before: &State, after: &State, events: &[Event]) -> Result<(), Breach> {
    for slot in after.batches.changed(&before.batches) {
        let fixed = |batch: &Batch| (batch.earnings, batch.fee, batch.lines, batch.committed_at);
        let (earlier, now) = (before.batches.get(slot).map(fixed), after.batches.get(slot).map(fixed));
        if earlier.is_some() && now != earlier {
            return Err(breach(5, format!("the committed batch {slot:?} changed")));
        }
    }
    for (address, keeper) in before.keepers.iter() {
        let now = after.keeper(*address);
        let advanced = events.contains(&Event::BatchFinalized { keeper: *address, batch: keeper.batch });
        if now.batch != keeper.batch + u32::from(advanced) {
            return Err(breach(5, format!("{address} went from batch {} to {}", keeper.batch, now.batch)));
        }
        if matches!(keeper.status, Status::Closed | Status::WoundDown) && now.status != keeper.status {
            return Err(breach(5, format!("{address} was {:?} and is {:?}", keeper.status, now.status)));
        }
    }
    Ok(())
}

/// 7: recoveries stay within what was accepted; claims are below the keeper's batch, recoveries from it on.
fn recoveries(before: &State, after: &State, events: &[Event], promises: &Promises) -> Result<(), Breach> {
    for slot in after.recovered.changed(&before.recovered) {
        let amount = after.recovered.get(slot).copied().unwrap_or_default();
        let accepted = promises.accepted.get(slot).copied().unwrap_or_default();
        if amount > accepted {
            return Err(breach(7, format!("{slot:?} recovered {amount}, accepted was {accepted}")));
        }
        if slot.2 < after.keeper(slot.0.keeper).batch {
            return Err(breach(7, format!("{slot:?} was recovered though its batch is final")));
        }
    }
    for event in events {
        if let Event::Claimed { keeper, payments, .. } = event
            && payments.iter().any(|(batch, _)| *batch >= after.keeper(*keeper).batch)
        {
            return Err(breach(7, format!("{event:?}, but the keeper's batch is not above")));
        }
    }
    Ok(())
}

/// 11: only `void`, `recover`, `lapse` and `unbond` lower a bond.
fn bonds(step: &Step, before: &State, after: &State) -> Result<(), Breach> {
    let lowers =
        matches!(step.call, Call::Void { .. } | Call::Recover { .. } | Call::Lapse { .. } | Call::Unbond { .. });
    for (address, keeper) in before.keepers.iter() {
        if after.keeper(*address).bond < keeper.bond && !lowers {
            return Err(breach(11, format!("{} lowered the bond of {address}", step.call.name())));
        }
    }
    Ok(())
}

/// 13: the same call again pays nobody. In a list of `recover` a later item may raise what an earlier one of its channel
/// was short of; the first repetition pays that, and the next one nothing.
fn repeated(step: &Step, after: &State) -> Result<(), Breach> {
    let mut paid = after.clone();
    if matches!(step.call, Call::Recover { .. }) && paid.apply(step).is_err() {
        return Ok(());
    }
    let mut again = paid.clone();
    if again.apply(step).is_err() {
        return Ok(());
    }
    for (account, balance) in again.tokens.balances.iter() {
        if *balance > paid.tokens.balance(*account) {
            return Err(breach(13, format!("{} paid {account} twice", step.call.name())));
        }
    }
    Ok(())
}

/// 14: whatever belongs to other keepers is as before.
fn others(step: &Step, before: &State, after: &State) -> Result<(), Breach> {
    let foreign = |keeper: Address| Some(keeper) != step.keeper();
    let changed = after.channels.changed(&before.channels).any(|key| foreign(key.keeper))
        || after.keepers.changed(&before.keepers).any(|keeper| foreign(*keeper))
        || after.batches.changed(&before.batches).any(|slot| foreign(slot.0))
        || after.challenges.changed(&before.challenges).any(|slot| foreign(slot.0))
        || after.paid.changed(&before.paid).any(|slot| foreign(slot.0))
        || after.distributed.changed(&before.distributed).any(|slot| foreign(slot.0))
        || after.recovered.changed(&before.recovered).any(|slot| foreign(slot.0.keeper));
    if changed { Err(breach(14, format!("{} changed another keeper's storage", step.call.name()))) } else { Ok(()) }
}

/// 15: direct payments and fees are together exactly the rise of `spent`.
fn redeemed(step: &Step, before: &State, after: &State, events: &[Event]) -> Result<(), Breach> {
    if !matches!(step.call, Call::Redeem { .. }) {
        return Ok(());
    }
    let overflow = |_| breach(15, "the sums overflow");
    let mut paid = Amount::ZERO;
    for event in events {
        if let Event::Redeemed { amount, fee, .. } = event {
            paid = paid.plus(*amount).and_then(|sum| sum.plus(*fee)).map_err(overflow)?;
        }
    }
    let mut rise = Amount::ZERO;
    for key in after.channels.changed(&before.channels) {
        let risen = after.channel(key).spent.minus(before.channel(key).spent).map_err(overflow)?;
        rise = rise.plus(risen).map_err(overflow)?;
    }
    if rise == paid { Ok(()) } else { Err(breach(15, format!("spent rose by {rise}, {paid} was paid"))) }
}
