//! What is likely next for a keeper, by where it and its batch stand.

use super::book::Payment;
use super::{Dice, History};
use crate::amount::{Amount, Timestamp};
use crate::model::accounts::later;
use crate::model::{Call, ChannelKey, State, Status, Step};
use crate::voucher::BatchNumber;
use alloy::primitives::{Address, B256};

/// A function to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Open,
    Close,
    Withdraw,
    Bond,
    Retire,
    Unbond,
    Collect,
    Commit,
    Challenge,
    Answer,
    Void,
    Lapse,
    Recover,
    Redeem,
    Distribute,
    Claim,
    Govern,
}

const NEW: &[(Move, u64)] = &[(Move::Open, 6), (Move::Bond, 24), (Move::Redeem, 4), (Move::Close, 1), (Move::Claim, 1)];

const DIRECT: &[(Move, u64)] = &[
    (Move::Open, 28),
    (Move::Redeem, 44),
    (Move::Close, 8),
    (Move::Withdraw, 12),
    (Move::Collect, 1),
    (Move::Commit, 1),
    (Move::Retire, 1),
    (Move::Lapse, 1),
    (Move::Recover, 1),
    (Move::Govern, 3),
];

const COLLECTING: &[(Move, u64)] = &[
    (Move::Open, 16),
    (Move::Collect, 26),
    (Move::Commit, 24),
    (Move::Close, 4),
    (Move::Withdraw, 5),
    (Move::Redeem, 5),
    (Move::Bond, 3),
    (Move::Retire, 2),
    (Move::Unbond, 3),
    (Move::Lapse, 2),
    (Move::Claim, 9),
    (Move::Distribute, 4),
    (Move::Challenge, 1),
    (Move::Answer, 1),
    (Move::Void, 1),
    (Move::Recover, 1),
    (Move::Govern, 2),
];

const PENDING: &[(Move, u64)] = &[
    (Move::Challenge, 22),
    (Move::Answer, 30),
    (Move::Void, 7),
    (Move::Open, 8),
    (Move::Close, 3),
    (Move::Withdraw, 4),
    (Move::Claim, 12),
    (Move::Distribute, 6),
    (Move::Collect, 4),
    (Move::Commit, 4),
    (Move::Redeem, 3),
    (Move::Bond, 2),
    (Move::Retire, 1),
    (Move::Unbond, 2),
    (Move::Lapse, 2),
    (Move::Recover, 1),
    (Move::Govern, 2),
];

const WOUND_DOWN: &[(Move, u64)] = &[
    (Move::Recover, 46),
    (Move::Withdraw, 22),
    (Move::Unbond, 6),
    (Move::Claim, 9),
    (Move::Distribute, 4),
    (Move::Redeem, 6),
    (Move::Close, 2),
    (Move::Open, 1),
    (Move::Bond, 1),
    (Move::Collect, 1),
    (Move::Lapse, 1),
    (Move::Void, 1),
    (Move::Answer, 1),
];

/// Wound down, and too late to recover.
const OVER: &[(Move, u64)] = &[
    (Move::Withdraw, 40),
    (Move::Unbond, 12),
    (Move::Claim, 20),
    (Move::Distribute, 8),
    (Move::Redeem, 12),
    (Move::Recover, 4),
    (Move::Close, 2),
    (Move::Open, 2),
];

const CLOSED: &[(Move, u64)] = &[
    (Move::Withdraw, 40),
    (Move::Claim, 22),
    (Move::Distribute, 10),
    (Move::Redeem, 12),
    (Move::Close, 4),
    (Move::Unbond, 3),
    (Move::Open, 3),
    (Move::Bond, 2),
    (Move::Recover, 2),
    (Move::Commit, 1),
];

/// The batch that the keeper's next call would be about, counting one that is final but not written down yet.
pub(super) fn current(state: &State, now: Timestamp, keeper: Address) -> BatchNumber {
    let account = state.keeper(keeper);
    account.batch + u32::from(account.status.is_live() && state.is_final(now, keeper, account.batch))
}

/// Whether that batch is committed.
pub(super) fn is_pending(state: &State, now: Timestamp, keeper: Address) -> bool {
    state.batches.contains_key(&(keeper, current(state, now, keeper)))
}

