//! Random histories: what clients, session keys, keepers, providers and strangers might do next, honest or not.
//!
//! Each step is made from one random word and the state so far, so a history is its words: the same words make the
//! same history, and fewer words a shorter one. About a third of the calls are wrong on purpose, and moments are chosen
//! one second before, at and after every boundary.

mod dice;
mod cast;
mod book;
mod moves;
mod calls;
mod faults;

pub use book::Published;
pub use cast::Cast;
pub use dice::{Dice, word};

use super::audit::Promises;
use super::exit::Leaves;
use super::{Call, ChannelKey, Event, Outcome, Periods, State, Status, Step, Table, Tokens};
use crate::amount::{Amount, NANO, Timestamp};
use crate::batch::Line;
use crate::tree::Proof;
use crate::voucher::BatchNumber;
use alloy::primitives::Address;
use book::Book;

/// Times that are short beside one another, so that a history crosses all of them often.
pub const PERIODS: Periods = Periods {
    challenge: 80,
    answer: 60,
    heartbeat: 240,
    thaw: 769,
    retirement: 771,
    recovery: 150,
    inclusion: 2,
    reaction: 3,
};

/// Least first bond at the start.
pub const MINIMUM_BOND: Amount = Amount(1_000 * NANO);

/// The people and what they know.
#[derive(Debug)]
pub struct History {
    cast: Cast,
    book: Book,
    now: Timestamp,
}

/// A question to `verifyLine`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whose batch.
    pub keeper: Address,
    /// Which batch.
    pub batch: BatchNumber,
    /// The line.
    pub line: Line,
    /// That it stands there.
    pub proof: Proof,
}

impl History {
    /// Nothing has happened yet, and it is `start`. A history uses up a keeper in some fifty steps.
    pub fn new(start: Timestamp, keepers: u32) -> Self {
        Self { cast: Cast::new(keepers), book: Book::default(), now: start }
    }

    /// The contract as deployed and the accounts as endowed.
    pub fn genesis(&self) -> State {
        State {
            periods: PERIODS,
            governor: self.cast.governor,
            guardian: self.cast.guardian,
            treasury: self.cast.treasury,
            fee_bps: 100,
            minimum_bond: MINIMUM_BOND,
            paused: false,
            channels: Table::default(),
            keepers: Table::default(),
            batches: Table::default(),
            challenges: Table::default(),
            paid: Table::default(),
            distributed: Table::default(),
            recovered: Table::default(),
            fees: Amount::ZERO,
            tokens: Tokens { balances: self.cast.endowed().collect(), ..Tokens::default() },
        }
    }

    /// Everyone in the play.
    pub const fn cast(&self) -> &Cast {
        &self.cast
    }

    /// Everything signed so far.
    pub const fn promises(&self) -> &Promises {
        &self.book.promises
    }

    /// The time of the last step.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The leaves of all batches committed so far.
    pub fn leaves(&self) -> Leaves {
        self.book.published.iter().map(|(slot, published)| (*slot, published.leaves.clone())).collect()
    }

    /// The next step: signs what has to be signed for it, and lets time pass.
    pub fn propose(&mut self, state: &State, word: u64) -> Step {
        let mut dice = Dice::new(word);
        self.cast.rotate(state, self.now, &mut dice);
        let keeper = self.some_keeper(state, &mut dice);
        self.now = self.later(state, &mut dice);
        self.trade(state, keeper, &mut dice);
        let mut step = self.choose(state, keeper, &mut dice);
        if dice.chance(18) {
            self.spoil(&mut step, state, &mut dice);
        }
        step
    }

    /// Remembers what a step published.
    pub fn learn(&mut self, step: &Step, outcome: &Outcome) {
        let (Call::Commit { .. }, Ok(events)) = (&step.call, outcome) else { return };
        for event in events {
            if let Event::BatchCommitted { keeper, batch, .. } = event {
                self.book.publish(*keeper, *batch);
            }
        }
    }

    /// A question about a line of some batch, right or slightly wrong.
    pub fn probe(&self, dice: &mut Dice) -> Option<Probe> {
        let with_lines: Vec<_> =
            self.book.published.iter().filter(|(_, published)| !published.lines.lines().is_empty()).collect();
        let recent = &with_lines[with_lines.len().saturating_sub(12)..];
        let ((keeper, batch), published) = *dice.pick(recent)?;
        let index = u32::try_from(dice.below(published.lines.lines().len() as u64)).ok()?;
        let mut line = *published.lines.lines().get(index as usize)?;
        let mut proof = published.lines.proof(index)?;
        match dice.below(6) {
            0 => line.amount = Amount(line.amount.get() ^ 1),
            1 => proof.index ^= 1,
            2 => line.result.0[0] ^= 1,
            _ => {}
        }
        Some(Probe { keeper: *keeper, batch: *batch, line, proof })
    }

    /// One that has a challenge to meet comes first, because its time is short.
    fn some_keeper(&self, state: &State, dice: &mut Dice) -> Address {
        let challenged = |keeper: &Address| {
            let account = state.keeper(*keeper);
            let pending = state.batches.get(&(*keeper, account.batch));
            account.status.is_live() && pending.is_some_and(|batch| batch.open > 0)
        };
        let urgent: Vec<_> = self.cast.at_work().filter(challenged).collect();
        if dice.chance(40)
            && let Some(keeper) = dice.pick(&urgent)
        {
            return *keeper;
        }
        self.cast.any_keeper(dice)
    }

    /// Mostly a second; now and then to about the next moment at which something changes for somebody.
    fn later(&self, state: &State, dice: &mut Dice) -> Timestamp {
        let now = self.now.get();
        if dice.chance(14) {
            let all = self.cast.at_work().flat_map(|keeper| boundaries(state, keeper));
            let mut moments: Vec<_> = all.filter(|at| *at > now + 1).collect();
            moments.sort_unstable();
            moments.truncate(4);
            if let Some(at) = dice.pick(&moments) {
                return Timestamp(at - 1 + dice.below(3));
            }
        }
        Timestamp(now + if dice.chance(80) { 1 } else { 1 + dice.below(6) })
    }

    /// Channels of a keeper that hold or held something.
    fn channels_of(state: &State, keeper: Address) -> Vec<ChannelKey> {
        state.channels.keys().filter(|key| key.keeper == keeper).copied().collect()
    }
}

/// The moments at which a call about this keeper begins or ceases to be possible.
fn boundaries(state: &State, keeper: Address) -> Vec<u64> {
    let (periods, account) = (&state.periods, state.keeper(keeper));
    let at = |moment: Timestamp, seconds: u32| moment.get() + u64::from(seconds);
    let mut moments = vec![
        at(account.since, periods.heartbeat),
        at(account.retired_at, periods.retirement),
        at(account.wound_at, periods.recovery),
    ];
    if account.status == Status::WoundDown {
        return moments;
    }
    if let Some(batch) = state.batches.get(&(keeper, account.batch)) {
        moments.push(at(batch.committed_at, periods.challenge));
    }
    let open = state.challenges.iter().filter(|((of, batch, _), _)| *of == keeper && *batch == account.batch);
    moments.extend(open.map(|(_, challenge)| challenge.deadline.get()));
    let channels = state.channels.iter().filter(|(key, _)| key.keeper == keeper);
    moments.extend(channels.map(|(_, channel)| channel.thaw_at.get()));
    moments
}
