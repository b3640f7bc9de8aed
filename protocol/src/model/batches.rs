//! A batch from its debits to its challenges: `collect`, `commit`, `challenge`, `answer`.

use super::accounts::later;
use super::{Batch, Channel, ChannelKey, Commitment, Event, Outcome, Refusal, Signed, State};
use crate::amount::{Amount, Timestamp};
use crate::tree::{Node, Proof};
use crate::voucher::{Acceptance, BatchNumber, Voucher};
use alloy::primitives::Address;

impl State {
    /// The keeper debits channels for its open batch.
    pub fn collect(&mut self, now: Timestamp, keeper: Address, vouchers: &[Signed<Voucher>]) -> Outcome {
        self.transact(now, keeper, |state, events| {
            if vouchers.is_empty() {
                return Err(Refusal::EmptyList);
            }
            let batch = state.collecting(keeper)?.batch;
            let mut debits = Amount::ZERO;
            for voucher in vouchers {
                let (key, mut channel) = state.debited(voucher, keeper, batch)?;
                let total = voucher.message.total;
                debits = debits.plus(total.minus(channel.spent)?)?;
                if channel.batch != batch {
                    channel.settled = channel.spent;
                    channel.batch = batch;
                }
                channel.spent = total;
                state.channels.insert(key, channel);
            }
            if let Some(account) = state.keepers.get_mut(&keeper) {
                account.debits = account.debits.plus(debits)?;
            }
            let count = u32::try_from(vouchers.len()).map_err(|_| Refusal::Overflow)?;
            events.push(Event::Collected { keeper, batch, debits, count });
            Ok(())
        })
    }

    /// The keeper fixes its open batch.
    pub fn commit(&mut self, now: Timestamp, keeper: Address, commitment: &Commitment) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let mut account = state.collecting(keeper)?;
            let Commitment { earnings, lines, line_count, data_hash } = *commitment;
            let fee = account.debits.share_down(account.fee_bps)?;
            let expected = account.debits.minus(fee)?;
            if earnings.sum != expected {
                return Err(Refusal::SumMismatch { given: earnings.sum, expected });
            }
            if lines.sum > earnings.sum {
                return Err(Refusal::LinesAboveSum { lines_sum: lines.sum, sum: earnings.sum });
            }
            let batch = account.batch;
            state.batches.insert((keeper, batch), Batch { earnings, fee, lines, committed_at: now, open: 0 });
            account.debits = Amount::ZERO;
            account.since = now;
            account.fee_bps = account.next_fee_bps;
            account.next_fee_bps = state.fee_bps;
            state.keepers.insert(keeper, account);
            events.push(Event::BatchCommitted {
                keeper,
                batch,
                root: earnings.hash,
                sum: earnings.sum,
                fee,
                lines_root: lines.hash,
                lines_sum: lines.sum,
                line_count,
                data_hash,
            });
            Ok(())
        })
    }

    /// Anyone demands that the keeper prove what it accepted in the pending batch.
    pub fn challenge(&mut self, now: Timestamp, keeper: Address, acceptance: &Signed<Acceptance>) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let (batch, committed) = state.pending(keeper)?;
            let end = committed.challenge_end(&state.periods);
            if now >= end {
                return Err(Refusal::TooLate { end });
            }
            let Acceptance { provider, batch: given, owed, .. } = acceptance.message;
            if provider == Address::ZERO {
                return Err(Refusal::ZeroAddress);
            }
            if given != batch {
                return Err(Refusal::WrongBatch { given, expected: batch });
            }
            if acceptance.by.ok_or(Refusal::InvalidSignature)? != keeper {
                return Err(Refusal::NotSignedByKeeper);
            }
            let deadline = later(now, state.periods.answer);
            let challenge = state.challenges.entry((keeper, batch, provider)).or_default();
            if challenge.deadline != Timestamp::ZERO && now > challenge.deadline {
                return Err(Refusal::TooLate { end: challenge.deadline });
            }
            if owed <= challenge.owed {
                return Err(Refusal::OwedNotAbove { owed, highest: challenge.owed });
            }
            let newly_open = challenge.deadline == Timestamp::ZERO;
            challenge.owed = owed;
            challenge.deadline = deadline;
            state.count_open(keeper, batch, |open| if newly_open { open.checked_add(1) } else { Some(open) })?;
            events.push(Event::Challenged { keeper, batch, provider, owed, deadline });
            Ok(())
        })
    }

    /// Anyone meets a challenge with a leaf that is large enough.
    pub fn answer(
        &mut self,
        now: Timestamp,
        keeper: Address,
        provider: Address,
        amount: Amount,
        proof: &Proof,
    ) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let (batch, committed) = state.pending(keeper)?;
            let challenge = state.open_challenge(keeper, batch, provider)?;
            if now > challenge.deadline {
                return Err(Refusal::TooLate { end: challenge.deadline });
            }
            if amount < challenge.owed {
                return Err(Refusal::AmountBelowOwed { amount, owed: challenge.owed });
            }
            if proof.verify(Node::earning(provider, amount), committed.earnings).is_err() {
                return Err(Refusal::LeafNotProven { batch, amount });
            }
            if let Some(stored) = state.challenges.get_mut(&(keeper, batch, provider)) {
                stored.deadline = Timestamp::ZERO;
            }
            state.count_open(keeper, batch, |open| open.checked_sub(1))?;
            if let Some(account) = state.keepers.get_mut(&keeper) {
                account.since = now;
            }
            events.push(Event::Answered { keeper, batch, provider });
            Ok(())
        })
    }

    /// The channel that a voucher debits, if it may: that of the key which signed exactly this for this keeper and
    /// batch. Any other message recovers a stranger, whose channel holds nothing.
    pub(super) fn debited(
        &self,
        voucher: &Signed<Voucher>,
        keeper: Address,
        batch: BatchNumber,
    ) -> Result<(ChannelKey, Channel), Refusal> {
        let signer = voucher.by.ok_or(Refusal::InvalidSignature)?;
        let Voucher { payer, total, .. } = voucher.message;
        let key = ChannelKey { payer, signer, keeper };
        let is_meant = voucher.message.keeper == keeper && voucher.message.batch == batch;
        let channel = if is_meant { self.channel(&key) } else { Channel::default() };
        if total <= channel.spent {
            return Err(Refusal::TotalNotAbove { total, spent: channel.spent });
        }
        if total > channel.deposit {
            return Err(Refusal::TotalAboveDeposit { total, deposit: channel.deposit });
        }
        Ok((key, channel))
    }

    pub(super) fn open_challenge(
        &self,
        keeper: Address,
        batch: BatchNumber,
        provider: Address,
    ) -> Result<super::Challenge, Refusal> {
        let challenge = self.challenges.get(&(keeper, batch, provider)).copied().unwrap_or_default();
        if challenge.deadline == Timestamp::ZERO { Err(Refusal::NotChallenged) } else { Ok(challenge) }
    }

    fn count_open(
        &mut self,
        keeper: Address,
        batch: BatchNumber,
        count: impl FnOnce(u32) -> Option<u32>,
    ) -> Result<(), Refusal> {
        if let Some(committed) = self.batches.get_mut(&(keeper, batch)) {
            committed.open = count(committed.open).ok_or(Refusal::Overflow)?;
        }
        Ok(())
    }
}