impl History {
    /// A call that makes sense, as far as the state tells.
    pub(super) fn choose(&mut self, state: &State, keeper: Address, dice: &mut Dice) -> Step {
        let table = match state.keeper(keeper).status {
            Status::None if self.cast.is_netted(keeper) => NEW,
            Status::None => DIRECT,
            Status::Active | Status::Retiring if is_pending(state, self.now, keeper) => PENDING,
            Status::Active | Status::Retiring => COLLECTING,
            Status::WoundDown if self.now < later(state.keeper(keeper).wound_at, state.periods.recovery) => WOUND_DOWN,
            Status::WoundDown => OVER,
            Status::Closed => CLOSED,
        };
        // A pause would stop most of what follows, so it is soon ended; and a call about nothing shows little.
        let hurried = state.paused && dice.chance(30);
        let mut made = self.govern(state, dice);
        for _ in 0..8 {
            if hurried {
                break;
            }
            let chosen = dice.weigh(table).unwrap_or(Move::Govern);
            let next = self.make(chosen, state, keeper, dice);
            if !self.is_idle(&next, state) || dice.chance(4) {
                made = next;
                break;
            }
        }
        let (caller, call) = made;
        Step { now: self.now, caller, call }
    }

    /// Whether the call is about nothing, or plainly too early or too late.
    fn is_idle(&self, (caller, call): &(Address, Call), state: &State) -> bool {
        match call {
            Call::Collect { vouchers } => vouchers.is_empty() || is_pending(state, self.now, *caller),
            Call::Commit { .. } => is_pending(state, self.now, *caller),
            Call::Lapse { keeper } => is_pending(state, self.now, *keeper),
            Call::Redeem { vouchers, .. } => vouchers.is_empty(),
            Call::Recover { pairs, .. } => pairs.is_empty(),
            Call::Claim { items, .. } => items.is_empty(),
            Call::Distribute { leaves, .. } => leaves.is_empty(),
            Call::Answer { keeper, provider, .. } | Call::Void { keeper, provider } => {
                let slot = (*keeper, state.keeper(*keeper).batch, *provider);
                let is_answer = matches!(call, Call::Answer { .. });
                let open = state.challenges.get(&slot).filter(|challenge| challenge.deadline > Timestamp::ZERO);
                open.is_none_or(|challenge| is_answer != (self.now <= challenge.deadline))
            }
            Call::Open { keeper, .. } => !matches!(state.keeper(*keeper).status, Status::None | Status::Active),
            Call::Withdraw { signer, keeper } => {
                let channel = state.channel(&ChannelKey { payer: *caller, signer: *signer, keeper: *keeper });
                let ended = matches!(state.keeper(*keeper).status, Status::Closed | Status::WoundDown);
                channel.thaw_at == Timestamp::ZERO && !ended
            }
            Call::Unbond { keeper } | Call::Retire { keeper } => {
                let retiring = state.keeper(*keeper).status != Status::Active;
                retiring == matches!(call, Call::Retire { .. })
            }
            _ => false,
        }
    }

    fn make(&mut self, chosen: Move, state: &State, keeper: Address, dice: &mut Dice) -> (Address, Call) {
        let anyone = self.cast.anyone(dice);
        let owner = self.cast.owner_of(keeper);
        match chosen {
            Move::Open => self.open(keeper, dice),
            Move::Close => {
                let key = self.some_channel(state, keeper, dice, |channel| channel.thaw_at == Timestamp::ZERO);
                (key.payer, Call::Close { signer: key.signer, keeper })
            }
            Move::Withdraw => {
                let ended = matches!(state.keeper(keeper).status, Status::Closed | Status::WoundDown);
                let key = self.some_channel(state, keeper, dice, |channel| {
                    channel.thaw_at != Timestamp::ZERO || ended && channel.deposit > channel.spent
                });
                (key.payer, Call::Withdraw { signer: key.signer, keeper })
            }
            Move::Bond => {
                let least = if state.keeper(keeper).status == Status::None { state.minimum_bond } else { Amount(1) };
                let amount = Amount(least.get().saturating_add(dice.amount(least).get() - 1));
                (keeper, Call::Bond { amount, owner })
            }
            Move::Retire => (owner, Call::Retire { keeper }),
            Move::Unbond => (owner, Call::Unbond { keeper }),
            Move::Collect => (keeper, self.collect(state, keeper, dice)),
            Move::Commit if dice.chance(75) && !self.collectable(state, keeper).is_empty() => {
                (keeper, self.collect(state, keeper, &mut Dice::new(0)))
            }
            Move::Commit => (keeper, self.commit(state, keeper, dice).unwrap_or(Call::SweepFees)),
            Move::Challenge => (anyone, self.challenge(state, keeper, dice)),
            Move::Answer => (anyone, self.answer(state, keeper, dice)),
            Move::Void => (anyone, Call::Void { keeper, provider: self.challenger(state, keeper, dice) }),
            Move::Lapse => (anyone, Call::Lapse { keeper }),
            Move::Recover => (anyone, self.recover(state, keeper, dice)),
            Move::Redeem => {
                let bonded = state.keeper(keeper).status != Status::None;
                let caller = if bonded && dice.chance(80) { keeper } else { anyone };
                (caller, self.redeem(state, keeper, dice))
            }
            Move::Distribute => (anyone, self.distribute(state, keeper, dice)),
            Move::Claim => (anyone, self.claim(state, keeper, dice)),
            Move::Govern => self.govern(state, dice),
        }
    }

