//! How a keeper ends badly: `void`, `lapse`, and `recover` from what it leaves behind.

use super::accounts::later;
use super::{Channel, ChannelKey, Event, Outcome, Pair, Refusal, State, Status};
use crate::amount::{Amount, Timestamp};
use crate::voucher::Acceptance;
use alloy::primitives::Address;

/// A tenth of a forfeited bond rewards the provider; a tenth of a silent keeper's bond is burned.
const TENTH_BPS: u16 = 1_000;

impl State {
    /// Anyone winds down a keeper that left a challenge unanswered.
    pub fn void(&mut self, now: Timestamp, keeper: Address, provider: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let (batch, _) = state.pending(keeper)?;
            let challenge = state.open_challenge(keeper, batch, provider)?;
            if now <= challenge.deadline {
                return Err(Refusal::TooEarly { not_before: later(challenge.deadline, 1) });
            }
            state.wind_down(now, keeper);
            let (_, burned) = state.forfeit(keeper, provider)?;
            events.push(Event::BatchVoided { keeper, batch, provider, burned });
            Ok(())
        })
    }

    /// Anyone winds down a keeper that stayed without a commit for longer than the heartbeat period.
    pub fn lapse(&mut self, now: Timestamp, keeper: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let account = state.collecting(keeper)?;
            let end = later(account.since, state.periods.heartbeat);
            if now <= end {
                return Err(Refusal::TooEarly { not_before: later(end, 1) });
            }
            state.wind_down(now, keeper);
            let burned = account.bond.share_down(TENTH_BPS)?;
            if let Some(stored) = state.keepers.get_mut(&keeper) {
                stored.bond = stored.bond.minus(burned)?;
                stored.debits = Amount::ZERO;
            }
            state.tokens.burn(burned)?;
            events.push(Event::Lapsed { keeper, batch: account.batch, burned });
            Ok(())
        })
    }

    /// Anyone pays providers of a wound-down keeper from the channels that promised it.
    pub fn recover(&mut self, now: Timestamp, keeper: Address, pairs: &[Pair]) -> Outcome {
        self.transact(now, keeper, |state, events| {
            if pairs.is_empty() {
                return Err(Refusal::EmptyList);
            }
            let account = state.keeper(keeper);
            if account.status != Status::WoundDown {
                return Err(Refusal::WrongKeeperStatus { status: account.status });
            }
            let end = later(account.wound_at, state.periods.recovery);
            if now >= end {
                return Err(Refusal::TooLate { end });
            }
            let mut payments = Vec::new();
            for pair in pairs {
                let key = state.recoverable(keeper, pair)?;
                payments.push(state.recover_one(&key, pair, events)?);
            }
            // Transfers come last, so a token's refusal is never seen before an item's.
            payments.into_iter().flatten().try_for_each(|(provider, amount)| state.tokens.push(provider, amount))
        })
    }

    /// The channel that a pair may be recovered from.
    fn recoverable(&self, keeper: Address, pair: &Pair) -> Result<ChannelKey, Refusal> {
        let voucher = pair.voucher.message;
        let expected = self.keeper(keeper).batch;
        if voucher.batch < expected {
            return Err(Refusal::WrongBatch { given: voucher.batch, expected });
        }
        let signer = pair.voucher.by.ok_or(Refusal::InvalidSignature)?;
        let accepted_by = pair.acceptance.by.ok_or(Refusal::InvalidSignature)?;
        let named = Acceptance {
            voucher: voucher.hash(),
            provider: voucher.latest.provider,
            batch: voucher.batch,
            owed: pair.acceptance.message.owed,
        };
        if accepted_by != keeper || pair.acceptance.message != named || voucher.keeper != keeper {
            return Err(Refusal::NotSignedByKeeper);
        }
        Ok(ChannelKey { payer: voucher.payer, signer, keeper })
    }

    /// Whom an item pays, and how much; nobody if it is paid already or the channel is empty.
    fn recover_one(
        &mut self,
        key: &ChannelKey,
        pair: &Pair,
        events: &mut Vec<Event>,
    ) -> Result<Option<(Address, Amount)>, Refusal> {
        let voucher = pair.voucher.message;
        let (provider, earned) = (voucher.latest.provider, voucher.latest.earned);
        let slot = (*key, provider, voucher.batch);
        let recovered = self.recovered.get(&slot).copied().unwrap_or_default();
        if earned <= recovered {
            return Ok(None);
        }
        if self.channel(key).deposit == Amount::ZERO {
            return Err(Refusal::ChannelEmpty);
        }
        let due = earned.minus(recovered)?;
        let mut channel = Channel { batch: self.keeper(key.keeper).batch, ..self.baseline(key) };
        channel.spent = channel.spent.max(voucher.total.min(channel.deposit));
        let amount = due.min(channel.spent.minus(channel.settled)?);
        channel.settled = channel.settled.plus(amount)?;
        self.channels.insert(*key, channel);
        if amount > Amount::ZERO {
            self.recovered.insert(slot, recovered.plus(amount)?);
        }
        events.push(Event::Recovered { channel: key.id(), provider, batch: voucher.batch, amount });
        if amount < due && self.keeper(key.keeper).bond > Amount::ZERO {
            let (rewarded, burned) = self.forfeit(key.keeper, provider)?;
            events.push(Event::BondForfeited { keeper: key.keeper, provider, rewarded, burned });
        }
        Ok((amount > Amount::ZERO).then_some((provider, amount)))
    }

    fn wind_down(&mut self, now: Timestamp, keeper: Address) {
        if let Some(account) = self.keepers.get_mut(&keeper) {
            account.status = Status::WoundDown;
            account.wound_at = now;
        }
    }

    /// Takes the whole bond: what was rewarded and what burned. A reward that the token refuses is burned too, so
    /// that no provider's address can keep its keeper from being wound down.
    fn forfeit(&mut self, keeper: Address, provider: Address) -> Result<(Amount, Amount), Refusal> {
        let bond = self.keepers.get_mut(&keeper).map_or(Amount::ZERO, |account| std::mem::take(&mut account.bond));
        let tenth = bond.share_down(TENTH_BPS)?;
        let rewarded = self.tokens.push(provider, tenth).map_or(Amount::ZERO, |()| tenth);
        let burned = bond.minus(rewarded)?;
        self.tokens.burn(burned)?;
        Ok((rewarded, burned))
    }
}