    fn govern(&self, state: &State, dice: &mut Dice) -> (Address, Call) {
        let governor = self.cast.governor;
        if state.paused {
            return (governor, Call::Unpause);
        }
        match dice.below(7) {
            0 => (self.cast.guardian, Call::Pause),
            1 | 2 => {
                let minimum_bond = Amount(1 + dice.below(2 * super::MINIMUM_BOND.get()));
                (governor, Call::SetMinimumBond { minimum_bond })
            }
            3 | 4 => (governor, Call::SetFeeBps { fee_bps: u16::try_from(dice.below(501)).unwrap_or(0) }),
            _ => (self.cast.anyone(dice), Call::SweepFees),
        }
    }

    fn some_channel(
        &self,
        state: &State,
        keeper: Address,
        dice: &mut Dice,
        is_fit: impl Fn(&crate::model::Channel) -> bool,
    ) -> ChannelKey {
        let all = Self::channels_of(state, keeper);
        let fit: Vec<_> = all.iter().filter(|key| is_fit(&state.channel(key))).copied().collect();
        let from = if dice.chance(85) && !fit.is_empty() { &fit } else { &all };
        dice.pick(from).copied().unwrap_or_else(|| self.any_channel(keeper, dice))
    }

    /// A channel that may not exist.
    pub(super) fn any_channel(&self, keeper: Address, dice: &mut Dice) -> ChannelKey {
        ChannelKey {
            payer: dice.pick(&self.cast.payers).copied().unwrap_or_default(),
            signer: dice.pick(&self.cast.sessions).copied().unwrap_or_default(),
            keeper,
        }
    }

    /// Up to three payments off chain, of which the next calls can make use.
    pub(super) fn trade(&mut self, state: &State, keeper: Address, dice: &mut Dice) {
        let channels = Self::channels_of(state, keeper);
        for _ in 0..dice.below(4) {
            if let Some(key) = dice.pick(&channels).copied() {
                self.pay(state, key, dice);
            }
        }
    }

    fn pay(&mut self, state: &State, key: ChannelKey, dice: &mut Dice) {
        let keeper = key.keeper;
        let is_direct = !state.keeper(keeper).status.is_live() || dice.chance(2);
        let filling = current(state, self.now, keeper) + u32::from(is_pending(state, self.now, keeper));
        let signed = self.book.signed(&key);
        let mut room = state.channel(&key).deposit.minus(signed).unwrap_or(Amount::ZERO);
        // A session key may sign for more than there is; few keepers accept that.
        let overspends = dice.chance(4);
        if overspends {
            room = Amount(room.get().saturating_add(1_000));
        }
        if room == Amount::ZERO {
            return;
        }
        let gross = dice.amount(room);
        let account = state.keeper(keeper);
        let rate = account.fee_bps.max(account.next_fee_bps).max(state.fee_bps);
        let fee = gross.share_up(rate).unwrap_or(gross);
        let mut increase = gross.minus(fee).unwrap_or(Amount::ZERO);
        // A client and its keeper may promise a provider more than the client pays.
        if dice.chance(3) {
            increase = Amount(increase.get().saturating_mul(2));
        }
        let provider = match dice.below(100) {
            _ if is_direct => keeper,
            0 => Address::ZERO,
            _ => dice.pick(&self.cast.providers).copied().unwrap_or_default(),
        };
        let batch = if is_direct { 0 } else { filling };
        let receipt = B256::from(alloy::primitives::U256::from(dice.roll()));
        let Ok(total) = signed.plus(gross) else { return };
        let voucher = self.book.sign(&Payment { key, batch, provider, total, increase, receipt });
        if (is_direct || overspends) && !dice.chance(10) {
            return;
        }
        let short = Amount(if dice.chance(4) { 1 } else { 0 });
        let pair = self.book.accept(voucher, increase, short);
        if dice.chance(3) {
            let signer = dice.pick(&self.cast.sessions).copied().unwrap_or_default();
            self.book.sign_again(&pair, signer);
        }
    }
}
